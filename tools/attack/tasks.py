"Tasks and embeddings of somebody else: names that lead outside, labels of other types, caches that are out of date."

import json
import os
import pickle
import shutil

from common import make_task

from .case import Case
from .fixtures import then

HEAR = "mwmae_hear tasks --model logmel --grid grid.json --seeds 2 --out hear"
TINY = "tasks/tiny-v1-full"


def metadata(**changes):
    "A step that changes what a task says of itself; `...` takes an entry away."

    def step(work):
        path = work / TINY / "task_metadata.json"
        content = json.loads(path.read_text(encoding="utf-8")) | changes
        path.write_text(
            json.dumps({key: value for key, value in content.items() if value is not ...}), encoding="utf-8"
        )

    return step


def absolute(key):
    "A step that names a folder outside, one that looks like embeddings."

    def step(work):
        victim = work.parent / "beside"
        (victim / "task_metadata.json").write_text("{}", encoding="utf-8")
        metadata(**{key: str(victim)})(work)

    return step


def labels(change, split="train"):
    "A step that changes the ground truth of a split."

    def step(work):
        path = work / TINY / f"{split}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content = change(content) or content
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")

    return step


def file(name, content):
    "A step that writes a file of the task."
    return lambda work: (work / TINY / name).write_bytes(content if isinstance(content, bytes) else content.encode())


NAMES = {
    "of parents": "../../../escaped",
    "of two dots": "..",
    "of a slash": "a/b",
    "that is absolute": "/tmp/escaped",
    "that is hidden": ".hidden",
    "with a backslash": "..\\..\\escaped",
    "that is empty": "",
    "of 300 bytes": "n" * 300,
    "with a line break": "a\nb",
    "with a zero byte": "a\0b",
    "that is a number": 5,
    "that is null": None,
    "that is a list": ["a"],
    "that is a dictionary": {"a": 1},
    "with an escape": "a\x1b[31m",
    "of spaces": "   ",
    "of half a character": "\ud800",
}
METADATA = {
    "no splits": dict(splits=[]),
    "splits of parents": dict(splits=["../train", "valid", "test"]),
    "splits of numbers": dict(splits=[1, 2, 3]),
    "splits as a text": dict(splits="train"),
    "nested splits": dict(splits=[["train"], "valid", "test"]),
    "a split twice": dict(splits=["train", "train", "valid", "test"]),
    "an unknown embedding": dict(embedding_type="all"),
    "a list for a type": dict(embedding_type=[]),
    "an unknown prediction": dict(prediction_type=None),
    "an unknown score": dict(evaluation=["best"]),
    "scores of numbers": dict(evaluation=[1]),
    "scores of lists": dict(evaluation=[["top1_acc"]]),
    "no scores": dict(evaluation=[]),
    "a length in words": dict(sample_duration="long"),
    "a negative length": dict(sample_duration=-5),
    "a length of a list": dict(sample_duration=[]),
    "parameters in words": dict(evaluation_params="none"),
    "parameters of a list": dict(evaluation_params=[1]),
    "an unknown parameter": dict(evaluation_params={"task_specific_param_grid": {"colour": ["red"]}}),
    "a parameter in words": dict(evaluation_params={"task_specific_param_grid": {"max_epochs": ["many"]}}),
    "no parameters of a parameter": dict(evaluation_params={"task_specific_param_grid": {"max_epochs": []}}),
    "a grid of a text": dict(evaluation_params={"task_specific_param_grid": "all"}),
    "stopping in words": dict(use_scoring_for_early_stopping="perhaps"),
    "an unknown mode of splits": dict(split_mode="random"),
    "two folds": dict(split_mode="presplit_kfold", splits=["a", "b"]),
    "no embedding type": dict(embedding_type=...),
    "no name": dict(task_name=...),
    "events without times": dict(
        embedding_type="event", prediction_type="multilabel", evaluation=["event_onset_200ms_fms"]
    ),
}
LABELS = {
    "a label that is unknown": lambda c: c.update({"train0.wav": ["other"]}),
    "two labels": lambda c: c.update({"train0.wav": ["high", "low"]}),
    "no label": lambda c: c.update({"train0.wav": []}),
    "a text for labels": lambda c: c.update({"train0.wav": "high"}),
    "a null label": lambda c: c.update({"train0.wav": [None]}),
    "a nested label": lambda c: c.update({"train0.wav": [["high"]]}),
    "an event": lambda c: c.update({"train0.wav": [{"label": "high", "start": 0, "end": 1}]}),
    "a missing sound": lambda c: c.update({"none.wav": ["high"]}),
    "a name of parents": lambda c: c.update({"../valid/valid0.wav": ["high"]}),
    "an absolute name": lambda c: c.update({"/etc/passwd": ["high"]}),
    "an empty name": lambda c: c.update({"": ["high"]}),
    "a name of 300 bytes": lambda c: c.update({"n" * 300 + ".wav": ["high"]}),
    "a name with a zero byte": lambda c: c.update({"a\0.wav": ["high"]}),
    "no sounds": lambda c: c.clear(),
    "a list": lambda c: "[]",
    "deep nesting": lambda c: "[" * 100_000,
    "no JSON": lambda c: "train",
    "nothing": lambda c: " ",
    "a number of 401 digits": lambda c: '{"train0.wav": [1' + "0" * 400 + "]}",
    "a single sound": lambda c: {"train0.wav": ["high"]},
}
VOCABULARIES = {
    "empty": "",
    "without numbers": "label\nhigh\nlow\n",
    "of the wrong numbers": "idx,label\n1,high\n2,low\n",
    "with a label twice": "idx,label\n0,high\n1,high\n",
    "of one label": "idx,label\n0,high\n",
    "not UTF-8": b"idx,label\n0,\xff\n1,low\n",
    "of random bytes": bytes(range(256)),
    "of huge numbers": "idx,label\n" + "9" * 500 + ",high\n1,low\n",
    "with ragged rows": "idx,label\n0\n1,low,x\n",
    "of a field of a megabyte": "idx,label\n0," + "h" * 1_000_000 + "\n1,low\n",
}


