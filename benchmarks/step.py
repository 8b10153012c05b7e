"""A pre-training step of MW-MAE beside one of MAE with the same encoder and decoder width, at every patch size.

    python benchmarks/step.py [--encoder tiny] [--patch_sizes 8x16,4x16,8x8,4x8,5x5] [--batch 16] [--clock wall]

A step is forward, backward and AdamW. Both models take turns in one process, and the median over the turns counts. With
`--clock cpu --threads 1` the time is that of the processor, which other programs on the machine disturb less.
"""
import statistics
from pathlib import Path

import pandas as pd
import torch
from fastcore.script import call_parse

from machine import CLOCKS, facts
from mwmae.model import create_model, PATCH_SIZES


def step(model, optimiser, clips, half) -> None:
    "One step of training."
    with torch.autocast(clips.device.type, torch.bfloat16, enabled=half):
        loss = model(clips).loss
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()


def compare(encoder, patch_size, batch, precision, turns, clock) -> dict:
    "One row: both models at one patch size."
    models = {kind: create_model(f"{kind}_{encoder}_{patch_size}") for kind in ("mae", "mwmae")}
    optimisers = {kind: torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True) for kind, model in models.items()}
    clips, taken = torch.randn(batch, 200, 80), {kind: [] for kind in models}
    for _ in range(turns + 1):  # the first turn warms up
        for kind, model in models.items():
            begin = clock()
            step(model, optimisers[kind], clips, precision == "bf16")
            taken[kind].append(clock() - begin)
    mae, mwmae = (1e3 * statistics.median(taken[kind][1:]) / batch for kind in ("mae", "mwmae"))
    return {"encoder": encoder, "patch": patch_size, "n": models["mae"].config.patches, "batch": batch, "precision": precision,
            "MAE ms/clip": mae, "MW-MAE ms/clip": mwmae, "MAE/MW-MAE": mae / mwmae}


@call_parse
def main(
    encoder: str = "tiny",  # Encoder of the models, such as tiny or base
    patch_sizes: str = ",".join(PATCH_SIZES),  # Frames x mel bands of a patch
    batch: int = 16,  # Clips in a step
    precisions: str = "fp32,bf16",  # In which precision
    turns: int = 9,  # How often each model is timed
    threads: int = 2,  # Threads of PyTorch
    clock: str = "wall",  # 'wall', or 'cpu' for the time of the processor
):
    "Print a table, and write it to benchmarks/results/step.csv."
    about = facts(clock, threads)
    rows = []
    for patch_size in patch_sizes.split(","):
        for precision in precisions.split(","):
            rows.append(compare(encoder, patch_size, batch, precision, turns, CLOCKS[clock]) | about)
            print(pd.DataFrame(rows[-1:]).iloc[:, :-5].round(2).to_string(index=False, header=len(rows) == 1), flush=True)
            pd.DataFrame(rows).round(3).to_csv(Path(__file__).parent / "results" / "step.csv", index=False)
