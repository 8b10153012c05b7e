"What machines do: full disks, files that vanish, signals, closed pipes, clocks, locales, missing packages."

import contextlib
import functools
import glob
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .case import Case
from .fixtures import then

WRITERS = {  # fixtures, the command that writes below DISK, kilobytes that it needs there
    "embed": (("sounds", "model"), "mwmae_embed sounds --model model --out DISK/out", 36),
    "embed steps": (("sounds", "model"), "mwmae_embed sounds --model model --out DISK/out --timestamps", 172),
    "embed a table": (("sounds", "model"), "mwmae_embed sounds --model model --out DISK/out --table", 24),
    "classify": (("sounds", "classifier"), "mwmae_embed sounds --model classifier --classify --out DISK/out", 16),
    "prepare": (("sounds",), "mwmae_prepare sounds DISK/out --workers 1", 112),
    "pre-train": (
        ("sounds",),
        "mwmae_pretrain --data sounds --out DISK/out --batch 4 --epochs 2 --save_every 1 --precision fp32",
        11136,
    ),
    "score": (("tasks", "grid.json"), "mwmae_hear tasks --model logmel --grid grid.json --seeds 2 --out DISK/out", 180),
    "convert": (("jax",), "mwmae_convert jax DISK/out --encoder_heads 3", 436),
    "learn": (("labelled", "model"), "mwmae_finetune labelled --model model --out DISK/out", 308),
    "share": (("model",), "mwmae_export model DISK/out --format folder", 152),
    "report": (("results",), "mwmae_report results --out DISK/out", 76),
    "export a program": (("model",), "mwmae_export model DISK/out.pt2 --format program", 1520),
    "analyse": (("model", "store"), "mwmae_analyze model --data store --out DISK/out --clips 1 --formats png", 1380),
}
LENGTHY = ("export a program", "analyse")


@functools.cache
def can_mount() -> bool:
    "Whether a small file system can be mounted here."
    with tempfile.TemporaryDirectory() as folder:
        mounted = (
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True).returncode
            == 0
            if shutil.which("mount")
            else False
        )
        if mounted:
            subprocess.run(["umount", folder], check=True)
    return mounted


def is_root() -> bool:
    "Whether permissions are no obstacle."
    return os.geteuid() == 0


def substitutes() -> str:
    "Lines that say what is tried in place of what is not possible here."
    lines = (
        ""
        if can_mount()
        else "nothing can be mounted here: limits on file sizes stand for full disks, permissions for read-only ones\n"
    )
    return lines


def disk(kilobytes):
    "A step that mounts a small file system, or makes a folder that stands for it."

    def step(work):
        (work / "disk").mkdir()
        if can_mount():
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={max(4, kilobytes)}k,mode=777", "tmpfs", str(work / "disk")],
                check=True,
            )

    return step


def _remount(work, options):
    "Change a mounted file system."
    if can_mount():
        subprocess.run(["mount", "-o", f"remount,{options}", str(work / "disk")], check=True)
    elif options.startswith("ro"):
        (work / "disk").chmod(0o555)
    else:
        (work / "disk").chmod(0o755)


def unmount(work):
    "Take the small file system away."
    if can_mount() and os.path.ismount(work / "disk"):
        subprocess.run(["umount", "-l", str(work / "disk")], check=True)


def make_room(work):
    "Make the disk large."
    _remount(work, "rw,size=64m")


def small_files(kilobytes):
    "A limit on the size of a file, which stands for a full disk where none can be mounted."

    def inside():
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, resource.RLIM_INFINITY))

    return inside


def as_nobody():
    "Be somebody without rights."
    if is_root():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def for_nobody(*locked):
    "A step that gives all files to nobody, but for some folders that only their owner may use."

    def step(work):
        for root, folders, files in os.walk(work.parent):
            for name in folders + files:
                path = os.path.join(root, name)
                if not os.path.islink(path):
                    os.chmod(path, 0o777 if name in folders else 0o666)
        for name in locked:
            (work / name).mkdir(exist_ok=True)
            (work / name).chmod(0o555 if not name.startswith("sounds") else 0)

    return step


# things that happen while a command runs


def _appears(pattern, work, process, most=30.0):
    "Wait until a file appears, or the process ends."
    end = time.monotonic() + most
    while time.monotonic() < end and not list(work.glob(pattern)):
        if not os.path.exists(f"/proc/{process}") or _is_zombie(process):
            return False
        time.sleep(0.002)
    return True


