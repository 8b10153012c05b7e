"""Write what the library computes, for the tests of the page's scripts: `tests/numbers.safetensors`, `tests/atlas.safetensors`.

With `--check` nothing is written: exits 1 if the library gives other numbers now.
"""
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from fastcore.script import call_parse
from library import draw_mask, place, SOUNDS, uniform
from mwmae.attention import win_attention, window_sizes
from mwmae.audio import _band_of, HOP, invert_log_mel, LogMelSpectrogram, read_audio, SAMPLE_RATE
from mwmae.crops import reflected
from mwmae.masking import visible_count
from mwmae.patches import patchify
from mwmae.units import embedding_input
from safetensors import safe_open
from safetensors.numpy import save

FOLDER = Path(__file__).resolve().parent / "tests"
PATCHES = 250
LENGTHS = 201, 320, 7_777, 8_000, 32_000  # samples
MASKS = (0, 0.8), (1, 0.75), (7, 0), (42, 0.95), (-3, 0.5), (4_294_967_295, 0.996)  # seeds and hidden shares
REFLECTED = (0, 201), (0, 51), (150, 201), (300, 310), (0, 2), (0, 1)  # first frames and lengths


def sound() -> np.ndarray:  # (32000,) int16
    "Two seconds of speech, from a file without losses."
    return (read_audio(SOUNDS / "speech.flac", 1.0, 2.0).numpy() * 2**15).astype(np.int16)


def spectrograms(
    samples: torch.Tensor,  # (32000,)
) -> dict:  # arrays by name
    "Log-mel spectrograms of sounds of many lengths, and what they are made with."
    log_mel = LogMelSpectrogram()
    tensors = {f"logmel_{length}": log_mel(samples[:length]).numpy() for length in LENGTHS}
    for length in (100, 8_000):  # 100 samples are filled up to 201
        tensors[f"standardised_{length}"] = embedding_input(samples[None, :length], log_mel)[0].numpy()
    filters = log_mel.mel.mel_scale.fb.numpy()  # (201, 80)
    tensors["filter_places"] = np.flatnonzero(filters).astype(np.int32)
    tensors["filter_weights"] = filters[filters != 0]
    hertz = np.array([50, 100, 440, 1_000, 4_000, 8_000], np.float64)
    tensors["hertz"], tensors["bands"] = hertz, _band_of(hertz, 80)
    window = torch.hann_window(400)
    spectrum = torch.stft(samples[:8_000], 400, HOP, window=window, return_complex=True).T  # (51, 201)
    tensors["stft_frames"] = np.array([0, 1, 24, 50], np.int32)
    for name, part in (("re", spectrum.real), ("im", spectrum.imag)):
        tensors[f"stft_{name}"] = part[tensors["stft_frames"]].numpy()
    return tensors


def grids() -> dict:  # arrays by name
    "Order of patches, masks, windows and reflection."
    picture = np.random.default_rng(0).integers(0, 256, (200, 80), np.uint8)
    tensors = {"picture": picture, "patches": patchify(torch.from_numpy(picture)[None])[0].numpy()}
    tensors["masks"] = np.stack([draw_mask(seed, share, PATCHES) for seed, share in MASKS])
    tensors["uniform"] = np.stack([uniform(seed, 8) for seed, _ in MASKS])
    tensors["visible"] = np.array([visible_count(PATCHES, percent / 100) for percent in range(96)], np.int32)
    one_hot = torch.eye(PATCHES)
    seen = [win_attention(torch.zeros(PATCHES, 1), torch.zeros(PATCHES, 1), one_hot, w) > 0 for w in window_sizes(PATCHES)]
    seen = torch.stack(seen).numpy()  # (8, 250, 250)
    tensors["windows"] = np.stack([seen.argmax(-1), PATCHES - seen[..., ::-1].argmax(-1)], -1).astype(np.uint8)
    tensors["reflected"] = np.stack([reflected(first, 200, length).numpy() for first, length in REFLECTED]).astype(np.int32)
    return tensors


def atlas() -> tuple[dict, dict]:  # arrays by name, and JSON by name
    "A map of 30 sounds in few dimensions."
    rng = np.random.default_rng(1)
    tensors = {
        "mean": rng.normal(size=40).astype(np.float32),
        "scale": rng.uniform(0.5, 2, 40).astype(np.float32),
        "projection": rng.normal(size=(40, 6)).astype(np.float16),
        "points": rng.normal(size=(30, 6)).astype(np.float16),
        "xy": rng.uniform(0, 100, (30, 2)).astype(np.float32),
        "sounds": rng.integers(0, 256, 91, np.uint8),
        "starts": np.linspace(0, 91, 31).astype(np.int32),
    }
    return tensors, {name: [f"{name} {i}" for i in range(30)] for name in ("labels", "notes")}


