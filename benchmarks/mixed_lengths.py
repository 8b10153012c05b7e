"""Training with clips of many lengths: does it learn, and what do short and whole clips lose?

    python benchmarks/mixed_lengths.py [--steps 300]

Trains the model that `mwmae_pretrain` trains on a CPU twice, with crops of one length and with the rule `mixed`, on the
built-in corpus. The losses are those of 64 held-out clips with fixed masks: whole crops of 2 s, and the same clips cut by
the rule. A few minutes for each run; rows go to benchmarks/results/mixed_lengths.csv.
"""
import statistics
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import torch
from fastcore.script import call_parse

from machine import CLOCKS, facts
from mwmae.crops import crop_length, CropDataset, split_held_out, to_device
from mwmae.mix import make_crops
from mwmae.model import MaskedAutoencoder, model_config
from mwmae.settings import machine_settings, open_data
from mwmae.training import (
    held_out_loss, learning_rate, make_optimizer, model_input, step_batches, steps_per_epoch,
)

RESULTS = Path(__file__).parent / "results" / "mixed_lengths.csv"


def fixed_batches(corpus, clips, shape, rule) -> list:
    "The first held-out clips with fixed crops and noise."
    crops = CropDataset(corpus, clips[:64], shape.frames, shape.patches, 2**32, crop_length(rule, shape))
    pairs = [(0, i) for i in range(len(crops))]
    return [to_device(crops.gather(pairs[i : i + 32]), torch.device("cpu")) for i in range(0, len(pairs), 32)]


def one_run(rule, steps, corpus, clock) -> dict:
    "Train one model, and measure it."
    train, held_out = split_held_out(corpus)
    chosen = machine_settings("cpu", len(train))
    per_epoch = steps_per_epoch(chosen, len(train))
    epochs = steps / per_epoch
    way = SimpleNamespace(base_lr=chosen.base_lr, batch=chosen.batch, beta2=chosen.beta2, weight_decay=chosen.weight_decay,
                          epochs=epochs, warmup=epochs / 10, seed=0, micro_batch=None)
    torch.manual_seed(0)
    shape = model_config(chosen.model)
    model = MaskedAutoencoder(shape)
    optimizer = make_optimizer(model, way)
    crops = make_crops(corpus, train, shape.frames, shape.patches, 0, crop_length(rule, shape))
    measured = {name: fixed_batches(corpus, held_out, shape, name) for name in ("equal", "mixed")}
    found = {f"before_{name}": held_out_loss(model, batches) for name, batches in measured.items()}
    times, heard = [], 0
    for step in range(steps):
        ((pairs, _),) = step_batches(way, len(train), step)
        batch = to_device(crops.gather(pairs), torch.device("cpu"))
        heard += int(batch["lengths"].sum()) if "lengths" in batch else shape.frames * len(pairs)
        begin = clock()
        model(*model_input(batch)).loss.backward()
        optimizer.param_groups[0]["lr"] = learning_rate(step / per_epoch, way)
        optimizer.step()
        optimizer.zero_grad()
        times.append(clock() - begin)
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
