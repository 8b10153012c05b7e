"""Embedding 10 s clips: this library, a plain Vision Transformer of timm with the same tokens, and a naive loop over units.

    pip install timm
    python benchmarks/embedding.py

All three take turns in one process, and the median over the turns counts. This library starts from the sound; timm's
encoder starts from the units that this library cut, so it is spared the spectrogram. The loop encodes unit after unit.
The peak is a matrix product of the encoder's largest layer at the same precision, measured in the same turns.
"""
import datetime
import platform
import statistics
import time
from pathlib import Path

import pandas as pd
import timm
import torch
from fastcore.script import call_parse

from mwmae.embed import EmbedConfig, EmbeddingModel, get_scene_embeddings, untrained_encoder
from mwmae.model import model_cost
from mwmae.units import cut_units


def timm_encoder(
    shape,  # MAEConfig of the encoder to imitate
):  # a Vision Transformer without class token and head
    "A plain Vision Transformer of timm over the same patches."
    return timm.models.vision_transformer.VisionTransformer(
        img_size=(shape.frames, shape.mels), patch_size=shape.patch_size, in_chans=1, num_classes=0, global_pool="",
        embed_dim=shape.encoder_width, depth=shape.encoder_depth, num_heads=shape.encoder_heads, class_token=False).eval()


def contenders(
    name,  # name of a model
    precision,  # fp32 or bf16
    audio,  # (clips, samples)
) -> dict:  # what to time, by name
    "Everything that takes turns."
    model = EmbeddingModel(untrained_encoder(name), EmbedConfig(precision=precision)).to(audio.device).eval()
    shape, dtype = model.encoder.config, torch.bfloat16 if precision == "bf16" else torch.float32
    peer = timm_encoder(shape).to(audio.device)
    units = torch.stack([unit for clip in model.spectrograms(audio) for unit in cut_units(clip, shape.frames, model.hop)])
    width = shape.encoder_width
    left, right = torch.randn(8192, 4 * width).to(units).to(dtype), torch.randn(4 * width, width).to(units).to(dtype)

    def plain():
        with torch.autocast(units.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return [peer(part[:, None]) for part in units.split(16)]

    def loop():
        return [torch.cat([model.encode(unit[None])[0] for unit in clip]).mean(0) for clip in units.split(len(units) // len(audio))]

    return {"mwmae": lambda: get_scene_embeddings(audio, model), "timm": plain, "loop over units": loop, "peak": lambda: left @ right}


@call_parse
def main(
    model: str = "mwmae_base_4x16",  # name of the model, which has random weights
    clips: int = 4,  # clips of 10 s
    turns: int = 3,  # how often each contender is timed
    device: str = "cuda" if torch.cuda.is_available() else "cpu",  # where to compute
):
    "Print a table, and write it to benchmarks/results/embedding.csv."
    audio, rows = torch.randn(clips, 160_000).to(device) * 0.1, []
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    for precision in ("fp32", "bf16"):
        rivals = contenders(model, precision, audio)
        seconds = {name: [] for name in rivals}
        for _ in range(turns + 1):  # the first turn warms up
            for name, run in rivals.items():
                begin = time.perf_counter()
                with torch.no_grad():
                    run()
                wait()
                seconds[name].append(time.perf_counter() - begin)
        took = {name: statistics.median(times[1:]) for name, times in seconds.items()}
        shape = untrained_encoder(model).config
        flops = clips * 6 * model_cost(shape)["embedding_flops"]
        peak = 2 * 8192 * 4 * shape.encoder_width**2 / took["peak"]
        rows += [{
            "model": model, "precision": precision, "contender": name, "clips/s": clips / took[name],
            "time / mwmae": took[name] / took["mwmae"], "share of peak": flops / took[name] / peak,
            "device": device, "threads": torch.get_num_threads(), "torch": torch.__version__,
            "machine": platform.machine(), "date": datetime.date.today().isoformat()} for name in rivals if name != "peak"]
        print(pd.DataFrame(rows[-3:]).round(3).to_string(index=False, header=precision == "fp32"), flush=True)
    pd.DataFrame(rows).round(4).to_csv(Path(__file__).parent / "results" / "embedding.csv", index=False)
