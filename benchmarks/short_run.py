"""Short runs of pre-training, as several benchmarks make them: with the settings of `mwmae_pretrain` on a CPU."""
from collections.abc import Iterator
from types import SimpleNamespace

import torch

from mwmae.crops import CropDataset, to_device
from mwmae.training import (
    learning_rate, make_optimizer, model_input, move_teacher, step_batches, steps_per_epoch, teacher_decay,
)

CPU = torch.device("cpu")


def short_way(
    chosen,  # settings of the command, a `PretrainConfig`
    clips: int,  # how many are trained on
    steps: int,  # of the run
    seed: int = 0,  # of the order of clips
) -> SimpleNamespace:  # what the functions of mwmae.training read
    "The command's settings for a run of so many steps, a tenth of them for warming up."
    epochs = steps / steps_per_epoch(chosen, clips)
    return SimpleNamespace(
        base_lr=chosen.base_lr, batch=chosen.batch, beta2=chosen.beta2, weight_decay=chosen.weight_decay, epochs=epochs,
        warmup=epochs / 10, seed=seed, micro_batch=None, teacher_decay=chosen.teacher_decay,
        teacher_decay_end=chosen.teacher_decay_end)


def fixed_batches(corpus, clips, shape, length=None) -> list:
    "The first 64 held-out clips with fixed crops and noise; `length` as for `CropDataset`."
    crops = CropDataset(corpus, clips[:64], shape.frames, shape.patches, 2**32, length)
    pairs = [(0, i) for i in range(len(crops))]
    return [to_device(crops.gather(pairs[i : i + 32]), CPU) for i in range(0, len(pairs), 32)]


def train_steps(model, crops, way, steps, clock) -> Iterator[tuple[dict, float]]:
    "Train, and give the batch of each step and its seconds: forward, backward and optimiser, without reading crops."
    optimizer, per_epoch = make_optimizer(model, way), steps_per_epoch(way, len(crops))
    for step in range(steps):
        ((pairs, _),) = step_batches(way, len(crops), step)
        batch = to_device(crops.gather(pairs), CPU)
        begin = clock()
        loss = model(*model_input(batch)).loss
        loss.backward()
        optimizer.param_groups[0]["lr"] = learning_rate(step / per_epoch, way)
        optimizer.step()
        optimizer.zero_grad()
        move_teacher(model, loss[None], teacher_decay(step / per_epoch, way))
        yield batch, clock() - begin
