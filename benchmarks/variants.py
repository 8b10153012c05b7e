"""Every part that the library has by name, in a short run: does it learn, and what does it cost?

    python benchmarks/variants.py [--only rotary,macaron] [--steps 300] [--seeds 1] [--code my_parts.py]

Takes the parts of every_part.py, one at a time, in the model that `mwmae_pretrain` trains on a CPU. Each run sees the
same crops and the same noise of the built-in corpus, with the command's learning rate for 300 steps of 16 clips: a few
minutes on one core. That is far too short to say which part is best; it shows that all of them train, and at what speed.

A row goes to benchmarks/results/variants.csv as soon as a run is done. Rows that are there are not made again, so the
script can be stopped and started, and picks up new entries. Delete a row to measure again. The columns:

- variant, settings, seed, steps;
- before, after: held-out loss with the run's own masks and targets, on 64 clips;
- random_masks: the same after training, but with the paper's random masks of 80 %, so that masks can be compared; empty
  for other targets, whose numbers mean something else;
- parameters: of encoder and decoder, in millions;
- steps_per_second: forward, backward and optimiser, without reading crops, from the median step; by default in seconds
  of the processor, which other programs disturb less.
"""
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from fastcore.script import call_parse

from every_part import all_variants
from machine import CLOCKS, facts
from mwmae.audio import InputError
from mwmae.command_line import _run_code
from mwmae.crops import split_held_out
from mwmae.mix import make_crops
from mwmae.model import MaskedAutoencoder, model_config
from mwmae.settings import machine_settings, open_data
from mwmae.training import held_out_loss
from short_run import fixed_batches, short_way, train_steps

RESULTS = Path(__file__).parent / "results" / "variants.csv"


def one_run(settings, seed, steps, corpus, clock) -> dict:
    "Train one model, and measure it."
    train, held_out = split_held_out(corpus)
    chosen = machine_settings("cpu", len(train))
    torch.manual_seed(seed)
    shape = model_config(chosen.model, **settings)
    model = MaskedAutoencoder(shape)
    batches = fixed_batches(corpus, held_out, shape)
    crops = make_crops(corpus, train, shape.frames, shape.patches, seed)
    before = held_out_loss(model, batches)
    way = short_way(chosen, len(train), steps, seed)
    times = [seconds for _, seconds in train_steps(model, crops, way, steps, clock)]
    after = held_out_loss(model, batches)
    model.config = replace(shape, masking="random")
    alike = held_out_loss(model, batches) if shape.target == "patches" else None
    parameters = sum(p.numel() for part in (model.encoder, model.decoder) for p in part.parameters())
    return {"before": before, "after": after, "random_masks": alike,
            "parameters": parameters / 1e6, "steps_per_second": 1 / statistics.median(times)}


@call_parse
def main(
    only: str | None = None,  # Names of variants with commas, or parts of names; default: all
    steps: int = 300,  # Steps of each run
    seeds: int = 1,  # Runs of each variant
    code: str | None = None,  # Python file of yours that adds parts, as for the commands
    work: str = str(Path(tempfile.gettempdir()) / "mwmae-variants"),  # Folder for the store of the built-in corpus
    out: str = str(RESULTS),  # Table to go on with
    threads: int = 1,  # Threads of PyTorch
    clock: str = "cpu",  # 'cpu' for the time of the processor, or 'wall'
):
    "Make the rows that are missing in the table."
    if code:
        _run_code(code)
    about, corpus = facts(clock, threads), open_data("builtin", Path(work))
    for seed in range(seeds):
        for name, settings in all_variants().items():
            done = pd.read_csv(out) if Path(out).is_file() else pd.DataFrame(columns=["variant", "seed", "steps"])
            same = (done.variant == name) & (done.seed == seed) & (done.steps == steps)
            if same.any() or (only and not any(word in name for word in only.split(","))):
                continue
            try:
                measured = one_run(settings, seed, steps, corpus, CLOCKS[clock])
            except InputError as error:  # parts that need another device, or cannot do with a part of the patches
                print(f"{name:32} left out: {error}", flush=True)
                continue
            text = " ".join(f"{key}={value}" for key, value in settings.items())
            row = {"variant": name, "settings": text, "seed": seed, "steps": steps} | measured | about
            print(f"{name:32} loss {row['before']:.3f} before, {row['after']:.3f} after, "
                  f"{row['steps_per_second']:.2f} steps/s", flush=True)
            made = pd.DataFrame([row]).round(4)
            made.to_csv(out, mode="a", header=not Path(out).is_file(), index=False)