class Evil:
    "Runs a command when it is unpickled."

    def __reduce__(self):
        return os.system, ("touch ../beside/evil evil",)


READY = {  # what is done to ready embeddings
    "a pickle that runs a command": ("train.target-labels.pkl", lambda data: pickle.dumps(Evil())),
    "a pickle that was cut": ("train.target-labels.pkl", lambda data: data[:10]),
    "a pickle of a number": ("train.target-labels.pkl", lambda data: pickle.dumps(5)),
    "a pickle of other labels": ("train.target-labels.pkl", lambda data: pickle.dumps([["other"]] * 4)),
    "a pickle of nested lists": ("train.target-labels.pkl", lambda data: b"]" * 100_000 + b"a" * 99_999 + b"."),
    "a pickle of a huge text": ("train.target-labels.pkl", lambda data: b"\x80\x04\x8d" + b"\xff" * 7 + b"\x00" + b"."),
    "rows too few": ("train.embeddings.npy", lambda data: data[:100]),
    "no rows": ("train.embeddings.npy", lambda data: b""),
    "rows of NaN": ("train.embeddings.npy", lambda data: b"\xff" * len(data)),
    "sizes that are negative": ("train.embedding-dimensions.json", lambda data: b"[-4, -160]"),
    "sizes in words": ("train.embedding-dimensions.json", lambda data: b'["a", "b"]'),
    "sizes of 10^30": ("train.embedding-dimensions.json", lambda data: b"[1000000000000000000000000000000, 160]"),
    "one size": ("train.embedding-dimensions.json", lambda data: b"[4]"),
    "sizes of a dictionary": ("train.embedding-dimensions.json", lambda data: b"{}"),
    "sizes of fractions": ("train.embedding-dimensions.json", lambda data: b"[4.0, 160.5]"),
    "metadata of nothing": ("task_metadata.json", lambda data: b"{}"),
    "a name of parents": ("task_metadata.json", lambda data: data.replace(b'"tiny"', b'"../../../escaped"')),
}


