"""Check what SECURITY.md promises: nothing of others is run, or written outside the folders that were named.

First the code is read: no module of mwmae calls what runs code from data, but for the few places listed here with
their reason. Then hostile models, runs, stores, tasks, archives, embeddings, results and sounds are given to the
commands, each in a process whose every import, exec, unpickling, start of a program, connection and write is watched
by Python's audit hook. Controls that break each promise on purpose must be caught. The last line counts what held; the
exit status is 1 if anything did not.
"""

import ast
import io
import json
import os
import pickle
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import traceback
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import soundfile
import torch
from common import make_task, run_command
from fastcore.script import call_parse

import mwmae
from mwmae.commands import (
    mwmae_analyze, mwmae_convert, mwmae_embed, mwmae_export, mwmae_finetune, mwmae_hear, mwmae_prepare, mwmae_pretrain,
    mwmae_report,
)
from mwmae.checkpoints import fingerprint
from mwmae.model import MAEConfig, MaskedAutoencoder
from mwmae.models import save_model
from mwmae.store import prepare

mwmae.store.can_travel = lambda sounds: False  # other processes would send what they read as pickles
PACKAGE = Path(mwmae.__file__).parent
LIMIT = 120  # seconds that a case may take
MARK = "canary_4f1c"  # stands in all hostile code

# What the code may not contain

FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "execfile",
    "os.system",
    "os.popen",
    "os.execv",
    "os.spawnv",
    "os.posix_spawn",
    "pty.spawn",
    "subprocess.run",
    "subprocess.Popen",
    "subprocess.call",
    "subprocess.check_call",
    "subprocess.check_output",
    "subprocess.getoutput",
    "pickle.load",
    "pickle.loads",
    "pickle.Unpickler",
    "marshal.load",
    "marshal.loads",
    "shelve.open",
    "joblib.load",
    "dill.load",
    "dill.loads",
    "cloudpickle.load",
    "cloudpickle.loads",
    "pd.read_pickle",
    "pandas.read_pickle",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.package.PackageImporter",
    "importlib.import_module",
    "runpy.run_path",
    "runpy.run_module",
    "shutil.unpack_archive",
    "ctypes.CDLL",
    "code.interact",
}
METHODS = {"extractall", "extract"}  # of archives: only what unpacks regular files by its own check may write
ALLOWED = {
    "importlib.import_module": {
        "_import_hear_module": "a HEAR module is code that the user names",
        "__getattr__": "the front door: modules of a fixed table of our own",
        "_open_registered": "doors: modules of a fixed table of our own, and what the user's code adds to it",
    },
    "exec": {"_run_code": "--code is code that the user names"},
    "compile": {"_run_code": "as exec"},
    "pickle.Unpickler": {"_PlainUnpickler": "the reader of the kit's label lists, whose find_class only raises"},
}


def dotted(
    node: ast.AST,  # an expression
) -> str:  # such as 'torch.load'; empty if it is no name
    "The name of what is called."
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := dotted(node.value)):
        return f"{inner}.{node.attr}"
    return ""


def only_raises(
    node: ast.ClassDef,  # a class
) -> bool:  # whether its find_class does nothing else
    "Whether an unpickler can import nothing."
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == "find_class":
            return all(
                isinstance(line, ast.Raise) or isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
                for line in method.body
            )
    return False


def aliases(
    tree: ast.Module,  # a module
) -> dict:  # full name for each imported name, such as {'load': 'pickle.load', 'p': 'pickle'}
    "What imported names stand for."
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _truth(call, keyword):
    "Whether a keyword of a call is there and is not the constant False or None."
    return any(
        word.arg == keyword and not (isinstance(word.value, ast.Constant) and not word.value.value)
        for word in call.keywords
    )


