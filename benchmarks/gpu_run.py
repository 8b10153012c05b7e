"""What belongs to a run beside its steps, for stage b of gpu.py: data, memory, checkpoints, and waits of the host."""
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace

import torch

from attention import kept_megabytes
from data_wait import measure as measure_data_wait
from gpu_stage import check_waits, choose_products, work_folder
from gpu_steps import Steps
from mwmae import settings as library
from mwmae.checkpoints import CheckpointWriter, save_checkpoint, snapshot
from mwmae.crops import ClipIndex, CropDataset, load_batches, Shares, split_held_out, to_device
from mwmae.model import create_model, model_config
from mwmae.processes import ignore_signals
from mwmae.run import Run
from mwmae.settings import (
    builtin_sound, find_micro_batch, fitting_clips, machine_settings, open_data, PretrainConfig, recompute_blocks,
)
from mwmae.store import prepare_samples

GIB = 2**30


# --- data


def data(stage) -> str:
    "What to train on; the clips of both are made once."
    store = Path(work_folder()) / "store"
    if not stage.toy:
        return "builtin"
    if not store.exists():
        prepare_samples(map(builtin_sound, range(24)), store)
    return str(store)


def corpus(stage) -> ClipIndex:
    "The same, opened."
    return open_data(data(stage), Path(work_folder()) / "stores")


def measure_loader(stage, workers: int) -> None:
    "Rows of the loader alone: crops that it delivers, pinned if there is a GPU, and crops that reach the device."
    clips, batch, steps = corpus(stage), 8 if stage.toy else 1024, 20 if stage.toy else 60
    train, _ = split_held_out(clips)
    examples = CropDataset(clips, train, frames=200, patches=250)
    config = SimpleNamespace(seed=0, batch=batch, micro_batch=None)
    what = f"loader, batch {batch}, {workers} workers{', pinned' * (stage.device.type == 'cuda')}"
    for moved in (False, True):
        shares = Shares(config, len(train), range(steps))
        batches, crops, begin = load_batches(examples, shares, workers, stage.device, ignore_signals), 0, None
        with closing(batches):
            for found in batches:
                if moved:
                    to_device(found, stage.device)
                if begin is None:
                    begin = stage.clock()  # the first batch holds the start of the workers
                else:
                    crops += len(found["index"])
            seconds = stage.clock() - begin
        stage.row(f"{what}{', moved and standardised' * moved}: speed", crops / seconds, "crops/s")


def measure_wait(stage, model: str, compiled: bool) -> None:
    "A whole run of `pretrain` with the loader that it has by default on a GPU."
    toy = stage.toy
    settings = dict(model=f"{model}_4x16", batch=8 if toy else 1024, epochs=2 if toy else 30, compile=compiled,
                    precision="bf16", workers=1 if toy else 4, evaluate_every=2 if toy else 20, save_every=1000)
    settings["micro_batch"] = find_micro_batch(PretrainConfig(**settings))
    row = measure_data_wait(data(stage), Path(work_folder()) / f"{model}-{compiled}", False, settings)
    what = f"pretrain, {row['model']}, batch {settings['batch']}, {settings['workers']} workers, bf16"
    what += ", compiled" if compiled else ""
    stage.row(f"{what}: speed", row["clips/s"], "clips/s")
    stage.row(f"{what}: wait for data", row["data wait share"], "share of the time")


# --- waits


def check_run(stage, model: str) -> None:
    "Queue steps of a run as `Run.fit` does: nothing may make the host wait for the device."
    clips = corpus(stage)
    batch = 4 if stage.toy else 256
    config = machine_settings(stage.device.type, len(clips), data=data(stage), model=f"{model}_4x16", batch=batch,
                              workers=1 if stage.toy else 2, clip_norm=1.0, precision="bf16")
    run, stop = Run(config, mkdtemp(), clips), threading.Event()
    with closing(run.training_batches()) as batches:
        for _ in range(2):  # allocate
            run.step(next(batches), stop)
        check_waits(stage, f"a step of a run, {model}, batch {batch}", lambda: run.step(next(batches), stop))
    numbers = torch.tensor([note.read() for note in run.pending])
    if not numbers.isfinite().all():
        raise ArithmeticError(f"loss and norm of the steps are {numbers.tolist()}")


# --- memory


def step_bytes(stage, config: PretrainConfig, clips: int) -> int:
    "What a step of some clips takes: on a GPU as the library finds it, on a CPU what autograd keeps."
    if stage.device.type == "cuda":
        return library._step_bytes(config, stage.device, clips)
    model = create_model(config.model)
    if config.recompute:
        recompute_blocks(model)
    crops = torch.zeros(clips, model.config.frames, model.config.mels)
    return int(1e6 * kept_megabytes(lambda: model(crops).loss))


