"""What the stages of gpu.py have in common: the device, its clock and its peaks, and the rows."""
import contextlib
import csv
import datetime
import gc
import importlib.util
import io
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

import torch

from machine import cpu_model

REFERENCE = Path(__file__).resolve().parent.parent / "nbs" / "reference"
TYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
WITHIN = 0.7  # part of a measurement that has to fit; what is behind the end of the time is a reserve
TOOK = ": the measurement took"  # the end of a row that says that something is done
COLUMNS = ("device", "processor", "torch", "date", "stage", "what", "value", "unit")


def line_of(values) -> bytes:
    "A line of a table."
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def append(path: Path, values) -> None:
    "Add a line to a table by a single write, so that no kill leaves half of it."
    with open(path, "ab", buffering=0) as file:
        file.write(line_of(values))


def begin_table(path: Path) -> None:
    "Make a table with the names of its columns, unless it is there."
    with contextlib.suppress(FileExistsError), open(path, "xb", buffering=0) as file:
        file.write(line_of(COLUMNS))


class Stage:
    "Where a stage measures, when it should end, and where its rows go."

    def __init__(
        self,
        name: str,  # of the stage
        path: Path,  # the table
        toy: bool,  # toy size, on a CPU
        until: float,  # when to begin nothing any more, seconds since 1970
        go_on: bool = False,  # leave out what the table says was done
    ):
        if not toy and not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no GPU; --toy measures on a CPU")
        self.path, self.toy, self.until, self.wrong, self.peaks = path, toy, until, [], {}
        self.device = torch.device("cpu" if toy else "cuda")
        device = "CPU, toy size" if toy else torch.cuda.get_device_name()
        date = datetime.date.today().isoformat()
        self.facts = (device, cpu_model(), torch.__version__, date, name)
        self.slowest = {}  # seconds of the longest measurement, by whether something was compiled
        begin_table(path)
        self.done = self.done_before() if go_on else set()

    def done_before(self) -> set:
        "What the table says this stage has measured on such a device."
        with open(self.path, newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if (row["device"], row["stage"]) == self.facts[::4]]
        return {row["what"].removesuffix(TOOK) for row in rows if row["what"].endswith(TOOK)}

    def row(
        self,
        what: str,  # was measured
        value,  # a number, or nothing
        unit: str = "",
    ):
        "Write down what was measured."
        value = f"{value:.6g}" if isinstance(value, float) else value
        append(self.path, (*self.facts, what, value, unit))
        print(f"{what}: {value} {unit}", flush=True)

    def compare(
        self,
        what: str,  # was compared
        error: float,  # how far it is from what it should be
        tolerance: float,  # how far it may be
        unit: str = "relative error",
    ):
        "Write down an error; one that is too large makes the stage fail at its end."
        self.row(what, error, unit)
        if not error <= tolerance:  # NaN is too large
            self.wrong.append(f"{what} is {error:.2g}, expected at most {tolerance:g}")

    def attempt(
        self,
        what: str,  # is measured
        job,  # function without arguments that measures it
    ):
        "Measure; after an error write a row and go on. The stage fails at its end, but not if memory was too small."
        begin = time.perf_counter()
        if "torch._dynamo" in sys.modules:  # it keeps what was compiled; importing it takes a second
            torch._dynamo.reset()
        self.free()
        try:
            job()
        except torch.OutOfMemoryError:
            self.row(f"{what}: out of memory", "")
        except Exception as error:  # of PyTorch, of a compiler, of a command
            traceback.print_exc()
            self.row(f"{what} failed", "")
            self.wrong.append(" ".join(f"{what}: {type(error).__name__}: {error}".split())[:300])
        else:
            self.row(what + TOOK, time.perf_counter() - begin, "s")

    def attempt_all(
        self,
        jobs: dict,  # function without arguments by what it measures, the most important first
    ):
        "Measure one thing after the other, without what would take too long for the time that is left."
        left = []
        for what, job in jobs.items():
            if what in self.done:
                continue
            begin, compiled = time.time(), "compiled" in what
            if begin + WITHIN * self.slowest.get(compiled, 0) > self.until:
                left.append(what)
                continue
            self.attempt(what, job)
            self.slowest[compiled] = max(self.slowest.get(compiled, 0), time.time() - begin)
        if left:
            self.row(f"no time for {'; '.join(left)}", len(left), "cases")

    def end(self):
        "Raise `ArithmeticError` if a comparison or a measurement failed."
        if self.wrong:
            more = f" (and {len(self.wrong) - 1} more)" if len(self.wrong) > 1 else ""
            raise ArithmeticError(self.wrong[0] + more)

    def in_time(
        self,
        cases: list,  # the most important first
    ):  # the cases, one after the other
        "Pass cases on until the time is over; a row says how many were left."
        for i, case in enumerate(cases):
            if time.time() > self.until:
                name = getattr(case, "__name__", case)
                return self.row(f"no time for what begins with {name}", len(cases) - i, "cases")
            yield case

    def left(self) -> float:
        "Seconds until the stage should end, at least one."
        return max(1.0, self.until - time.time())

    def clock(self) -> float:
        "Seconds, once the device has done all its work."
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def seconds(
        self,
        run,  # what to time
        least: float = 0.3,  # seconds between two readings of the clock
    ) -> float:  # seconds of a call
        "Median over three turns, each of so many calls that the device need not wait for the clock."
        run()  # allocates, compiles
        begin = self.clock()
        run()
        once = self.clock() - begin
        calls, taken = 1 if self.toy else min(100, math.ceil(least / once)), []
        for _ in range(3):
            begin = self.clock()
            for _ in range(calls):
                run()
            taken.append((self.clock() - begin) / calls)
        return statistics.median(taken)

    def free(self):
        "Give back what is not used any more, and measure the peak of the memory from here on."
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_memory(self) -> float:
        "GiB at most since `free`; on a CPU since the process began."
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated() / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20

    def matrix_peak(
        self,
        precision: str = "bf16",  # a name of `TYPES`
    ) -> float:  # operations per second
        "The rate of a large matrix product of random numbers, measured once; later products round alike."
        choose_products(precision)
        if precision not in self.peaks:
            size = 256 if self.toy else 8192
            a, b = torch.randn(2, size, size, device=self.device).to(TYPES[precision])
            rate = self.peaks[precision] = 2 * size**3 / self.seconds(lambda: a @ b)
            self.row(f"matrix product of {size}, {precision}", rate / 1e12, "TFLOP/s")
        return self.peaks[precision]

    def bandwidth(self) -> float:
        "Bytes per second, read and written, of a large copy."
        a = torch.randn(2**20 if self.toy else 2**28, device=self.device)
        b = torch.empty_like(a)
        rate = 2 * a.nbytes / self.seconds(lambda: b.copy_(a))
        self.row(f"copy of {a.nbytes / 2**20:.0f} MiB, read and written", rate / 1e9, "GB/s")
        return rate