def ready(name, change):
    "A step that makes embeddings of somebody else: the kit's, changed."

    def step(work):
        folder = next((work / "hear" / "embeddings").glob("*/tiny-v1-full"))
        target = work / "ready" / "tiny-v1-full"
        target.parent.mkdir()
        os.rename(folder, target)
        path = target / name
        path.write_bytes(change(path.read_bytes()))
        if name.endswith(".pkl"):
            shutil.rmtree(target / "train")  # else labels are read from the split's own file
            path.with_suffix(".json").unlink()  # or from ours beside the pickle

    return step


def _grid(content):
    "A step that writes a grid."
    return lambda work: (work / "grid.json").write_text(
        content if isinstance(content, str) else json.dumps(content), encoding="utf-8"
    )


GRIDS = {
    "empty": "",
    "an empty list": [],
    "a dictionary": {},
    "a number": 5,
    "a list of numbers": [1],
    "an unknown setting": [{"colour": 1}],
    "epochs in words": [{"epochs": "many"}],
    "no epochs": [{"epochs": 0}],
    "a null": [{"lr": None}],
    "a list for a rate": [{"lr": [1]}],
    "a negative rate": [{"lr": -1}],
    "a dropout of one": [{"dropout": 1}],
    "a huge layer": [{"hidden_dim": 10**12}],
    "a million layers": [{"hidden_layers": 10**6}],
    "NaN for a rate": '[{"lr": NaN}]',
    "1e400 for a rate": '[{"lr": 1e400}]',
    "nested deeply": "[" * 100_000,
    "a number of 401 digits": '[{"hidden_dim": 1' + "0" * 400 + "}]",
    "true for epochs": [{"epochs": True}],
    "a fraction of layers": [{"hidden_layers": 1.5}],
    "no JSON": "paper",
}


def _other_sounds(work):
    "Overwrite the sounds of the task by others of the same length, their times as they were."
    for path in sorted((work / TINY / "16000").glob("*/*.wav")):
        status, data = path.stat(), bytearray(path.read_bytes())
        data[2000:8000] = bytes(6000)
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))


def _others_now(work):
    "Whether all embeddings are others than those before."
    import numpy as np

    for path in sorted((work / "hear/embeddings").glob("*/tiny-v1-full/train/*.embedding.npy")):
        before = work / "before" / path.name
        if before.exists() and np.array_equal(np.load(before), np.load(path)):
            return f"{path.name}: the sound was overwritten, and the embedding is the old one"


def _keep_before(work):
    "Put the embeddings aside and overwrite the sounds."
    (work / "before").mkdir()
    for path in (work / "hear/embeddings").glob("*/tiny-v1-full/train/*.embedding.npy"):
        shutil.copy(path, work / "before")
    _other_sounds(work)


def _at_48(work):
    "Have the task's sounds at 48 kHz, so that a cache of resampled ones is made."
    import soundfile

    os.rename(work / TINY / "16000", work / TINY / "48000")
    for path in sorted((work / TINY / "48000").glob("*/*.wav")):
        samples, _ = soundfile.read(path)
        soundfile.write(path, samples.repeat(3), 48_000)


def _keep_48(work):
    "The same for sounds at 48 kHz."
    os.rename(work / TINY / "48000", work / TINY / "16000")
    _keep_before(work)
    os.rename(work / TINY / "16000", work / TINY / "48000")


def _results_of_others(work):
    "Put results of another model where those of this run will be."
    folder = work / "hear/results/logmel/tiny-v1-full"
    folder.mkdir(parents=True)
    (folder / "grid.json").write_text("{", encoding="utf-8")


