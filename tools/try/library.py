"""What the Python library says to a mask that the page drew: used to record the example and to check the page."""
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file

from mwmae.attention import attention_probabilities
from mwmae.audio import HOP, LogMelSpectrogram, standardise
from mwmae.masking import visible_count
from mwmae.model import MaskedAutoencoder
from mwmae.models import load_mae
from mwmae.units import cut_units
from mwmae.patches import patchify, unpatchify

SOUNDS = Path(__file__).resolve().parents[2] / "nbs" / "sounds"
UNIT = 200  # frames


def uniform(
    seed: int,  # any whole number; its lowest 32 bits count
    count: int,  # numbers wanted
) -> np.ndarray:  # (count,) float64 in [0, 1)
    "The numbers of the generator mulberry32, as the page draws them."
    state, numbers = seed, np.empty(count)
    for i in range(count):
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        mixed = ((state ^ state >> 15) * (state | 1)) & 0xFFFFFFFF
        mixed ^= (mixed + ((mixed ^ mixed >> 7) * (mixed | 61) & 0xFFFFFFFF)) & 0xFFFFFFFF
        numbers[i] = (mixed ^ mixed >> 14) / 2**32
    return numbers


def draw_mask(
    seed: int,  # of the numbers
    hidden_share: float,  # share of the patches to hide
    patches: int = 250,  # patches in all
) -> np.ndarray:  # (patches,) uint8, 1 where a patch is hidden
    "Hide a share of the patches as the page does: those of the smallest numbers stay visible, at least one."
    visible = max(1, visible_count(patches, hidden_share))
    mask = np.ones(patches, np.uint8)
    mask[np.argsort(uniform(seed, patches), kind="stable")[:visible]] = 0
    return mask


class Filled(NamedTuple):
    "What a model makes of the visible patches of a sound."
    prediction: torch.Tensor  # (n, patch values)
    features: torch.Tensor  # (k, encoder width) tokens of the visible patches
    attention: list  # (heads, n, n) weights for each block of the decoder


def packaged_mae() -> MaskedAutoencoder:
    "The packaged model with its decoder."
    return load_mae("packaged")


def first_unit(
    samples: torch.Tensor,  # (samples,) sound at 16 kHz
) -> torch.Tensor:  # (200, 80) standardised
    "The spectrogram that the page begins with: two seconds, continued by reflection if there is less."
    log_mel = LogMelSpectrogram()(samples[: UNIT * HOP])[:UNIT]
    return next(cut_units(standardise(log_mel, unbiased=True), UNIT, UNIT))


@torch.no_grad()
def fill(
    model: MaskedAutoencoder,  # the model
    spectrogram: torch.Tensor,  # (frames, mels) standardised
    mask: np.ndarray,  # (n,) 1 where a patch is hidden
) -> Filled:  # prediction, features and attention
    "Run the model on the visible patches, in ascending order, and keep every head's weights."
    patches = patchify(spectrogram[None], model.config.patch_size)  # (1, n, patch values)
    visible, hidden = np.flatnonzero(mask == 0), np.flatnonzero(mask)
    restore = np.argsort(np.concatenate([visible, hidden]))
    inputs, hooks = [], []
    for block in model.decoder.blocks:
        hooks.append(block.attention.register_forward_pre_hook(lambda layer, given: inputs.append((layer, given))))
    try:
        tokens = model.encoder(patches, torch.from_numpy(visible)[None])  # (1, k, encoder width)
        prediction = model.decoder(tokens, torch.from_numpy(restore)[None])
    finally:
        for hook in hooks:
            hook.remove()
    attention = [attention_probabilities(layer, *given)[0] for layer, given in inputs]
    return Filled(model.config.predicts.picture(prediction, patches)[0], tokens[0], attention)


def composite(
    model: MaskedAutoencoder,  # whose patches
    spectrogram: torch.Tensor,  # (frames, mels) standardised
    prediction: torch.Tensor,  # (n, patch values)
    mask: np.ndarray,  # (n,) 1 where a patch is hidden
) -> torch.Tensor:  # (frames, mels)
    "The spectrogram with its hidden patches as they were predicted."
    config = model.config
    patches = patchify(spectrogram[None], config.patch_size)[0]
    whole = torch.where(torch.from_numpy(mask)[:, None] == 1, prediction, patches)
    return unpatchify(whole[None], config.patch_size, config.grid)[0]


def scene(
    model: MaskedAutoencoder,  # the model
    spectrogram: torch.Tensor,  # (200, 80) standardised
) -> np.ndarray:  # (1280,)
    "The embedding that the page places on its map."
    features = model.encoder.features(spectrogram[None]).detach()  # (1, steps, size)
    return features[0].mean(0).numpy()


def place(
    embedding: np.ndarray,  # (1280,)
    atlas: Path,  # atlas.safetensors
    count: int = 8,  # neighbours
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # (2,) where it lies; numbers and similarities of the nearest sounds
    "Where a sound lies on the map, and next to what."
    tensors = {name: value.astype(np.float64) for name, value in load_file(atlas).items() if name != "sounds"}
    own = (embedding - tensors["mean"]) / tensors["scale"] @ tensors["projection"]  # (64,)
    points = tensors["points"]
    similar = points @ own / np.linalg.norm(points, axis=1) / np.linalg.norm(own)
    nearest = np.argsort(-similar, kind="stable")[:count]
    weights = similar[nearest]
    return weights @ tensors["xy"][nearest] / weights.sum(), nearest, weights
