"""Training with clips of many lengths: does it learn, and what do short and whole clips lose?

    python benchmarks/mixed_lengths.py [--steps 300]

Trains the model that `mwmae_pretrain` trains on a CPU twice, with crops of one length and with the rule `mixed`, on the
built-in corpus. The losses are those of 64 held-out clips with fixed masks: whole crops of 2 s, and the same clips cut by
the rule. A few minutes for each run; rows go to benchmarks/results/mixed_lengths.csv.
"""
import statistics
import tempfile
from pathlib import Path

import pandas as pd
import torch
from fastcore.script import call_parse

from machine import CLOCKS, facts
from mwmae.crops import crop_length, split_held_out
from mwmae.mix import make_crops
from mwmae.model import MaskedAutoencoder, model_config
from mwmae.settings import machine_settings, open_data
from mwmae.training import held_out_loss
from short_run import fixed_batches, short_way, train_steps

RESULTS = Path(__file__).parent / "results" / "mixed_lengths.csv"


def one_run(rule, steps, corpus, clock) -> dict:
    "Train one model, and measure it."
    train, held_out = split_held_out(corpus)
    chosen = machine_settings("cpu", len(train))
    torch.manual_seed(0)
    shape = model_config(chosen.model)
    model = MaskedAutoencoder(shape)
    crops = make_crops(corpus, train, shape.frames, shape.patches, 0, crop_length(rule, shape))
    measured = {name: fixed_batches(corpus, held_out, shape, crop_length(name, shape)) for name in ("equal", "mixed")}
    found = {f"before_{name}": held_out_loss(model, batches) for name, batches in measured.items()}
    way, times, heard = short_way(chosen, len(train), steps), [], 0
    for batch, seconds in train_steps(model, crops, way, steps, clock):
        heard += int(batch["lengths"].sum()) if "lengths" in batch else shape.frames * len(batch["index"])
        times.append(seconds)
    found |= {f"after_{name}": held_out_loss(model, batches) for name, batches in measured.items()}
    return found | {"share_heard": heard / (steps * way.batch * shape.frames),
                    "steps_per_second": 1 / statistics.median(times)}


@call_parse
def main(
    steps: int = 300,  # Steps of each run
    work: str = str(Path(tempfile.gettempdir()) / "mwmae-variants"),  # Folder for the store of the built-in corpus
    threads: int = 1,  # Threads of PyTorch
    clock: str = "cpu",  # 'cpu' for the time of the processor, or 'wall'
):
    "Train and measure both."
    about, corpus, rows = facts(clock, threads), open_data("builtin", Path(work)), []
    for rule in ("equal", "mixed"):
        rows.append({"lengths": rule, "steps": steps} | one_run(rule, steps, corpus, CLOCKS[clock]) | about)
        print(rows[-1], flush=True)
    pd.DataFrame(rows).round(4).to_csv(RESULTS, index=False)
