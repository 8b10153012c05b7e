"""Kill every command that writes, again and again, run it again each time, and compare its end with an undisturbed one.

What a command leaves must be the same bytes, whatever the moment of the kills. Left out of the comparison:

- `.lock`, which names the process that had the folder last;
- `speed.csv`, `times.csv`, the columns `clips/s` and `seconds` of a table of ablations, and every value called `seconds` or
  `*_seconds`, which depend on the clock;
- `figures/` of a pre-training run: which of them are drawn before the end depends on the clock.

Starting Python and importing torch takes longer than most commands. So one process imports everything once, computes
nothing, and forks a child for each attempt; the child reads its command line as the console command would.
"""
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same sums in the same order

import soundfile
import torch
from common import make_task, published_tree, write_published
from fastcore.script import call_parse

from mwmae.audio import SAMPLE_RATE
from mwmae.sharing import save_pretrained
from mwmae.command_line import run_at_command_line
from mwmae.checkpoints import fingerprint
from mwmae.model import MaskedAutoencoder, model_config
from mwmae.settings import PretrainConfig
from mwmae.sounds import synth_clip

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from every_part import all_variants

LEFT_OUT = {".lock", "speed.csv", "times.csv"}
GRACE = 300  # seconds after which a command is taken to hang
IMPORTED = ("torch._dynamo", "mwmae.commands", "mwmae.pretrain", "mwmae.embed_files", "mwmae.finetune", "mwmae.hear", "mwmae.report",
            "mwmae.convert", "mwmae.export", "mwmae.analysis", "mwmae.vary")  # what commands import when they begin


# --- what the commands work on


def make_sounds(
    folder: Path,  # where
    count: int,  # how many
    seconds: float,  # length of each
):
    "Write sounds of the built-in corpus, in two folders, so that each label has many."
    for index in range(count):
        samples, _ = synth_clip(0, index, seconds=seconds)
        place = folder / ("even", "odd")[index % 2] / f"{index:03d}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(place, samples.numpy(), SAMPLE_RATE)


def make_inputs(
    folder: Path,  # where
):
    "Write what the commands read: sounds, a model, a task and a grid of two points."
    make_sounds(folder / "sounds", 34, 2.0)
    make_task(folder / "tasks" / "pitches-v1-full", "pitches", counts=(12, 6, 6), seconds=1.0)
    torch.manual_seed(0)
    model = MaskedAutoencoder(model_config("mwmae_nano_4x16"))
    save_pretrained(model, folder / "model")
    write_published(folder / "published", published_tree(model))
    points = [{"lr": rate, "epochs": 12, "hidden_dim": 32} for rate in (1e-3, 3e-3)]
    (folder / "grid.json").write_text(json.dumps(points), encoding="utf-8")


# --- the commands, and what each of them needs to have run before


