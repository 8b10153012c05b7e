"""Stage b of gpu.py: how fast steps of pre-training are, what they wait for, and how many clips fit.

A step is that of the library: gradients added up, weights moved. The share of the matrix peak counts the operations of
the model (`model_cost`) against a large matrix product of the same precision on the same device. Where all clips of a
step do not fit at once, they are computed in micro-batches.
"""
from functools import partial
from typing import NamedTuple

import torch
from torch.autograd import DeviceType
from torch.profiler import profile, ProfilerActivity

import gpu_run
from gpu_stage import check_waits, why_no_triton
from gpu_steps import Steps
from mwmae.model import model_config, model_cost

KERNELS = 12  # the longest kernels of a profiled step that get a row


class Case(NamedTuple):
    "A step that is measured."
    model: str  # such as mwmae_base
    clips: int = 1024  # in a step
    compiled: bool = False
    precision: str = "bf16"
    frames: int = 200
    attention: str = "windows"  # of the decoder of MW-MAE
    profiled: bool = False  # rows of its kernels, and whether it makes the host wait

    def __str__(self):
        form = "compiled" if self.compiled else "eager"
        other = f", {self.attention}" if self.attention != "windows" else ""
        return f"{self.model}_4x16, {self.frames / 100:g} s, batch {self.clips}, {self.precision}, {form}{other}"


FIRST = [  # the most important first
    Case("mwmae_base", profiled=True), Case("mwmae_base", compiled=True, profiled=True),
    Case("mae_base", profiled=True),
]
SECOND = [
    Case("mwmae_base", attention="windows_triton", profiled=True),
    Case("mwmae_base", 256), Case("mwmae_base", 256, precision="tf32"), Case("mwmae_base", 256, precision="fp32"),
    Case("mwmae_tiny"), Case("mwmae_large", 256), Case("mwmae_huge", 256),
    Case("mwmae_base", 128, frames=1000), Case("mae_base", 128, frames=1000),
    Case("mwmae_base", attention="windows_triton", compiled=True, profiled=True),
    Case("mae_base", compiled=True, profiled=True),
    Case("mwmae_base", 32, frames=3000), Case("mae_base", 32, frames=3000),
]
LAST = [
    Case("mae_tiny"), Case("mae_large", 256), Case("mae_huge", 256), Case("mwmae_base", 512), Case("mwmae_base", 2048),
    Case("mwmae_large", 1024), Case("mwmae_huge", 512), Case("mwmae_tiny", 2048),
    Case("mwmae_large", 256, compiled=True), Case("mwmae_base", 128, compiled=True, frames=1000),
    Case("mwmae_huge", 256, compiled=True), Case("mwmae_tiny", compiled=True),
]
TOY = [
    Case("mwmae_nano", 4, profiled=True), Case("mae_nano", 4, profiled=True),
    Case("mwmae_nano", 2, compiled=True), Case("mwmae_nano", 2, precision="tf32"),
]
TOY_SECOND = [Case("mwmae_nano", 2, attention="windows_triton")]


def write_profile(stage, what: str, run) -> None:
    "Rows of the kernels in which a step spends its time; on a CPU, of its operators."
    gpu = stage.device.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * gpu
    with profile(activities=activities, acc_events=True) as found:
        begin = stage.clock()
        run()
        seconds = stage.clock() - begin
    events = [event for event in found.key_averages() if not event.is_user_annotation]
    if gpu:
        kernels = [event for event in events if event.device_type == DeviceType.CUDA]
    else:
        kernels = [event for event in events if event.key.startswith("aten::")]
    length = {event.key: event.self_device_time_total if gpu else event.self_cpu_time_total for event in kernels}
    stage.row(f"{what}: {'kernels' if gpu else 'operators'}", sum(event.count for event in kernels), "in a step")
    stage.row(f"{what}: all of them", sum(length.values()) / 1e6 / seconds, "share of the profiled step")
    if gpu:
        waits = sum(event.count for event in events if "Synchronize" in event.key)
        stage.row(f"{what}: calls of CUDA that wait, some of them the clock's and the profiler's", waits, "in a step")
    for event in sorted(kernels, key=lambda event: -length[event.key])[:KERNELS]:
        name = " ".join(event.key.split())[:100]
        stage.row(f"{what}: {event.count} x {name}", length[event.key] / 1e3, "ms in a step")


def measure_step(stage, case: Case, parts: int) -> None:
    "Rows of one model: speed, share of the peak, memory, and perhaps its kernels."
    peak, what, name = stage.matrix_peak(case.precision), str(case), f"{case.model}_4x16"
    if parts > 1:
        what += f", in {parts} micro-batches"
    other = {"decoder_attention": case.attention} if case.attention != "windows" else {}
    config = model_config(name, frames=case.frames, **other)
    steps = Steps(stage, config, case.clips, case.precision, case.clips // parts, case.compiled)
    begin = stage.clock()
    steps()
    stage.row(f"{what}: first step", stage.clock() - begin, "s")
    seconds = stage.seconds(steps)
    flops = case.clips * model_cost(model_config(name, frames=case.frames))["training_flops"]
    stage.row(f"{what}: speed", case.clips / seconds, "clips/s")
    stage.row(f"{what}: operations", flops / seconds / peak, "share of the matrix peak")
    stage.row(f"{what}: memory", stage.peak_memory(), "GiB at most")
    if case.profiled:
        check_waits(stage, what, steps)
        write_profile(stage, what, steps)


def measure_case(stage, case: Case) -> None:
    "A step, in more micro-batches as long as memory is too small, which is a result too."
    if case.attention == "windows_triton" and (why := why_no_triton(stage)):
        stage.row(f"{case}: the kernel is not measured, {why}", "")
        if not stage.toy:
            return
    for parts in (1, 2, 4, 8):
        stage.free()
        try:
            return measure_step(stage, case, parts)
        except torch.OutOfMemoryError:
            stage.row(f"{case}: out of memory", parts, "micro-batches")
        torch._dynamo.reset()  # it keeps what was compiled


def measure(stage) -> None:
    "The most important steps, what belongs to a run, and other steps."
    job = lambda cases: {str(case): partial(measure_case, stage, case) for case in cases}
    if stage.toy:
        jobs = job(TOY) | gpu_run.jobs(stage) | job(TOY_SECOND)
    else:
        jobs = job(FIRST) | gpu_run.jobs(stage) | job(SECOND) | gpu_run.more_jobs(stage) | job(LAST)
    stage.attempt_all(jobs)
