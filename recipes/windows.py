"""What windows bring: several runs of MW-MAE and of MAE, on the same recordings, scored alike.

A run of pre-training with its scores is a unit of work of an hour or two, and leaves small files.
Type the command in several places, also on machines that share the disk, and they share the units.
"""
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
from real_sounds import (
    KINDS, opened, pool, pretrain, read_some, run_together, score_stage, stages, tasks_of, write_csv,
)

from mwmae.audio import InputError
from mwmae.commands import command
from mwmae.compare import over_runs, score_rows
from mwmae.files import atomic_file, FolderClaim
from mwmae.hear import probing, run_jobs
from mwmae.probe import read_grid
from mwmae.report import grid_report, report_text
from mwmae.task_embeddings import embed_task

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "results"
PARTS = ("scores.csv", "losses.csv", "curves.csv")  # what a unit leaves


def unit_name(kind, number):
    "The name of a run: `mwmae`, `mwmae-1`, `mwmae-2`."
    return f"{kind}-{number}" if number else kind


def is_done(here, name):
    "Whether a unit has left its files."
    return all((here.results / name / part).is_file() for part in PARTS)


# --- A unit: one run, its scores, its curves


def do_unit(here, kind, number):
    "Pre-train, score and measure. What is there already is not done again."
    name = unit_name(kind, number)
    run_together([pretrain(here, f"runs/{name}", kind, here.epochs, number)], here.out)
    place = here.results / name
    place.mkdir(parents=True, exist_ok=True)
    write_csv(losses(here, name), place / "losses.csv")
    if not (place / "curves.csv").is_file():
        write_csv(curves(here, name), place / "curves.csv")
    if not (place / "scores.csv").is_file():
        write_csv(scores(here, name), place / "scores.csv")


def losses(here, name):
    "Held-out loss, and seconds of training until then."
    run = here.out / "runs" / name
    log = pd.read_csv(run / "log.csv").dropna(subset="held_out_loss")
    speed = pd.read_csv(run / "speed.csv").set_index("step")
    seconds = speed.seconds.groupby(level=0).sum().cumsum()
    log["seconds"] = log.step.map(seconds).fillna(0).round(1)
    return log[["step", "epoch", "seconds", "held_out_loss"]].round(5)


def curves(here, name):
    "Quick scores of every kept checkpoint on all multiclass scene tasks."
    rows = []
    for task in tasks_of(here):
        if (task.embedding_type, task.prediction_type) != ("scene", "multiclass"):
            continue
        sounds = read_some(here, task)
        for step, load in stages(here, name).items():
            found, clips = score_stage(task, sounds, load())
            rows.append((task.name, step, 100 * found["linear"], clips))
    return pd.DataFrame(rows, columns=["task", "step", "linear", "clips"]).round(2)


def scores(here, name):
    "The scores of the probe, a line for each of its seeds."
    model, jobs = opened(here, name, str(here.out / "runs" / name)), []
    for task in tasks_of(here):
        folder = here.out / "embeddings" / name / task.full_name
        jobs.append((task.full_name, name, partial(embed_task, task, model, folder)))
    kept = here.out / "scores"
    asked = probing(here.grid, range(here.seeds), kept, here.device)
    results, skipped = run_jobs(jobs, asked)
    if skipped:
        raise InputError("; ".join(skipped))
    return score_rows(results).round(3)


# --- Run 0 of both kinds is that of real_sounds.py


def take_over(here):
    "Take what real_sounds.py has measured, if it trained with the same settings."
    found = RESULTS / "real_sounds"
    if here.results.resolve() != (RESULTS / "windows").resolve() or not found.is_dir():
        return
    facts = json.loads((found / "facts.json").read_text(encoding="utf-8"))
    compute = pd.read_csv(found / "compute.csv").set_index("what").seconds
    tables = {part: pd.read_csv(found / part) for part in PARTS}
    for kind in KINDS:
        known = facts["models"][kind]
        wanted = {"model": f"{kind}_{here.size}", "epochs": here.epochs, "seed": 0}
        if is_done(here, kind) or not wanted.items() <= known["settings"].items():
            continue
        parts = {part: table[table.model == kind] for part, table in tables.items()}
        parts["scores.csv"] = parts["scores.csv"].query("grid == @facts['grid']")
        lines = parts["losses.csv"]
        share = lines.step / known["steps"]  # only the whole was timed
        timed = lines.assign(seconds=(share * compute[f"pre-train {kind}"]).round(1))
        parts["losses.csv"] = timed[["step", "epoch", "seconds", "held_out_loss"]]
        linear = parts["curves.csv"].query("probe == 'linear'").rename(columns={"score": "linear"})
        parts["curves.csv"] = linear[["task", "step", "linear", "clips"]]
        (here.results / kind).mkdir(parents=True, exist_ok=True)
        for part, table in parts.items():
            write_csv(table, here.results / kind / part)


# --- What all units say together


def report(here):
    "Write `report.md`: scores and differences with intervals over runs of pre-training."
    names = [unit_name(kind, number) for number in range(here.runs) for kind in KINDS]
    if not (done := [name for name in names if is_done(here, name)]):
        raise InputError(f"{here.results}: no run is finished yet")
    rows = pd.concat([pd.read_csv(here.results / name / "scores.csv") for name in done])
    rows = over_runs(rows)
    found = grid_report(rows, read_grid(here.grid)[0], pair=list(KINDS), runs=True)
    with atomic_file(here.results / "report.md") as temporary:
        temporary.write_text(report_text(found), encoding="utf-8")
    print(f"{len(done)} of {len(names)} runs are finished; {here.results / 'report.md'}")


@command
def windows(
    corpora: str,  # folder with licences.csv, pool/ and tasks/
    out: str = "windows",  # folder for everything large: runs, embeddings
    results: str = str(RESULTS / "windows"),  # folder for the small files
    runs: int = 3,  # runs of pre-training of each kind
    only: str = "",  # units to do, such as mwmae-1,mae-1; default: all that are not done
    size: str = "mini_4x16",  # encoder and patch of both kinds
    epochs: int = 36,  # passes over the pool
    grid: str = str(HERE / "patient.json"),  # grid of the probe: paper, kit, or a JSON file
    seeds: int = 10,  # seeds of the probe
    most: int = 40,  # clips of a fold that a point of a curve is made from; of a split five times
    device: str = "cpu",  # where to embed and to probe
):
    "Pre-train and score several runs of MW-MAE and of MAE. Typed again, it continues."
    here = SimpleNamespace(**locals(), seed=0)
    here.corpora, here.out, here.results = Path(corpora), Path(out), Path(results)
    units = {unit_name(kind, number): (kind, number) for number in range(runs) for kind in KINDS}
    chosen = only.split(",") if only else list(units)
    if unknown := sorted(set(chosen) - set(units)):
        raise InputError(f"--only has {', '.join(unknown)}, expected some of {', '.join(units)}")
    here.out.mkdir(parents=True, exist_ok=True)
    take_over(here)
    if not (here.out / "recordings" / "store.json").is_file():
        with FolderClaim(here.out):
            pool(here)
    for name in chosen:
        if is_done(here, name):
            continue
        try:
            claim = FolderClaim(here.out / "units" / name)
        except InputError:
            print(f"{name}: another process is at it", flush=True)
            continue
        with claim:
            print(f"{name} ...", flush=True)
            do_unit(here, *units[name])
    report(here)
