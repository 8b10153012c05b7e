"""Our probe beside hear-eval-kit's: the time that both take over the same embeddings, and the scores that come out.

    python benchmarks/probe.py EMBEDDINGS KIT_RUNS [--judge run_heareval.sh] [--grid paper] [--precisions fp32,bf16,half]

EMBEDDINGS is a folder of embedded tasks, <task>/, made by `mwmae_hear` or by the kit. KIT_RUNS is where the kit's runs
lie, runs/seed<N>/<task>/test.predicted-scores.json. With --judge, seeds that are not there yet are run first: the script
is called as `run_heareval.sh --embeddings EMBEDDINGS KIT_RUNS <seed>`, with HEAR_GRID=mwmae or kit, HEAR_THREADS=--threads and
HEAR_VENV=--venv. Killed, it goes on with the next seed. Without --judge, only what is there is compared.

Both are measured by the wall clock and in processor seconds; on a machine that others use too, the second is what to
compare. Ours is timed with all seeds several times, evenly between the seeds of the kit, since the speed of a shared
machine changes from minute to minute, and the median counts. What the kit takes for one seed is multiplied by the number
of seeds, if not all of them were timed. A row goes to benchmarks/results/probe.csv, a row for each task to
benchmarks/results/probe_parity.csv if the kit has run three seeds or more, and how scores differ between the first of
--precisions and the others to benchmarks/results/probe_precision.csv.
"""
import json
import os
import resource
import statistics
import subprocess
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastcore.script import call_parse

from machine import cpu_model
from mwmae.audio import InputError
from mwmae.files import atomic_file
from mwmae.task_results import evaluate, interval
from mwmae.embedded import read_embedded
from mwmae.probe import SCREENED

RESULTS = Path(__file__).parent / "results"
KIT_GRIDS = {"paper": "mwmae", "kit": "kit"}


def write_row(name, row):
    "Append a row to a file in benchmarks/results."
    path, row = RESULTS / name, pd.DataFrame([row])
    with atomic_file(path) as temporary:
        kept = [pd.read_csv(path)] if path.exists() else []
        pd.concat([*kept, row]).to_csv(temporary, index=False, lineterminator="\n")


def kit_scores(runs, task, seeds):
    "The kit's test score of each seed that it has finished."
    found = {}
    for seed in seeds:
        path = runs / f"seed{seed}" / task / "test.predicted-scores.json"
        if path.is_file():
            scores = json.loads(path.read_text())
            found[seed] = scores["aggregated_scores"]["test_score_mean"] if "aggregated_scores" in scores else scores["test"]["test_score"]
    return found


def run_kit(judge, embeddings, out, tasks, grid, seeds, threads, venv, noted):
    "Run the seeds that are missing, and note what each took."
    times = out / "times.json"
    environment = os.environ | {"HEAR_GRID": KIT_GRIDS[grid], "HEAR_THREADS": str(threads)} | ({"HEAR_VENV": venv} if venv else {})
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


def run_ours(folders, grid, seeds, precision):
    "All tasks with all seeds: the results, and what it took."
    start, cpu, results = time.perf_counter(), time.process_time(), {}
    if precision.endswith(SCREENED):
        grid, precision = grid + SCREENED, precision.removesuffix(SCREENED)
    for folder in folders:
        task, splits = read_embedded(folder)
        if precision == "half":  # as `mwmae_hear --half` keeps them
            splits = {name: replace(split, embeddings=split.embeddings.astype(np.float16)) for name, split in splits.items()}
        products = "bf16" if precision == "bf16" else "fp32"
        results[folder.name] = evaluate(task, splits, grid, seeds, "ours", precision=products)
    took = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    print(f"ours, all seeds, {precision}: { {name: round(value, 2) for name, value in took.items()} }", flush=True)
    return results, took


