"""The largest tasks of HEAR at full size, with random embeddings of 3,840 numbers: memory of the probe, and time of an epoch.

    python benchmarks/full_size.py SCRATCH [--tasks nsynth,maestro] [--epochs 3]

SCRATCH gets up to 9 GB of embeddings at a time; they are removed again. Numbers of sounds, lengths and folds are those of
`mwmae.task_sets`; for every 40 ms of an event task there is a row. A process of its own trains one probe of the paper's
grid on one fold for a few epochs, validates and tests. `memory_mb` is the most memory that it took beyond what it has
after importing, without the pages of files that the system may drop at any time; `limit_mb` is what the page of costs
promises. A row for each task goes to benchmarks/results/full_size.csv.
"""
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
from fastcore.script import call_parse

from machine import facts
from mwmae.embedded import EmbeddedSplit
from mwmae.probe import GRIDS, list_folds, run_key
from mwmae.probes import fold_rows, IN_MEMORY, ProbeGroup, PRODUCTS
from mwmae.task_sets import KNOWN_TASKS
from mwmae.tasks import SPLITS, Task

RESULTS = Path(__file__).parent / "results" / "full_size.csv"
WIDTH = 3840
LABELS = {"NS-50h": 88, "SC": 12, "F50K": 200, "MAESTRO": 88, "DCASE": 11}
SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}
STEP = 0.04  # seconds
LIMIT = 3 * IN_MEMORY // 2**20  # MB: rows kept in memory, their labels and outputs, and one batch of all layers


