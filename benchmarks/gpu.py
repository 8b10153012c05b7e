"""All that is to be measured on a GPU, in one command that fits into a few minutes of a machine that was lent.

    python benchmarks/gpu.py --out RESULTS --minutes 8
    python benchmarks/gpu.py --out RESULTS --toy          # the same code at toy size, on a CPU

Five stages, the most important first:

- a, parity: the published system's numbers in float32, TF32 and bfloat16; steps that are shortened or left out; each
  way to attend, the kernel in Triton's language among them; a run that is resumed
- b, training: steps of MW-MAE and MAE, eager and compiled, against the matrix peak; whether the host waits for the
  device; the micro-batch that is found and the memory that it takes; the loader; checkpoints while training goes on
- c, attention: windows beside SDPA, FlexAttention and the loop over heads, and the least that any code could take
- d, embedding: clips of 10 s, beside timm's encoder; log-mel spectrograms
- e, commands: pretrain, stopped by SIGTERM and going on, embed, finetune, export, hear; two processes on one GPU

Each stage is a process with a time limit of its own: its share of the minutes that are left. It appends its rows to
RESULTS/gpu.csv as soon as it has them and what it prints to RESULTS/<stage>.log. A stage that fails does not keep the
next from running; the last lines say what each stage did, and the exit status is 0 if none failed. What there was no
time for is named in a row; the same command with `--go_on` measures it, and leaves out what RESULTS/gpu.csv holds.
At toy size two stages run at a time.

A machine without a network needs the packages of settings.ini beside PyTorch. Fill a folder where there is a network,
naming the packages that the other machine lacks and what they need, for its system and its version of Python:

    pip download -d FOLDER --no-deps --only-binary=:all: --python-version 3.12 \\
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform any \\
        'fastcore<2' soundfile cffi pycparser

Then `--wheels FOLDER` installs those of its wheels that are not there yet, without a network, into a temporary folder.
"""
import argparse
import csv
import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from contextlib import suppress
from importlib.metadata import distribution, PackageNotFoundError
from pathlib import Path

HERE = Path(__file__).resolve().parent
STAGES = {  # the module gpu_<name> of each stage, and its share of the time
    "a": ("parity", 0.12),
    "b": ("training", 0.47),
    "c": ("attention", 0.17),
    "d": ("embedding", 0.05),
    "e": ("commands", 0.19),
}
SOFT = 0.85  # part of its limit after which a stage begins nothing any more


def options():
    "What was typed."
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder for gpu.csv and the logs; rows are added to those in it")
    parser.add_argument("--minutes", type=float, default=8.0, help="time for all stages together; default: 8")
    parser.add_argument("--stages", default=",".join(STAGES), help="which stages, such as a,c; default: all")
    parser.add_argument("--toy", action="store_true", help="toy size, on a CPU")
    parser.add_argument("--go_on", action="store_true", help="leave out what gpu.csv says was measured, but in stage e")
    parser.add_argument("--wheels", help="folder of wheels to install without a network, those that are not there yet")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)  # a stage, and when it should end
    given = parser.parse_args()
    given.stages = list(dict.fromkeys(given.stages.split(",")))
    if unknown := [name for name in given.stages if name not in STAGES]:
        parser.error(f"--stages: {unknown[0]!r} is none of {','.join(STAGES)}")
    return given


# --- packages


def is_installed(package: str) -> bool:
    "Whether a package is there."
    try:
        return bool(distribution(package))
    except PackageNotFoundError:
        return False


def requirements() -> list[str]:
    "The packages that the library needs and those for ONNX, with their versions."
    settings = ConfigParser(delimiters=["="])
    settings.read(HERE.parent / "settings.ini", encoding="utf-8")
    return [*settings["DEFAULT"]["requirements"].split(), *settings["DEFAULT"]["onnx_requirements"].split()]


def install(folder: str, site: Path) -> None:
    "Install the wheels of packages that are not there into a folder of their own."
    wheels = [path for path in sorted(Path(folder).glob("*.whl")) if not is_installed(path.name.split("-")[0])]
    print(f"wheels: {', '.join(path.name for path in wheels) or 'nothing to install'}", flush=True)
    if wheels:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        subprocess.run([*pip, "--no-deps", "--target", str(site), *map(str, wheels)])  # what fails is reported next


