"""What came after MW-MAE, part by part: the same recordings, several runs of each, compared at equal steps and equal time.

A run of pre-training takes a few minutes of a core, and so do its scores. Type the command in several
places that share the folder, and they share the runs.
"""
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import pandas as pd
import torch
from real_sounds import pool, write_csv

from mwmae.ablations import grid_facts, grid_summary, grid_text, write_grid
from mwmae.arms import arm_config, choose_budget, run_arms, run_name
from mwmae.audio import InputError
from mwmae.commands import command
from mwmae.files import FolderClaim
from mwmae.model import MaskedAutoencoder
from mwmae.systems import processor_name
from mwmae.task_sets import open_task
from mwmae.training import make_optimizer
from mwmae.vary import check_variants, read_vary, show_vary, vary_arms

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "came_after"
# what differs from the base, one at a time
VARIED = ("positions=sincos,rotary", "feed_forward=mlp,swiglu", "block=prenorm,macaron",
          "target=patches,standardised", "masking=random,blocks", "pattern=windows,shifted")
TASKS = ("letters", "drum_stroke", "sfx")


# --- What a step costs


def step_seconds(configs, rounds=15):
    "Median seconds of a step for each config, in turn, so that other programs disturb all alike."
    models = [MaskedAutoencoder(config.model_config()) for config in configs]
    optimizers = [make_optimizer(model, config) for model, config in zip(models, configs)]
    times = [[] for _ in configs]
    for _ in range(rounds):
        for config, model, optimizer, taken in zip(configs, models, optimizers, times):
            clips = torch.randn(config.batch, model.config.frames, model.config.mels)
            begin = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bf16"):
                loss = model(clips).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            taken.append(time.process_time() - begin)
    return [median(taken[2:]) for taken in times]  # the first ones are slower


def costs(here, budget):
    "The cost of a step of every arm, measured once: a line each, that of the base first."
    path = here.results / "cost.csv"
    known = pd.read_csv(path) if path.is_file() else pd.DataFrame({"setting": []})
    variants = vary_arms(read_vary(VARIED), here.model)
    if set(known.setting) != {variant.arm.setting for variant in variants}:
        configs = [arm_config(variant.arm, budget, "builtin", 10_000) for variant in variants]
        seconds = step_seconds(configs)
        known = pd.DataFrame({
            "setting": [variant.arm.setting for variant in variants],
            "seconds": seconds, "of_the_base": [each / seconds[0] for each in seconds],
            "precision": configs[0].precision, "threads": torch.get_num_threads(),
            "cpu": processor_name()}).round(4)
        write_csv(known, path)
    return known.set_index("setting").of_the_base


# --- Both comparisons


def as_long(outcomes, epochs):
    "The same runs, with each variant against the base that trains as long."
    bases = {outcome.config.epochs: run_name(outcome.arm) for outcome in outcomes
             if outcome.arm.base is None or outcome.arm.setting.startswith("epochs=")}
    found = []
    for outcome in outcomes:
        arm = outcome.arm
        if arm.setting in epochs:
            arm = arm._replace(base=bases[epochs[arm.setting]])
        found.append(outcome._replace(arm=arm))
    return found


def write(here, name, heading, outcomes):
    "A comparison as text, table and picture."
    text = grid_text(heading, outcomes)
    draw = lambda found: show_vary(found, columns=3)[0]
    write_grid(here.results, name, text, grid_summary(outcomes), draw)
    print(text)


@command
def came_after(
    corpora: str,  # folder with licences.csv, pool/ and tasks/
    out: str = "came_after",  # folder for everything large: store, runs, embeddings
    results: str = str(RESULTS),  # folder for the small files
    epochs: int = 4,  # passes over the recordings
    runs: int = 3,  # runs of pre-training of each variant
    seeds: int = 1,  # seeds of the probe
):
    "Train and compare what came after. Typed again, it continues."
    here = SimpleNamespace(**locals(), model="mwmae_nano_4x16")
    here.corpora, here.out, here.results = Path(corpora), Path(out), Path(results)
    for folder in (here.out, here.results):
        folder.mkdir(parents=True, exist_ok=True)
    if not (here.out / "recordings" / "store.json").is_file():
        with FolderClaim(here.out):
            pool(here)
    budget = choose_budget("tiny", epochs=epochs, seeds=seeds, pretrain_seeds=runs)
    as_many = (epochs * costs(here, budget)).round().astype(int)  # epochs of the base in that time
    others = sorted(set(as_many) - {epochs})
    if others and others[0] < 1:
        raise InputError(f"--epochs is {epochs}, expected enough to take a part of them")
    longer = ["epochs=" + ",".join(["default", *map(str, others)])]
    variants = vary_arms(read_vary([*VARIED, *longer]), here.model)
    data = str(here.out / "recordings")
    check_variants(variants, budget, data)
    tasks = [open_task(here.corpora / "tasks" / name) for name in TASKS]
    outcomes = run_arms([variant.arm for variant in variants], budget, data, tasks, here.out / "grid")
    facts = grid_facts(outcomes, budget, "recordings")
    write(here, "equal_steps", f"minus the base, at equal steps, points; {facts}", outcomes)
    heading = f"minus the base that trains about as long, points; {facts}"
    write(here, "equal_time", heading, as_long(outcomes, as_many.drop("base").to_dict()))
