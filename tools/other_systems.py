"""Run commands on systems that lack what Linux has, as far as that can be tried on Linux, and compare what they write.

Each system is a process of its own, from which things are taken away before it imports anything of the library:

- `bare`: no `fcntl`, `pwd` and other modules of Unix, no `fork`, no links, no `preadv`, no `sync`, no /proc, few
  signals, no user numbers. Processes start afresh (`spawn`). Locks are marker files.
- `windows`: as `bare`, and the library is told that it runs on Windows. Its locks are those of a stand-in for `msvcrt`.
  Names with a backslash, a colon or another case are as they are there. A file that is open or mapped can't be
  renamed, replaced or deleted.
- `forkserver`: everything is there, but Python's processes come from a server, as they do from Python 3.14 on.

On each, sounds are prepared, in parts as well, a model is trained, sounds and a task are embedded, and the model is
evaluated. A case holds if the command ends with status 0 and writes the same bytes as with everything there; what is
left out of the comparison is what `kill_test.py` leaves out. The last line counts.
"""
import builtins
import errno
import io
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from pathlib import Path
from types import ModuleType

os.environ["OMP_NUM_THREADS"] = "1"  # the same sums in the same order

SYSTEM = "MWMAE_SYSTEM"  # variable of the environment: on which system a process is
MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
FUNCTIONS = ("fork", "forkpty", "preadv", "pread", "sched_getaffinity", "link", "symlink", "getuid", "geteuid", "getgid",
             "getegid", "sync", "mkfifo", "killpg", "getpgid", "setsid")
SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGALRM", "SIGPIPE")


def take_away():
    "Take from this process what only Unix has."
    for name in MODULES:
        sys.modules[name] = None
    for name in FUNCTIONS:
        if hasattr(os, name):
            delattr(os, name)
    for name in SIGNALS:
        delattr(signal, name)
    opened = io.open

    def no_proc(file, *args, **options):
        if isinstance(file, (str, bytes, os.PathLike)) and os.fsdecode(file).startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file)
        return opened(file, *args, **options)

    builtins.open = io.open = no_proc


def files_in_use() -> set:  # real paths
    "Files that this process has open or mapped."
    used = set()
    for handle in os.listdir("/proc/self/fd"):
        try:
            used.add(os.readlink(f"/proc/self/fd/{handle}"))
        except OSError:  # that of the listing itself
            pass
    with open(os.open("/proc/self/maps", os.O_RDONLY)) as file:
        used |= {line.split(maxsplit=5)[5].strip() for line in file if line.count(" /")}
    return used


def refuse_open_files():
    "Let the system refuse to rename, replace or delete what is open, as Windows does."
    replace, unlink = os.replace, os.unlink

    def check(*paths):
        used = files_in_use()
        for path in map(os.path.realpath, paths):
            if any(file == path or file.startswith(f"{path}/") for file in used):
                raise PermissionError(errno.EACCES, "the file is used by a process", path)

    def careful_replace(source, target, **options):
        check(source, target)
        replace(source, target, **options)

    def careful_unlink(path, **options):
        if not options.get("dir_fd"):
            check(path)
        unlink(path, **options)

    os.replace, os.rename, os.unlink, os.remove = careful_replace, careful_replace, careful_unlink, careful_unlink


def stand_in_for_msvcrt() -> ModuleType:
    "The lock of Windows, as far as the library uses it."
    import fcntl

    module = ModuleType("msvcrt")
    module.LK_NBLCK = 2
    module.locking = lambda handle, kind, count: fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, count, 0, os.SEEK_CUR)
    return module


def become(
    system: str,  # such as 'bare'
):
    "Make this process one of another system; those that it starts do the same."
    if system == "windows":
        sys.modules["msvcrt"] = stand_in_for_msvcrt()
        refuse_open_files()
    if system in ("bare", "windows"):
        take_away()
    if system == "windows":
        import mwmae.systems

        mwmae.systems.ON_WINDOWS = mwmae.systems.ONE_CASE = True
    if system and multiprocessing.current_process().name == "MainProcess":
        multiprocessing.set_start_method("forkserver" if system == "forkserver" else "spawn")


become(os.environ.get(SYSTEM, ""))  # also in processes that start afresh, which import this file