def anonymous() -> float:
    "Memory of this process that is no file's, in MB."
    return int(re.search(r"RssAnon:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def watch(
    stop: threading.Event,  # set when it is enough
    most: list,  # gets the most memory that was seen, in MB
):
    "Look at the memory fifty times a second."
    while not stop.wait(0.02):
        most[0] = max(most[0], anonymous())


def known(
    name: str,  # abbreviation
):
    "A task of HEAR by its abbreviation."
    return next(task for task in KNOWN_TASKS if task.abbreviation == name)


def sizes(
    name: str,  # abbreviation of a task
) -> dict:  # sounds of each split, rows of a sound
    "How large the splits of a task are."
    task = known(name)
    folds = re.match(r"(\d+) folds", task.division)
    splits = dict.fromkeys([f"fold{i:02d}" for i in range(int(folds[1]))], 1 / int(folds[1])) if folds else SHARES
    rows = round(task.seconds / STEP) if task.kind == "events" else 1
    return {split: round(share * task.clips) for split, share in splits.items()}, rows


def write_rows(
    path: Path,  # file to write
    rows: int,  # how many
):
    "Write random embeddings, a block of numbers again and again with another sign and scale."
    block = np.random.default_rng(0).standard_normal((4096, WIDTH), np.float32)
    with open(path, "wb") as file:
        for first in range(0, rows, len(block)):
            file.write((block[: rows - first] * (1 + first % 7)).tobytes())


def open_split(
    path: Path,  # file of its embeddings
    name: str,  # abbreviation of the task
    sounds: int,  # in the split
    rows: int,  # of a sound
) -> EmbeddedSplit:
    "A split with random labels, and for event tasks a random event a second."
    chance, labels = np.random.default_rng(sounds), [str(i) for i in range(LABELS[name])]
    embeddings = np.memmap(path, np.float32, "r", shape=(sounds * rows, WIDTH))
    if known(name).kind != "events":
        several = 3 if known(name).kind == "multilabel" else 1
        return EmbeddedSplit(embeddings, [list(chance.choice(labels, several, replace=False)) for _ in range(sounds)])
    length, files, events, marked = rows * STEP * 1000, [], {}, []
    times = np.tile(np.arange(rows) * STEP * 1000, sounds)
    for sound in range(sounds):
        file = f"{sound}.wav"
        files += [file] * rows
        starts = np.sort(chance.uniform(0, length - 500, int(length / 1000)))
        events[file] = [dict(label=str(chance.choice(labels)), start=s, end=s + 400) for s in starts]
        on = [[] for _ in range(rows)]
        for event in events[file]:
            for row in range(math.ceil(event["start"] / 40), math.ceil(event["end"] / 40)):
                on[row].append(event["label"])
        marked += [sorted(set(names)) for names in on]
    return EmbeddedSplit(embeddings, marked, files, times, events)


def measure(
    folder: Path,  # with the embeddings of the task
    name: str,  # abbreviation of the task
    epochs: int,  # how many
    precision: str,  # of the products
) -> dict:  # what was measured
    "Train one probe, in this process."
    splits, rows = sizes(name)
    event = known(name).kind == "events"
    kind = "multilabel" if known(name).kind != "multiclass" else "multiclass"
    score = {"NS-50h": "pitch_acc"}.get(name, known(name).score)
    mode = "presplit_kfold" if "fold00" in splits else "trainvaltest"
    task = Task(name, folder, "v1", "full", "event" if event else "scene", kind, mode, list(splits) if "fold00" in splits else SPLITS,
                None, [score], False, {}, [str(i) for i in range(LABELS[name])])
    embedded = {split: open_split(folder / split, name, sounds, rows) for split, sounds in splits.items()}
    point = next(point for point in GRIDS["paper"])
    point = type(point)(**(vars(point) | {"epochs": epochs, "validate_every": epochs}))
    before, most, stop = anonymous(), [0.0], threading.Event()
    watcher = threading.Thread(target=watch, args=(stop, most))
    watcher.start()
    start, clock = time.perf_counter(), time.process_time()
    parts = fold_rows(task, embedded, list_folds(task)[0], "cpu", precision)
    opened = time.perf_counter() - start
    ProbeGroup(task, [(run_key(0, 0, point), point)], *parts).finish()
    seconds, cpu = time.perf_counter() - start, time.process_time() - clock
    stop.set()
    watcher.join()
    total = sum(len(split.embeddings) for split in embedded.values())
    return {"task": name, "rows": total, "training rows": len(parts[0].x), "embeddings_gb": round(total * WIDTH * 4 / 1e9, 2),
            "kept": "memory" if not hasattr(parts[0].x, "arrays") else "disk", "precision": precision, "epochs": epochs,
            "open_s": round(opened, 1), "seconds_per_epoch": round((seconds - opened) / epochs, 2),
            "cpu_seconds": round(cpu, 1), "memory_mb": round(most[0] - before), "limit_mb": LIMIT}


@call_parse
def main(
    scratch: str,  # Folder for the embeddings, removed when a task is done
    tasks: str = ",".join(LABELS),  # Abbreviations of tasks
    epochs: int = 3,  # Passes over the training rows
    precision: str = "fp32",  # Of the probe's large products: fp32 or bf16
    threads: int = 2,  # Threads of PyTorch
    one: str | None = None,  # Measure this task in this process and print the row (the program calls itself so)
):
    "Measure the largest tasks, each in a process of its own."
    common = facts("wall", threads)
    if one:
        print(pd.Series(measure(Path(scratch), one, epochs, precision)).to_json())
        return
    assert precision in PRODUCTS
    for name in tasks.split(","):
        folder = Path(scratch) / name
        folder.mkdir(parents=True, exist_ok=True)
        splits, rows = sizes(name)
        for split, sounds in splits.items():
            write_rows(folder / split, sounds * rows)
        command = [sys.executable, __file__, str(folder), "--one", name, "--epochs", str(epochs), "--precision", precision,
                   "--threads", str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
        for split in splits:
            (folder / split).unlink()
        folder.rmdir()
        if done.returncode:
            sys.exit(done.stderr)
        row = pd.DataFrame([json.loads(done.stdout) | common])
        kept = pd.read_csv(RESULTS) if RESULTS.is_file() else pd.DataFrame(columns=row.columns)
        kept = kept[~((kept.task == name) & (kept.precision == precision))]
        pd.concat([kept, row]).to_csv(RESULTS, index=False)
        print(row.T.to_string(header=False), flush=True)
