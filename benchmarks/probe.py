"""Our probe beside hear-eval-kit's: the time that both take over the same embeddings, and the scores that come out.

    python benchmarks/probe.py EMBEDDINGS KIT_RUNS [--judge run_heareval.sh] [--grid paper] [--seeds 10]

EMBEDDINGS is a folder of embedded tasks, <task>/, made by `mwmae_hear` or by the kit. KIT_RUNS is where the kit's runs
lie, runs/seed<N>/<task>/test.predicted-scores.json. With --judge, seeds that are not there yet are run first: the script
is called as `run_heareval.sh --embeddings EMBEDDINGS KIT_RUNS <seed>`, with HEAR_GRID=mwmae or kit, HEAR_THREADS=1 and
HEAR_VENV=--venv. Killed, it goes on with the next seed. Without --judge, only what is there is compared.

Both are measured by the wall clock and in processor seconds; on a machine that others use too, the second is what to
compare. Ours is timed with all seeds several times, evenly between the seeds of the kit, since the speed of a shared
machine changes from minute to minute, and the median counts. What the kit takes for one seed is multiplied by the number
of seeds, if not all of them were timed. A row goes to benchmarks/results/probe.csv, and a row for each task to
benchmarks/results/probe_parity.csv.
"""
import csv
import json
import os
import resource
import statistics
import subprocess
import time
from datetime import date
from pathlib import Path

import torch
from fastcore.script import call_parse

from machine import cpu_model
from mwmae.audio import InputError
from mwmae.files import atomic_file
from mwmae.hear import evaluate, interval
from mwmae.embedded import read_embedded

RESULTS = Path(__file__).parent / "results"
KIT_GRIDS = {"paper": "mwmae", "kit": "kit"}


def write_row(name, row):
    "Append a row to a file in benchmarks/results."
    path = RESULTS / name
    first = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, row, lineterminator="\n")
        if first:
            writer.writeheader()
        writer.writerow(row)


def kit_scores(runs, task, seeds):
    "The kit's test score of each seed that it has finished."
    found = {}
    for seed in seeds:
        path = runs / f"seed{seed}" / task / "test.predicted-scores.json"
        if path.is_file():
            scores = json.loads(path.read_text())
            found[seed] = scores["aggregated_scores"]["test_score_mean"] if "aggregated_scores" in scores else scores["test"]["test_score"]
    return found


def run_kit(judge, embeddings, out, tasks, grid, seeds, venv, noted):
    "Run the seeds that are missing, and note what each took."
    times = out / "times.json"
    environment = os.environ | {"HEAR_GRID": KIT_GRIDS[grid], "HEAR_THREADS": "1"} | ({"HEAR_VENV": venv} if venv else {})
    for seed in seeds:
        if all(kit_scores(out / "runs", task, [seed]) for task in tasks):
            continue
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(["bash", judge, "--embeddings", embeddings, out, str(seed)], env=environment, capture_output=True, text=True)
        if done.returncode:
            raise InputError(f"{judge} ended with status {done.returncode} at seed {seed}: {done.stdout[-500:]}{done.stderr[-500:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        noted[str(seed)] = {"seconds": round(time.perf_counter() - start, 2), "cpu_seconds": round(cpu, 2)}
        with atomic_file(times) as temporary:
            temporary.write_text(json.dumps(noted, indent=1) + "\n")
        print(f"kit, seed {seed}: {noted[str(seed)]}", flush=True)


def run_ours(folders, grid, seeds):
    "All tasks with all seeds: the results, and what it took."
    start, cpu = time.perf_counter(), time.process_time()
    results = {folder.name: evaluate(*read_embedded(folder), grid, seeds, "ours") for folder in folders}
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    print(f"ours, all seeds: { {name: round(value, 2) for name, value in took.items()} }", flush=True)
    return results, took


@call_parse
def main(
    embeddings: str,  # Folder of embedded tasks
    kit_runs: str,  # Folder of the kit's runs
    judge: str = None,  # Script that runs the kit; default: compare with what is there
    venv: str = None,  # Environment in which the script keeps the kit
    grid: str = "paper",  # paper or kit
    seeds: int = 10,  # Number of seeds
    threads: int = 1,  # Threads of ours; the kit has one
    repeats: int = 3,  # Number of times to time ours
    name: str = None,  # What to call these tasks in the results; default: the folder's name
):
    "Time and compare both probes."
    folders = sorted(path.parent for path in Path(embeddings).resolve().glob("*/task_metadata.json"))
    tasks, out = [folder.name for folder in folders], Path(kit_runs).resolve()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    times, measured = out / "times.json", []
    noted = json.loads(times.read_text()) if times.is_file() else {}
    for repeat in range(repeats):
        if judge:
            run_kit(judge, Path(embeddings).resolve(), out, tasks, grid, range(seeds * repeat // repeats, seeds * (repeat + 1) // repeats), venv, noted)
        results, took = run_ours(folders, grid, range(seeds))
        measured.append(took)
    ours = {quantity: statistics.median(took[quantity] for took in measured) for quantity in took}
    common = dict(date=date.today().isoformat(), embeddings=name or Path(embeddings).name, grid=grid)
    for task, result in results.items():
        kit = kit_scores(out / "runs", task, range(seeds))
        (mean, half), (kit_mean, kit_half) = interval(result.test), interval(list(kit.values())) if kit else (float("nan"),) * 2
        row = common | dict(task=task, score=result.score, ours=round(100 * mean, 2), ours_half_width=round(100 * half, 2), kit_seeds=len(kit),
                            kit=round(100 * kit_mean, 2), kit_half_width=round(100 * kit_half, 2), difference=round(100 * (mean - kit_mean), 2),
                            within_larger_half_width=abs(mean - kit_mean) < max(half, kit_half))
        print(row)
        if kit:
            write_row("probe_parity.csv", row)
    if noted:
        kits = {quantity: seeds * sum(run[quantity] for run in noted.values()) / len(noted) for quantity in ours}
        row = common | dict(tasks=len(tasks), seeds=seeds, kit_seeds_timed=len(noted), threads=threads, processor=cpu_model(),
                            kit_seconds=round(kits["seconds"], 1), seconds=round(ours["seconds"], 1), ratio=round(kits["seconds"] / ours["seconds"], 1),
                            kit_cpu_seconds=round(kits["cpu_seconds"], 1), cpu_seconds=round(ours["cpu_seconds"], 1),
                            cpu_ratio=round(kits["cpu_seconds"] / ours["cpu_seconds"], 1))
        print(row)
        write_row("probe.csv", row)