def dangers(
    source: str,  # of a module
) -> list[str]:  # what is in it that should not be, with line numbers
    "Read a module for calls that could run what comes from others."
    tree, found = ast.parse(source), []
    known = aliases(tree)
    inside = {}  # name of the definition around each node
    for outer in ast.walk(tree):
        if isinstance(outer, (ast.FunctionDef, ast.ClassDef)):
            for node in ast.walk(outer):
                inside.setdefault(node, []).append(outer)

    def note(node, name):
        around = [outer for outer in inside.get(node, []) if outer.name in ALLOWED.get(name, {})]
        if not around or name == "pickle.Unpickler" and not only_raises(around[0]):
            found.append(f"line {node.lineno}: {name}")

    for node in ast.walk(tree):
        name = dotted(node) if isinstance(node, (ast.Name, ast.Attribute)) else ""
        first, _, rest = name.partition(".")
        full = known.get(first, first) + (f".{rest}" if rest else "")
        if full in FORBIDDEN and not (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)):
            note(node, full)
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        first, _, rest = called.partition(".")
        called = known.get(first, first) + (f".{rest}" if rest else "")
        if called == "torch.load" and not _truth(node, "weights_only"):
            note(node, "torch.load without weights_only=True")
        for keyword in ("allow_pickle", "trust_remote_code", "shell"):
            if _truth(node, keyword):
                note(node, f"{called}({keyword}=...)")
        if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS and not called.startswith("re."):
            note(node, f".{node.func.attr}()")
    return found


# What is given to the commands


class Evil:
    "Unpickled, it writes a file."

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return exec, (f"{MARK} = 1; open({str(self.canary)!r}, 'w').close()",)


class Case:
    "A folder for one case: hostile things in `data`, results in `out`; the canary lies outside of both."

    def __init__(
        self,
        folder: Path,  # where it is
    ):
        self.folder, self.canary = folder, folder / "canary"
        self.data, self.out, self.home = (folder / "deep" / "er" / name for name in ("data", "out", "home"))
        for path in (self.data, self.out, self.home):
            path.mkdir(parents=True)
        self.pickle = pickle.dumps([["label"], Evil(self.canary)])
        self.code = f"{MARK} = 1\nopen({str(self.canary)!r}, 'w').close()\n"

    def torch_pickle(self) -> bytes:  # a .pt file
        "What torch.save makes of it."
        file = io.BytesIO()
        torch.save({"weight": torch.zeros(2), "evil": Evil(self.canary)}, file)
        return file.getvalue()

    def objects(
        self,
        path: Path,  # an .npy file to write
    ):
        "An array of objects, which numpy stores as a pickle."
        np.save(path, np.array([Evil(self.canary)], object), allow_pickle=True)

    def traps(
        self,
        folder: Path,  # where
    ):
        "Files that other loaders would run."
        for name in (
            "__init__.py",
            "sitecustomize.py",
            "usercustomize.py",
            "modeling.py",
            "model.py",
            "setup.py",
            "conftest.py",
            "soundfile.py",
            "numpy.py",
            "json.py",
        ):
            (folder / name).write_text(self.code, encoding="utf-8")
        for name in ("pytorch_model.bin", "model.pt", "model.pkl", "optimizer.pt", "target-labels.pkl"):
            (folder / name).write_bytes(self.torch_pickle() if name.endswith((".bin", ".pt")) else self.pickle)
        self.objects(folder / "trap.npy")

    def model(
        self,
        folder: Path,  # where
        good: bool = True,  # whether its weights are some
    ) -> Path:  # the same
        "A small model with traps beside it, or one whose weights are a pickle."
        config = MAEConfig(
            frames=40, encoder_width=8, encoder_depth=1, encoder_heads=2, decoder_width=8, decoder_depth=1
        )
        save_model(MaskedAutoencoder(config), folder)
        if not good:
            (folder / "model.safetensors").write_bytes(self.torch_pickle())
        self.traps(folder)
        return folder

    def sounds(
        self,
        folder: Path,  # where
    ) -> Path:  # the same
        "Two labels of three sounds each, and traps."
        for i in range(6):
            path = folder / "ab"[i % 2] / f"{i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * np.random.default_rng(i).standard_normal(8_000), 16_000)
        (folder / "a" / "pickle.wav").write_bytes(self.pickle)
        (folder / "a" / "torch.flac").write_bytes(self.torch_pickle())
        self.traps(folder / "a")
        return folder

    def task(
        self,
        folder: Path,  # where
        name: str = "hostile",  # of the task
    ) -> Path:  # the same
        "A HEAR task of twelve sounds, with traps."
        make_task(folder, name)
        self.traps(folder)
        return folder

    def embeddings(
        self,
        folder: Path,  # where
    ) -> Path:  # the same
        "Embeddings as hear-eval-kit leaves them, their labels a pickle that runs code."
        self.task(folder / "hostile")
        for split in ("train", "valid", "test"):
            np.ones((4, 3), np.float32).tofile(folder / "hostile" / f"{split}.embeddings.npy")
            (folder / "hostile" / f"{split}.embedding-dimensions.json").write_text("[4, 3]", encoding="utf-8")
            (folder / "hostile" / f"{split}.target-labels.pkl").write_bytes(self.pickle)
        (folder / "hostile" / ".done.embeddings").touch()
        return folder