def _is_zombie(process):
    "Whether a process has ended and nobody has asked after it."
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def send(number, pattern, delay=0.0, lines=0):
    "Send a signal when a file has appeared, and some lines are in it."

    def during(process, work):
        _appears(pattern, work, process)
        end = time.monotonic() + 30
        while lines and time.monotonic() < end and not _is_zombie(process):
            found = [Path(path) for path in glob.glob(str(work / pattern))]
            if found and found[0].read_bytes().count(b"\n") >= lines:
                break
            time.sleep(0.002)
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)

    return during


def kill_worker(process, work):
    "Kill a worker of the process, as the system does when memory runs out."
    end = time.monotonic() + 20
    while time.monotonic() < end and not _is_zombie(process):
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
            if children:
                time.sleep(0.3)
                os.kill(int(children[-1]), signal.SIGKILL)
                return
        time.sleep(0.01)


def vanish(name, opened=2):
    "Delete a folder at the moment when a certain number of sounds have been opened."

    def inside():
        import soundfile

        begin, count = soundfile.SoundFile.__init__, [0]

        def counted(self, *args, **kwargs):
            "Count, and delete."
            count[0] += 1
            if count[0] == opened:
                shutil.rmtree(name, ignore_errors=True)
            begin(self, *args, **kwargs)

        soundfile.SoundFile.__init__ = counted

    return inside


def vanish_json(name, opened):
    "Delete a folder when a certain number of JSON files have been read."

    def inside():
        import json

        read, count = json.loads, [0]

        def counted(*args, **kwargs):
            "Count, and delete."
            count[0] += 1
            if count[0] == opened:
                shutil.rmtree(name, ignore_errors=True)
            return read(*args, **kwargs)

        json.loads = counted

    return inside


def without(*packages):
    "Let packages be missing."

    def inside():
        for name in list(sys.modules):
            if name.partition(".")[0] in packages:
                sys.modules[name] = None
        for name in packages:
            sys.modules[name] = None

    return inside


def closed_pipe():
    "Standard output whose reader has gone."
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)


def full_output():
    "Standard output on a full disk."
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def no_output():
    "No standard output at all."
    os.close(1)


def no_input():
    "No standard input at all."
    os.close(0)


def gone_folder():
    "A current folder that somebody deleted."
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")


def backwards():
    "A clock that goes backwards."
    now = time.time()
    time.time = lambda state=[now]: state.__setitem__(0, state[0] - 1000) or state[0]


def few_files(count):
    "Few open files at a time."
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def little_memory(more):
    "So many MiB more address space than there is in use."

    def inside():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (more << 20), used + (more << 20)))

    return inside


def times(value, *names):
    "A step that gives all files a time of change."

    def step(work):
        for name in names:
            for path in [work / name, *(work / name).rglob("*")]:
                os.utime(path, (value, value))

    return step


def long_sounds(count, seconds):
    "A step that makes sounds that take a while."

    def step(work):
        import soundfile
        from common import tone

        (work / "many").mkdir()
        for i in range(count):
            soundfile.write(work / "many" / f"{i:03d}.wav", tone(seconds, 200 + i), 16_000)

    return step


def _steps_of_newest(least):
    "A check that the newest checkpoint is of some step or a later one."

    def check(work):
        found = sorted(path.name for path in (work / "out" / "checkpoints").glob("0*"))
        if not found or int(found[-1]) < least:
            return f"the checkpoints are {found}, expected one of step {least} or later"

    return check