def report(common, results, ours, noted, out, seeds, threads, tasks):
    "Write the rows of one precision."
    for task, result in results.items():
        kit = kit_scores(out / "runs", task, range(seeds))
        (mean, half), (kit_mean, kit_half) = interval(result.test), interval(list(kit.values())) if kit else (float("nan"),) * 2
        row = common | dict(task=task, score=result.score, ours=round(100 * mean, 2), ours_half_width=round(100 * half, 2), kit_seeds=len(kit),
                            kit=round(100 * kit_mean, 2), kit_half_width=round(100 * kit_half, 2), difference=round(100 * (mean - kit_mean), 2),
                            within_larger_half_width=abs(mean - kit_mean) < max(half, kit_half))
        print(row)
        if len(kit) > 2:
            write_row("probe_parity.csv", row)
    if noted:
        kits = {quantity: seeds * sum(run[quantity] for run in noted.values()) / len(noted) for quantity in ours}
        row = common | dict(tasks=tasks, seeds=seeds, kit_seeds_timed=len(noted), threads=threads, processor=cpu_model(),
                            kit_seconds=round(kits["seconds"], 1), seconds=round(ours["seconds"], 1), ratio=round(kits["seconds"] / ours["seconds"], 1),
                            kit_cpu_seconds=round(kits["cpu_seconds"], 1), cpu_seconds=round(ours["cpu_seconds"], 1),
                            cpu_ratio=round(kits["cpu_seconds"] / ours["cpu_seconds"], 1))
        print(row)
        write_row("probe.csv", row)


def compare_precisions(common, results):
    "Write how the scores of the first precision differ from those of the others."
    (than, whole), *others = results.items()
    for precision, found in others:
        for task, result in found.items():
            (mean, width), (whole_mean, whole_width) = interval(result.test), interval(whole[task].test)
            row = common | dict(
                precision=precision, than=than, task=task, score=result.score, plain=round(100 * whole_mean, 2),
                plain_half_width=round(100 * whole_width, 2), found=round(100 * mean, 2), half_width=round(100 * width, 2),
                within_larger_half_width=abs(mean - whole_mean) < max(width, whole_width))
            print(row)
            write_row("probe_precision.csv", row)


@call_parse
def main(
    embeddings: str,  # Folder of embedded tasks
    kit_runs: str,  # Folder of the kit's runs
    judge: str | None = None,  # Script that runs the kit; default: compare with what is there
    venv: str | None = None,  # Environment in which the script keeps the kit
    grid: str = "paper",  # paper or kit
    seeds: int = 10,  # Number of seeds
    kit_seeds: int | None = None,  # Number of seeds that the kit runs; default: as many
    threads: int = 1,  # Threads of both
    repeats: int = 3,  # Number of times to time ours
    precisions: str = "fp32",  # Of ours: fp32, bf16 (products), half (float16 embeddings), each also with -screened
    name: str | None = None,  # What to call these tasks in the results; default: the folder's name
):
    "Time and compare both probes."
    folders = sorted(path.parent for path in Path(embeddings).resolve().glob("*/task_metadata.json"))
    tasks, out = [folder.name for folder in folders], Path(kit_runs).resolve()
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(threads)
    kit_seeds = seeds if kit_seeds is None else kit_seeds
    times, measured, results = out / "times.json", {precision: [] for precision in precisions.split(",")}, {}
    noted = json.loads(times.read_text()) if times.is_file() else {}
    for repeat in range(repeats):
        if judge:
            run_kit(judge, Path(embeddings).resolve(), out, tasks, grid, range(kit_seeds * repeat // repeats, kit_seeds * (repeat + 1) // repeats), threads, venv, noted)
        for precision in measured:
            results[precision], took = run_ours(folders, grid, range(seeds), precision)
            measured[precision].append(took)
    for precision, tooks in measured.items():
        ours = {quantity: statistics.median(took[quantity] for took in tooks) for quantity in took}
        common = dict(date=date.today().isoformat(), embeddings=name or Path(embeddings).name, grid=grid, precision=precision)
        report(common, results[precision], ours, noted, out, seeds, threads, len(folders))
    compare_precisions(common, results)