def hear_transformers(case, changes):
    "Arguments that score a folder of transformers: its weights are a pickle, its config has these changes."
    folder = case.data / "hub"
    folder.mkdir()
    case.traps(folder)
    reader = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16000}
    parts = {"config.json": {"model_type": "hubert", **changes}, "preprocessor_config.json": {**reader, **changes}}
    for name, content in parts.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    tasks = case.task(case.data / "t" / "t-v1-full").parent
    return [tasks, "--model", f"transformers:{folder}", "--seeds", "1", "--out", case.out, "--device", "cpu"]


def made_run(case):
    "A run whose optimiser has become a pickle, with checksums that agree."
    run_folder, sounds = case.out / "run", case.sounds(case.data / "s")
    options = [
        "--data",
        sounds,
        "--out",
        run_folder,
        "--epochs",
        "2",
        "--batch",
        "4",
        "--precision",
        "fp32",
        "--save_every",
        "1",
    ]
    _, ended = apart(case, lambda case: run(mwmae_pretrain, options))
    if ended != "0":
        raise RuntimeError(ended)
    checkpoints = sorted((run_folder / "checkpoints").iterdir())
    for last in checkpoints[1:]:  # so that there is something to go on with
        shutil.rmtree(last)
    state = json.loads((checkpoints[0] / "state.json").read_text(encoding="utf-8"))
    (checkpoints[0] / "optimizer.safetensors").write_bytes(case.torch_pickle())
    state["files"]["optimizer.safetensors"] = fingerprint(checkpoints[0] / "optimizer.safetensors")
    (checkpoints[0] / "state.json").write_text(json.dumps(state), encoding="utf-8")
    case.traps(checkpoints[0])
    case.traps(run_folder)
    return run_folder


def made_store(case):
    "A store whose arrays are objects."
    with redirect_stdout(io.StringIO()):
        prepare(case.sounds(case.home / "sounds"), case.data / "store", workers=1)
    for path in (case.data / "store").glob("*.npy"):
        case.objects(path)
    return case.data / "store"


def made_precious(case):
    "A folder of somebody's, which looks like embeddings, and a task whose name is its path."
    precious = case.folder / "precious-v1-full"
    precious.mkdir()
    (precious / "task_metadata.json").write_text("{}", encoding="utf-8")
    return case.task(case.data / "t", str(case.folder / "precious")).parent


def made_archive(case):
    "A task's archive that also has members outside, links, and modules."
    task = case.task(case.home / "task")
    with tarfile.open(case.data / "hear2021-hostile-v1-full-48000.tar.gz", "w:gz") as archive:
        for name in ("../../../escaped.py", "/tmp/mwmae-escaped.py", "hostile-v1-full/../../up.pkl"):
            member = tarfile.TarInfo(name)
            member.size = len(case.pickle)
            archive.addfile(member, io.BytesIO(case.pickle))
        link = tarfile.TarInfo("hostile-v1-full/link")
        link.type, link.linkname = tarfile.SYMTYPE, str(case.folder)
        archive.addfile(link)
        through = tarfile.TarInfo("hostile-v1-full/link/through.py")
        through.size = len(case.code.encode())
        archive.addfile(through, io.BytesIO(case.code.encode()))
        archive.add(task, "hostile-v1-full")
    return case.data


