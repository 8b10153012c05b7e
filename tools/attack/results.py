"Results of any origin that `mwmae_report` reads: wrong types, huge numbers, deep nesting, names with markup, pipes."

import json
import os
import re

from .case import Case
from .fixtures import kit_result, own_result, then

REPORT = "mwmae_report results --out report"


def own(name="results/bad/tiny-v1-full/paper.json", **changes):
    "A step that writes a result of mwmae_hear beside the good ones."

    def step(work):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        content = {key: value for key, value in (own_result("bad") | changes).items() if value is not ...}
        (work / name).write_text(json.dumps(content), encoding="utf-8")

    return step


def raw(content, name="results/bad/tiny-v1-full/paper.json"):
    "A step that writes bytes where a result may be."

    def step(work):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))

    return step


def kit(change):
    "A step that writes a changed result of hear-eval-kit."

    def step(work):
        content = kit_result()
        change(content)
        raw(json.dumps(content), "results/badkit/tiny-v1-full/test.predicted-scores.json")(work)

    return step


DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000
FIELDS = {  # one field of another value
    "a text for scores": {"test": "0.5"},
    "texts in scores": {"test": ["a", "b", "c"]},
    "null scores": {"test": None},
    "nulls in scores": {"test": [None] * 3},
    "no scores": {"test": [], "seeds": []},
    "fewer scores than seeds": {"test": [0.5]},
    "a list for a model": {"model": ["m"]},
    "a number for a model": {"model": 5},
    "null for a model": {"model": None},
    "an empty model": {"model": ""},
    "a list for a task": {"task": []},
    "an empty task": {"task": ""},
    "a number for a grid": {"grid": 5},
    "an empty grid": {"grid": ""},
    "a grid of 300 characters": {"grid": "g" * 300},
    "a grid of slashes": {"grid": "../../../beside/grid"},
    "a grid of dots": {"grid": ".."},
    "texts for seeds": {"seeds": ["a", "b", "c"]},
    "the same seed thrice": {"seeds": [1, 1, 1]},
    "huge seeds": {"seeds": [10**18, 2, 3]},
    "fractions for seeds": {"seeds": [0.5, 1.5, 2.5]},
    "a score of a billion": {"test": [1e9, 1e9, 2e9]},
    "a score of 1e308": {"test": [1e308, 1e308, 1e308]},
    "a score below zero": {"test": [-5, -5, -6]},
    "a dictionary for a score": {"score": {}},
    "another score": {"score": "mAP"},
    "a field too many": {"surprise": 1},
    "a field missing": {"seconds": ...},
    "nested folds": {"folds": [[[[[0.5]]]]]},
    "a text for seconds": {"seconds": "long"},
    "true for scores": {"test": [True, False, True]},
    "a model of 5,000 characters": {"model": "m" * 5000},
    "a task of 5,000 characters": {"task": "t" * 5000},
}
NAMES = {  # names that must not do anything in a report
    "a formula that is none": r"$\frac{$",
    "a dollar": "$",
    "two dollars": "a$b$c",
    "a script": "<script>alert(1)</script>",
    "a link to a script": "[x](javascript:alert(1))",
    "a picture": "![x](http://example.com/x.png)",
    "a line break": "a\n\n# b",
    "a carriage return": "a\rb",
    "bars": "a|b|c",
    "backticks": "`a`",
    "a backslash": "a\\",
    "an escape": "\x1b[31mred",
    "a bell": "\x07",
    "a zero byte": "a\0b",
    "an emoji": "🎵",
    "right to left": "\u202eabc",
    "half a character": "\ud800",
    "a percent": "%s%n",
    "braces": "{0.__class__}",
    "a home": "~",
    "an ampersand": "&lt;b&gt;",
    "a comment": "<!-- a",
    "a tab": "a\tb",
    "combining marks": "a" + "\u0301" * 500,
    "no width": "\u200b",
    "another line break": "a\u2028b",
    "a heading": "# a",
    "an image tag": "<img src=x onerror=alert(1)>",
    "a reference": "[a]: http://example.com",
}
TEXTS = {  # whole files
    "nested deeply": DEEP,
    "a deep list": "[" * 200_000,
    "a number of 401 digits": json.dumps(own_result()).replace("0.5", "1" + "0" * 400),
    "a number of a million digits": '{"model": ' + "9" * 1_000_000 + "}",
    "NaN": json.dumps(own_result()).replace("0.5", "NaN"),
    "infinity": json.dumps(own_result()).replace("0.5", "Infinity"),
    "1e400": json.dumps(own_result()).replace("0.5", "1e400"),
    "empty": "",
    "a list": "[]",
    "a number": "5",
    "a text": '"result"',
    "null": "null",
    "cut": json.dumps(own_result())[:90],
    "zero bytes": bytes(500),
    "random": bytes(range(256)),
    "keys twice": json.dumps(own_result())[:-1] + ', "model": "other"}',
    "with a byte order mark": "\ufeff" + json.dumps(own_result("bom")),
    "half a character": b'{"model": "\xff\xfe"}',
    "comments": "// no\n" + json.dumps(own_result()),
}
KIT = {
    "no folds": lambda c: [c.pop(key) for key in list(c) if key.startswith("fold")],
    "texts for scores": lambda c: c["fold00"].update(test_score="x"),
    "null scores": lambda c: c["fold00"].update(test_score=None),
    "huge scores": lambda c: [c[k].update(test_score=1e400, test_top1_acc=1e400) for k in c if k.startswith("fold")],
    "no settings": lambda c: c.pop("hparams"),
    "a list of settings": lambda c: c.update(hparams=[]),
    "minutes in words": lambda c: c["fold00"].update(time_in_min="ten"),
    "settings nested": lambda c: c.update(hparams={"lr": {"a": []}, "hidden_layers": [1]}),
    "another score": lambda c: c["fold01"].pop("test_top1_acc"),
    "a number of 401 digits": lambda c: c["fold00"].update(test_score=10**400, test_top1_acc=10**400),
}


