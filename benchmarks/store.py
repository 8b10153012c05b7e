"""Random crops from a spectrogram store beside decoding the files, and the speed of preparing one.

    python benchmarks/store.py SOURCE [--store FOLDER] [--seconds 5]

SOURCE is anything that `mwmae_prepare` takes, except Parquet. The store is made anew on every run, in a temporary
folder if none is named, so that preparation is measured too. Each rate is of all cores together; crops have 200 frames
(2 s) of random clips, and the store is read once before it is measured, so that it is cached. Rows are appended to
benchmarks/results/store.csv.
"""
import csv
import multiprocessing
import os
import resource
import shutil
import tempfile
from datetime import date
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from fastcore.script import call_parse

from machine import cpu_model
from mwmae.crops import CropDataset, SoundFiles, SpectrogramStore
from mwmae.store import prepare

RESULTS = Path(__file__).parent / "results" / "store.csv"


def _draw(corpus, dataset, seconds, seed, barrier, counts):
    "Count the random crops that one process draws in a time."
    torch.set_num_threads(1)
    random, count, frames = np.random.default_rng(seed), 0, corpus.frames
    barrier.wait()
    end = perf_counter() + seconds
    while perf_counter() < end:
        for clip in random.integers(len(corpus), size=16):
            if dataset is None:
                corpus.crop(clip, int(random.integers(max(int(frames[clip]) - 200, 0) + 1)), 200)
            else:
                dataset[0, clip]
        count += 16
    counts.put(count / (perf_counter() - end + seconds))


def rate(corpus, processes, seconds, dataset=None):
    "Random crops per second of several processes together."
    context = multiprocessing.get_context("fork")
    barrier, counts = context.Barrier(processes), context.Queue()
    workers = [context.Process(target=_draw, args=(corpus, dataset, seconds, i, barrier, counts)) for i in range(processes)]
    for worker in workers:
        worker.start()
    total = sum(counts.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total


def measure(source, store, seconds):
    "All rows of the table: (what, value, unit)."
    cores = len(os.sched_getaffinity(0))
    begin = perf_counter()
    prepared = prepare(source, store)
    took = perf_counter() - begin
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    size = sum(path.stat().st_size for path in Path(store).iterdir())
    begin = perf_counter()
    stored = SpectrogramStore(store)
    opened = perf_counter() - begin
    for clip in range(len(stored)):
        stored.clip(clip)
    files = SoundFiles(source, store)
    dataset = CropDataset(stored, np.arange(len(stored)), 200, 250)
    crops, examples, decoded = rate(stored, cores, seconds), rate(stored, cores, seconds, dataset), rate(files, cores, seconds)
    return [
        ("audio", prepared.hours, "h"), ("clips", len(stored), ""), ("cores", cores, ""),
        ("preparing", took, "s"), ("preparing, per core", prepared.hours * 3600 / took / cores, "x real time"),
        ("preparing, most memory of one process", peak, "MiB"), ("store, per hour of audio", size / prepared.hours / 1e6, "MB"),
        ("opening the store", opened * 1e3, "ms"), ("crops from the store", crops, "1/s"),
        ("crops with place and noise (CropDataset)", examples, "1/s"), ("crops from the files", decoded, "1/s"),
        ("store over files", crops / decoded, "x"),
    ]


@call_parse
def main(
    source: str,  # Sounds to prepare
    store: str = "",  # Folder for the store, replaced if it is there; none: a temporary one
    seconds: float = 5.0,  # How long to draw crops, each way
):
    "Measure a spectrogram store; prints a table and appends it to benchmarks/results/store.csv."
    folder = Path(store or tempfile.mkdtemp()) / "store"
    shutil.rmtree(folder, ignore_errors=True)
    rows = measure(source, folder, seconds)
    if not store:
        shutil.rmtree(folder.parent)
    for what, value, unit in rows:
        print(f"{what:42} {value:12,.1f} {unit}")
    exists = RESULTS.exists()
    with open(RESULTS, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not exists:
            writer.writerow(["date", "cpu", "what", "value", "unit"])
        writer.writerows([date.today(), cpu_model(), what, f"{value:.1f}", unit] for what, value, unit in rows)
