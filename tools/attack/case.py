"What a case is, and how it is run: in a process and a folder of its own, with a look at everything afterwards."

import contextlib
import ctypes
import fnmatch
import hashlib
import io
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = {0, 2, 3, 130, 141}  # exit statuses that the chapter on commands promises
REFUSED, WORLD = 2, 3
LINES = {0: 12, 2: 1, 3: 1, 130: 3, 141: 0}  # most lines on standard error
LONGEST = 2_000  # characters of such a line


@dataclass(frozen=True)
class Case:
    "One thing that is tried, in the folder `work`; beside it lie `beside` and `home`, which nobody may touch."

    name: str  # subject/what it does
    command: str  # as one types it; several, with ` &` at the ends of lines, start at the same moment
    make: Callable = lambda kit, work: None  # prepares `work`; given the fixtures and the folder
    status: tuple | int = REFUSED  # exit statuses that are right, of each command
    says: str = ""  # regular expression that must be found in what is printed
    leaves: tuple = ()  # paths that must be there afterwards; one with '!' in front must not
    changes: tuple = ()  # patterns of prepared files that may change; all others must keep their bytes
    then: str | Callable = ""  # a command that must succeed afterwards, or a function of `work` that returns it
    then_says: str = ""  # regular expression that must be found in what that one prints
    check: Callable | None = None  # looks at `work` afterwards; returns a complaint, or nothing
    inside: Callable | None = None  # called in the command's process before it begins
    during: Callable | None = None  # called with (process, work) while it runs, such as to kill it
    after: Callable | None = None  # called with (work) when it has ended, before `then`, such as to make room
    undo: Callable | None = None  # called with (work) at the very end, such as to unmount
    environment: tuple = ()  # pairs of name and value
    real: bool = False  # a fresh interpreter, not a fork of one that has imported everything
    any_order: bool = False  # of several commands, one must succeed and the others may be refused
    limit: float = 60.0  # seconds
    memory: int = 1536  # MiB
    lines: int | None = None  # most lines on standard error


@dataclass
class Ended:
    "What became of a process."

    command: str
    status: int  # negative: the signal that killed it; -99: it had to be stopped
    out: str
    err: str
    peak: int  # MiB

    def __str__(self):
        typed = self.command if len(self.command) < 300 else f"{self.command[:300]}…"
        shown = f"$ {typed}\nexit status {self.status}, {self.peak} MiB"
        return "\n".join([shown, *(f"  {line[:400]}" for line in (self.out + self.err).strip().splitlines()[-14:])])


def entry_points() -> dict:
    "Module and function of every console command, by its name."
    lines = (ROOT / "settings.ini").read_text(encoding="utf-8").partition("console_scripts =")[2].split()
    return {name: target.split(":") for name, _, target in (line.partition("=") for line in lines)}


def command_function(name):
    "The function behind a console command."
    module, function = entry_points()[name]
    return getattr(sys.modules[module], function).__wrapped__


# running a command


def _settings(case, work):
    "The environment of a case."
    folder = work.parent
    fixed = {
        "HOME": folder / "home",
        "TMPDIR": folder / "tmp",
        "PYTHONPATH": ROOT,
        "OMP_NUM_THREADS": 1,
        "HF_HUB_OFFLINE": 1,
        "COLUMNS": 120,
        "CUDA_VISIBLE_DEVICES": "",
        "MPLCONFIGDIR": folder.parent / "matplotlib",
    }
    return {name: str(value) for name, value in fixed.items()} | dict(case.environment)


def end_with_parent():
    "Have this process killed when the one that forked it ends."
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _call(case, words, work):
    "Be the command: never returns."
    status = 1
    try:
        end_with_parent()
        os.environ.update(_settings(case, work))
        tempfile.tempdir = None
        os.chdir(work)
        encoding = os.environ.get("PYTHONIOENCODING", "utf-8")
        sys.stdin = open(os.devnull, encoding="utf-8")
        sys.stdout = io.TextIOWrapper(open(1, "wb", closefd=False), encoding=encoding)
        sys.stderr = io.TextIOWrapper(
            open(2, "wb", closefd=False), encoding=encoding, errors="backslashreplace", line_buffering=True
        )
        from mwmae.command_line import run_at_command_line

        sys.argv = words
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as Python has it
        if case.inside:
            case.inside()
        run_at_command_line(command_function(words[0]))
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(status)