def _disk_cases():
    "Full and read-only disks, at every write of every command."
    for name, (names, command, needs) in WRITERS.items():
        command = command.replace("DISK", "disk")
        for share in (0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95):
            kilobytes = int(needs * share) // 4 * 4
            inside = None if can_mount() else small_files(kilobytes // 4)
            yield Case(
                f"faults/{name} on a disk that is full after {share:.0%}",
                command,
                then(*names, disk(kilobytes)),
                status=3,
                says="no space left|file too large|cannot allocate",
                inside=inside,
                after=make_room,
                undo=unmount,
                then=again_or_on(command),
                lines=2 if name == "score" else None,
            )
        yield Case(
            f"faults/{name} on a read-only disk",
            command,
            then(*names, disk(64_000), lambda work: _remount(work, "ro")),
            status=3,
            says="read-only|permission",
            inside=None if can_mount() else as_nobody,
            after=make_room,
            undo=unmount,
            then=command,
            lines=2 if name == "score" else None,
        )
    for name in ("embed", "prepare", "pre-train", "learn", "report"):
        names, command, _ = WRITERS[name]
        yield Case(
            f"faults/{name} without permission to write",
            command.replace("DISK", "locked"),
            then(*names, for_nobody("locked")),
            status=3,
            says="permission",
            inside=as_nobody,
        )
    yield Case(
        "faults/embed where one folder may not be read",
        "mwmae_embed sounds --model model --out out",
        then("sounds", "model", for_nobody("sounds/deep")),
        status=0,
        inside=as_nobody,
        after=lambda work: (work / "sounds/deep").chmod(0o777),
        leaves=("out/a.wav.npy",),
        changes=("sounds/deep*",),
    )
    yield Case(
        "faults/a model that may not be read",
        "mwmae_embed sounds --model model --out out",
        then("sounds", "model", for_nobody(), lambda work: (work / "model/model.safetensors").chmod(0)),
        status=(2, 3),
        inside=as_nobody,
        says="model",
    )
    archive = "mwmae_hear disk --model logmel --grid grid.json --seeds 2 --out out"
    yield Case(
        "faults/unpack on a full disk",
        archive,
        then("tasks", "grid.json", disk(4000), _archive_on_disk, _fill_up(40)),
        status=(2, 3),
        says="no space",
        after=make_room,
        undo=unmount,
        then=archive,
        lines=3,
        inside=None if can_mount() else small_files(8),
    )
    yield Case(
        "faults/unpack on a read-only disk",
        archive,
        then("tasks", "grid.json", disk(64_000), _archive_on_disk, lambda work: _remount(work, "ro")),
        status=(2, 3),
        says="read-only|permission",
        undo=unmount,
        lines=3,
        inside=None if can_mount() else as_nobody,
    )
    yield Case(
        "faults/a full disk keeps the last checkpoint",
        "mwmae_pretrain --resume --out disk/run",
        then("sounds", disk(64_000), _run_on_disk, _fill_up(0)),
        status=3,
        says="no space",
        undo=unmount,
        after=_empty,
        changes=("disk/*",),
        inside=None if can_mount() else small_files(4),
        then="mwmae_pretrain --resume --out disk/run",
    )


def _archive_on_disk(work):
    "Put a task's archive on the small disk."
    subprocess.run(
        ["tar", "-czf", str(work / "disk" / "tiny.tar.gz"), "-C", str(work / "tasks"), "tiny-v1-full"], check=True
    )


def _run_on_disk(work):
    "Put a run with one checkpoint of two on the small disk."
    kit = work.parent.parent / "fixtures"
    shutil.copytree(kit / "run", work / "disk" / "run")
    for path in sorted((work / "disk" / "run" / "checkpoints").iterdir())[1:]:
        shutil.rmtree(path)
    shutil.copytree(kit / "stores", work / "disk" / "stores")
    settings = work / "disk" / "run" / "config.json"
    settings.write_text(settings.read_text().replace('"data": "sounds"', f'"data": "{kit / "store"}"'))


def _fill_up(kilobytes):
    "A step that leaves so little room."

    def step(work):
        with contextlib.suppress(OSError), open(work / "disk" / "filler", "wb", buffering=0) as file:
            while can_mount() and file.write(bytes(4096)):
                pass
        os.truncate(work / "disk" / "filler", max(0, (work / "disk" / "filler").stat().st_size - 1024 * kilobytes))

    return step


def again_or_on(command):
    "The command that goes on: of a run that has its settings, another one."
    resume = "mwmae_pretrain --resume --out disk/out"
    return lambda work: resume if "pretrain" in command and (work / "disk/out/config.json").exists() else command


def _empty(work):
    "Make room again."
    (work / "disk" / "filler").unlink()


def _kill_cases():
    "Processes that are killed or asked to stop, and then begin again."
    moments = {
        "embed": "out/*.npy",
        "embed steps": "out/*.npy",
        "embed a table": "out/**/*.npy",
        "prepare": "out/.*",
        "pre-train": "out/log.csv",
        "score": "out/embeddings/*/*/*",
        "convert": ".*.tmp",
        "learn": ".*.tmp",
        "share": ".*.tmp",
        "report": "out/*",
    }
    for name, pattern in moments.items():
        names, command, _ = WRITERS[name]
        command = command.replace("DISK", ".").replace("./", "")
        for delay in (0.0, 0.02, 0.1, 0.3):
            yield Case(
                f"faults/{name} killed {delay:g} s after its first file",
                command,
                then(*names),
                status=(-9, 0),
                during=send(signal.SIGKILL, pattern, delay),
                then=command if name != "pre-train" else "mwmae_pretrain --resume --out out",
            )
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            again = command if name != "pre-train" else "mwmae_pretrain --resume --out out"
            yield Case(
                f"faults/{name} ended by {number.name}",
                command,
                then(*names),
                status=(-number, 130, 128 + number, 0),
                during=send(number, pattern),
                then=again,
                lines=6,
            )
    train = "mwmae_pretrain --data sounds --out out --batch 2 --epochs 60 --precision fp32"
    train += " --save_every 1000 --evaluate_every 1000"
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        yield Case(
            f"faults/pre-training saves a checkpoint at {number.name}",
            train,
            then("sounds"),
            status=(130, 128 + number),
            during=send(number, "out/log.csv", lines=6),
            check=_steps_of_newest(3),
            lines=8,
            says="go on|resume",
            leaves=("out/checkpoints",),
        )
    yield Case(
        "faults/a worker of prepare is killed",
        "mwmae_prepare many out --workers 2",
        then(long_sounds(40, 30)),
        status=(0, 3),
        during=kill_worker,
        then="mwmae_prepare many out --workers 2",
        limit=90,
        lines=6,
    )
    yield Case(
        "faults/a loader of pre-training is killed",
        "mwmae_pretrain --data sounds --out out --batch 2 --epochs 300 --workers 1 --save_every 20 --precision fp32",
        then("sounds"),
        status=(0, 3),
        during=kill_worker,
        limit=90,
        lines=8,
    )


def _other_cases():
    "Files that vanish, pipes, clocks, locales, packages, limits."
    base, embed = ("sounds", "model"), "mwmae_embed sounds --model model --out out"
    yield Case(
        "faults/sounds vanish while they are embedded",
        embed,
        then(*base),
        status=0,
        inside=vanish("sounds/deep", 3),
        changes=("sounds/deep*",),
        leaves=("out/a.wav.npy",),
    )
    yield Case(
        "faults/sounds vanish while they are prepared",
        "mwmae_prepare sounds out --workers 1",
        then("sounds"),
        status=0,
        inside=vanish("sounds/deep", 2),
        changes=("sounds/deep*",),
        leaves=("out/store.json",),
    )
    yield Case(
        "faults/all sounds vanish", embed, then(*base), status=(0, 2), inside=vanish("sounds", 1), changes=("sounds*",)
    )
    yield Case(
        "faults/sounds vanish while they are learnt",
        "mwmae_finetune labelled --model model --out out",
        then("labelled", "model"),
        status=(0, 2),
        inside=vanish("labelled/low", 6),
        changes=("labelled/low*",),
    )
    yield Case(
        "faults/a task vanishes while it is embedded",
        "mwmae_hear tasks --model logmel --grid grid.json --seeds 2 --out hear",
        then("tasks", "grid.json"),
        status=2,
        inside=vanish("tasks/tiny-v1-full/16000", 7),
        changes=("tasks*",),
        lines=3,
    )
    yield Case(
        "faults/the output vanishes",
        embed,
        then(*base, long_sounds(30, 2)),
        status=(0, 3),
        inside=vanish("out", 5),
        then=embed,
    )
    yield Case(
        "faults/the store vanishes while it is made",
        "mwmae_prepare sounds out --workers 1",
        then("sounds"),
        status=(0, 3),
        inside=vanish("out", 4),
        then="mwmae_prepare sounds out --workers 1",
    )
    for opened in (1, 3, 5):
        yield Case(
            f"faults/results vanish after {opened} have been read",
            "mwmae_report results --out report",
            then("results"),
            status=(0, 2),
            inside=vanish_json("results/second", opened),
            changes=("results/second*",),
            lines=8,
        )
    for name, (names, command, _) in WRITERS.items():
        command = command.replace("DISK/", "")
        yield Case(f"faults/{name} into a closed pipe", command, then(*names), status=141, inside=closed_pipe)
        yield Case(
            f"faults/{name} with its output on a full disk",
            command,
            then(*names),
            status=3,
            inside=full_output,
            says="no space",
        )
    yield Case("faults/help into a closed pipe", "mwmae_embed --help", status=(0, 141), inside=closed_pipe, real=True)
    yield Case(
        "faults/a report without standard output",
        "mwmae_report results --out report",
        then("results"),
        status=0,
        inside=no_output,
        real=True,
        leaves=("report/report.md",),
    )
    yield Case(
        "faults/embed without standard output",
        embed,
        then(*base),
        status=0,
        inside=no_output,
        real=True,
        leaves=("out/a.wav.npy",),
    )
    yield Case(
        "faults/embed without standard input",
        embed,
        then(*base),
        status=0,
        inside=no_input,
        real=True,
        leaves=("out/a.wav.npy",),
    )
    yield Case("faults/embed from a folder that was deleted", embed, then(*base), status=(2, 3), inside=gone_folder)
    for label, value in {"in the future": 7_000_000_000, "at zero": 0, "before 1970": -(10**9)}.items():
        yield Case(
            f"faults/sounds of a time {label}",
            embed,
            then(*base, times(value, "sounds", "model")),
            status=0,
            then=embed,
            then_says="0 of them by this run",
        )
        yield Case(
            f"faults/a store of a time {label}",
            "mwmae_prepare sounds store --workers 1",
            then("sounds", "store", times(value, "sounds", "store")),
            status=0,
            changes=("store/*",),
        )
        yield Case(
            f"faults/a run of a time {label}",
            "mwmae_embed sounds --out out",
            then("sounds", "model", _run_in_runs, times(value, "runs")),
            status=0,
            says="runs/001",
        )
        yield Case(
            f"faults/embeddings of a time {label}",
            embed.replace("out out", "out embeddings"),
            then(*base, "embeddings", times(value, "embeddings")),
            status=0,
            says="6 sounds embedded, 0|0 of them by this run",
            changes=("embeddings/*",),
        )
        yield Case(
            f"faults/scores of a time {label}",
            "mwmae_hear tasks --model model --grid grid.json --seeds 2 --out hear",
            then("tasks", "model", "grid.json", "hear", times(value, "hear", "tasks")),
            status=0,
            changes=("hear/*",),
        )
    for name in ("embed", "prepare", "pre-train", "report"):
        names, command, _ = WRITERS[name]
        yield Case(
            f"faults/{name} while the clock goes backwards",
            command.replace("DISK/", ""),
            then(*names),
            status=0,
            inside=backwards,
        )
    plain = (("LC_ALL", "C"), ("LANG", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0"))
    yield Case(
        "faults/a report under LC_ALL=C without UTF-8",
        "mwmae_report results --out report",
        then("results"),
        status=0,
        real=True,
        environment=plain,
        leaves=("report/report.md",),
        says="first",
    )
    yield Case(
        "faults/names under LC_ALL=C without UTF-8",
        embed,
        then(*base, lambda work: os.rename(work / "sounds/a.wav", work / "sounds/é🎵.wav")),
        status=0,
        real=True,
        environment=plain,
        leaves=("out/é🎵.wav.npy",),
    )
    yield Case(
        "faults/pre-train under LC_ALL=C without UTF-8",
        "mwmae_pretrain --data store --out run --epochs 1 --batch 4 --model mwmae_nano_8x16 --precision fp32",
        then("store"),
        status=0,
        real=True,
        environment=plain,
        limit=120,
    )
    yield Case(
        "faults/learn under LC_ALL=C without UTF-8",
        "mwmae_finetune labelled --model model --out out",
        then("labelled", "model", lambda work: os.rename(work / "labelled/low", work / "labelled/tïef")),
        status=(0, 2),
        real=True,
        environment=plain,
    )
    yield Case(
        "faults/score under LC_ALL=C without UTF-8",
        "mwmae_hear tasks --model logmel --grid grid.json --seeds 2 --out hear",
        then("tasks", "grid.json"),
        status=0,
        real=True,
        environment=plain,
    )
    yield Case(
        "faults/a Turkish locale", embed, then(*base), status=0, real=True, environment=(("LC_ALL", "tr_TR.UTF-8"),)
    )
    for encoding in ("ascii", "latin-1", "cp1252", "utf-16"):
        for name in ("report", "score", "embed"):
            names, command, _ = WRITERS[name]
            yield Case(
                f"faults/{name} printed as {encoding}",
                command.replace("DISK/", ""),
                then(*names),
                status=0,
                environment=(("PYTHONIOENCODING", encoding),),
            )
    for package, command, names in (
        ("msgpack", "mwmae_convert jax out --encoder_heads 3", ("jax",)),
        ("onnx", "mwmae_export model out.onnx", ("model",)),
        ("onnxscript", "mwmae_export model out.onnx", ("model",)),
        ("onnxruntime", "mwmae_export model out.onnx", ("model",)),
        ("pyarrow", embed + " --table", base),
        ("pyarrow", "mwmae_prepare list.parquet out --workers 1", ()),
        ("pyarrow", "mwmae_embed list.parquet --model model --out out", ("model",)),
        ("tensorboard", "mwmae_pretrain --data store --out run --tracker tensorboard", ("store",)),
        ("wandb", "mwmae_pretrain --data store --out run --tracker wandb", ("store",)),
    ):
        yield Case(
            f"faults/{' '.join(command.split()[:2])} without {package}",
            command,
            then(*names, lambda work: (work / "list.parquet").write_bytes(b"PAR1")),
            status=2,
            says=package,
            inside=without(package),
            leaves=("!out", "!run") if "embed" not in command and "prepare" not in command else (),
        )
    yield Case(
        "faults/a mixed folder without pyarrow",
        embed,
        then(*base, lambda work: (work / "sounds/list.parquet").write_bytes(b"PAR1")),
        status=0,
        inside=without("pyarrow"),
        leaves=("out/a.wav.npy",),
    )
    for name in ("embed", "prepare", "report", "learn", "pre-train"):
        names, command, _ = WRITERS[name]
        command = command.replace("DISK/", "")
        yield Case(
            f"faults/{name} without a home", command, then(*names), status=0, environment=(("HOME", "/nonexistent"),)
        )
        yield Case(
            f"faults/{name} without a folder for temporary files",
            command,
            then(*names),
            status=0,
            environment=(("TMPDIR", "/nonexistent"),),
        )
        yield Case(
            f"faults/{name} on a terminal of no width", command, then(*names), status=0, environment=(("COLUMNS", "0"),)
        )
        yield Case(
            f"faults/{name} on a terminal of unknown width",
            command,
            then(*names),
            status=0,
            environment=(("COLUMNS", "wide"),),
        )
        yield Case(f"faults/{name} with forty open files", command, then(*names), status=(0, 3), inside=few_files(40))
        for more in (20, 100, 300):
            yield Case(
                f"faults/{name} with {more} MiB of memory",
                command,
                then(*names),
                status=(0, 3),
                inside=little_memory(more),
                lines=6,
            )


def _run_in_runs(work):
    "Put a run where the commands look for it."
    shutil.copytree(work.parent.parent / "fixtures" / "run", work / "runs" / "001-tiny")


QUICK = (
    "faults/embed on a disk that is full after 40%",
    "faults/embed steps on a disk that is full after 85%",
    "faults/embed a table on a disk that is full after 40%",
    "faults/prepare on a disk that is full after 40%",
    "faults/pre-train on a disk that is full after 70%",
    "faults/score on a disk that is full after 40%",
    "faults/convert on a disk that is full after 40%",
    "faults/learn on a disk that is full after 40%",
    "faults/share on a disk that is full after 40%",
    "faults/report on a disk that is full after 40%",
    "faults/embed on a read-only disk",
    "faults/prepare on a read-only disk",
    "faults/embed without permission to write",
    "faults/unpack on a full disk",
    "faults/embed killed 0 s after its first file",
    "faults/prepare killed 0 s after its first file",
    "faults/pre-train killed 0 s after its first file",
    "faults/score killed 0 s after its first file",
    "faults/embed ended by SIGINT",
    "faults/pre-training saves a checkpoint at SIGHUP",
    "faults/a worker of prepare is killed",
    "faults/sounds vanish while they are embedded",
    "faults/the output vanishes",
    "faults/results vanish after 3 have been read",
    "faults/embed into a closed pipe",
    "faults/report with its output on a full disk",
    "faults/sounds of a time in the future",
    "faults/embed while the clock goes backwards",
    "faults/a report under LC_ALL=C without UTF-8",
    "faults/names under LC_ALL=C without UTF-8",
    "faults/report printed as ascii",
    "faults/mwmae_convert jax without msgpack",
    "faults/mwmae_export model without onnx",
    "faults/mwmae_embed sounds without pyarrow",
    "faults/a mixed folder without pyarrow",
    "faults/embed with forty open files",
)


def cases():
    "All cases of faults."
    yield from _disk_cases()
    yield from _kill_cases()
    yield from _other_cases()