OF_ONE_SYSTEM = re.compile(
    r"sys\.platform|os\.name\b|\bfcntl\b|\bmsvcrt\b|os\.fork|get_start_method|os\.symlink|/proc/|os\.pread|os\.link\b|"
    r"sched_getaffinity|os\.f?sync\b|os\.replace|os\.kill\b|getppid|SIG(HUP|USR|TERM|KILL)")


def check_package() -> str:  # what is wrong
    "What differs by system stands in `mwmae/systems.py` alone."
    import mwmae

    found = []
    for path in sorted(Path(mwmae.__file__).parent.glob("*.py")):
        if path.name != "systems.py":
            lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            found += [f"{path.name}:{number}: {line.strip()}" for number, line in lines if OF_ONE_SYSTEM.search(line)]
    return "; ".join(found)


def check_system() -> str:  # what is wrong
    "What this process finds of the system that it is to be on."
    import mwmae.systems as systems
    from mwmae.files import FolderClaim

    system, marker = os.environ[SYSTEM], Path(".claimed.taken")
    with FolderClaim("claimed"):
        seen = [bool(systems.fcntl), bool(systems.msvcrt), marker.exists(), hasattr(os, "fork"), Path("/proc/cpuinfo").exists()]
        cpu = systems.processor_name()
    (Path("claimed") / "a").touch()
    with open("claimed/a", encoding="utf-8"):
        try:
            os.replace("claimed/a", "claimed/b")
            seen.append(True)
        except PermissionError:
            seen.append(False)
    seen += [marker.exists(), systems.copies_memory(), systems.ON_WINDOWS, hasattr(signal, "SIGHUP")]
    expected = {
        "": [True, False, False, True, True, True, False, True, False, True],
        "bare": [False, False, True, False, True, True, False, False, False, False],
        "windows": [False, True, False, False, True, False, False, False, True, False],
        "forkserver": [True, False, False, True, True, True, False, False, False, True],
    }[system]
    print(f"    {cpu}, {len(systems.stop_signals())} signals, {systems.usable_cores()} cores")
    return "" if seen == expected else f"found {seen}"


def prepare_table() -> str:  # what is wrong
    "Prepare the sounds of a table that was written on Windows."
    lines = ["path", "..\\sounds\\even\\000.wav", "..\\sounds\\odd\\001.wav"]
    Path("table.csv").write_text("\n".join(lines), encoding="utf-8")
    return run_line("mwmae_prepare table.csv table --workers 1") or run_line("mwmae_embed table.csv --out table/embedded --workers 0")


MEMBERS = {  # names in an archive -> what is embedded of them on Windows; here: the names themselves
    "wren.wav": "wren.wav", "Wren.wav": "", "10:30.wav": "10_30.wav", "a\\..\\..\\up.wav": "a/up.wav",
    "C:\\disk.wav": "C_/disk.wav", "a/.. /.. /far.wav": "a/far.wav",
}


def embed_names() -> str:  # what is wrong
    "Embed an archive whose names lead elsewhere on Windows."
    content = next(Path("../sounds").rglob("*.wav")).read_bytes()
    with tarfile.open("names.tar", "w") as archive:
        for name in MEMBERS:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    if wrong := run_line("mwmae_embed names.tar --out below/names --workers 0"):
        return wrong
    there = Path("below/names/names.tar")
    found = {path.relative_to(there).as_posix() for path in Path("below").rglob("*.npy")}
    names = MEMBERS.values() if os.environ[SYSTEM] == "windows" else MEMBERS
    expected = {f"{name}.npy" for name in names if name}
    return "" if found == expected else f"found {sorted(found)}"


def embed_pitches() -> str:  # what is wrong
    "Embed a task with processes that read beside this one, which no command asks for."
    from mwmae.encoders import open_hear_model
    from mwmae.task_embeddings import embed_task
    from mwmae.tasks import read_task

    embed_task(read_task("../tasks/pitches-v1-full"), open_hear_model("logmel"), "pitches", workers=1)
    return ""