def made_late_archive(case):
    "A good task's archive with links to elsewhere at its end, and files through them."
    task = case.task(case.home / "task")
    with tarfile.open(case.data / "late-v1-full.tar.gz", "w:gz") as archive:
        archive.add(task, "late-v1-full")
        for i in range(60):  # a chain that makes a path longer than the system takes
            link = tarfile.TarInfo(f"late-v1-full/{'d' * 100}{i}")
            link.type, link.linkname = tarfile.SYMTYPE, f"{'d' * 100}{i - 1}/.." if i else "../../../.."
            archive.addfile(link)
        through = tarfile.TarInfo(f"late-v1-full/{'d' * 100}59/through.py")
        through.size = len(case.code.encode())
        archive.addfile(through, io.BytesIO(case.code.encode()))
    return case.data


def made_sound_archive(case):
    "Good sounds in an archive, under names that lead elsewhere."
    sound = (case.sounds(case.home / "sounds") / "a" / "0.wav").read_bytes()
    with tarfile.open(case.data / "sounds.tar", "w") as archive:
        for name in ("good.wav", "../../../../escaped.wav", "/tmp/mwmae-escaped.wav", "a/../../../up.wav", "..wav"):
            member = tarfile.TarInfo(name)
            member.size = len(sound)
            archive.addfile(member, io.BytesIO(sound))
    return case.data / "sounds.tar"


def made_parquet(case):
    "A table whose Arrow schema carries a pickled extension type."
    storage = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    hostile = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": case.pickle}
    schema = pyarrow.schema([pyarrow.field("audio", storage, metadata=hostile)], metadata={b"pandas": case.pickle})
    table = pyarrow.table([pyarrow.array([{"bytes": case.pickle, "path": "x.wav"}], storage)], schema=schema)
    pyarrow.parquet.write_table(table, case.data / "hostile.parquet")
    return case.data


def made_results(case):
    "Results with names that lead elsewhere, and pickles."
    for i, model in enumerate(
        ("../../../../escaped", "/tmp/mwmae-escaped", f"__import__('os').system('touch {case.canary}')")
    ):
        result = {
            "model": model,
            "task": "../../up",
            "grid": "../../../grid",
            "score": "top1_acc",
            "seeds": [0, 1],
            "test": [0.5, 0.6],
            "scores": {"top1_acc": [0.5, 0.6]},
            "folds": [[0.5], [0.6]],
            "chosen": [{}, {}],
            "seconds": 1.0,
        }
        folder = case.data / str(i) / "task"
        folder.mkdir(parents=True)
        (folder / "paper.json").write_text(json.dumps(result), encoding="utf-8")
        case.traps(folder)
    return case.data


def made_published(case):
    "A published checkpoint that is a pickle."
    (case.data / "checkpoint_100").write_bytes(case.pickle)
    (case.data / "config.json").write_text(
        json.dumps({"model": {"model_args": {}, "trust_remote_code": True}}), encoding="utf-8"
    )
    case.traps(case.data)
    return case.data


