"""What the default job of `mwmae_pretrain` brings: the four built-in tasks, beside an untrained encoder.

    python benchmarks/default_job.py [--work FOLDER] [--seeds 10]

Trains the default job with two seeds, and makes a run that learns a projection but nothing else (`--base_lr 0`). Then
`mwmae_hear` scores both jobs as they embed, the first in the paper's way, the untrained encoder as it embeds, and the
untrained one with a projection. About 40 minutes on two cores; killed, it goes on where it was. The scores go to
benchmarks/results/default_job.csv, in per cent, with the half-width of the 95 % interval over seeds of the probe.
"""
import subprocess
from pathlib import Path

import pandas as pd
from fastcore.script import call_parse

from machine import cpu_model
from mwmae.files import atomic_file
from mwmae.task_results import interval, load_result

RESULTS = Path(__file__).parent / "results" / "default_job.csv"
WAYS = {  # folder of results: what it is
    "job": "default job", "other": "default job, another seed", "job-layersfinal": "default job, the paper's way",
    "random-mwmae_nano_4x16": "untrained", "flat": "untrained, with a projection"}


def run(*command: str, folder: Path):
    "Run a command of the library to its end."
    print("$", *command, flush=True)
    subprocess.run(command, cwd=folder, check=True)


@call_parse
def main(
    work: str = "default_job",  # folder for the runs, embeddings and results
    seeds: int = 10,  # of the probe
):
    "Train, score and write the table."
    folder, count = Path(work), str(seeds)
    folder.mkdir(exist_ok=True)
    run("mwmae_pretrain", "--out", "job", "--resume", "auto", folder=folder)
    run("mwmae_pretrain", "--out", "other", "--resume", "auto", "--seed", "1", folder=folder)
    run("mwmae_pretrain", "--out", "flat", "--resume", "auto", "--base_lr", "0", "--epochs", "1", folder=folder)
    run("mwmae_hear", "--model", "job,other,flat,random", "--seeds", count, "--out", "hb", folder=folder)
    run("mwmae_hear", "--model", "job", "--layers", "final", "--pool", "mean", "--seeds", count, "--out", "hb", folder=folder)
    rows = []
    for name, what in WAYS.items():
        for path in sorted((folder / "hb" / "results" / name).glob("*/paper.json")):
            mean, half_width = interval(load_result(path).test)
            task = path.parent.name.removeprefix("builtin_").split("-")[0]
            rows.append((task, what, round(100 * mean, 1), round(100 * half_width, 1), seeds, cpu_model()))
    with atomic_file(RESULTS) as temporary:
        table = pd.DataFrame(rows, columns=["task", "encoder", "score", "half_width", "seeds", "cpu"])
        table.to_csv(temporary, index=False, lineterminator="\n")
