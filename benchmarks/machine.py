"""What every benchmark says of the machine that it ran on."""
import datetime
import time
from pathlib import Path

import torch

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def cpu_model() -> str:
    "The processor's name."
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def facts(clock: str, threads: int) -> dict:
    "The columns that stand at the end of a row; PyTorch is told to use so many threads."
    torch.set_num_threads(threads)
    return {"clock": clock, "threads": threads, "torch": torch.__version__, "cpu": cpu_model(), "date": datetime.date.today().isoformat()}
