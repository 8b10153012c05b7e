"""Do to a run of two processes what a cluster does to it, give the same command again, and compare the ends.

Two processes on the CPU train with two loader processes each, started by `torchrun`, and are stopped or killed in the
middle. A case holds if

- what is left has a checkpoint that is whole;
- the same command, once more, goes on and ends;
- checkpoint and log are then the same bytes as those of a run that nobody disturbed;
- the processes wrote no traceback, and at most one of them a sentence.

A run may also go on in another way: by one process, or with weights that are sharded. Sums are then taken in another
order, so log and checkpoint agree but for rounding.

`torchrun` itself reports a killed process with a traceback of its own; the processes write to files of their own here.
"""
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # the same sums in the same order

import psutil
from fastcore.script import call_parse

from mwmae.checkpoints import check_checkpoint, newest_checkpoint
from mwmae.files import load_tensors
from mwmae.record import read_log
from mwmae.sounds import synth_clip
from mwmae.store import prepare_samples

GRACE = 120  # seconds after which a command is taken to hang
STEPS = 24  # of a whole run
OPTIONS = ("--model mae_nano_8x16 --epochs 4 --batch 8 --precision fp32 --workers 2 --save_every 5 --evaluate_every 6 "
           "--resume auto").split()

# a file for --code that lets one crop fail in the second process, as if its disk had an error
FAULT = """
import os
from mwmae.audio import InputError
from mwmae.crops import CropDataset

if os.environ.get("RANK") == "1" and not os.path.exists("mended"):
    gather = CropDataset.gather
    def broken(self, examples, batch=None):
        if examples[0][0] == 2:
            raise InputError("sound.wav: the disk has an error")
        return gather(self, examples, batch)
    CropDataset.gather = broken
"""

# a file for --code that shards weights on the CPU, where accelerate does not do it on its own
SHARDED = """
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from mwmae.checkpoints import is_sharded
from mwmae.run import Run

build = Run.build
def sharded(self):
    self.accelerator.state.distributed_type = DistributedType.FSDP
    self.accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
    build(self)
    assert is_sharded(self.module)
Run.build = sharded
"""
RECIPES = Path(__file__).resolve().parent.parent / "recipes"

# what a job needs of Slurm: tasks that get the signals sent to srun, and a note of what goes back into the queue
SRUN = """#!/bin/bash
while [ "${1#--}" != "$1" ]; do shift; done
trap 'for one in $tasks; do kill -USR1 $one; done' USR1
for number in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$number SLURM_LOCALID=$number "$@" 2>> "$SLURM_LOG.$number" &
    tasks="$tasks $!"
done
largest=0
for task in $tasks; do
    while kill -0 $task 2> /dev/null; do
        wait $task
        status=$?
    done
    if [ $status -gt $largest ]; then largest=$status; fi
done
exit $largest
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo localhost; else echo "$@" >> "$SLURM_LOG"; fi
"""


def command(
    folder: Path,  # where everything is
    run: str,  # name of the run folder
    restarts: int = 0,  # how often torchrun may start again
    processes: int = 2,  # how many
    more: tuple = (),  # other options
    sharded: bool = False,  # launch with the configuration that shards weights
) -> list[str]:  # words
    "The command of a run, always the same."
    launch = ["torchrun", "--standalone", "--nproc_per_node", str(processes), "--max-restarts", str(restarts), "--redirects", "3",
              "--log-dir", str(folder / f"{run} log"), "--signals-to-handle", "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"]
    if sharded:
        launch = ["accelerate", "launch", "--config_file", str(RECIPES / "fsdp.yaml"), "--num_processes", "2", "--main_process_port", "0"]
    return [*launch, shutil.which("mwmae_pretrain"), "--data", str(folder / "store"), "--out", str(folder / run), *OPTIONS, *more]


NOTES = []  # what was seen of a case


def say(
    note: str,  # a sentence without its end
):
    "Print and remember what was seen."
    print(f"    {note}", flush=True)
    NOTES.append(note)


def steps_done(
    run: Path,  # run folder
) -> int:  # rows of its log
    "How far a run is."
    log = run / "log.csv"
    return max(log.read_text().count("\n") - 2, 0) if log.exists() else 0


def family(
    launcher: subprocess.Popen,  # torchrun
) -> tuple[list, list]:  # the training processes by rank, and their loader processes by rank
    "The processes of a run."
    ranks = [child for child in psutil.Process(launcher.pid).children() if "mwmae_pretrain" in " ".join(child.cmdline())]
    ranks.sort(key=lambda process: int(process.environ()["RANK"]))
    return ranks, [process.children() for process in ranks]


def everyone(
    launcher: subprocess.Popen,  # torchrun
    number: int,  # a signal
):
    "Send a signal to all processes of a run, as the end of a job does."
    for process in [*psutil.Process(launcher.pid).children(recursive=True), launcher]:
        process.send_signal(number)


