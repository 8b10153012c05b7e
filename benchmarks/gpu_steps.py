"""Steps of pre-training as the library takes them, for the stages of gpu.py."""
from types import SimpleNamespace

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from gpu_stage import choose_products, Stage
from mwmae.model import MAEConfig, MaskedAutoencoder
from mwmae.settings import recompute_blocks
from mwmae.settings import set_precision
from mwmae.training import add_gradients, make_optimizer, move_weights

OPTIMIZER = SimpleNamespace(beta2=0.999, weight_decay=0.05)


def new_accelerator(stage: Stage, precision: str) -> Accelerator:
    "What a run of this precision has; products of float32 are rounded if it is TF32."
    choose_products(precision)
    if stage.device.type == "cuda":
        set_precision(precision, "cuda")  # the library refuses what a GPU cannot do
    AcceleratorState._reset_state()  # an earlier one may differ in precision
    mixed = "bf16" if precision == "bf16" else "no"
    return Accelerator(cpu=stage.device.type == "cpu", mixed_precision=mixed)


def backend(stage: Stage) -> str:
    "What compiles."
    return "eager" if stage.toy else "inductor"  # compiling for a CPU takes too long


class Steps:
    "A model, its optimiser and a batch: a call queues a step."

    def __init__(
        self,
        stage: Stage,
        config: MAEConfig,  # shape of the model
        clips: int,  # in a step
        precision: str = "bf16",  # or fp32, tf32
        micro_batch: int | None = None,  # clips at once; None: all
        compiled: bool = False,
        recompute: bool = False,  # activations in the backward pass
        weights: dict | None = None,  # to begin with; None: random ones
    ):
        self.accelerator = new_accelerator(stage, precision)
        with stage.device:
            self.module = MaskedAutoencoder(config)
            spectrogram = torch.randn(clips, config.frames, config.mels)
            noise = torch.rand(clips, config.patches)
        if weights is not None:
            self.module.load_state_dict(weights)
        if recompute:
            recompute_blocks(self.module)
        optimizer = make_optimizer(self.module, OPTIMIZER)
        self.model, self.optimizer = self.accelerator.prepare(self.module, optimizer)
        if compiled:
            self.model = torch.compile(self.model, dynamic=False, backend=backend(stage))
        self.batches = cut(spectrogram, noise, micro_batch)

    def add(self) -> torch.Tensor:
        "Add up gradients; returns loss, norm of the gradient, and two flags."
        return add_gradients(self.model, self.batches, self.accelerator, lambda: (False, False))

    def __call__(self, rate: float = 1e-5, clip_norm: float | None = None) -> torch.Tensor:
        "A step; returns what `add` does."
        numbers = self.add()
        move_weights(self.model, self.optimizer, numbers, rate, clip_norm)
        return numbers


def cut(spectrogram: torch.Tensor, noise: torch.Tensor, micro_batch: int | None = None) -> list:
    "Micro-batches of clips (b, frames, mels) with their noise (b, n), and the weight of a clip in each."
    clips = len(spectrogram)
    parts = zip(spectrogram.split(micro_batch or clips), noise.split(micro_batch or clips))
    return [({"spectrogram": crops, "noise": part}, 1 / clips) for crops, part in parts]