def report_missing() -> None:
    "Say which packages are not there, and how to bring them along."
    if missing := [needed for needed in requirements() if not is_installed(re.match(r"[\w-]+", needed)[0])]:
        print(f"not there: {shlex.join(missing)}; --help says how to bring them along", flush=True)


# --- stages


def child(name: str, until: float, given) -> None:
    "Run one stage in this process. Exits with one sentence if it fails."
    from gpu_stage import Stage
    try:
        stage = Stage(name, Path(given.out) / "gpu.csv", given.toy, until, given.go_on)
        importlib.import_module(f"gpu_{name}").measure(stage)
        stage.end()
    except Exception as error:
        traceback.print_exc()
        sys.exit(" ".join(f"{type(error).__name__}: {error}".split())[:300])


def end(process: subprocess.Popen) -> None:
    "End a stage and all processes that it started: first asked to, three seconds later not."
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)


def run_stage(name: str, limit: float, given, environment: dict, running: list) -> str:
    "Run a stage in a process of its own; returns why it failed, or nothing."
    log = Path(given.out) / f"{name}.log"
    begin = log.stat().st_size if log.exists() else 0
    command = [sys.executable, "-u", __file__, "--out", given.out, "--child", name, str(time.time() + SOFT * limit)]
    command += ["--toy"] * given.toy + ["--go_on"] * given.go_on
    with open(log, "ab") as file:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        running.append(process)
        try:
            status = process.wait(timeout=limit)
        except subprocess.TimeoutExpired:
            return f"stopped at its limit of {limit:.0f} s"
        finally:
            end(process)
            running.remove(process)
    if not status:
        return ""
    said = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
    return said[-1] if status == 1 and said else f"ended with status {status}"


def rows_of(path: Path, name: str) -> list[dict]:
    "The rows of a stage."
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["stage"] == name]


def outcome(name: str, rows: list[dict], failure: str) -> str:
    "One line about a stage."
    if failure:
        return f"{name}: failed: {failure} ({len(rows)} rows)"
    left = sum(int(row["value"]) for row in rows if row["unit"] == "cases")  # for which there was no time
    return f"{name}: {len(rows)} rows" + (f", no time for {left} more cases" if left else "")


def run_all(given, environment: dict) -> bool:
    "Run the chosen stages and say what each did; whether none failed."
    path, running = Path(given.out) / "gpu.csv", []
    stop = time.monotonic() + 60 * given.minutes
    chosen = [STAGES[letter] for letter in STAGES if letter in given.stages]
    if given.toy:
        chosen.sort(key=lambda stage: stage[0] != "commands")  # it takes longest there

    def run_one(i):
        (name, share), begin, before = chosen[i], time.monotonic(), len(rows_of(path, chosen[i][0]))
        later = 0 if given.toy else sum(share for _, share in chosen[i + 1 :])
        limit = max(1, (stop - begin) * share / (share + later))
        print(f"{name}, at most {limit:.0f} s ...", flush=True)
        failure = run_stage(name, limit, given, environment, running)
        print(f"{name} took {time.monotonic() - begin:.0f} s", flush=True)
        return outcome(name, rows_of(path, name)[before:], failure)

    with ThreadPoolExecutor(2 if given.toy else 1) as pool:  # at toy size no time matters
        try:
            results = list(pool.map(run_one, range(len(chosen))))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):  # after an error or a signal
                end(process)
    print("\n".join(results), flush=True)
    return not any(": failed: " in result for result in results)


def main() -> None:
    "Prepare, run the stages, and exit with 1 if one failed."
    given = options()
    if given.child:
        return child(given.child[0], float(given.child[1]), given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the stage is ended too
    Path(given.out).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        site = Path(folder) / "site"
        if given.wheels:
            install(given.wheels, site)
            sys.path.append(str(site))
        report_missing()
        paths = [str(HERE.parent), str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "TMPDIR": folder}
        if given.toy:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        good = run_all(given, environment)
    sys.exit(not good)


if __name__ == "__main__":
    main()