def disturb(
    folder: Path,  # where everything is
    run: str,  # name of the run folder
    happens,  # called with torchrun once the run is on its way
    **options,  # of `command`
) -> str:  # what is wrong; empty if nothing is
    "Start a run, disturb it, and look at what is left."
    with subprocess.Popen(command(folder, run, **options), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as launcher:
        begin = time.monotonic()
        while steps_done(folder / run) < STEPS // 3 and launcher.poll() is None:
            if time.monotonic() - begin > GRACE:
                launcher.kill()
                return "it did not begin"
            time.sleep(0.02)
        if happens and launcher.poll() is None:
            happens(launcher)
        try:
            status = launcher.wait(GRACE)
        except subprocess.TimeoutExpired:
            everyone(launcher, signal.SIGKILL)
            return "it hangs"
    newest = newest_checkpoint(folder / run / "checkpoints", lambda sentence: None)
    if not newest:
        return "it left no checkpoint"
    check_checkpoint(newest)
    shown = status if status >= 0 else 128 - status  # as a shell shows the end by a signal
    say(f"exit status {shown} after step {int(newest.name)}")
    said = [path.read_text() for path in (folder / f"{run} log").rglob("stderr.log")]
    sentences = [line for text in said for line in text.splitlines() if line.startswith("mwmae_pretrain: ")]
    for sentence in sentences:
        say(f"'{sentence}'")
    if any("Traceback" in text for text in said):
        return next(text for text in said if "Traceback" in text)
    return "more than one sentence" if len(sentences) > 1 else ""


def complete(
    folder: Path,  # where everything is
    run: str,  # name of the run folder
    **options,  # of `command`
) -> str:  # what is wrong; empty if nothing is
    "Give the command of a run again, and compare the end with the undisturbed one."
    done = subprocess.run(command(folder, run, **options), cwd=folder, capture_output=True, text=True, timeout=GRACE)
    if done.returncode:
        said = "".join(path.read_text() for path in (folder / f"{run} log").rglob("stderr.log"))
        return f"exit status {done.returncode}: {said or done.stderr}"
    last = f"checkpoints/{STEPS:08d}"
    for name in ("log.csv", f"{last}/model.safetensors", f"{last}/optimizer.safetensors", f"{last}/state.json"):
        if (folder / run / name).read_bytes() != (folder / "undisturbed" / name).read_bytes():
            return f"{name} is not that of the undisturbed run"
    return ""


def kill(
    rank: int,  # which process
    loader: bool = False,  # one of its loader processes, and not itself
):  # a function of torchrun
    "Kill one process, as the system does when memory is short."
    def now(launcher):
        ranks, loaders = family(launcher)
        (loaders[rank][0] if loader else ranks[rank]).kill()
    return now


def agree(
    folder: Path,  # where everything is
    run: str,  # name of the run folder
) -> str:  # what is wrong; empty if nothing is
    "Compare the end of a run with the undisturbed one, but for rounding."
    runs, last = [folder / name for name in (run, "undisturbed")], f"checkpoints/{STEPS:08d}/model.safetensors"
    weights = [load_tensors(place / last) for place in runs]
    largest = max((weights[0][name] - tensor).abs().max().item() for name, tensor in weights[1].items())
    logs = [read_log(place) for place in runs]
    apart = (logs[0].loss - logs[1].loss).abs().max()
    say(f"losses differ by at most {apart:.1e}, weights by {largest:.1e}")
    return "" if apart < 1e-4 and largest < 1e-4 else "that is more than rounding"


def differently(
    folder: Path,  # where everything is
    run: str,  # name of the run folder
    **options,  # of `command`
) -> str:  # what is wrong; empty if nothing is
    "End a job of two processes, and go on in another way."
    wrong = disturb(folder, run, lambda launcher: everyone(launcher, signal.SIGTERM))
    if wrong:
        return wrong
    done = subprocess.run(command(folder, run, **options), cwd=folder, capture_output=True, text=True, timeout=GRACE)
    if done.returncode:
        said = "".join(path.read_text() for path in (folder / f"{run} log").rglob("stderr.log"))
        return f"exit status {done.returncode}: {said or done.stderr}"
    return agree(folder, run)


CASES = {  # what happens, restarts by torchrun, and whether it is part of the short form
    "the job is ended (SIGTERM to all processes)": (lambda launcher: everyone(launcher, signal.SIGTERM), 0, True),
    "time is nearly up (SIGUSR1 to all processes)": (lambda launcher: everyone(launcher, signal.SIGUSR1), 0, False),
    "time is nearly up (SIGUSR1 to torchrun alone)": (lambda launcher: launcher.send_signal(signal.SIGUSR1), 0, False),
    "Ctrl-C": (lambda launcher: launcher.send_signal(signal.SIGINT), 0, False),
    "a loader process of the first process is killed": (kill(0, loader=True), 0, False),
    "a loader process of the second process is killed": (kill(1, loader=True), 0, True),
    "the first process is killed": (kill(0), 0, False),
    "the second process is killed": (kill(1), 0, False),
    "torchrun is killed": (lambda launcher: everyone(launcher, signal.SIGKILL), 0, False),
    "the second process is killed, torchrun starts again": (kill(1), 3, True),
    "the first process is killed, torchrun starts again": (kill(0), 3, False),
}


def fault(
    folder: Path,  # where everything is
) -> str:  # what is wrong; empty if nothing is
    "The second process meets an error of its own."
    (folder / "fault.py").write_text(FAULT)
    options = {"more": ("--code", "fault.py")}
    wrong = disturb(folder, "fault", None, **options)
    said = "".join(path.read_text() for path in (folder / "fault log").rglob("stderr.log"))
    if said.count("sound.wav: the disk has an error") != 1:
        wrong = wrong or f"expected one sentence with the error: {said}"
    (folder / "mended").touch()
    return wrong or complete(folder, "fault", **options)


def slurm(
    folder: Path,  # where everything is
    recipe: str,  # file of a job
    tasks: int,  # that srun starts
) -> str:  # what is wrong; empty if nothing is
    "Run a job with a stand-in for Slurm: it is told that its time is up, goes back into the queue, and ends."
    run, tools, log = Path(recipe).stem, folder / "slurm", folder / f"{recipe}.log"
    tools.mkdir(exist_ok=True)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    known = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_JOB_NODELIST": "here", "SLURM_NTASKS": str(tasks), "SLURM_NNODES": "1",
             "SLURM_GPUS_ON_NODE": "2", "SLURM_CPUS_PER_TASK": "1", "SLURM_LOG": str(log), "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    words = ["bash", str(RECIPES / recipe), "--data", str(folder / "store"), "--out", str(folder / run), *OPTIONS[:-2]]
    for turn in ("first", "second"):
        with open(folder / f"{recipe} {turn}.txt", "w") as output:
            job = subprocess.Popen(words, cwd=folder, env=os.environ | known, stdout=output, stderr=output)
        begin = time.monotonic()
        while turn == "first" and steps_done(folder / run) < STEPS // 3 and time.monotonic() - begin < GRACE:
            time.sleep(0.02)
        if turn == "first":
            shells = [job.pid] if recipe == "torchrun.sbatch" else [
                child.pid for child in psutil.Process(job.pid).children() if "srun" in " ".join(child.cmdline())]
            for shell in shells:
                os.kill(shell, signal.SIGUSR1)
        status = job.wait(GRACE)
        say(f"{turn} turn: exit status {status}")
    told = log.read_text().splitlines() if log.exists() else []
    if told != [f"requeue {os.getpid()}"] or status:
        return f"Slurm was told {told}; {output.name} has the rest: {Path(output.name).read_text()[-2000:]}"
    return agree(folder, run)


OTHERS = {  # cases of another kind, called with the folder; and whether they are part of the short form
    "the second process meets an error": (fault, True),
    "Slurm, one process for each task": (lambda folder: slurm(folder, "slurm.sbatch", 2), False),
    "Slurm and torchrun": (lambda folder: slurm(folder, "torchrun.sbatch", 1), False),
    "one process goes on": (lambda folder: differently(folder, "alone", processes=1), False),
    "three processes go on": (lambda folder: differently(folder, "three", processes=3), False),
    "weights are sharded from there on": (lambda folder: differently(folder, "sharded", sharded=True, more=("--code", "sharded.py")), False),
}


@call_parse
def main(
    quick: bool = False,  # the most important cases only
    only: str = "",  # cases with this text in their name
    results: str = "",  # table to write: case, what was seen, seconds
):
    "Disturb a run in every way, and print a line for each case and the counts."
    held, rows = 0, []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        sounds = ((f"{clip:03d}", synth_clip(0, clip, seconds=2.5)[0]) for clip in range(50))
        prepare_samples(sounds, folder / "store")
        wrong = complete(folder, "undisturbed")
        if wrong:
            sys.exit(f"the undisturbed run: {wrong}")
        (folder / "sharded.py").write_text(SHARDED)
        checks = {}
        for number, (name, (happens, restarts, short)) in enumerate(CASES.items()):
            def check(folder, run=f"run {number}", happens=happens, restarts=restarts):
                return disturb(folder, run, happens, restarts=restarts) or complete(folder, run, restarts=restarts)
            checks[name] = check, short
        for name, (check, short) in (checks | OTHERS).items():
            if only not in name or quick and not short:
                continue
            begin = time.monotonic()
            print(name, flush=True)
            NOTES.clear()
            wrong = check(folder)
            held += not wrong
            rows.append((name, "; ".join(NOTES), wrong or "held", round(time.monotonic() - begin)))
            print(f"    {wrong or 'held'} ({rows[-1][-1]} s)", flush=True)
    if results:
        with open(results, "w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([("case", "seen", "result", "seconds"), *rows])
    print(f"{len(rows)} tried, {held} held")
    sys.exit(held != len(rows))