PRETRAIN = "mwmae_pretrain --data ../sounds --out run --epochs 1 --batch 8 --precision fp32 --model mwmae_nano_8x16 --workers 1"
CASES = {  # name -> the folder to compare; a command, or a function that says what is wrong; on which systems
    "one place for all of it": ("", check_package, ""),
    "the system itself": ("", check_system, "bare windows forkserver"),
    "prepare": ("store", "mwmae_prepare ../sounds store --workers 2", "bare windows forkserver"),
    "the first of two parts": ("", "mwmae_prepare ../sounds parts --part 1/2 --workers 1", "bare windows"),
    "the second of two parts": ("parts", "mwmae_prepare ../sounds parts --part 2/2 --workers 1", "bare windows"),
    "a table from Windows": ("table", prepare_table, "bare windows"),
    "pretrain": ("run", PRETRAIN, "bare windows"),
    "embed": ("embeddings", "mwmae_embed ../sounds --model run --out embeddings --workers 1", "bare windows"),
    "embed again": ("embeddings", "mwmae_embed ../sounds --model run --out embeddings --workers 1", "bare windows"),
    "names in an archive": ("", embed_names, "bare windows"),
    "embed a task": ("pitches", embed_pitches, "bare"),
    "hear": ("hear", "mwmae_hear ../tasks --model run --grid ../grid.json --seeds 1 --device cpu --out hear", "bare windows"),
}


def run_line(
    line: str,  # a command with its options
) -> str:  # what is wrong
    "Run a command in this process."
    from common import run_command

    from mwmae import commands

    name, *words = line.split()
    status, said = run_command(getattr(commands, name), *words)
    return f"status {status}: {said[-3000:]}" if status else ""


def run_cases():
    "Run the cases of this system in this process: a line of JSON for each, with its name and what went wrong."
    for name, (_, case, systems) in CASES.items():
        if os.environ[SYSTEM] not in ["", *systems.split()]:
            continue
        begin = time.monotonic()
        try:
            wrong = run_line(case) if isinstance(case, str) else case()
        except Exception:
            wrong = traceback.format_exc()
        print(json.dumps([name, wrong, round(time.monotonic() - begin, 1)]), flush=True)


def make_inputs(
    folder: Path,  # where
):
    "Write what the commands read."
    from kill_test import make_sounds

    from common import make_task

    make_sounds(folder / "sounds", 12, 2.0)
    make_task(folder / "tasks" / "pitches-v1-full", "pitches", counts=(8, 4, 4), seconds=1.0)
    points = [{"lr": 1e-3, "epochs": 4, "hidden_dim": 32}]
    (folder / "grid.json").write_text(json.dumps(points), encoding="utf-8")


def run_system(
    folder: Path,  # where the inputs are
    system: str,  # empty: this one
) -> tuple[int, int]:  # how many cases were tried, and how many held
    "Run the cases of a system in a folder of its own, and compare what they wrote with what they wrote here."
    from kill_test import contents, differing

    place = folder / (system or "here")
    place.mkdir()
    # Windows sets USERNAME; elsewhere PyTorch looks into pwd
    environment = os.environ | {SYSTEM: system, "CASES": "run", "HF_HUB_OFFLINE": "1", "USERNAME": "you"}
    cases = {name: compared for name, (compared, _, systems) in CASES.items() if system in ["", *systems.split()]}
    tried, held, rest = len(cases), 0, []
    with subprocess.Popen([sys.executable, __file__], cwd=place, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout:
            try:
                name, wrong, seconds = json.loads(line)
            except ValueError:
                rest.append(line)
                continue
            compared = cases.pop(name)
            if system and compared and not wrong:
                differ = differing(contents(folder / "here" / compared), contents(place / compared))
                wrong = f"{', '.join(differ[:8])} differ" if differ else ""
            held += not wrong
            print(f"{system or 'here':11}{name:25}{seconds:5} s  {wrong or 'held'}", flush=True)
    if cases:
        print(f"{system}: no end of {', '.join(cases)}: {''.join(rest[-40:])}")
    return tried, held


def main():
    "Run all systems, compare what they wrote, and exit 1 if anything differs."
    tried = held = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        make_inputs(folder)
        for system in ("", "bare", "windows", "forkserver"):
            counts = run_system(folder, system)
            tried, held = tried + counts[0], held + counts[1]
    print(f"{tried} tried, {held} held")
    sys.exit(held != tried)


if __name__ == "__main__":
    if "CASES" in os.environ:
        run_cases()
    else:
        main()