def found_micro_batch(stage, config: PretrainConfig, few: int, more: int) -> int:
    "What the library chooses; a CPU pretends that only 8 clips fit."
    if stage.device.type == "cuda":
        return find_micro_batch(config) or config.batch
    assert find_micro_batch(config) is None  # nothing is tried
    return fitting_clips(config.batch, few, more, few) or config.batch


def try_memory(stage, model: str, batch: int, recompute: bool) -> None:
    "Rows of the clips that the library lets a device compute at once: memory as predicted, and as a step takes it."
    choose_products("fp32")
    config = PretrainConfig(model=f"{model}_4x16", batch=batch, precision="bf16", recompute=recompute)
    few, more = [step_bytes(stage, config, clips) for clips in (8, 16)]
    stage.free()
    chosen = found_micro_batch(stage, config, few, more)
    stage.free()
    steps = Steps(stage, model_config(config.model), batch, "bf16", chosen, recompute=recompute)
    weights = sum(p.numel() for p in steps.module.parameters())
    predicted = few + (chosen - 8) * (more - few) / 8 + 8 * weights  # AdamW keeps two numbers for each weight
    for _ in range(2):
        steps()
    stage.clock()
    what = f"{model}, batch {batch}{', recompute' * recompute}: micro-batch"
    stage.row(what, chosen, "clips")
    stage.row(f"{what}, predicted memory", predicted / GIB, "GiB at most")
    stage.row(f"{what}, memory of a step", stage.peak_memory(), "GiB at most")


# --- checkpoints


def steps_while(stage, steps: Steps, busy) -> list:
    "Seconds of each step as long as something is busy."
    taken = []
    while busy():
        begin = stage.clock()
        steps()
        taken.append(stage.clock() - begin)
    return taken


def measure_checkpoints(stage, model: str, batch: int) -> None:
    "Rows of how long training stands still for a checkpoint, written by a thread and by the loop itself."
    steps, folder = Steps(stage, model_config(f"{model}_4x16"), batch), Path(mkdtemp())
    usual, what = stage.seconds(steps), f"checkpoint of {model}"
    begin = stage.clock()
    save_checkpoint(folder, steps.module, steps.optimizer, {"step": 1}, keep=2)
    stage.row(f"{what}, written by the loop", 1e3 * (stage.clock() - begin), "ms of standing still")
    stage.row(f"{what}: a step beside no writing, batch {batch}", 1e3 * usual, "ms")
    with CheckpointWriter() as writer:
        for number, turn in ((2, "the first time"), (3, "later")):  # pinned memory is kept from the first
            begin = stage.clock()
            writer.write(folder, snapshot(steps.module, steps.optimizer), {"step": number}, keep=2)
            host = time.perf_counter() - begin
            device = stage.clock() - begin
            taken = steps_while(stage, steps, lambda: not writer.writing.done())
            writer.wait()
            stage.row(f"{what}, written by a thread, {turn}: the host", 1e3 * host, "ms of standing still")
            stage.row(f"{what}, written by a thread, {turn}: the device", 1e3 * device, "ms of standing still")
            stage.row(f"{what}, written by a thread, {turn}: all", 1e3 * (stage.clock() - begin), "ms")
            if taken:
                usual = 1e3 * sum(taken) / len(taken)
                stage.row(f"{what}, written by a thread, {turn}: a step meanwhile, batch {batch}", usual, "ms")


# --- all


def jobs(stage) -> dict:
    "What is measured right after the most important steps."
    model, batch = ("mwmae_nano", 12) if stage.toy else ("mwmae_base", 1024)
    found = {"a step of a run": partial(check_run, stage, model)}
    for recompute in (False, True):
        what = f"micro-batch{', recompute' * recompute}"
        found[what] = partial(try_memory, stage, model, batch, recompute)
    found["loader"] = partial(measure_loader, stage, 1 if stage.toy else 4)
    found["pretrain"] = partial(measure_wait, stage, model, False)
    found["checkpoints"] = partial(measure_checkpoints, stage, model, 2 if stage.toy else 256)
    return found


def more_jobs(stage) -> dict:
    "What is measured later, on a GPU."
    return {"loader, 2 workers": partial(measure_loader, stage, 2),
            "pretrain, tiny": partial(measure_wait, stage, "mwmae_tiny", False),
            "pretrain, compiled": partial(measure_wait, stage, "mwmae_base", True),
            "micro-batch, huge": partial(try_memory, stage, "mwmae_huge", 1024, False)}
