"""Stage e of gpu.py: the commands on a few sounds, each as a process of its own, with default settings.

Only epochs and checkpoints are given, so that a run ends soon. One run is stopped by SIGTERM and goes on by the same
command. After the first run two commands share the machine at a time, so seconds say no more than that each goes
through. One run is that of two processes on one device, by torchrun: NCCL refuses two processes on one GPU, so they
talk through gloo.
"""
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import mkdtemp, TemporaryFile

import soundfile
from safetensors.torch import load_file

from gpu_stage import REFERENCE
from mwmae.audio import SAMPLE_RATE
from mwmae.checkpoints import list_checkpoints
from mwmae.record import read_log
from mwmae.settings import builtin_sound

START = "import sys; sys.argv[0] = {name!r}; from mwmae import commands; "
START += "from mwmae.command_line import run_at_command_line; run_at_command_line(commands.{name})"
SHARE = "import torch; from accelerate import PartialState; "
SHARE += "PartialState(cpu=not torch.cuda.is_available(), backend='gloo'); "
TWO = ["-m", "torch.distributed.run", "--standalone", "--local_addr", "127.0.0.1", "--nproc_per_node", "2",
       "--no_python"]


def write_sounds(folder: Path, count: int) -> None:
    "Write clips of the built-in corpus as FLAC files in two folders."
    for number in range(count):
        name, samples = builtin_sound(number)
        place = folder / ("even", "odd")[number % 2] / f"{name}.flac"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, samples, SAMPLE_RATE)


def settings(stage) -> list[str]:
    "Of a run that takes long enough to be stopped on the way, and writes a checkpoint at its end alone."
    return ["--data", "sounds", "--epochs", "3" if stage.toy else "60", "--save_every", "1000"]


def run(stage, work: Path, what: str, name: str, *words: str, two: bool = False, stop_when=None) -> str:
    """Run a command and return what it printed; raises `RuntimeError` with its last line if it fails.

    With `stop_when` it is sent SIGTERM as soon as that is true, and has to end as a run that was stopped.
    """
    command = [sys.executable, "-c", (SHARE if two else "") + START.format(name=name), *words]
    if two:
        command = [sys.executable, *TWO, *command]
    begin, environment = time.perf_counter(), os.environ | {"GLOO_SOCKET_IFNAME": "lo"}
    with TemporaryFile("w+", errors="replace") as said:  # no pipe: its workers may outlive a command
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=said, stderr=subprocess.STDOUT)
        try:
            if stop_when:
                stop_process(stage, process, stop_when)
            status = process.wait(timeout=stage.left())
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun ends its processes
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5)
            raise
        finally:
            process.kill()
            said.seek(0)
            text = said.read().strip()
            print(text, flush=True)
    if status != (130 if stop_when else 0):
        last = text.rpartition("\n")[2] or "nothing was printed"
        raise RuntimeError(f"{what} ended with status {status}: {last[:200]}")
    stage.row(what, time.perf_counter() - begin, "s")
    return text


def stop_process(stage, process: subprocess.Popen, stop_when) -> None:
    "Wait until it is time, and send SIGTERM; raises `TimeoutExpired` if there is no time for it."
    until = time.monotonic() + stage.left()
    while not stop_when() and process.poll() is None:
        if time.monotonic() > until:
            raise subprocess.TimeoutExpired(process.args, stage.left())
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)


def steps_done(run: Path) -> int:
    "How many steps the log of a run has."
    log = run / "log.csv"
    lines = log.read_bytes().splitlines() if log.exists() else []
    return max(0, len(lines) - 2)  # without the head and the measurement before the first step


def weights(run: Path) -> dict:
    "The last weights of a run."
    return load_file(list_checkpoints(run / "checkpoints")[-1] / "model.safetensors")


def largest_difference(first: dict, second: dict) -> float:
    "Between the weights of two runs."
    return max((first[name] - second[name]).abs().max().item() for name in first)


def first_loss(run: Path) -> float:
    "The loss of the first step."
    return float(read_log(run).loss.dropna().iloc[0])


def pretrain(stage, work: Path) -> None:
    "A run from a folder of sounds."
    run(stage, work, "mwmae_pretrain", "mwmae_pretrain", *settings(stage), "--out", "runs/first")


def go_on(stage, work: Path) -> None:
    "The same run by one command, given twice: stopped by SIGTERM the first time, it goes on to the same weights."
    command = ["mwmae_pretrain", *settings(stage), "--resume", "auto", "--out", "runs/again"]
    folder = work / "runs" / "again"
    what = "mwmae_pretrain --resume auto"
    run(stage, work, f"{what}, stopped by SIGTERM", *command, stop_when=lambda: steps_done(folder) > 0)
    kept = [int(path.name) for path in list_checkpoints(folder / "checkpoints")]
    if kept != [steps_done(folder)]:
        raise RuntimeError(f"after SIGTERM there are checkpoints {kept}, expected one of step {steps_done(folder)}")
    stage.row(f"{what}, stopped by SIGTERM: checkpoint", kept[0], "steps")
    said = run(stage, work, f"{what}, the same again", *command)
    if f"going on after step {kept[0]:,}" not in said:
        raise RuntimeError(f"{what}, the same again: it did not go on after step {kept[0]}")
    apart = largest_difference(weights(folder), weights(work / "runs" / "first"))
    stage.row(f"{what}, weights beside those of one run", apart, "largest difference")


def two_processes(stage, work: Path) -> None:
    "The same run by two processes on one device, but a short one."
    what = "mwmae_pretrain by two processes on one device (gloo)"
    words = [*settings(stage), "--epochs", "1" if stage.toy else "3", "--out", "runs/two"]
    run(stage, work, what, "mwmae_pretrain", *words, two=True)
    one, two = (first_loss(work / "runs" / name) for name in ("first", "two"))
    stage.compare(f"{what}: loss of the first step beside that of one", abs(two - one) / one, 1e-2)


def embed(stage, work: Path) -> None:
    "Embeddings of the sounds."
    run(stage, work, "mwmae_embed", "mwmae_embed", "sounds", "--model", "runs/first")


def finetune(stage, work: Path) -> None:
    "A classifier of the two folders."
    run(stage, work, "mwmae_finetune", "mwmae_finetune", "sounds", "--model", "runs/first")


def export(stage, work: Path) -> None:
    "An ONNX file."
    run(stage, work, "mwmae_export", "mwmae_export", "runs/first", "model.onnx")


def hear(stage, work: Path) -> None:
    "Scores on the built-in tasks; at toy size on a smaller one."
    tasks = [str(REFERENCE / "v0.1" / "tasks"), "--seeds", "1"] if stage.toy else []
    run(stage, work, "mwmae_hear", "mwmae_hear", *tasks, "--model", "runs/first")


def run_in_order(stage, work: Path, commands: list) -> None:
    "Run commands while there is time; after one that fails go on, and let the stage fail at its end."
    for command in stage.in_time(commands):
        name = command.__name__
        try:
            command(stage, work)
        except subprocess.TimeoutExpired:
            stage.row(f"no time for the rest of {name}", 1, "cases")
        except (RuntimeError, IndexError, OSError) as error:
            stage.row(f"{name} failed", "")
            stage.wrong.append(" ".join(f"{name}: {error}".split()))


def measure(stage) -> None:
    "A run, and then all that starts from it, in two rows side by side."
    work = Path(mkdtemp())
    write_sounds(work / "sounds", 20 if stage.toy else 64)
    run_in_order(stage, work, [pretrain])
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(partial(run_in_order, stage, work), [[go_on, two_processes], [export, embed, finetune, hear]]))
