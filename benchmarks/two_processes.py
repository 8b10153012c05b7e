"""Two processes beside one: preparing a store, embedding its sounds and scoring tasks, with the same files at the end.

    python benchmarks/two_processes.py SOUNDS TASKS [--sounds 600] [--seeds 3] [--repeats 1]

SOUNDS is a folder of recordings; all are prepared, and so many embedded. TASKS is a folder of embedded tasks, <task>/, made by
`mwmae_hear` or by the kit. Each process has one thread. Preparing and embedding are divided by `--part`, scoring by
`--seed_group 1`: two processes share the seeds of each task. One process does all in turn, with the same options. Times
are those of the clock, from the start of the first process to the end of the last, with what it takes to import the
library. The embeddings must be equal to the byte, the index of the store to the last name, and the results to the last
digit. A row for each command is appended to benchmarks/results/two_processes.csv.
"""
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from statistics import median
from time import perf_counter

from fastcore.script import call_parse

from machine import cpu_model
from mwmae.crops import SpectrogramStore
from mwmae.sources import list_sounds

RESULTS = Path(__file__).parent / "results" / "two_processes.csv"


def timed(lines, folder):
    "Seconds that commands take together, each in a process with one thread."
    environment, start = os.environ | {"OMP_NUM_THREADS": "1"}, perf_counter()
    running = [subprocess.Popen([sys.executable, "-m", "mwmae", *line], cwd=folder, env=environment) for line in lines]
    if any([process.wait() for process in running]):
        sys.exit("a command failed")
    return perf_counter() - start


def commands(source, some, tasks, seeds):
    "For each command its words, in which OUT is filled in, and whether it is divided by --part."
    prepare = ["prepare", source, "OUT", "--workers", "1"]
    embed = ["embed", some, "--model", "packaged", "--pool", "mean+std", "--shifts", "1", "--out", "OUT", "--workers", "0"]
    hear = ["hear", "--embeddings", tasks, "--seeds", str(seeds), "--seed_group", "1", "--device", "cpu", "--out", "OUT"]
    return {"mwmae_prepare": (prepare, True), "mwmae_embed": (embed, True), "mwmae_hear": (hear, False)}


def content(name, out):
    "What must be the same, whoever made it."
    if name == "mwmae_prepare":
        store = SpectrogramStore(out)
        return sorted((store.name(clip), store.clip(clip).numpy().tobytes()) for clip in range(len(store)))
    if name == "mwmae_embed":
        return sorted((path.name, path.read_bytes()) for path in out.rglob("*.npy"))
    found = []
    for path in sorted((out / "results").rglob("[!.]*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        found.append((path.name, result | {"seconds": None}))
    return found


def one_and_two(name, words, parts, folder):
    "Seconds of one process and of two, and whether they made the same."
    seconds, made = [], []
    for count in (1, 2):
        out = folder / f"{name}-{count}"
        line = [str(out) if word == "OUT" else word for word in words]
        lines = [[*line, "--part", f"{part}/{count}"] if parts and count > 1 else line for part in range(1, count + 1)]
        seconds.append(timed(lines, folder))
        made.append(content(name, out))
        shutil.rmtree(out)
    return *seconds, made[0] == made[1] and bool(made[0])


@call_parse
def main(
    source: str,  # folder of recordings
    tasks: str,  # folder of embedded tasks
    sounds: int = 600,  # how many recordings are embedded
    seeds: int = 3,  # of the probe
    repeats: int = 1,  # how often
    only: str | None = None,  # one of the commands; default: all three
):
    "Print what was measured, and append it to the results."
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "sounds").mkdir()
        for number, sound in enumerate(list(list_sounds(source))[:sounds]):
            (folder / "sounds" / f"{number:05d}{Path(sound.path).suffix}").symlink_to(Path(sound.path).resolve())
        rows = []
        for name, (words, parts) in commands(str(Path(source).resolve()), "sounds", str(Path(tasks).resolve()), seeds).items():
            if only not in (None, name):
                continue
            measured = [one_and_two(name, words, parts, folder) for _ in range(repeats)]
            one, two = (median(run[i] for run in measured) for i in (0, 1))
            row = [date.today().isoformat(), cpu_model(), name, round(one, 1), round(two, 1), round(two / one, 2),
                   all(run[2] for run in measured), round(os.getloadavg()[0], 1)]
            print(*row, sep="  ", flush=True)
            rows.append(row)
    begun = RESULTS.exists()
    with open(RESULTS, "a", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        if not begun:
            table.writerow(["date", "cpu", "command", "one process (s)", "two (s)", "two / one", "the same", "load"])
        table.writerows(rows)
