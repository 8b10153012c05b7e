"""Random crops from a spectrogram store beside decoding the files, the speed of preparing one, and of loading batches.

    python benchmarks/store.py SOURCE [--store FOLDER] [--seconds 5]

SOURCE is anything that `mwmae_prepare` takes, except Parquet. The store is made anew on every run, in a temporary
folder if none is named, so that preparation is measured too. Each rate is of all cores together; crops have 200 frames
(2 s) of random clips, and the store is read once before it is measured, so that it is cached. Batches of 256 crops, with
250 noise values each, come from two loader processes: crop by crop with PyTorch's own loader, gathered by `load_batches`,
and gathered and then standardised on the CPU by the training process. The three take turns, with medians of some rounds
and the load of the machine meanwhile. Rows are appended to benchmarks/results/store.csv.
"""
import multiprocessing
import os
import resource
import shutil
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import torch
from fastcore.script import call_parse
from torch.utils.data import DataLoader

from machine import append_values
from mwmae.crops import CropDataset, load_batches, Shares, SoundFiles, SpectrogramStore, to_device
from mwmae.store import prepare

RESULTS = Path(__file__).parent / "results" / "store.csv"
CPU, LOADERS, BATCH = torch.device("cpu"), 2, 256


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


def load(dataset, way, seconds):
    "Crops per second, and microseconds of processor time for each, of a training process and its loaders."
    shares = Shares(SimpleNamespace(seed=0, batch=BATCH, micro_batch=None), len(dataset), range(10**9))
    usage = lambda: [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    before = usage()
    if way == "one by one":
        batches = iter(DataLoader(dataset, batch_sampler=shares, num_workers=LOADERS))
    else:
        batches = load_batches(dataset, shares, LOADERS, CPU)
    warm = 2 * LOADERS + 1
    for _ in range(warm):
        next(batches)
    begin, count = perf_counter(), 0
    while perf_counter() < begin + seconds:
        batch = next(batches)
        if way == "gathered, standardised":
            batch = to_device(batch, CPU)
        count += len(batch["index"])
    took = perf_counter() - begin
    del batches  # ends the loader processes, whose time is then counted
    spent = sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(before, usage()))
    return count / took, spent / (count + warm * BATCH) * 1e6


def loading(dataset, seconds, rounds):
    "Rows of the ways to load batches, measured in turn."
    ways = ["one by one", "gathered", "gathered, standardised"]
    torch.set_num_threads(1)
    found = {way: [] for way in ways}
    loads = []
    for _ in range(rounds):
        for way in ways:
            found[way].append(load(dataset, way, seconds))
        loads.append(os.getloadavg()[0])
    speed = {way: median(speed for speed, _ in found[way]) for way in ways}
    rows = [("load of the machine while batches are loaded", median(loads), "")]
    for way in ways:
        rows.append((f"batches {way}", speed[way], "crops/s"))
        rows.append((f"batches {way}: processor time", median(spent for _, spent in found[way]), "us/crop"))
    rows += [(f"batches {way}, over one by one", speed[way] / speed["one by one"], "x") for way in ways[1:]]
    return rows


def measure(source, store, seconds, rounds):
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
    batches = loading(dataset, seconds, rounds)
    crops, examples, decoded = rate(stored, cores, seconds), rate(stored, cores, seconds, dataset), rate(files, cores, seconds)
    return [
        ("audio", prepared.hours, "h"), ("clips", len(stored), ""), ("cores", cores, ""),
        ("preparing", took, "s"), ("preparing, per core", prepared.hours * 3600 / took / cores, "x real time"),
        ("preparing, most memory of one process", peak, "MiB"), ("store, per hour of audio", size / prepared.hours / 1e6, "MB"),
        ("opening the store", opened * 1e3, "ms"), ("crops from the store", crops, "1/s"),
        ("crops with place and noise (CropDataset)", examples, "1/s"), ("crops from the files", decoded, "1/s"),
        ("store over files", crops / decoded, "x"), *batches,
    ]


@call_parse
def main(
    source: str,  # Sounds to prepare
    store: str = "",  # Folder for the store, replaced if it is there; none: a temporary one
    seconds: float = 5.0,  # How long to draw crops, each way
    rounds: int = 5,  # How often to load batches, each way
):
    "Measure a spectrogram store; prints a table and appends it to benchmarks/results/store.csv."
    folder = Path(store or tempfile.mkdtemp()) / "store"
    shutil.rmtree(folder, ignore_errors=True)
    rows = measure(source, folder, seconds, rounds)
    if not store:
        shutil.rmtree(folder.parent)
    append_values(RESULTS, rows)
