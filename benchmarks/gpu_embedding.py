"""Stage d of gpu.py: embeddings of clips of 10 s, beside timm's encoder over the same units; log-mel spectrograms.

This library starts from the sound; timm's encoder starts from the units that this library cut, as in embedding.py.
"""
import importlib.util
from functools import partial

import torch

from mwmae.audio import LogMelSpectrogram, SAMPLE_RATE
from mwmae.units import cut_units
from mwmae.embed import EmbedConfig, EmbeddingModel, get_scene_embeddings, untrained_encoder
from mwmae.model import model_cost

PRECISIONS = ("fp32", "bf16")


def embedders(stage, name: str, precision: str, audio) -> dict:
    "What to time, by name."
    model = EmbeddingModel(untrained_encoder(name), EmbedConfig(precision=precision)).to(stage.device).eval()
    found = {"mwmae": lambda: get_scene_embeddings(audio, model)}
    if not importlib.util.find_spec("timm"):
        stage.row(f"{name}, {precision}, timm: the package is not there", "", "")
        return found
    from embedding import timm_encoder
    shape = model.encoder.config
    peer = timm_encoder(shape).to(stage.device)
    units = [unit for clip in model.spectrograms(audio) for unit in cut_units(clip, shape.frames, model.hop)]
    units = torch.stack(units)
    size = 16 if stage.toy else 256  # units at a time, as many as ours

    def plain():
        with torch.autocast(stage.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return [peer(part[:, None]) for part in units.split(size)]

    return found | {"timm": plain}


def measure_embedding(stage, name: str, precision: str, clips: int) -> None:
    "Rows of one encoder in one precision."
    peak, length = stage.matrix_peak(precision), 10 * SAMPLE_RATE
    audio = 0.1 * torch.randn(clips, length, device=stage.device)
    for who, run in embedders(stage, name, precision, audio).items():
        stage.free()
        with torch.no_grad():
            seconds = stage.seconds(run)
        units = 6  # of 2 s that cover the 1,001 frames
        flops = clips * units * model_cost(untrained_encoder(name).config)["embedding_flops"]
        what = f"{name}, {precision}, {clips} clips of 10 s, {who}"
        stage.row(f"{what}: speed", clips / seconds, "clips/s")
        stage.row(f"{what}: operations", flops / seconds / peak, "share of the matrix peak")
        stage.row(f"{what}: memory", stage.peak_memory(), "GiB at most")


def measure_log_mel(stage, clips: int, seconds_long: int) -> None:
    "Rows of log-mel spectrograms: speed, and how far they are from those of the CPU."
    audio = 0.1 * torch.randn(clips, seconds_long * SAMPLE_RATE)
    log_mel, there = LogMelSpectrogram(), audio.to(stage.device)
    expected = log_mel(audio[:4])
    log_mel = log_mel.to(stage.device)
    what = f"log-mel of {clips} clips of {seconds_long} s"
    with torch.no_grad():
        largest = (log_mel(there[:4]).cpu() - expected).abs().max().item()
        stage.compare(f"{what}, beside the CPU's", largest, 1e-2, "largest difference")
        seconds = stage.seconds(lambda: log_mel(there))
    stage.row(what, clips / seconds, "clips/s")
    stage.row(f"{what}: sound", clips * seconds_long / seconds, "s of sound/s")


def measure(stage) -> None:
    "Encoders of two sizes in both precisions, and spectrograms between them."
    names, clips = (("mwmae_nano_4x16",), 2) if stage.toy else (("mwmae_base_4x16", "mwmae_tiny_4x16"), 64)
    jobs = {}
    for i, name in enumerate(names):
        for precision in PRECISIONS:
            jobs[f"{name}, {precision}"] = partial(measure_embedding, stage, name, precision, clips)
        if i == 0:
            for seconds_long in (10, 2):
                number = (10 if stage.toy else 1280) // seconds_long
                jobs[f"log-mel, {seconds_long} s"] = partial(measure_log_mel, stage, number, seconds_long)
    stage.attempt_all(jobs)
