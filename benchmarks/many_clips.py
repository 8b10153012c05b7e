"""Two million clips: how soon a store of that size is open, how soon training begins, and how much memory it takes.

    python benchmarks/many_clips.py SCRATCH [--clips 2000000] [--seconds 3]

SCRATCH gets a store of clips of ten seconds, one for each recording. Its index is whole, 0.2 GB for two million clips; its
spectrograms are sparse files, full of zeros that take no room on the disk. It is removed at the end. Each way is measured in
processes of their own, with the index in the cache of the system: opening the store, dividing it into clips to train on and
clips held out, and the first batch of a shuffled epoch, with two loader processes and without. `old` is a store that was
written without hashes. Memory is the most that was resident at any time, with the pages of mapped files; `own` is what the
process alone has, without them, at the end.

Then the same random crops are read from parts that are mapped and with `pread`, from two parts of 0.3 GB that are not
sparse, in turns, and compared to the bit. Rows are appended to benchmarks/results/many_clips.csv.
"""
import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import torch
from fastcore.script import call_parse

from machine import cpu_model
from mwmae.crops import CropDataset, load_batches, Shares, split_held_out, SpectrogramStore
from mwmae.files import save_config
from mwmae.recordings import CLIP
from mwmae.settings import training_share
from mwmae.store import current_settings, part_path

RESULTS = Path(__file__).parent / "results" / "many_clips.csv"
FRAMES, PART, MELS = 1001, 2**23 // 1001, 80  # frames of a clip, clips of a part
BATCH = 1024
SOURCE = np.dtype([("name_end", "<i8"), ("reason_end", "<i8"), ("clips", "<i4"), ("lost", "<i4")])


def clip_names(
    count: int,  # how many
) -> list[bytes]:
    "Names as those of AudioSet are: a folder, eleven random letters, and where the clip begins."
    letters = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", np.uint8)
    random = np.random.default_rng(0).choice(letters, (count, 11))
    return [b"%03d/%s_%d000.flac" % (i % 1000, row.tobytes(), i % 500) for i, row in enumerate(random)]


def sparse_part(
    path: Path,  # file to make
    rows: int,  # frames in it
):
    "A part of the spectrograms that takes no room on the disk."
    with open(path, "wb") as file:
        header = {"descr": "<f2", "fortran_order": False, "shape": (rows, MELS)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * MELS * 2)


def make_store(
    folder: Path,  # where to
    count: int,  # clips
    hashes: bool,  # whether it has them
):
    "The index of a store with so many clips, each of a recording of its own, and sparse parts."
    folder.mkdir(parents=True)
    names = clip_names(count)
    random = np.random.default_rng(0)
    clips, sources = np.zeros(count, CLIP), np.zeros(count, SOURCE)
    clips["source"], clips["samples"], clips["frames"] = np.arange(count), 160_000, FRAMES
    clips["part"], clips["offset"] = np.arange(count) // PART, np.arange(count) % PART * FRAMES
    clips["mean"], clips["deviation"] = random.normal(-8, 1, count), random.uniform(1, 3, count)
    sources["name_end"], sources["clips"] = np.cumsum([len(name) for name in names]), 1
    joined = np.frombuffer(b"".join(names), np.uint8)
    for name, array in (("clips", clips), ("sources", sources), ("names", joined), ("reasons", joined[:0])):
        np.save(folder / f"{name}.npy", array)
    parts = int(clips["part"][-1]) + 1
    for number in range(parts):
        sparse_part(part_path(folder, number), FRAMES * min(PART, count - number * PART))
    state = replace(current_settings(), complete=True, clips=count, sources=count, names=len(joined), parts=parts,
                    rows=FRAMES * (count - (parts - 1) * PART), samples=160_000 * count)
    if hashes:
        from mwmae.store import name_hash
        np.save(folder / "hashes.npy", np.array([name_hash(os.fsdecode(name)) for name in names], np.uint64))
        state = replace(state, hashes=count)
    save_config(state, folder / "store.json")


def own_memory() -> float:
    "Memory of this process that is no file's, in MB."
    return int(re.search(r"RssAnon:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def begin(
    store: str,  # a store
    workers: int,  # loader processes
) -> dict:  # seconds and MB
    "Open a store and load the first batch of a shuffled epoch, as training does."
    peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    torch.set_num_threads(1)
    imported, start = peak(), perf_counter()
    corpus = SpectrogramStore(store)
    opened = perf_counter()
    train, held_out = split_held_out(corpus)
    divided = perf_counter()
    examples = CropDataset(corpus, training_share(train, 1.0), 200, 250)
    shares = Shares(SimpleNamespace(seed=0, batch=BATCH, micro_batch=None), len(train), range(10**9))
    batches = load_batches(examples, shares, workers, torch.device("cpu"))
    first = next(batches)
    ready = perf_counter()
    assert len(first["index"]) == BATCH and len(held_out) == 256
    for _ in range(20):
        next(batches)
    twenty = perf_counter()
    checksum = corpus.checksum
    summed, own = perf_counter(), own_memory()
    batches.close()
    loader = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"opening the store, s": opened - start, "dividing it, s": divided - opened,
            "the epoch's first batch once it is open, s": ready - opened, "20 more batches of 1024, s": twenty - ready,
            "checksum of the clips, s": summed - twenty, "most memory, with mapped files, MB": peak(),
            "memory of its own, MB": own, "memory of the imports, MB": imported,
            "most memory of a loader process, MB": loader}
