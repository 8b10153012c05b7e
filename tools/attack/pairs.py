"Every command at once with itself and every other, in one folder: one gets through, and nobody loses anything."

import itertools

from .case import Case
from .faults import WRITERS
from .fixtures import then

FOLDER = "shared"


def _commands():
    "What each command types to write into the shared folder."
    for name, (names, command, _) in WRITERS.items():
        yield name, names, command.replace("DISK/out", FOLDER)


def _same(fixture, *patterns):
    "A check that files are the same bytes as those that one undisturbed command wrote."

    def check(work):
        kit = work.parent.parent / "fixtures" / fixture
        for pattern in patterns:
            for path in kit.rglob(pattern):
                other = work / FOLDER / path.relative_to(kit)
                if not other.exists() or other.read_bytes() != path.read_bytes():
                    return f"{path.relative_to(kit)} is not what one command writes"

    return check


def _rows_once(work):
    "Whether a table holds each sound once."
    import pyarrow.parquet as pq

    names = pq.read_table(work / FOLDER / "embeddings.parquet", columns=["file"])["file"].to_pylist()
    if len(names) != 6 or len(set(names)) != 6:
        return f"the table has {len(names)} rows of {len(set(names))} sounds, expected 6"


def _log_whole(work):
    "Whether each step stands once in the log of a run."
    lines = (work / FOLDER / "log.csv").read_text(encoding="utf-8").splitlines()
    steps = [line.partition(",")[0] for line in lines[1:]]
    if steps != [str(i) for i in range(len(steps))]:
        return f"the steps in the log are {steps}"


CHECKS = {
    "embed": _same("embeddings", "*.npy"),
    "embed steps": _same("steps", "*.npy"),
    "embed a table": _rows_once,
    "prepare": _same("store", "*.npy"),
    "pre-train": _log_whole,
}


def _numbered(work):
    "Whether two runs that chose their own folder have two folders, each with the settings of one."
    import json

    found = sorted((work / "runs").glob("[0-9]*"))
    seeds = sorted(json.loads((path / "config.json").read_text(encoding="utf-8"))["seed"] for path in found)
    if seeds != [1, 2]:
        return f"the runs are {[path.name for path in found]} with the seeds {seeds}, expected two"
    return next((complaint for path in found if (complaint := _log_of(path))), None)


def _log_of(path):
    "Whether each step stands once in a log."
    steps = [line.partition(",")[0] for line in (path / "log.csv").read_text(encoding="utf-8").splitlines()[1:]]
    if steps != [str(i) for i in range(len(steps))] or len(steps) < 3:
        return f"{path.name}: the steps in the log are {steps}"


QUICK = (
    "pairs/embed twice",
    "pairs/embed a table twice",
    "pairs/prepare twice",
    "pairs/pre-train twice",
    "pairs/score twice",
    "pairs/convert twice",
    "pairs/embed and prepare",
    "pairs/two runs choose their folders",
    "pairs/a run is resumed twice",
)


def cases():
    "All pairs."
    for (first, names, one), (second, others, two) in itertools.combinations_with_replacement(_commands(), 2):
        same = first == second
        again = one if same and first != "pre-train" else ""
        yield Case(
            f"pairs/{first} twice" if same else f"pairs/{first} and {second}",
            f"{one} &\n{two}",
            then(*{*names, *others}),
            status=0,
            any_order=True,
            lines=3,
            then=again,
            check=CHECKS.get(first) if same else None,
            limit=90,
        )
    train = "mwmae_pretrain --data store --batch 4 --epochs 3 --precision fp32"
    yield Case(
        "pairs/two runs choose their folders",
        f"{train} --seed 1 &\n{train} --seed 2",
        then("store"),
        status=0,
        check=_numbered,
        limit=90,
    )
    resume = "mwmae_pretrain --resume --out run"
    yield Case(
        "pairs/a run is resumed twice",
        f"{resume} &\n{resume}",
        then("sounds", "run", "stores", _one_checkpoint),
        status=0,
        any_order=True,
        changes=("run/*", "stores/*"),
        check=lambda work: _log_of(work / "run"),
        limit=90,
    )
    score = "mwmae_hear tasks --model MODEL --grid grid.json --seeds 2 --out hear"
    yield Case(
        "pairs/two models are scored",
        score.replace("MODEL", "logmel") + " &\n" + score.replace("MODEL", "model"),
        then("tasks", "model", "grid.json"),
        status=0,
        limit=90,
        then="mwmae_report hear/results",
    )
    yield Case(
        "pairs/two models are scored on one archive",
        score.replace("MODEL", "logmel") + " &\n" + score.replace("MODEL", "model"),
        then("tasks", "model", "grid.json", _archive),
        status=(0, 2),
        any_order=True,
        lines=3,
        limit=90,
        then=score.replace("MODEL", "logmel"),
    )
    yield Case(
        "pairs/four of one kind",
        " &\n".join(["mwmae_embed sounds --model model --out shared"] * 4),
        then("sounds", "model"),
        status=0,
        any_order=True,
        lines=3,
        check=CHECKS["embed"],
        then="mwmae_embed sounds --model model --out shared",
        limit=90,
    )
    yield Case(
        "pairs/a store is read while it is brought up to date",
        "mwmae_prepare sounds store --workers 1 &\n"
        "mwmae_pretrain --data store --out run --epochs 2 --batch 4 --precision fp32",
        then("sounds", "store"),
        status=(0, 2),
        any_order=True,
        changes=("store/*",),
        lines=3,
        limit=90,
    )
    yield Case(
        "pairs/two pre-train on one folder of sounds",
        " &\n".join(f"mwmae_pretrain --data sounds --out runs/{i} --epochs 1 --batch 4 --precision fp32" for i in "ab"),
        then("sounds"),
        status=(0, 2),
        any_order=True,
        lines=3,
        limit=90,
        check=lambda work: next(
            (c for path in (work / "runs").glob("[ab]/log.csv") if (c := _log_of_short(path))), None
        ),
    )


def _log_of_short(path):
    "Whether each step stands once in the log of a run of two steps."
    steps = [line.partition(",")[0] for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    if steps != [str(i) for i in range(len(steps))]:
        return f"{path.parent.name}: the steps in the log are {steps}"


def _one_checkpoint(work):
    "Leave only the oldest checkpoint of the run."
    import shutil

    for path in sorted((work / "run" / "checkpoints").iterdir())[1:]:
        shutil.rmtree(path)


def _archive(work):
    "Pack the task."
    import shutil
    import subprocess

    subprocess.run(
        ["tar", "-czf", str(work / "tasks" / "tiny.tar.gz"), "-C", str(work / "tasks"), "tiny-v1-full"], check=True
    )
    shutil.rmtree(work / "tasks" / "tiny-v1-full")
