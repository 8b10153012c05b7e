"""Write the recorded example of the page 'Try it': one sound, its patches hidden bit by bit, and rebuilt by the packaged model.

The front page plays it, and so does the page itself where the model cannot run.
"""
import json
import os
from pathlib import Path

import numpy as np
import torch
from fastcore.script import call_parse
from library import composite, draw_mask, fill, first_unit, packaged_mae, SOUNDS
from mwmae.audio import read_audio
from safetensors.numpy import save

SOUND, TITLE = "guitar.ogg", "A guitar"
SEED = 7
SHARES = 0.8, 0.7, 0.6, 0.5, 0.55, 0.65, 0.75, 0.85, 0.9, 0.95  # hidden patches, in the order they play; then from the first again


def record() -> bytes:  # a safetensors file
    "Run the packaged model on every mask, and keep the pictures with 256 levels."
    model, spectrogram = packaged_mae(), first_unit(read_audio(SOUNDS / SOUND))
    low, high = spectrogram.min().item(), spectrogram.max().item()
    levels = lambda values: ((values - low) / (high - low) * 255).round().clamp(0, 255).byte().numpy()
    masks = [draw_mask(SEED, share, model.config.patches) for share in SHARES]
    rebuilt = [composite(model, spectrogram, fill(model, spectrogram, mask).prediction, mask) for mask in masks]
    tensors = {"spectrogram": levels(spectrogram), "rebuilt": levels(torch.stack(rebuilt)), "masks": np.stack(masks)}
    facts = {"sound": SOUND, "title": TITLE, "low": low, "high": high, "seeds": [SEED] * len(SHARES), "shares": SHARES}
    words = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    return save(tensors, metadata=words)


@call_parse
def main(
    out: str = "example.safetensors",  # file to write
):
    "Record the example, and write it whole or not at all."
    temporary = Path(f"{out}.part")
    temporary.write_bytes(record())
    os.replace(temporary, out)
    print(f"{out}: {Path(out).stat().st_size / 1000:.0f} kB, {len(SHARES)} masks")