def _plain_report(work):
    "Whether something of a name does anything in the report."
    path = work / "report" / "report.md"
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    outside = re.sub(r"`[^`\n]*`", "", text)
    if re.search(r"<(script|img|b|!--)", outside, re.I):
        return "markup passes into report.md"
    if re.search(r"(?<!\\)\]\(", outside):
        return "a link passes into report.md"
    if re.search(r"^\[[^\]\\]+\]:", outside, re.M):
        return "a reference passes into report.md"
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f\u2028\u202e]", text):
        return "control characters pass into report.md"
    if re.search(r"^# ", text, re.M):
        return "a heading passes into report.md"


QUICK = (
    "results/good ones",
    "results/texts in scores",
    "results/nulls in scores",
    "results/a grid of 300 characters",
    "results/a grid of slashes",
    "results/a list for a model",
    "results/a file of nested deeply",
    "results/a file of a number of 401 digits",
    "results/a file of NaN",
    "results/a model called a formula that is none",
    "results/a model called a script",
    "results/a model called a link to a script",
    "results/a model called a line break",
    "results/a model called an escape",
    "results/a model called half a character",
    "results/of the kit with a list of settings",
    "results/of the kit with minutes in words",
    "results/a pipe called .json",
    "results/a report where a file is",
)


def cases():
    "All cases of results."
    yield Case(
        "results/good ones",
        REPORT,
        then("results"),
        status=0,
        leaves=("report/report.md", "report/scores.csv"),
        says="first",
    )
    for name, change in FIELDS.items():
        yield Case(
            f"results/{name}",
            REPORT,
            then("results", own(**change)),
            status=0 if name != "another score" else (0, 2),
            says="first|scored by",
            lines=4,
        )
    for name, text in TEXTS.items():
        made = then("results", raw(text))
        yield Case(f"results/a file of {name}", REPORT, made, status=0, says="first", limit=30, lines=4)
        yield Case(
            f"results/nothing but a file of {name}",
            "mwmae_report results/bad/tiny-v1-full/paper.json",
            made,
            status=(0, 2),
            limit=30,
        )
    for name, label in NAMES.items():
        yield Case(
            f"results/a model called {name}",
            REPORT,
            then("results", own(model=label)),
            status=0,
            says="first",
            check=_plain_report,
            lines=4,
        )
        yield Case(
            f"results/a task called {name}",
            REPORT,
            then("results", own(task=label)),
            status=0,
            says="first",
            check=_plain_report,
            lines=4,
        )
        yield Case(
            f"results/a grid called {name}",
            REPORT,
            then("results", own(grid=label)),
            status=0,
            says="first",
            check=_plain_report,
            lines=4,
        )
    for name, change in KIT.items():
        yield Case(
            f"results/of the kit with {name}", REPORT, then("results", kit(change)), status=0, says="first", lines=4
        )
    yield Case(
        "results/a pipe called .json",
        REPORT,
        then("results", lambda work: os.mkfifo(work / "results/pipe.json")),
        status=0,
        says="first",
        limit=20,
    )
    yield Case(
        "results/a pipe for a result",
        "mwmae_report results/pipe.json",
        then("results", lambda work: os.mkfifo(work / "results/pipe.json")),
        limit=20,
    )
    yield Case("results/a device for a result", "mwmae_report /dev/zero", limit=20)
    yield Case(
        "results/a link to itself",
        REPORT,
        then("results", lambda work: (work / "results/loop.json").symlink_to("loop.json")),
        status=0,
        says="first",
    )
    yield Case(
        "results/a folder that holds itself",
        REPORT,
        then("results", lambda work: (work / "results/again").symlink_to(".")),
        status=0,
        says="first",
        limit=30,
    )
    yield Case(
        "results/none at all", "mwmae_report empty", lambda kit, work: (work / "empty").mkdir(), says="no results"
    )
    yield Case("results/a folder that is not there", "mwmae_report nowhere", says="nowhere")
    yield Case(
        "results/a report where a file is", REPORT, then("results", raw("mine", "report")), status=(2, 3), says="report"
    )
    yield Case(
        "results/a report into the results",
        "mwmae_report results --out results",
        then("results"),
        status=0,
        then="mwmae_report results",
    )
    yield Case(
        "results/comparing what is not there",
        "mwmae_report results --compare first nobody",
        then("results"),
        says="nobody",
    )
    yield Case(
        "results/comparing one with itself",
        "mwmae_report results --compare first first",
        then("results"),
        status=(0, 2),
    )
    yield Case(
        "results/a table that the paper does not have", "mwmae_report results --paper 99", then("results"), says="99"
    )
    yield Case(
        "results/a thousand files that are none", REPORT, then("results", _thousand), status=0, says="first", limit=60
    )


def _thousand(work):
    "Very many JSON files that are no results."
    (work / "results" / "many").mkdir()
    for i in range(1000):
        (work / "results" / "many" / f"{i}.json").write_text(json.dumps({"model": i}), encoding="utf-8")
