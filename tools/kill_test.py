"""Kill a pre-training run again and again, resume it each time, and compare its end with that of an undisturbed run.

The weights, the optimiser's moments and log.csv must be the same bytes.
"""
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fastcore.script import call_parse

from mwmae.pretrain import make_builtin


def steps_logged(
    run: Path,  # run folder
) -> int:  # steps in its log
    "How far a run has come."
    log = run / "log.csv"
    return max(0, log.read_text().count("\n") - 2) if log.exists() else 0


def run_until_killed(
    command: list[str],  # the command
    run: Path,  # its run folder
    steps: int,  # kill it when its log has grown by so many steps
    delay: float,  # and so many seconds later
) -> bool:  # whether it was killed, not having come to its end
    "Run a command and kill it with SIGKILL. Exits if the command fails of its own."
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lowest = steps_logged(run)
    while process.poll() is None:
        lowest = min(lowest, steps_logged(run))  # a resumed run cuts off what it will write again
        if steps_logged(run) >= lowest + steps:
            time.sleep(delay)
            process.kill()
        time.sleep(0.003)
    if process.returncode > 0:
        sys.exit(f"{' '.join(command)}\n{process.stderr.read()}")
    return process.returncode < 0


@call_parse
def main(
    kills: int = 20,  # how often to kill
    workers: int = 0,  # loader processes of the run that is killed; the undisturbed one has none
    seed: int = 0,  # of the moments at which to kill
):
    "Kill and resume a run, compare it with one that was left alone, and exit 1 if they differ."
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, parts = Path(folder) / "whole", Path(folder) / "parts"
        make_builtin(Path(folder) / "store", 34)
        options = ["--data", f"{folder}/store", "--batch", "4", "--epochs", str(kills), "--save_every", "3", "--precision", "fp32"]
        run_until_killed(["mwmae_pretrain", *options, "--out", str(whole)], whole, sys.maxsize, 0)
        count = 0
        while True:
            known = (parts / "config.json").exists()
            command = ["mwmae_pretrain", "--out", str(parts), *(["--resume"] if known else [*options, "--workers", str(workers)])]
            more = rng.randint(1, 10) if count < kills else sys.maxsize
            if not run_until_killed(command, parts, more, rng.uniform(0, 0.2)):
                break
            count += 1
            print(f"kill {count} at step {steps_logged(parts)}", flush=True)
        last = max((whole / "checkpoints").iterdir()).name
        compared = ["log.csv", f"checkpoints/{last}/model.safetensors", f"checkpoints/{last}/optimizer.safetensors"]
        differ = [name for name in compared if (parts / name).read_bytes() != (whole / name).read_bytes()]
        print(f"{count} kills, {steps_logged(parts)} steps: " + (f"{', '.join(differ)} differ" if differ else "the same bytes as the undisturbed run"))
        sys.exit(bool(differ) or count < kills)