def made_manifest(case):
    "A list of sounds whose names lead elsewhere."
    sounds = case.sounds(case.home / "sounds")
    rows = [
        "../home/sounds/a/0.wav",
        str(sounds / "b" / "1.wav"),
        "../../../../../../../../etc/passwd",
        "/dev/zero",
        "=cmd|'/C calc'!A0",
        "$(touch canary)",
    ]
    (case.data / "list.csv").write_text("path\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return case.data / "list.csv"


def made_classifier(case):
    "A classifier whose head is a pickle."
    folder = case.model(case.data / "classifier", good=False)
    (folder / "labels.json").write_text(json.dumps({"labels": ["a", "b"], "pool": "mean"}), encoding="utf-8")
    return folder


ALONE = ["--workers", "0"]  # other processes would send their results as pickles
COMMANDS = {  # for each case the command, and its arguments made of a Case
    "a model whose weights are a pickle": (
        mwmae_embed,
        lambda c: [c.sounds(c.data / "s"), "--model", c.model(c.data / "m", False), "--out", c.out, *ALONE],
    ),
    "a model with traps beside it": (
        mwmae_embed,
        lambda c: [c.sounds(c.data / "s"), "--model", c.model(c.data / "m"), "--out", c.out, *ALONE],
    ),
    "sounds that are pickles": (mwmae_prepare, lambda c: [c.sounds(c.data / "s"), c.out, "--workers", "1"]),
    "a list that leads elsewhere": (
        mwmae_embed,
        lambda c: [made_manifest(c), "--model", c.model(c.data / "m"), "--out", c.out, *ALONE],
    ),
    "a table with a pickled type": (mwmae_prepare, lambda c: [made_parquet(c), c.out, "--workers", "1"]),
    "a classifier that is a pickle": (
        mwmae_embed,
        lambda c: [c.sounds(c.data / "s"), "--classify", "--model", made_classifier(c), "--out", c.out, *ALONE],
    ),
    "fine-tuning a pickle": (
        mwmae_finetune,
        lambda c: [c.sounds(c.data / "s"), "--model", c.model(c.data / "m", False), "--out", c.out / "f"],
    ),
    "fine-tuning beside traps": (
        mwmae_finetune,
        lambda c: [c.sounds(c.data / "s"), "--model", c.model(c.data / "m"), "--out", c.out / "f", "--device", "cpu"],
    ),
    "exporting a pickle": (mwmae_export, lambda c: [c.model(c.data / "m", False), c.out / "m.onnx"]),
    "analysing a pickle": (
        mwmae_analyze,
        lambda c: [c.model(c.data / "m", False), "--data", c.sounds(c.data / "s"), "--out", c.out],
    ),
    "beginning with a pickle": (
        mwmae_pretrain,
        lambda c: ["--init", c.model(c.data / "m", False), "--data", c.sounds(c.data / "s"), "--out", c.out / "run"],
    ),
    "resuming a pickle": (mwmae_pretrain, lambda c: ["--resume", "--out", made_run(c)]),
    "a store of objects": (
        mwmae_pretrain,
        lambda c: ["--data", made_store(c), "--out", c.out / "run", "--epochs", "1"],
    ),
    "a task with traps": (
        mwmae_hear,
        lambda c: [
            c.task(c.data / "hostile-v1-full").parent,
            "--model",
            "logmel",
            "--seeds",
            "1",
            "--out",
            c.out,
            "--device",
            "cpu",
        ],
    ),
    "a task named like a module": (
        mwmae_hear,
        lambda c: [
            c.task(c.data / "json-v1-full", "json").parent,
            "--model",
            "logmel",
            "--seeds",
            "1",
            "--out",
            c.out,
            "--device",
            "cpu",
        ],
    ),
    "a task that names another folder": (
        mwmae_hear,
        lambda c: [
            c.task(c.data / "t", "../../../escaped").parent,
            "--model",
            "logmel",
            "--seeds",
            "1",
            "--out",
            c.out,
        ],
    ),
    "a task that names a folder of yours": (
        mwmae_hear,
        lambda c: [made_precious(c), "--model", "logmel", "--seeds", "1", "--out", c.out, "--device", "cpu"],
    ),
    "an archive that leads elsewhere": (
        mwmae_hear,
        lambda c: [made_archive(c), "--model", "logmel", "--seeds", "1", "--out", c.out, "--device", "cpu"],
    ),
    "an archive that leads elsewhere at its end": (
        mwmae_hear,
        lambda c: [made_late_archive(c), "--model", "logmel", "--seeds", "1", "--out", c.out, "--device", "cpu"],
    ),
    "sounds whose names lead elsewhere": (
        mwmae_embed,
        lambda c: [made_sound_archive(c), "--model", c.model(c.data / "m"), "--out", c.out, *ALONE],
    ),
    "a model folder that is also a package": (
        mwmae_hear,
        lambda c: [
            c.task(c.data / "t-v1-full").parent,
            "--model",
            c.model(c.home / "package").name,
            "--seeds",
            "1",
            "--out",
            c.out,
        ],
    ),
    "a model of transformers that brings code": (
        mwmae_hear,
        lambda c: hear_transformers(c, {"auto_map": {"AutoConfig": "modeling.C", "AutoModel": "modeling.M"}}),
    ),
    "a model of transformers of a type of its own": (
        mwmae_hear,
        lambda c: hear_transformers(
            c, {"model_type": "own", "auto_map": {"AutoConfig": "modeling.C", "AutoModel": "modeling.M"}}
        ),
    ),
    "a model of transformers that is a pickle": (mwmae_hear, lambda c: hear_transformers(c, {})),
    "labels that are a pickle": (
        mwmae_hear,
        lambda c: ["--embeddings", c.embeddings(c.data / "model"), "--seeds", "1", "--out", c.out, "--device", "cpu"],
    ),
    "results that lead elsewhere": (mwmae_report, lambda c: [made_results(c), "--out", c.out]),
    "a published checkpoint that is a pickle": (mwmae_convert, lambda c: [made_published(c), c.out / "m"]),
}
CONTROLS = {  # what breaks a promise, and has to be seen
    "unpickling": lambda c: pickle.loads(c.pickle),
    "running code from data": lambda c: exec(compile(c.code, str(c.data / "x.py"), "exec")),
    "importing from data": lambda c: (c.traps(c.data), sys.path.insert(0, str(c.data)), __import__("conftest")),
    "starting a program": lambda c: os.system("true"),
    "writing elsewhere": lambda c: c.canary.touch(),
    "writing by way of a parent": lambda c: (c.out / ".." / ".." / "up").mkdir(),
    "removing elsewhere": lambda c: shutil.rmtree(c.folder / "nowhere", ignore_errors=True),
    "connecting": lambda c: __import__("socket").getaddrinfo("localhost", 80),
}

# Watching

STARTS = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.startfile",
    "pty.spawn",
    "os.forkpty",
)
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
CHANGES = (
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.rename",
    "os.link",
    "os.symlink",
    "os.truncate",
    "os.chmod",
    "os.chown",
    "shutil.rmtree",
    "shutil.move",
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Watch:
    "Notes what a process must not do; Python calls it for every event, until the process ends."

    def __init__(
        self,
        case: Case,  # whose folders may be written to
    ):
        self.case, self.seen, self.on = str(case.folder.resolve()), [], True
        self.may_write = [str(path.resolve()) + os.sep for path in (case.data, case.out, case.home)] + [
            "/dev/",
            "/proc/self/",
        ]

    def outside(self, path):
        "Whether a path is in none of the folders that may be written to."
        if isinstance(path, int):
            return False
        real = (
            os.path.realpath(os.fsdecode(path))
            if not os.path.islink(path)
            else os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(path))), os.path.basename(path))
        )
        return not any((real + os.sep).startswith(root) for root in self.may_write)

    def __call__(self, event, arguments):
        if not self.on:
            return
        self.on = False  # what is done here is not watched
        try:
            if wrong := self.judge(event, arguments):
                self.seen.append(f"{event}: {wrong}"[:300])
        finally:
            self.on = True

    def judge(self, event, arguments):
        "What is wrong with an event; nothing if it may be."
        if event == "pickle.find_class" or event in STARTS or event in NETWORK:
            return repr(arguments)
        if event == "compile":
            source, file = arguments
            text = (
                source
                if isinstance(source, str)
                else bytes(source).decode("utf-8", "replace")
                if isinstance(source, (bytes, bytearray, memoryview))
                else ""
            )
            return repr(file) if MARK in text or self.case in os.fsdecode(file or "") else ""
        if event == "exec":
            return (
                arguments[0].co_filename
                if self.case in arguments[0].co_filename or MARK in arguments[0].co_names
                else ""
            )
        if event == "import":
            return arguments[1] if arguments[1] and self.case in os.fsdecode(arguments[1]) else ""
        if event == "ctypes.dlopen":
            return repr(arguments) if self.case in str(arguments[0]) else ""
        if event == "open":
            path, _, flags = arguments
            return repr(path) if flags & WRITING and self.outside(path) else ""
        if event in CHANGES:
            paths = (
                arguments[:2]
                if event in ("os.rename", "os.link", "shutil.move")
                else arguments[1:2]
                if event == "os.symlink"
                else arguments[:1]
            )
            inside = any(
                isinstance(value, int) and value >= 0 for value in arguments[len(paths) :]
            ) and not os.path.isabs(os.fsdecode(paths[0]))
            return repr(paths) if not inside and any(self.outside(path) for path in paths) else ""
        return ""


