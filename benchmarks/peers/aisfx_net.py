"""aiSFX as a HEAR module: a network that learnt to sort nine libraries of sound effects.

    pip install --no-deps aisfx==0.1.2

The package holds code and weights of its authors' best model, X-Sequential-CE. It computes spectrograms with essentia
or librosa; here the same 96 bands come from torchaudio. A block is 100 frames, 2.3 s, its embedding 512 values: over
time the largest of what the network finds. A scene is the mean over blocks every 1.2 s, as the authors do it.
"""
from importlib.metadata import distribution

import numpy as np
import torch
from aisfx.models.cnn2d import EmbeddingNet
from torch import nn, Tensor
from torchaudio.transforms import MelSpectrogram

FRAMES, HOP = 100, 1024  # frames of a block, samples from a frame to the next
LOUDEST = 9.457798957824707  # by which the authors divided all spectrograms
NUMBERS = [(np._core.multiarray.scalar, "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType]


class Blocks(nn.Module):
    "The authors' network, and their spectrogram."
    sample_rate = 44_100
    scene_embedding_size = timestamp_embedding_size = 512

    def __init__(self):
        super().__init__()
        self.mel = MelSpectrogram(44_100, n_fft=2048, hop_length=HOP, n_mels=96)
        self.mel.mel_scale.fb /= self.mel.mel_scale.fb.sum(0)  # (1025, 96), each band sums to one
        self.network = EmbeddingNet("max", 3, 1, 64)

    def spectrogram(
        self,
        audio: Tensor,  # (n, samples)
        before: int = 0,  # frames of silence to put in front
        after: int = 0,  # and to append
    ) -> Tensor:  # (n, frames, 96)
        "Logarithms of power in mel bands, between 0 and 1."
        found = (self.mel(audio) * 10_000 + 1).log10() / LOUDEST  # (n, 96, frames)
        return nn.functional.pad(found, (before, after)).transpose(1, 2)


def load_model(
    model_file_path: str = "",  # not used, the weights are the package's
) -> Blocks:
    "The network with the weights of the package `aisfx`."
    path, model = distribution("aisfx").locate_file("aisfx/models/checkpoint.pth"), Blocks()
    with torch.serialization.safe_globals(NUMBERS):
        weights, _ = torch.load(path, map_location="cpu", weights_only=True)
    begin = "embedding_net."
    model.network.load_state_dict({name[len(begin):]: w for name, w in weights.items() if name.startswith(begin)})
    return model.eval()


def get_scene_embeddings(
    audio: Tensor,  # (n, samples) at 44.1 kHz
    model: Blocks,  # from `load_model`
) -> Tensor:  # (n, 512)
    "Mean over blocks, each half over the next; the last is filled up with silence."
    frames, half = 1 + audio.shape[1] // HOP, FRAMES // 2
    missing = max(FRAMES - frames, 0) or -frames % half
    blocks = model.spectrogram(audio, after=missing).unfold(1, FRAMES, half).transpose(2, 3)  # (n, blocks, 100, 96)
    found = [model.network(some) for some in blocks.flatten(0, 1).split(32)]  # (32, 512) each
    return torch.cat(found).unflatten(0, blocks.shape[:2]).mean(1)


def get_timestamp_embeddings(
    audio: Tensor,  # (n, samples) at 44.1 kHz
    model: Blocks,  # from `load_model`
) -> tuple[Tensor, Tensor]:  # (n, t, 512), and the middle of each step (n, t), milliseconds
    "What the network finds before the maximum over time: every 8 frames, four times 2 frames apart."
    spectrogram, found = model.spectrogram(audio, 3, 13)[:, None], []  # (n, 1, frames, 96)
    for shift in range(0, 8, 2):
        x = spectrogram[:, :, shift : spectrogram.shape[2] - 8 + shift]
        for number in (1, 2, 3, 4):
            x = getattr(model.network, f"conv_block{number}")(x, (1, 1) if number == 4 else (2, 2))
        found.append(x.mean(3).transpose(1, 2))  # (n, frames / 8, 512)
    steps = torch.stack(found, 2).flatten(1, 2)  # (n, frames / 2, 512)
    times = (0.5 + 2 * torch.arange(steps.shape[1], device=audio.device)) * HOP * 1000 / 44_100  # (t,)
    kept = int((times <= audio.shape[1] * 1000 / 44_100).sum())
    return steps[:, :kept], times[:kept].expand(len(audio), -1)
