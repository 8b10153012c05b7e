"""Stage b of gpu.py: how fast steps of pre-training are, what they wait for, and how many clips fit.

A step is forward, backward and AdamW in bf16, as in step.py. The share of the matrix peak counts the operations of the
model (`model_cost`) against a large matrix product on the same device.
"""
import time
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import profile, ProfilerActivity

from data_wait import measure as measure_data_wait
from gpu_stage import work_folder
from mwmae.model import create_model, model_cost
from mwmae.settings import builtin_sound
from mwmae.store import prepare_samples
from step import step

CASES = [  # encoder, frames, clips in a step, compiled; the most important first
    ("base", 200, 1024, False), ("base", 200, 1024, True),
    ("tiny", 200, 1024, False), ("large", 200, 256, False), ("huge", 200, 256, False),
    ("base", 1000, 128, False), ("base", 3000, 32, False),
    ("base", 200, 256, False), ("base", 200, 512, False), ("base", 200, 2048, False),
    ("large", 200, 1024, False), ("huge", 200, 512, False), ("tiny", 200, 256, False), ("tiny", 200, 2048, False),
    ("large", 200, 256, True), ("tiny", 200, 1024, True), ("base", 1000, 128, True), ("huge", 200, 256, True),
]
TOY_CASES = [("nano", 200, 4, False), ("nano", 200, 2, True)]
PROFILED = CASES[:2] + TOY_CASES[:1]
KERNELS = 12  # the longest kernels of a profiled step that get a row


def write_profile(stage, what: str, run) -> None:
    "Rows of the kernels in which a step spends its time."
    gpu = stage.device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * gpu
    with profile(activities=activities) as found:
        begin = stage.clock()
        run()
        seconds = stage.clock() - begin
    kind = DeviceType.CUDA if gpu else DeviceType.CPU
    kernels = [event for event in found.key_averages() if event.device_type == kind]
    kernels = [event for event in kernels if not event.is_user_annotation]
    length = {event.key: event.self_device_time_total if gpu else event.self_cpu_time_total for event in kernels}
    stage.row(f"{what}: kernels", sum(event.count for event in kernels), "in a step")
    stage.row(f"{what}: all kernels", sum(length.values()) / 1e6 / seconds, "share of the profiled step")
    for event in sorted(kernels, key=lambda event: -length[event.key])[:KERNELS]:
        name = " ".join(event.key.split())[:100]
        stage.row(f"{what}: {event.count} x {name}", length[event.key] / 1e3, "ms in a step")


def measure_step(stage, kind: str, case: tuple, peak: float) -> None:
    "Rows of one model: speed, share of the peak, memory, and perhaps its kernels."
    encoder, frames, batch, compiled = case
    name = f"{kind}_{encoder}_4x16"
    what = f"{name}, {frames / 100:g} s, batch {batch}, bf16, {'compiled' if compiled else 'eager'}"
    with stage.device:
        model = create_model(name, frames=frames)
        clips = torch.randn(batch, frames, 80)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    backend = "eager" if stage.toy else "inductor"  # compiling for a CPU takes too long
    called = torch.compile(model, backend=backend, dynamic=False) if compiled else model
    run = lambda: step(called, optimizer, clips, half=True)
    begin = stage.clock()
    run()
    stage.row(f"{what}: first step", stage.clock() - begin, "s")
    seconds = stage.seconds(run)
    flops = batch * model_cost(model.config)["training_flops"]
    stage.row(f"{what}: speed", batch / seconds, "clips/s")
    stage.row(f"{what}: operations", flops / seconds / peak, "share of the matrix peak")
    stage.row(f"{what}: memory", stage.peak_memory(), "GiB at most")
    if case in PROFILED:
        write_profile(stage, what, run)


def measure_case(stage, case: tuple, peak: float) -> None:
    "MW-MAE and MAE in turn. Too little memory is a result too."
    for kind in ("mwmae", "mae"):
        stage.free()
        torch._dynamo.reset()
        try:
            measure_step(stage, kind, case, peak)
        except torch.OutOfMemoryError:
            encoder, frames, batch, _ = case
            stage.row(f"{kind}_{encoder}_4x16, {frames / 100:g} s, batch {batch}, bf16: out of memory", "", "")
    stage.free()


def measure_wait(stage, encoder: str, compiled: bool) -> None:
    "A whole run of `pretrain` with the loader that it has by default on a GPU."
    work, toy = Path(work_folder()) / "loader", stage.toy
    stage.free()
    data, batch, epochs = "builtin", 1024, 40
    if toy:
        data, batch, epochs = str(work / "store"), 8, 2
        prepare_samples(map(builtin_sound, range(24)), data)
    settings = dict(model=f"mwmae_{encoder}_4x16", batch=batch, epochs=epochs, precision="bf16", compile=compiled,
                    workers=1 if toy else 4, evaluate_every=2 if toy else 20, save_every=1000)
    row = measure_data_wait(data, work / f"{encoder}-{compiled}", False, settings)
    what = f"pretrain, {row['model']}, batch {batch}, {settings['workers']} workers, bf16"
    what += ", compiled" if compiled else ""
    stage.row(f"{what}: speed", row["clips/s"], "clips/s")
    stage.row(f"{what}: wait for data", row["data wait share"], "share of the time")


def measure(stage) -> None:
    "All cases, and pre-training with its loader between them."
    peak = stage.matrix_peak()
    cases = list(TOY_CASES if stage.toy else CASES)
    loader = [("loader", "nano", False)]
    if not stage.toy:
        loader = [("loader", encoder, compiled) for compiled in (False, True) for encoder in ("base", "tiny")]
    cases[2:2], cases[9:9] = loader[:2], loader[2:]
    for case in stage.in_time(cases):
        begin = time.perf_counter()
        if case[0] == "loader":
            measure_wait(stage, *case[1:])
        else:
            measure_case(stage, case, peak)
        print(f"{case} took {time.perf_counter() - begin:.1f} s", flush=True)