def _start(case, command, work, log):
    "Start a command: its process id."
    words = shlex.split(command)
    if case.real:
        script = shutil.which(words[0], path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTHON"))
        } | _settings(case, work)
        with open(f"{log}.out", "wb") as out, open(f"{log}.err", "wb") as err:
            return subprocess.Popen(
                [script, *words[1:]],
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=case.inside,
            ).pid
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{log}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
    _call(case, words, work)


def _wait(case, processes, work):
    "Wait for processes: exit status and peak memory of each."
    end, found = time.monotonic() + case.limit, {}
    if case.during:
        case.during(processes[0], work)
    while len(found) < len(processes):
        for process in processes:
            if process not in found:
                done, status, usage = os.wait4(process, os.WNOHANG)
                if done:
                    found[process] = os.waitstatus_to_exitcode(status), usage.ru_maxrss // 1024
        if time.monotonic() > end:
            for process in set(processes) - found.keys():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process, signal.SIGKILL)
                usage = os.wait4(process, 0)[2]
                found[process] = -99, usage.ru_maxrss // 1024
        time.sleep(0.005)
    for process in processes:  # whatever they started
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
    return [found[process] for process in processes]


def run_commands(case, commands, work):
    "Start commands at the same moment and wait for all."
    logs = [str(work.parent / "logs" / f"{time.monotonic_ns()}-{i}") for i in range(len(commands))]
    processes = [_start(case, command, work, log) for command, log in zip(commands, logs)]
    results = _wait(case, processes, work)
    read = lambda path: Path(path).read_bytes().decode("utf-8", "backslashreplace") if os.path.exists(path) else ""
    return [
        Ended(command, *result[:1], read(f"{log}.out"), read(f"{log}.err"), result[1])
        for command, log, result in zip(commands, logs, results)
    ]


# looking at what is there


def snapshot(folder: Path) -> dict:
    "What lies below a folder: kind and digest by path. Links are not followed."
    found = {}
    for root, folders, files in os.walk(os.fsencode(folder)):
        for name in folders + files:
            path = os.path.join(root, name)
            try:
                mode = os.lstat(path).st_mode
                if stat.S_ISREG(mode):
                    with open(path, "rb") as file:
                        value = (
                            hashlib.file_digest(file, "blake2b").hexdigest()
                            if hasattr(hashlib, "file_digest")
                            else hashlib.blake2b(file.read()).hexdigest()
                        )
                else:
                    value = os.readlink(path) if stat.S_ISLNK(mode) else stat.S_IFMT(mode)
            except OSError as error:
                value = f"unreadable: {error.strerror}"
            found[os.fsdecode(os.path.relpath(path, os.fsencode(folder)))] = value
    return found


def _not_finite(path):
    "Whether an array, a table or a set of tensors that was written holds NaN or infinity."
    import numpy as np

    if path.name.endswith(".embeddings.npy"):  # numbers alone, as hear-eval-kit has it
        return not np.isfinite(np.fromfile(path, np.float32)).all()
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        return array.dtype.kind == "f" and not np.isfinite(array).all()
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return any(tensor.dtype.kind == "f" and not np.isfinite(tensor).all() for tensor in load_file(path).values())
    import pyarrow.parquet

    for column in pyarrow.parquet.read_table(path).columns:
        while str(column.type).startswith(("fixed_size_list", "list")):
            column = column.combine_chunks().flatten()
        if str(column.type) in ("float", "double") and not np.isfinite(column.to_numpy()).all():
            return True
    return False


def _complaints_about_files(case, work, before, after, whole):
    "What is wrong with the files that are there now."
    matches = lambda name: name.endswith(".lock") or any(fnmatch.fnmatch(name, pattern) for pattern in case.changes)
    for name, value in before.items():
        if after.get(name) != value and not matches(name):
            yield f"{name} was there before and is {'changed' if name in after else 'gone'}"
    fresh = [name for name, value in after.items() if before.get(name) != value]
    for name in fresh:
        if not (case.during or " &\n" in case.command) and re.search(r"\.(tmp|old)(/|$)", name):
            yield f"{name} was left behind"
        path = work / name
        if (
            path.suffix in (".npy", ".safetensors", ".parquet")
            and path.is_file()
            and path.stat().st_size
            and "/." not in f"/{name}"
        ):
            try:
                if _not_finite(path):
                    yield f"{name} holds NaN or infinity"
            except Exception as error:
                if whole:
                    yield f"{name} was written and cannot be read ({error})"
    for name in case.leaves:
        there = os.path.lexists(work / name.removeprefix("!"))
        if there == name.startswith("!"):
            yield f"{name.removeprefix('!')} is {'' if there else 'not '}there"


