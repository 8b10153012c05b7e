"""Time and memory of a pre-training step against the length of the crop, MW-MAE beside MAE.

Both models take turns in one process, and the median over the turns counts. Memory is what autograd keeps for the
backward pass, parameters left out: that grows with batch and length, and decides what fits.
"""
import datetime
import platform
import statistics
import time
from pathlib import Path

import pandas as pd
import torch
from fastcore.script import call_parse

from mwmae.model import create_model


def kept_bytes(
    model,  # a masked autoencoder
    clips,  # (b, frames, mels)
) -> tuple:  # the loss, and bytes kept for the backward pass
    "Run the forward pass and count the memory of what autograd keeps."
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = model(clips).loss
    return loss, sum(kept.values())


@call_parse
def main(
    encoder: str = "tiny",  # encoder of the models, such as tiny or base
    frames: str = "200,500,1000,3000",  # lengths of a crop, frames of 10 ms
    batch: int = 2,  # clips in a step
    turns: int = 3,  # how often each model is timed
):
    "Print a table, and write it to benchmarks/results/length.csv."
    rows = []
    for length in map(int, frames.split(",")):
        models = {kind: create_model(f"{kind}_{encoder}_4x16", frames=length) for kind in ("mae", "mwmae")}
        clips, seconds, memory = torch.randn(batch, length, 80), {kind: [] for kind in models}, {}
        for _ in range(turns + 1):  # the first turn warms up
            for kind, model in models.items():
                begin = time.perf_counter()
                loss, memory[kind] = kept_bytes(model, clips)
                loss.backward()
                model.zero_grad()
                seconds[kind].append(time.perf_counter() - begin)
        ms = {kind: 1e3 * statistics.median(times[1:]) / batch for kind, times in seconds.items()}
        rows.append({
            "encoder": encoder, "seconds": length / 100, "patches": models["mae"].config.patches,
            "MAE ms/clip": ms["mae"], "MW-MAE ms/clip": ms["mwmae"], "time ratio": ms["mwmae"] / ms["mae"],
            "MAE MB/clip": memory["mae"] / batch / 1e6, "MW-MAE MB/clip": memory["mwmae"] / batch / 1e6,
            "memory ratio": memory["mwmae"] / memory["mae"], "precision": "fp32", "threads": torch.get_num_threads(),
            "torch": torch.__version__, "machine": platform.machine(), "date": datetime.date.today().isoformat()})
        print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1), flush=True)
    path = Path(__file__).parent / "results" / "length.csv"
    pd.DataFrame(rows).round(3).to_csv(path, index=False)