def apart(
    case: Case,  # folders of the case
    act,  # what to do there
) -> tuple[list[str], str]:  # what was seen, and how it ended
    "Do something in a process of its own, watched."
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        watch, ended = Watch(case), "broke down"
        try:
            signal.alarm(LIMIT)
            os.chdir(case.home)
            os.environ.update(
                HOME=str(case.home),
                TMPDIR=str(case.home),
                XDG_CACHE_HOME=str(case.home),
                HF_HUB_OFFLINE="1",
                HF_HOME=str(case.home),
            )
            tempfile.tempdir = str(case.home)
            sys.path[:] = [path for path in sys.path if path and path != str(Path(__file__).parent)]
            sys.dont_write_bytecode = True
            sys.addaudithook(watch)
            ended = act(case)
        except BaseException:
            ended = traceback.format_exc()
        watch.on = False
        loaded = [
            name for name, module in sys.modules.items() if watch.case in str(getattr(module, "__file__", None) or "")
        ]
        report = json.dumps([watch.seen + [f"loaded: {name}" for name in loaded], str(ended)]).encode()
        with open(send, "wb") as pipe:
            pipe.write(report)
        os._exit(0)
    os.close(send)
    with open(receive, "rb") as pipe:
        report = pipe.read()
    _, status = os.waitpid(child, 0)
    return tuple(json.loads(report)) if report else ([], f"ended with status {status}")