def _complaints_about_process(case, ended, killed):
    "What is wrong with how a process ended."
    wanted = case.status if isinstance(case.status, tuple) else (case.status,)
    allowed = wanted + ((0, 2, 3) if case.any_order else ())
    if ended.status == -99:
        yield f"still running after {case.limit:g} s"
    elif ended.status not in allowed:
        yield f"exit status {ended.status}, expected {' or '.join(map(str, allowed))}"
    elif ended.status not in DOCUMENTED and not killed:
        yield f"exit status {ended.status}, which is not documented"
    if "Traceback" in ended.err or "Traceback" in ended.out:
        yield "a traceback"
    if ended.peak > case.memory:
        yield f"took {ended.peak} MiB, expected at most {case.memory}"
    lines = ended.err.splitlines()
    most = LINES.get(ended.status, 12) if case.lines is None else case.lines
    if len(lines) > most:
        yield f"{len(lines)} lines on standard error, expected at most {most}"
    if ended.status in (REFUSED, WORLD):
        if not lines or not lines[-1].startswith(f"{shlex.split(ended.command)[0]}: "):
            yield "no sentence on standard error that begins with the name of the command"
        elif len(lines[-1]) > LONGEST:
            yield f"a sentence of {len(lines[-1])} characters, expected at most {LONGEST}"
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", ended.err.replace("\r", "")):
        yield "control characters on standard error"


def try_case(case: Case, kit: Path, folder: Path) -> tuple[list, str]:
    "Run a case: complaints, and what was printed."
    work = folder / "work"
    for name in ("work", "beside", "home", "tmp", "logs"):
        (folder / name).mkdir(parents=True)
    for name in ("beside/precious.txt", "home/precious.txt"):
        (folder / name).write_text("keep me\n", encoding="utf-8")
    shutil.copy(kit / "sounds" / "a.wav", folder / "beside" / "a.wav")
    complaints, ended = [], []
    try:
        case.make(kit, work)
        before = snapshot(work)
        around = {name: snapshot(folder / name) for name in ("beside", "home")}
        shared = snapshot(kit)
        ended = run_commands(case, case.command.split(" &\n"), work)
        for one in ended:
            complaints += _complaints_about_process(case, one, bool(case.during))
        if case.any_order and all(one.status for one in ended):
            complaints.append("none of the commands succeeded")
        printed = "\n".join(one.out + one.err for one in ended)
        if case.says and not re.search(case.says, printed, re.S | re.I):
            complaints.append(f"does not say {case.says!r}")
        if case.after:
            case.after(work)
        complaints += _complaints_about_files(case, work, before, snapshot(work), all(one.status == 0 for one in ended))
        if case.then:
            command = case.then(work) if callable(case.then) else case.then
            quiet = Case(case.name, command, status=0, environment=case.environment, limit=case.limit)
            again = run_commands(quiet, [command], work)[0]
            ended.append(again)
            complaints += [f"afterwards: {complaint}" for complaint in _complaints_about_process(quiet, again, False)]
            if case.then_says and not re.search(case.then_says, again.out + again.err, re.S | re.I):
                complaints.append(f"afterwards: does not say {case.then_says!r}")
        if case.check and (complaint := case.check(work)):
            complaints.append(complaint)
        for name, was in around.items():
            now = snapshot(folder / name)
            complaints += [
                f"{name}/{path} was touched"
                for path in was.keys() | now.keys()
                if was.get(path) != now.get(path) and not f"{name}/{path}/".startswith("home/.cache/")
            ]
        complaints += [
            f"{path.name} was written outside the folder"
            for path in folder.iterdir()
            if path.name not in ("work", "beside", "home", "tmp", "logs")
        ]
        if snapshot(kit) != shared:
            complaints.append("the shared fixtures were touched")
    except Exception:
        complaints.append(f"the case itself failed:\n{traceback.format_exc()}")
    finally:
        if case.undo:
            case.undo(work)
    return complaints, "\n".join(map(str, ended))
