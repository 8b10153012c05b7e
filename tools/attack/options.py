"""Every option of every command with values that nobody means, found from the signatures, so that none is forgotten.

A value is taken or refused; a zero that is given is never the default.
"""

import inspect
import json

from .case import ROOT, Case, entry_points
from .fixtures import put

BASES = {  # a command that succeeds, with the values of some parameters, and the fixtures that it needs
    "mwmae_ablate": (dict(table="7", data="store", tasks="tasks", epochs="1", seeds="1"), ("store", "tasks")),
    "mwmae_analyze": (dict(models="model", data="store", out="out", clips="1", formats="png"), ("model", "store")),
    "mwmae_convert": (dict(checkpoint_dir="jax", out="out", encoder_heads="3"), ("jax",)),
    "mwmae_embed": (dict(sounds="sounds", model="model", out="out"), ("sounds", "model")),
    "mwmae_export": (dict(model="model", out="out", format="folder"), ("model",)),
    "mwmae_finetune": (dict(sounds="labelled", model="model", out="out", epochs="1"), ("labelled", "model")),
    "mwmae_hear": (
        dict(tasks_dir="tasks", model="logmel", grid="grid.json", seeds="2", out="out"),
        ("tasks", "grid.json"),
    ),
    "mwmae_prepare": (dict(source="sounds", store="out", workers="1"), ("sounds",)),
    "mwmae_pretrain": (dict(data="store", out="run", epochs="1", batch="4", precision="fp32"), ("store",)),
    "mwmae_report": (dict(paths="results", out="out"), ("results",)),
    "mwmae_speedrun": (
        dict(goal="0.01", data="store", probe="labelled", out="table.csv", epochs="1", batch="4", precision="fp32"),
        ("store", "labelled"),
    ),
}
NUMBERS = ("0", "-1", "nan", "inf", "1e400", "1" + "0" * 400, "1" + "0" * 5000, "3.0")
TEXTS = ("", "None", "n" * 5000, "../../beside", "a\nb\x1b[31m", "\udcff", "-1", "é🎵", "%s%n", "/dev/null", ".")
SHOWN = {
    "1" + "0" * 400: "10**400",
    "1" + "0" * 5000: "10**5000",
    "n" * 5000: "5,000 letters",
    "": "nothing",
    "a\nb\x1b[31m": "control characters",
    "\udcff": "a byte that is not UTF-8",
}


def _parameters(name):
    "What a command takes, as its parser has it: name, type and whether it is positional."
    import importlib

    from mwmae.command_line import command_parser

    module, function = entry_points()[name]
    parser, names = command_parser(inspect.unwrap(getattr(importlib.import_module(module), function)))
    for action in parser._actions:
        if action.dest in names:
            kind = bool if action.nargs == 0 else action.type
            yield action.dest, kind if kind in (int, float, bool) else str, not action.option_strings


def _line(name, given, positional):
    "A command line."
    import shlex

    words = [shlex.quote(given[key]) for key in positional if key in given]
    return " ".join(
        [
            name,
            *[f"--{key}={shlex.quote(value)}" for key, value in given.items() if key not in positional],
            "--" if any(w.startswith("-") for w in words) else "",
            *words,
        ]
    )


def _zero_kept(name):
    "A check that a run's settings say zero where zero was given."

    def check(work):
        path = work / "run" / "config.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8"))[name] != 0:
            return f"--{name} 0 was given, and the run has {json.loads(path.read_text(encoding='utf-8'))[name]}"

    return check


QUICK = (
    "options/mwmae_pretrain weight_decay of 0",
    "options/mwmae_pretrain warmup of 0",
    "options/mwmae_pretrain workers of 0",
    "options/mwmae_pretrain mask_ratio of 0",
    "options/mwmae_pretrain frames of 0",
    "options/mwmae_pretrain seed of [10]*",
    "options/mwmae_pretrain epochs of 10[*][*]400",
    "options/mwmae_embed batch of *",
    "options/mwmae_embed device of *",
    "options/mwmae_hear seeds of 10[*][*]400",
    "options/mwmae_finetune seed of 10[*][*]400",
    "options/mwmae_embed sounds of nothing",
    "options/mwmae_embed out of 5,000 letters",
    "options/mwmae_report out of nothing",
    "options/mwmae_prepare clip_seconds of nan",
)


def cases():
    "All options of all commands."
    import sys

    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    for name in sorted(set(entry_points()) - {"mwmae"}):  # which runs the others
        base, fixtures = BASES[name]
        parameters = list(_parameters(name))
        positional = [parameter for parameter, _, first in parameters if first]
        for parameter, kind, _ in parameters:
            if kind is bool:
                continue
            for value in NUMBERS if kind in (int, float) else TEXTS:
                zero = name == "mwmae_pretrain" and value == "0"
                yield Case(
                    f"options/{name} {parameter} of {SHOWN.get(value, value)}",
                    _line(name, base | {parameter: value}, positional),
                    put(*fixtures),
                    status=(0, 2, 3) if kind is str else (0, 2),
                    lines=5,
                    limit=300 if name == "mwmae_ablate" else 90,  # that one trains ten models where a value is taken
                    check=_zero_kept(parameter) if zero else None,
                )
        yield Case(f"options/{name} with one that is not there", f"{name} --nonsense 3")
        yield (
            Case(f"options/{name} with nothing", name, put(*fixtures), status=(0, 2))
            if name not in ("mwmae_pretrain", "mwmae_hear", "mwmae_speedrun")
            else Case(f"options/{name} help", f"{name} --help", status=0, says="usage")
        )