QUICK = (
    "tasks/a good one",
    "tasks/a name of parents",
    "tasks/a name that is absolute",
    "tasks/a name of my folder",
    "tasks/a name that is hidden",
    "tasks/a version of parents",
    "tasks/a version of my folder",
    "tasks/a mode of parents",
    "tasks/a mode of my folder",
    "tasks/an unknown score",
    "tasks/splits of parents",
    "tasks/parameters of a list",
    "tasks/labels of a name of parents",
    "tasks/labels of deep nesting",
    "tasks/labels of a label that is unknown",
    "tasks/a vocabulary not UTF-8",
    "tasks/ready embeddings with a pickle that runs a command",
    "tasks/ready embeddings with rows of NaN",
    "tasks/ready embeddings with sizes of 10^30",
    "tasks/a grid of nested deeply",
    "tasks/a grid of a huge layer",
    "tasks/sounds that are overwritten",
    "tasks/sounds at 48 kHz that are overwritten",
    "tasks/something else where embeddings go",
    "tasks/my task where embeddings go",
    "tasks/a model called a,b,c",
)


def cases():
    "All cases of tasks."
    good = ("tasks", "grid.json")
    yield Case("tasks/a good one", HEAR, then(*good), status=0, says="tiny-v1-full", leaves=("hear/results",))
    for key in ("task_name", "version", "mode"):
        for name, value in NAMES.items():
            empty = key != "task_name" and name in ("that is empty", "that is null")
            number = name == "that is a number" and key != "task_name"
            yield Case(
                f"tasks/a {key.removeprefix('task_')} {name}",
                HEAR,
                then(*good, metadata(**{key: value})),
                status=0 if empty else (0, 2) if number else 2,
                says="" if empty or number else key,
                lines=3,
                leaves=("!escaped", "!../escaped", "!../../escaped"),
            )
        yield Case(
            f"tasks/a {key.removeprefix('task_')} of my folder", HEAR, then(*good, absolute(key)), says=key, lines=3
        )
    for name, changes in METADATA.items():
        yield Case(
            f"tasks/{name}",
            HEAR,
            then(*good, metadata(**changes)),
            status=(0, 2) if name in ("a negative length", "stopping in words") else 2,
            lines=3,
            limit=30,
            says="tiny|nothing",
        )
    for name, content in {
        "empty": "",
        "a list": "[]",
        "nested deeply": "[" * 100_000,
        "no JSON": "name",
        "not UTF-8": b'{"task_name": "\xff"}',
    }.items():
        yield Case(f"tasks/metadata {name}", HEAR, then(*good, file("task_metadata.json", content)), lines=3)
    for name, change in LABELS.items():
        yield Case(
            f"tasks/labels of {name}",
            HEAR,
            then(*good, labels(change)),
            lines=3,
            says="train",
            status=(0, 2) if name in ("a null label",) else 2,
        )
    for name, content in VOCABULARIES.items():
        yield Case(
            f"tasks/a vocabulary {name}",
            HEAR,
            then(*good, file("labelvocabulary.csv", content)),
            lines=3,
            status=2,
            says="labelvocabulary|vocabulary",
        )
    for name, (entry, change) in READY.items():
        yield Case(
            f"tasks/ready embeddings with {name}",
            "mwmae_hear --embeddings ready --grid grid.json --seeds 2 --out scored",
            then("hear", "grid.json", ready(entry, change)),
            lines=3,
            limit=30,
            leaves=("!evil", "!../beside/evil"),
        )
    yield Case(
        "tasks/ready embeddings of a link outside",
        "mwmae_hear --embeddings ready --grid grid.json --seeds 2 --out scored",
        then("grid.json", lambda work: ((work / "ready").mkdir(), (work / "ready/x").symlink_to("/etc"))),
        lines=3,
    )
    for name, content in GRIDS.items():
        yield Case(
            f"tasks/a grid of {name}" if name != "empty" else "tasks/a grid that is empty",
            HEAR,
            then("tasks", _grid(content)),
            says="grid|nothing",
            lines=3,
            limit=30,
            leaves=("!hear/results/logmel/tiny-v1-full/grid.json",),
        )
    yield Case(
        "tasks/a pipe for a grid", HEAR, then("tasks", lambda work: os.mkfifo(work / "grid.json")), limit=20, lines=3
    )
    yield Case(
        "tasks/sounds that are overwritten",
        HEAR,
        then(*good),
        status=0,
        after=_keep_before,
        changes=(f"{TINY}/16000/*",),
        then=HEAR,
        check=_others_now,
    )
    yield Case(
        "tasks/sounds at 48 kHz that are overwritten",
        HEAR,
        then(*good, _at_48),
        status=0,
        after=_keep_48,
        changes=(f"{TINY}/*",),
        then=HEAR,
        check=_others_now,
    )
    yield Case(
        "tasks/a second good one beside a bad one",
        HEAR,
        then(*good, lambda work: make_task(work / "tasks/bad-v1-full", "../bad")),
        status=0,
        says="skipped",
        lines=3,
    )
    yield Case(
        "tasks/a hundred of which one is good",
        HEAR,
        then(*good, lambda work: [make_bad(work, i) for i in range(99)]),
        status=0,
        lines=200,
    )
    yield Case(
        "tasks/an earlier result that is damaged",
        HEAR,
        then(*good, _results_of_others),
        status=(0, 2),
        changes=("hear/*",),
        lines=3,
    )
    yield Case(
        "tasks/a file where embeddings go",
        HEAR,
        then(*good, lambda work: ((work / "hear").mkdir(), (work / "hear/embeddings").write_text("mine"))),
        status=(2, 3),
        lines=3,
    )
    yield Case(
        "tasks/something else where embeddings go",
        HEAR,
        then(
            *good,
            lambda work: (
                (work / "hear/embeddings/logmel/tiny-v1-full").mkdir(parents=True),
                (work / "hear/embeddings/logmel/tiny-v1-full/thesis.tex").write_text("mine"),
            ),
        ),
        status=2,
        lines=3,
    )
    yield Case(
        "tasks/my task where embeddings go",
        HEAR.replace("--out hear", "--out mine"),
        then(
            *good,
            lambda work: (
                (work / "mine/embeddings/logmel").mkdir(parents=True),
                os.rename(work / TINY, work / "mine/embeddings/logmel/tiny-v1-full"),
                make_task(work / TINY),
            ),
        ),
        status=2,
        lines=3,
    )
    yield Case(
        "tasks/a link where embeddings go",
        HEAR,
        then(
            *good,
            "sounds",
            lambda work: (
                (work / "hear/embeddings/logmel").mkdir(parents=True),
                (work / "hear/embeddings/logmel/tiny-v1-full").symlink_to("../../../sounds"),
            ),
        ),
        status=2,
        lines=3,
    )
    for model in (
        "../../x",
        "os",
        "subprocess:id",
        "this",
        "logmel:x",
        "random:nosuch",
        "json.tool",
        ",",
        "a,b,c",
        "antigravity",
        "packaged,nowhere",
    ):
        yield Case(
            f"tasks/a model called {model}",
            f"mwmae_hear tasks --model {model} --grid grid.json --seeds 2 --out hear",
            then(*good),
            status=(0, 2) if model in (",", "packaged,nowhere") else 2,
            lines=5,
        )
    yield Case(
        "tasks/listing hostile ones",
        "mwmae_hear tasks --list",
        then("tasks", metadata(task_name="../../x\x1b[31m")),
        status=0,
        lines=3,
    )
    yield Case("tasks/none", "mwmae_hear empty --model logmel", lambda kit, work: (work / "empty").mkdir(), lines=3)
    yield Case("tasks/a folder that is not there", "mwmae_hear nowhere --model logmel", says="nowhere")
    yield Case(
        "tasks/ablations on hostile ones",
        "mwmae_ablate 7 --data store --tasks tasks --epochs 1 --seeds 1",
        then("store", "tasks", metadata(task_name="../../../escaped")),
        lines=3,
        leaves=("!../escaped",),
    )
    yield Case(
        "tasks/ablations of a table that is none",
        "mwmae_ablate ../8 --data store --tasks tasks",
        then("store", "tasks"),
    )
    yield Case(
        "tasks/ablations on no data",
        "mwmae_ablate 7 --data nowhere --tasks tasks --epochs 1 --seeds 1",
        then("tasks"),
        says="nowhere",
    )


def make_bad(work, number):
    "A folder that says it is a task and is none."
    folder = work / "tasks" / f"bad{number}"
    folder.mkdir()
    (folder / "task_metadata.json").write_text("{}", encoding="utf-8")
