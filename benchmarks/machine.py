"""What every benchmark says of the machine that it ran on."""
import csv
import datetime
import re
import time
from pathlib import Path

import torch

from mwmae.systems import processor_name

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def cpu_model() -> str:
    "The processor's name."
    return processor_name()


def facts(clock: str, threads: int) -> dict:
    "The columns that stand at the end of a row; PyTorch is told to use so many threads."
    torch.set_num_threads(threads)
    return {"clock": clock, "threads": threads, "torch": torch.__version__, "cpu": cpu_model(), "date": datetime.date.today().isoformat()}


def peak_memory() -> float:
    "The most memory that was resident in this process, in MB, with the pages of mapped files."
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def append_values(
    path: Path,  # a CSV file, made if there is none
    rows: list[tuple],  # (what, value, unit)
):
    "Print values, and append them to a table beside the date and the processor."
    exists = path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if not exists:
            writer.writerow(["date", "cpu", "what", "value", "unit"])
        for what, value, unit in rows:
            value = f"{value:.3f}" if isinstance(value, float) else value
            print(f"{what:80} {value:>12} {unit}")
            writer.writerow([datetime.date.today(), cpu_model(), what, value, unit])
