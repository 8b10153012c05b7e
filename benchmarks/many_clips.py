"""Two million clips: how soon a store of that size is open, how soon training begins, and how much memory it takes.

    python benchmarks/many_clips.py SCRATCH [--clips 2000000] [--repeats 5]

SCRATCH gets a store of clips of ten seconds, one for each recording. Its index is whole, 0.2 GB for two million clips; its
spectrograms are sparse files, full of zeros that take no room on the disk. Everything is removed at the end. A process opens
the store, divides it into clips to train on and clips held out, and loads the first batch of a shuffled epoch, 1,024 crops of
2 s; the index is in the cache of the system. `no loaders` loads in a thread, as on a CPU, `2 loaders` in two processes.
`without hashes` is a store that an earlier version wrote. Values are medians of some processes. Memory is the most that was
resident at any time beyond what the imports take, with the pages of mapped files and all batches that are held.

Then random crops are read from two parts of 0.3 GB that are not sparse: from mapped arrays and with `preadv`, in turns and
equal to the bit; `cached` when the system has the files in memory and the process has not seen them yet, `from the disk`
after the system was told to forget them. Rows are appended to benchmarks/results/many_clips.csv.
"""
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import torch
from fastcore.script import call_parse

from machine import append_values, peak_memory
from mwmae.crops import CropDataset, load_batches, Shares, split_held_out, SpectrogramStore
from mwmae.files import save_config
from mwmae.recordings import CLIP
from mwmae.settings import training_share
from mwmae.store import _SOURCE, current_settings, name_hash, open_part, part_path

RESULTS = Path(__file__).parent / "results" / "many_clips.csv"
FRAMES, PART, MELS = 1001, 2**23 // 1001, 80  # frames of a clip, clips of a part
BATCH = 1024


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
    clips, sources = np.zeros(count, CLIP), np.zeros(count, _SOURCE)
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
        np.save(folder / "hashes.npy", np.array([name_hash(os.fsdecode(name)) for name in names], np.uint64))
        state = replace(state, hashes=count)
    save_config(state, folder / "store.json")


def begin(
    store: str,  # a store
    workers: int,  # loader processes
) -> dict:  # seconds and MB
    "Open a store and load the first batch of a shuffled epoch, as training does."
    torch.set_num_threads(1)
    imported, start = peak_memory(), perf_counter()
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
    for _ in range(8):
        next(batches)
    taken = peak_memory()
    batches.close()
    loader = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found = {"opening the store, s": opened - start, "dividing it into training and held out, s": divided - opened,
             "from the open store to the first batch of an epoch, s": ready - opened,
             "most memory beyond the imports, MB": taken - imported, "memory of the imports, MB": imported}
    if workers:
        found["most memory of a loader process, with the imports, MB"] = loader
    return found


def in_processes(
    store: Path,  # a store
    workers: int,  # loader processes
    repeats: int,  # how often
) -> dict:  # medians
    "What `begin` measures, in processes of their own."
    found = []
    for _ in range(repeats):
        command = [sys.executable, __file__, str(store), "--one", str(workers)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        found.append(json.loads(done.stdout))
    return {name: median(one[name] for one in found) for name in found[0]}


def forget(
    paths: list[Path],  # files
):
    "Tell the system to drop what it keeps of some files."
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_crops(
    folder: Path,  # with the parts
    way: str,  # 'mapped' or 'preadv'
    places: np.ndarray,  # (crops, 2) number of the part, first frame
) -> tuple[float, int]:  # seconds, and a sum of all bytes
    "Read crops of 200 frames, each into an array of its own, as training does."
    numbers, total = np.unique(places[:, 0]).tolist(), 0
    start = perf_counter()
    if way == "mapped":
        parts = [np.load(part_path(folder, number), mmap_mode="c") for number in numbers]
        read = lambda part, first: parts[part][first : first + 200].copy()
    else:
        parts = [open_part(folder, number, 1, MELS) for number in numbers]
        read = lambda part, first: parts[part].rows(first, first + 200)
    for number, first in places.tolist():
        total += int(read(number, first).view(np.uint32)[::20].sum())
    return perf_counter() - start, total


def compare_reading(
    folder: Path,  # for two parts
    rounds: int,  # how often, each way
) -> list[tuple]:  # rows of the table
    "Crops a second from mapped arrays and with preadv."
    folder.mkdir()
    random, frames = np.random.default_rng(0), 2_000_000
    paths = [part_path(folder, number) for number in range(2)]
    for path in paths:
        values = np.lib.format.open_memmap(path, "w+", np.float16, (frames, MELS))
        for first in range(0, frames, 100_000):
            values[first : first + 100_000] = random.standard_normal((100_000, MELS), np.float32)
        values.flush()
    del values
    rows = []
    for state, crops in (("cached", 6000), ("from the disk", 1500)):
        taken = {"mapped": [], "preadv": []}
        for number in range(rounds):
            places = np.stack([random.integers(2, size=crops), random.integers(frames - 200, size=crops)], 1)
            sums = set()
            for way in list(taken)[:: (-1) ** number]:
                if state == "cached":
                    for path in paths:
                        path.read_bytes()
                else:
                    forget(paths)
                seconds, total = read_crops(folder, way, places)
                taken[way].append(seconds)
                sums.add(total)
            assert len(sums) == 1, "the two ways differ"
        for way, seconds in taken.items():
            rows.append((f"crops {state}, {way}", crops / median(seconds), "1/s"))
        ratio = median(a / b for a, b in zip(*taken.values()))
        rows.append((f"crops {state}, preadv over mapped", ratio, "x"))
    shutil.rmtree(folder)
    return rows


@call_parse
def main(
    scratch: str,  # Folder for the store, removed at the end
    clips: int = 2_000_000,  # Clips in it
    repeats: int = 5,  # Processes and rounds that are measured, each way
    one: int | None = None,  # Measure the store SCRATCH with so many loader processes and print it (the program calls itself so)
):
    "Measure a store of millions of clips; prints a table and appends it to benchmarks/results/many_clips.csv."
    if one is not None:
        print(json.dumps(begin(scratch, one)))
        return
    folder = Path(scratch) / "many_clips"
    shutil.rmtree(folder, ignore_errors=True)
    rows = [("clips", clips, ""), ("load of the machine before", os.getloadavg()[0], "")]
    for name, hashes, ways in (("", True, {"no loaders": 0, "2 loaders": 2}), ("without hashes", False, {"no loaders": 0})):
        make_store(folder / "store", clips, hashes)
        for way, workers in ways.items():
            for what, value in in_processes(folder / "store", workers, repeats).items():
                what, unit = what.rsplit(", ", 1)
                rows.append((", ".join(filter(None, [what, way, name])), value, unit))
        shutil.rmtree(folder / "store")
    rows += compare_reading(folder / "parts", repeats)
    rows.append(("load of the machine after", os.getloadavg()[0], ""))
    shutil.rmtree(folder)
    append_values(RESULTS, rows)
