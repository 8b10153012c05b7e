"""What the stages of gpu.py have in common: the device, its clock and its peaks, and the rows."""
import csv
import datetime
import gc
import io
import math
import os
import resource
import statistics
import time
from pathlib import Path

import torch

from machine import cpu_model

REFERENCE = Path(__file__).resolve().parent.parent / "nbs" / "reference"
COLUMNS = ("device", "processor", "torch", "date", "stage", "what", "value", "unit")


class Stage:
    "Where a stage measures, when it should end, and where its rows go."

    def __init__(
        self,
        name: str,  # of the stage
        path: Path,  # the table
        toy: bool,  # toy size, on a CPU
        until: float,  # when to begin nothing any more, seconds since 1970
    ):
        if not toy and not torch.cuda.is_available():
            raise RuntimeError("PyTorch finds no GPU; --toy measures on a CPU")
        self.path, self.toy, self.until, self.wrong = path, toy, until, []
        self.device = torch.device("cpu" if toy else "cuda")
        device = "CPU, toy size" if toy else torch.cuda.get_device_name()
        date = datetime.date.today().isoformat()
        self.facts = (device, cpu_model(), torch.__version__, date, name)
        if not path.exists() or not path.stat().st_size:
            self.append(COLUMNS)

    def append(self, values):
        "Add a line to the table by a single write, so that no kill leaves half of it."
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        with open(self.path, "ab", buffering=0) as file:
            file.write(line.getvalue().encode())

    def row(
        self,
        what: str,  # was measured
        value,  # a number, or nothing
        unit: str = "",
    ):
        "Write down what was measured."
        value = f"{value:.6g}" if isinstance(value, float) else value
        self.append((*self.facts, what, value, unit))
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

    def end(self):
        "Raise `ArithmeticError` if a comparison failed."
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
        dtype: torch.dtype = torch.bfloat16,
    ) -> float:  # operations per second
        "The rate of a large matrix product of random numbers."
        size = 256 if self.toy else 8192
        a, b = torch.randn(2, size, size, device=self.device).to(dtype)
        rate = 2 * size**3 / self.seconds(lambda: a @ b)
        self.row(f"matrix product of {size}, {str(dtype)[6:]}", rate / 1e12, "TFLOP/s")
        return rate

    def bandwidth(self) -> float:
        "Bytes per second, read and written, of a large copy."
        a = torch.randn(2**20 if self.toy else 2**28, device=self.device)
        b = torch.empty_like(a)
        rate = 2 * a.nbytes / self.seconds(lambda: b.copy_(a))
        self.row(f"copy of {a.nbytes / 2**20:.0f} MiB, read and written", rate / 1e9, "GB/s")
        return rate


def work_folder() -> str:
    "The temporary folder that gpu.py removes at its end."
    return os.environ["TMPDIR"]