def cases(
    kills: int,  # how often each is killed, which long runs are made long enough for
) -> dict:  # by name: command lines, of which the last is killed; OUT stands for its folder
    "What is killed: options of each command that writes."
    short = "--batch 4 --save_every 3 --precision fp32 --model mwmae_nano_4x16".split()
    embed = ["mwmae_embed", "sounds", "--model", "model", "--out", "OUT/embeddings"]
    hear = ["mwmae_hear", "tasks", "--model", "model", "--grid", "grid.json", "--seeds", "2", "--device", "cpu"]
    tuned = ["mwmae_finetune", "sounds", "--model", "model", "--epochs", "4", "--device", "cpu"]
    return {
        "prepare": [["mwmae_prepare", "sounds", "OUT/store", "--workers", "1"]],
        "pretrain": [
            ["mwmae_prepare", "sounds", "store", "--workers", "1"],
            ["mwmae_pretrain", "--data", "store", "--out", "OUT/run", "--epochs", str(max(2, kills // 2)), *short]],
        "embed": [embed],
        "embed-timestamps": [[*embed, "--timestamps"]],
        "embed-table": [[*embed, "--table"]],
        "embed-classify": [
            [*tuned, "--out", "classifier"],
            ["mwmae_embed", "sounds", "--model", "classifier", "--classify", "--out", "OUT/classes"]],
        "finetune": [[*tuned, "--layers", "1", "--save_minutes", "0", "--out", "OUT/classifier"]],
        "hear": [[*hear, "--out", "OUT/hear"]],
        "hear-groups": [[*hear, "--seeds", "4", "--seed_group", "1", "--out", "OUT/hear"]],
        "report": [[*hear, "--out", "hear"], ["mwmae_report", "hear", "--out", "OUT/report"]],
        "convert": [["mwmae_convert", "published", "OUT/converted", "--encoder_heads", "3"]],
        "export": [["mwmae_export", "model", "OUT/model.onnx"]],
        "export-program": [["mwmae_export", "model", "OUT/model.pt2", "--format", "program"]],
        "export-folder": [["mwmae_export", "model", "OUT/shared", "--format", "folder"]],
        "export-transformers": [["mwmae_export", "model", "OUT/hub", "--format", "transformers"]],
        "analyze": [["mwmae_analyze", "model", "--data", "sounds", "--out", "OUT/analysis", "--clips", "4", "--formats", "png"]],
        "ablate": [
            ["mwmae_prepare", "sounds", "store", "--workers", "1"],
            "mwmae_ablate 7 --data store --tasks tasks --out OUT/ablations --epochs 1 --seeds 1".split()],
        "vary": [
            ["mwmae_prepare", "sounds", "store", "--workers", "1"],
            "mwmae_ablate --vary mask_ratio=0.8,0.5 --data store --tasks tasks --out OUT/ablations --epochs 1 "
            "--seeds 1 --pretrain_seeds 2".split()],
    }


def part_cases() -> dict:  # by name, as those of `cases`
    "A short pre-training run with each part that the library has by name, if an option of the command asks for it."
    prepare = ["mwmae_prepare", "sounds", "store", "--workers", "1"]
    run = "mwmae_pretrain --data store --out OUT/run --frames 48 --batch 4 --save_every 3 --precision fp32".split()
    known = {field.name for field in fields(PretrainConfig)}
    found = {"part mae": [prepare, [*run, "--epochs", "1", "--model", "mae_nano_4x16"]]}
    for name, settings in (all_variants() | {"lengths mixed": {"lengths": "mixed"}}).items():
        if settings.keys() <= known:
            options = [f"--{key}" if value is True else f"--{key}={value}" for key, value in settings.items()]
            found[f"part {name}"] = [prepare, [*run, "--epochs", "1", *options]]
    return found


# --- one attempt


def run_child(
    line: list[str],  # a command and its options
    folder: Path,  # folder to run it in
    log: Path,  # file for what it prints
) -> int:  # process number of the child
    "Fork a child that runs a command. It is the head of a group, so that its workers can be killed with it."
    child = os.fork()
    if child:
        with suppress(OSError):  # the child does the same; who comes first does it
            os.setpgid(child, child)
        return child
    status = 70
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        os.chdir(folder)
        printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(printed, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.argv = line
        run_at_command_line(getattr(import_module("mwmae.commands"), line[0]))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        sys.stdout.flush()
        os._exit(status)


def wait_for(
    child: int,  # process number
    until: float | None,  # time.monotonic() at which to kill it; None leaves it alone
) -> int:  # its exit status, or minus the signal that ended it
    "Wait for a child, and kill it and all that it started when its time is up."
    latest = time.monotonic() + GRACE
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if now > latest or until is not None and now > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if now > latest:
                raise TimeoutError(f"no end after {GRACE} s")
            return -signal.SIGKILL
        time.sleep(0.002)


def again(
    line: list[str],  # a command line
    folder: Path,  # folder that it ran in
) -> list[str]:  # how to go on with it
    "The same command; a pre-training run that has begun goes on with `--resume`."
    if line[0] == "mwmae_pretrain" and (folder / line[line.index("--out") + 1] / "config.json").exists():
        return [*line, "--resume"]
    return line


# --- comparison


def without_seconds(
    value,  # content of a JSON file
):  # the same without what depends on the clock
    "Leave out what a clock measured."
    if isinstance(value, dict):
        return {name: without_seconds(item) for name, item in value.items() if not name.endswith("seconds")}
    if isinstance(value, list):
        return [without_seconds(item) for item in value]
    return value


def without_speed(
    text: str,  # a table of ablations
) -> str:  # the same without what depends on the clock
    "Leave out the columns that a clock measured; in a table on its side, the lines."
    lines, columns = [], slice(0, 0)
    for line in text.splitlines():
        if line.startswith(("clips/s ", "seconds ")):
            continue
        if "clips/s" in line:
            columns = slice(line.index("clips/s"), line.index("seconds") + len("seconds"))
        lines.append(line[: columns.start] + line[columns.stop :])
    return "\n".join(lines)


def without_last(
    text: str,  # a CSV file whose last column is the seconds that runs took
) -> str:  # the same without it
    "Leave out the last column."
    return "\n".join(line.rpartition(",")[0] for line in text.splitlines())


def contents(
    folder: Path,  # what a command wrote
) -> dict:  # by path, what must be equal
    "Size and checksum of every file, JSON without seconds, and the names of what was left half-written."
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        of_run = path.parent.name == "figures" and (path.parent.parent / "log.csv").exists()
        if path.name in LEFT_OUT or not path.is_file() or of_run:
            continue
        if path.suffix == ".json":
            found[name] = json.dumps(without_seconds(json.loads(path.read_text(encoding="utf-8"))))
        elif path.match("ablations/*.txt"):
            found[name] = without_speed(path.read_text(encoding="utf-8"))
        elif path.match("ablations/*.csv"):
            found[name] = without_last(path.read_text(encoding="utf-8"))
        else:
            found[name] = fingerprint(path)
    return found


def differing(
    before: dict,  # contents of the undisturbed folder
    now: dict,  # contents of the other
) -> list[str]:  # names
    "Files that only one of two folders has, or that differ."
    return [name for name in sorted(before.keys() | now.keys()) if before.get(name) != now.get(name)]


# --- one case


def run_case(
    name: str,  # of the case
    lines: list,  # its command lines
    inputs: Path,  # folder of what they read
    kills: int,  # how often to kill the last of them
    rng: random.Random,  # draws the moments
) -> tuple[int, str]:  # kills, and what was wrong, empty if nothing
    "Run a command undisturbed, and then killed again and again until it ends, and compare."
    log = inputs / f"{name}.log"
    placed = lambda line, where: [part.replace("OUT", where) for part in line]
    for line in lines[:-1]:
        if wait_for(run_child(line, inputs, log), None) != 0:
            return 0, f"{' '.join(line)} failed: {log.read_text(errors='replace')[-1500:]}"
    whole, parts = inputs / f"{name}-whole", inputs / f"{name}-parts"
    for place in (whole, parts):
        place.mkdir()
    begin = time.monotonic()
    if wait_for(run_child(placed(lines[-1], whole.name), inputs, log), None) != 0:
        return 0, f"{' '.join(lines[-1])} failed: {log.read_text(errors='replace')[-1500:]}"
    took, done, attempts = time.monotonic() - begin, 0, 0
    while True:
        line = again(placed(lines[-1], parts.name), inputs)
        until = time.monotonic() + rng.uniform(0, took) if done < kills else None
        status = wait_for(run_child(line, inputs, log), until)
        attempts += 1
        if status == -signal.SIGKILL:
            done += 1
        elif status:
            return done, f"{' '.join(line)}: status {status} after {done} kills: {log.read_text(errors='replace')[-1500:]}"
        elif done >= kills or attempts > 10 * kills:
            break
        elif not differing(contents(whole), contents(parts)):  # ended before it could be killed: begin again
            shutil.rmtree(parts)
            parts.mkdir()
        else:
            break
    differ = differing(contents(whole), contents(parts))
    return done, f"{', '.join(differ[:8])} differ" if differ else ""


@call_parse
def main(
    kills: int = 20,  # how often to kill each command
    commands: str = "",  # cases with commas between, such as pretrain,prepare,embed; default: all, without the parts
    parts: bool = False,  # pre-training with each part that the library has by name, and nothing else?
    seed: int = 0,  # of the moments at which to kill
):
    "Kill and repeat commands, compare their ends with undisturbed ones, and exit 1 if anything differs."
    known = part_cases() if parts else cases(kills)
    chosen = commands.split(",") if commands else list(known)
    if unknown := sorted(set(chosen) - known.keys()):
        sys.exit(f"--commands: {', '.join(unknown)} unknown, expected some of {', '.join(known)}")
    for name in IMPORTED:
        import_module(name)
    failed, count = [], 0
    with tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if not child:  # so that this process computes nothing and has no threads
            make_inputs(Path(folder))
            os._exit(0)
        if os.waitpid(child, 0)[1]:
            sys.exit("the inputs could not be made")
        for name in chosen:
            begin = time.monotonic()
            done, wrong = run_case(name, known[name], Path(folder), kills, random.Random(f"{seed} {name}"))
            count += done
            failed += [name] if wrong else []
            print(f"{name}: {done} kills in {time.monotonic() - begin:.0f} s, {wrong or 'the same bytes as undisturbed'}", flush=True)
    print(f"{count} kills of {len(chosen)} commands; " + (f"failed: {', '.join(failed)}" if failed else "all the same bytes as undisturbed"))
    sys.exit(bool(failed))