def run(
    function,  # a command
    arguments: list,  # of the command line
) -> str:  # how it ended
    "Run a command as at the command line."
    status, said = run_command(function, *arguments)
    return f"{status}: {said}" if status else "0"


@call_parse
def main(
    only: str = "",  # Try only the cases whose name holds this
    show: bool = False,  # Say how every command ended
):
    "Check the promises, print what became of each, and exit 1 if one is broken."
    held, broken, start = 0, 0, time.monotonic()

    def count(name, wrong):
        nonlocal held, broken
        held, broken = held + (not wrong), broken + bool(wrong)
        print(
            f"{'BROKEN' if wrong else 'held  '}  {name}",
            *(f"    {ascii(line)[1:-1]}" for line in wrong[:8]),
            sep="\n",
            flush=True,
        )

    for path in sorted(PACKAGE.glob("*.py")):
        if only in path.name:
            count(f"{path.name} runs nothing of others", dangers(path.read_text(encoding="utf-8")))
    sly = "from numpy import load as l\nfrom pickle import loads\nl('x', allow_pickle=True)\nloads('x')\neval('1')\n"
    sly += "import torch as t\nt.load('x')"
    count("such calls are seen", [] if len(dangers(sly)) == 4 else [str(dangers(sly))])
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (function, arguments)) in enumerate(COMMANDS.items()):
            if only not in name:
                continue
            case = Case(Path(folder) / str(number))
            try:
                line = arguments(case)
                seen, ended = apart(case, lambda case: run(function, line))
            except Exception:
                seen, ended = [traceback.format_exc()], "could not be made"
            wrong = seen + ["the canary was written"] * case.canary.exists()
            count(
                f"{function.__name__}: {name}",
                wrong + ([] if ended.startswith(("0", "2: ")) else [f"ended with {ended[-600:]}"]),
            )
            if show:
                print(f"        {ended}")
        for number, (name, act) in enumerate(CONTROLS.items(), len(COMMANDS)):
            if only in name:
                seen, _ = apart(Case(Path(folder) / str(number)), act)
                count(f"{name} is seen", [] if seen else ["nothing was seen"])
    print(f"took {time.monotonic() - start:.0f} s")
    if broken:
        print(f"{broken} BROKEN")
    print(f"{held} promises held")
    sys.exit(bool(broken or not held))
