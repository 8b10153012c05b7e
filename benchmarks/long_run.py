"""Embed a thousand files of 10 ms to 3 h by one process, and watch its memory and its open files.

    python benchmarks/long_run.py --out benchmarks/results

The encoder is one that takes no time (one block of width 32, a token for 80 ms of all bands), so that what is measured
is reading, spectrograms, cutting, pooling and writing; a larger encoder adds its weights and one batch of units, always
the same. Lengths are spread evenly over their logarithm from 10 ms to 10 minutes; six files have an hour and three have
three hours, one in each third of the run. Formats and sampling rates change from file to file. A row stands for each
twentieth of the files; `rss_mb` and `open_files` are the highest that were seen in it, looking four times a second.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from fastcore.script import call_parse

from machine import facts
from mwmae.models import save_model
from mwmae.model import MAEConfig, MaskedAutoencoder

KINDS = [
    ("wav", "PCM_16", 16_000),
    ("flac", "PCM_16", 22_050),
    ("ogg", "VORBIS", 16_000),
    ("wav", "PCM_24", 44_100),
    ("flac", "PCM_16", 16_000),
    ("wav", "PCM_U8", 8_000),
]
LONG = {
    0.05: 3600,
    0.15: 10_800,
    0.25: 3600,
    0.40: 3600,
    0.50: 10_800,
    0.60: 3600,
    0.75: 3600,
    0.85: 10_800,
    0.95: 3600,
}  # place in the run, and seconds
TOLERATED = 1.1  # how much more memory the last third of the run may take than the first


def lengths(
    files: int,  # how many
) -> list[float]:  # seconds, in the order of the run
    "Lengths of the files, the long ones at their places."
    spread = 10 ** np.linspace(-2, np.log10(600), files)
    seconds = np.random.default_rng(0).permutation(spread)
    for place, long in LONG.items():
        seconds[int(place * files)] = long
    return seconds.tolist()


def write_sound(
    folder: Path,  # where
    number: int,  # of the file
    seconds: float,  # its length
) -> Path:  # the file
    "Write noise that swells and fades, in little memory."
    suffix, subtype, rate = KINDS[number % len(KINDS)] if seconds < 1000 else KINDS[0]
    path, rng = folder / f"{number:05d}.{suffix}", np.random.default_rng(number)
    left = max(1, round(seconds * rate))
    with soundfile.SoundFile(path, "w", rate, 1, subtype) as file:
        while left:
            count = min(left, 30 * rate)
            file.write(
                (0.2 * np.sin(np.arange(count) / rate) * rng.standard_normal(count, np.float32)).astype(np.float32)
            )
            left -= count
    return path


def look(
    pid: int,  # a process
) -> tuple[float, float, int, float] | None:  # MB that it has, MB at most so far, open files, and seconds of a processor
    "What the system says of a process; None if it has ended."
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        now, most = (int(re.search(rf"{name}:\s*(\d+)", status)[1]) / 1024 for name in ("VmRSS", "VmHWM"))
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return now, most, len(os.listdir(f"/proc/{pid}/fd")), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    except (OSError, TypeError):
        return None


def watched(
    command: list[str],  # what to run
    out: Path,  # folder that it fills
    files: int,  # how many arrays there will be
    hours: np.ndarray,  # (files,) hours of sound up to each file
) -> pd.DataFrame:  # a row for each twentieth
    "Run a command and look at it four times a second."
    rows, seen = [], []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        if found := look(process.pid):
            seen.append(found)
        done = sum(name.endswith(".npy") for name in os.listdir(out)) if out.is_dir() else 0
        if seen and done >= (len(rows) + 1) * files / 20:
            now, most, opened, seconds = (max(values) for values in zip(*seen))
            row = {"files": done, "hours": round(hours[done - 1], 2), "seconds": round(seconds, 1)}
            rows.append(row | {"rss_mb": round(now), "peak_mb": round(most), "open_files": opened})
            seen = []
        time.sleep(0.25)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: status {process.returncode}")
    done = sum(name.endswith(".npy") for name in os.listdir(out))
    if done != files:
        sys.exit(f"{done} of {files} files were embedded")
    return pd.DataFrame(rows)


@call_parse
def main(
    files: int = 1000,  # how many files
    out: str = "",  # folder for long_run.csv; default: print only
    longest: int = 10_800,  # seconds of the longest file; less for a trial
):
    "Make the files, embed them, print what was seen, and exit 1 if memory or open files grew."
    with tempfile.TemporaryDirectory() as folder:
        folder, seconds = Path(folder), np.minimum(lengths(files), longest).tolist()
        start = time.monotonic()
        (folder / "sounds").mkdir()
        for number, length in enumerate(seconds):
            write_sound(folder / "sounds", number, length)
        print(f"{files} files, {sum(seconds) / 3600:.1f} h, written in {time.monotonic() - start:.0f} s", flush=True)
        torch.manual_seed(0)
        config = MAEConfig(
            patch_frames=8,
            patch_mels=80,
            encoder_width=32,
            encoder_depth=1,
            encoder_heads=2,
            decoder_width=8,
            decoder_depth=1,
        )
        save_model(MaskedAutoencoder(config), folder / "model")
        begin = "from mwmae.command_line import run_at_command_line; from mwmae.commands import mwmae_embed; "
        begin += "run_at_command_line(mwmae_embed.__wrapped__)"
        command = [
            sys.executable,
            "-c",
            begin,
            str(folder / "sounds"),
            "--model",
            str(folder / "model"),
            "--out",
            str(folder / "out"),
        ]
        table = watched(command, folder / "out", files, np.cumsum(seconds) / 3600)
    table = table.assign(**facts("cpu", 1))
    print(table.iloc[:, :6].to_string(index=False))
    if out:
        table.to_csv(Path(out) / "long_run.csv", index=False)
    third = len(table) // 3
    first, last = table.iloc[:third], table.iloc[-third:]
    more = last.rss_mb.max() / first.rss_mb.max()
    flat = more <= TOLERATED and last.open_files.max() <= first.open_files.max() + 2
    opened = f"{last.open_files.max()} open files after {first.open_files.max()}"
    print(f"the last third took {more:.2f} times the memory of the first, {opened}: {'flat' if flat else 'NOT FLAT'}")
    sys.exit(not flat)