def choose_products(precision: str) -> None:
    "Allow products of float32 to be rounded to TF32, or forbid it."
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


TRY = """
import sys, torch
from mwmae.attention import window_sizes
from mwmae.gpu_kernel import TritonMultiWindowAttention
device, n = sys.argv[1], int(sys.argv[2])
for bias in (False, True):
    layer = TritonMultiWindowAttention(384, window_sizes(n), bias).to(device)
    for half in (False, True):
        with torch.autocast(device, torch.bfloat16, enabled=half):
            out = layer(torch.randn(4, n, 384, device=device))
        out.float().square().mean().backward()
        if not all(t.isfinite().all() for t in (out, *(p.grad for p in layer.parameters()))):
            sys.exit("it computes numbers that are not finite")
"""  # what a kernel does that reads where it must not spoils its process


def try_triton(stage: Stage) -> str:
    "Run the kernel in Triton in a process of its own; why it does not work here, or nothing."
    command = [sys.executable, "-c", TRY, stage.device.type, "20" if stage.toy else "250"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=90)
    except subprocess.TimeoutExpired:
        return "compiling it takes too long"
    return (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1][:200] if done.returncode else ""


def why_no_triton(stage: Stage) -> str:
    "Why the kernel in Triton cannot be measured here, or nothing. It is tried once for all stages."
    if not importlib.util.find_spec("triton"):
        return "Triton is not installed"
    note = Path(work_folder()) / "triton.txt"
    if not note.exists():
        partial = note.with_suffix(f".{os.getpid()}")
        partial.write_text(try_triton(stage))
        partial.replace(note)
    return note.read_text() or ("" if stage.device.type == "cuda" else "it needs a GPU")


@contextlib.contextmanager
def waits_forbidden(device: torch.device):
    "Raise an error where the host would wait for a GPU; with a CPU there is nothing to wait for."
    choose = torch.cuda.set_sync_debug_mode if device.type == "cuda" else lambda mode: None
    choose("error")
    try:
        yield
    finally:
        choose("default")


def check_waits(
    stage: Stage,
    what: str,  # is queued
    queue,  # function without arguments that queues a step
    steps: int = 3,  # how often it is called
) -> None:
    "Rows that say whether queueing steps makes the host wait, and how far ahead of the device it runs."
    begin = stage.clock()
    try:
        with waits_forbidden(stage.device):
            for _ in range(steps):
                queue()
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        stage.row(f"{what}: no hidden wait", "fail")
        stage.wrong.append(" ".join(f"{what}: a hidden wait: {error}".split())[:300])
        return
    queued = time.perf_counter() - begin
    done = stage.clock() - begin
    passed = "pass" if stage.device.type == "cuda" else "not checked, this needs CUDA"
    stage.row(f"{what}: no hidden wait", passed)
    stage.row(f"{what}: the host queues it in", 1e3 * queued / steps, "ms")
    stage.row(f"{what}: it is done after", 1e3 * done / steps, "ms")


def work_folder() -> str:
    "The temporary folder that gpu.py removes at its end."
    return os.environ["TMPDIR"]