def places(
    file: Path,  # atlas.safetensors
) -> dict:  # arrays by name
    "Where embeddings lie on the map, and next to what."
    embeddings = np.random.default_rng(2).normal(size=(3, 40)).astype(np.float32)
    found = [place(embedding, file) for embedding in embeddings]
    xy, nearest, similarities = (np.stack(part) for part in zip(*found))
    return {"embeddings": embeddings, "places": xy, "nearest": nearest.astype(np.int32), "similarities": similarities}


def kinds() -> dict:  # arrays by name
    "A few numbers of every type that a script has to read."
    values = np.array([0, -1.5, 2**-24, -(2**-14), 65504, np.inf, -np.inf], np.float16)
    tensors = {"kind_F16": values, "kind_F16_as_F64": values.astype(np.float64)}
    for name, kind in (("U8", np.uint8), ("I16", np.int16), ("I32", np.int32), ("I64", np.int64), ("F32", np.float32)):
        highest = 255 if name == "U8" else np.iinfo(kind).max if name[0] == "I" else 3.4e38
        tensors[f"kind_{name}"] = np.array([0, 1, highest], kind)
    return tensors


def facts(
    samples: torch.Tensor,  # (32000,)
) -> dict:  # JSON by name
    "Settings of the numbers, and how close the library's own inversion comes to a spectrogram."
    log_mel = LogMelSpectrogram()
    wanted = log_mel(samples)
    unit = wanted[:200]
    error = (log_mel(invert_log_mel(wanted)) - wanted).abs().mean().item()
    return {
        "lengths": LENGTHS, "masks": MASKS, "reflected": REFLECTED, "sizes": window_sizes(PATCHES), "sample_rate": SAMPLE_RATE,
        "mean": unit.mean().item(), "deviation": unit.std().item(), "inversion_error": round(error, 3),
    }


def numbers(
    file: Path,  # atlas.safetensors
) -> tuple[dict, dict]:  # arrays by name, and JSON by name
    "Everything that the tests compare with."
    whole = sound()
    samples = torch.from_numpy(whole / np.float32(2**15))
    return {"samples": whole, **spectrograms(samples), **grids(), **places(file), **kinds()}, facts(samples)


def write(
    path: Path,  # safetensors file to write
    tensors: dict,  # arrays by name
    words: dict,  # JSON by name
):
    "Write a file whole or not at all."
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_bytes(save(tensors, metadata={name: json.dumps(value) for name, value in words.items()}))
    os.replace(temporary, path)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def differences(
    path: Path,  # safetensors file
    tensors: dict,  # arrays by name that should be in it
    words: dict,  # JSON by name that should be in it
) -> list[str]:  # what differs
    "Compare a file with what the library computes now; floats may differ by rounding."
    with safe_open(path, "numpy") as file:
        written = {name: file.get_tensor(name) for name in file.keys()}
        said = {name: json.loads(text) for name, text in file.metadata().items()}
    wrong = [f"{path.name}: only one of file and library has {name}" for name in sorted(written.keys() ^ tensors.keys())]
    for name in sorted(written.keys() & tensors.keys()):
        old, new = written[name], tensors[name]
        near = old.dtype == new.dtype and old.shape == new.shape and np.allclose(old, new, rtol=1e-4, atol=1e-4)
        if not (near if old.dtype.kind == "f" else np.array_equal(old, new)):
            wrong.append(f"{path.name}: the library computes another {name}")
    expected = json.loads(json.dumps(words))
    for name in sorted(said.keys() | expected.keys()):
        old, new = said.get(name), expected.get(name)
        same = abs(old - new) <= 5e-3 if isinstance(old, float) and isinstance(new, float) else old == new
        if not same:
            wrong.append(f"{path.name}: {name} is {old}, from the library {new}")
    return wrong


@call_parse
def main(
    check: bool = False,  # write nothing; exit 1 if the library gives other numbers now
):
    "Write the numbers, or compare them."
    path, map_path = FOLDER / "numbers.safetensors", FOLDER / "atlas.safetensors"
    if not check:
        write(map_path, *atlas())
        write(path, *numbers(map_path))
        return
    wrong = differences(map_path, *atlas())
    tensors, words = numbers(map_path)
    wrong += differences(path, tensors, words)
    for line in wrong:
        print(line)
    if wrong:
        sys.exit("python tools/try/expected.py writes them anew")
    print(f"{len(tensors)} arrays and {len(words)} facts are what the library gives now")
