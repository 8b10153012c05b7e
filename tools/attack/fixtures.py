"Small things that cases start from, made once: sounds, a model, a task, results, a run, a published checkpoint."

import json
import shutil
import tarfile
from pathlib import Path

import common
from common import make_task, tone

from .case import ROOT, Case, run_commands

NANO = (48, 2, 3, 96, 2)  # what the smallest encoder is here, so that training takes a second


def import_everything():
    "Import what the commands need, in one thread, so that processes can be forked from this one."
    import importlib
    import warnings

    import torch

    torch.set_num_threads(1)
    for module in sorted((ROOT / "mwmae").glob("[a-z]*.py")):
        importlib.import_module(f"mwmae.{module.stem}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (
            *(f"encodings.{name}" for name in ("ascii", "latin_1", "cp1252", "utf_8_sig", "utf_16", "idna")),
            "pyarrow.parquet",
            "msgpack",
            "matplotlib.backends.backend_agg",
            "matplotlib.backends.backend_svg",
            "torch.utils.tensorboard",
        ):
            try:
                importlib.import_module(name)
            except ImportError:
                pass  # missing extras are cases of their own
    sys_model = importlib.import_module("mwmae.model")
    sys_model.ENCODERS["nano"] = NANO


def tiny_config(**changes):
    "The shape of the smallest model."
    from mwmae.model import model_config

    return model_config(
        "mwmae_tiny_4x16",
        **{"encoder_width": 48, "encoder_depth": 2, "decoder_width": 32, "decoder_depth": 1, **changes},
    )


def make_sounds(folder: Path):
    "Six sounds of several formats."
    import soundfile

    folder.mkdir()
    for i, name in enumerate(("a.wav", "b.flac", "c.ogg", "d.wav", "deep/e.wav", "deep/f.wav")):
        (folder / name).parent.mkdir(exist_ok=True)
        rate = 22_050 if name == "d.wav" else 16_000
        soundfile.write(folder / name, tone(0.6 + 0.1 * i, 220 * (i + 1), rate), rate)


def make_labelled(folder: Path):
    "Four sounds of each of two labels."
    import soundfile

    for label, pitch in (("high", 2000), ("low", 200)):
        (folder / label).mkdir(parents=True)
        for i in range(4):
            soundfile.write(folder / label / f"{i}.wav", tone(0.5, pitch * (1 + i / 10)), 16_000)


def make_model(folder: Path, **changes):
    "A model folder with random weights."
    import torch

    from mwmae.models import save_model
    from mwmae.model import MaskedAutoencoder

    torch.manual_seed(0)
    save_model(MaskedAutoencoder(tiny_config(**changes)), folder)


def published_tree() -> dict:
    "The parameters of a tiny model as the published system stores them."
    import torch

    from mwmae.model import MaskedAutoencoder

    torch.manual_seed(0)
    config = tiny_config(decoder_depth=2, decoder_heads=8, windows=[2, 5, 10, 25, 50, 125, 250, 250])
    return common.published_tree(MaskedAutoencoder(config))


def make_published(folder: Path, tree=None, arguments=None, leaves=None):
    "A folder like those of the published system; `leaves` are packed already and stand beside the parameters."
    parameters = published_tree() if tree is None else tree
    common.write_published(folder, parameters | (leaves or {}), common.ARGUMENTS | (arguments or {}))


def kit_result(scores=(0.5, 0.25, 0.75)):
    "The content of a result file of hear-eval-kit."
    point = {"hidden_layers": 1, "lr": 1e-3, "dropout": 0.1, "initialization": "<function xavier_normal_ at 0x7f>"}
    folds = {
        f"fold{i:02d}": {"test_score": s, "test_loss": 1.0, "test_top1_acc": s, "time_in_min": 0.1}
        for i, s in enumerate(scores)
    }
    return {"hparams": point, **folds, "aggregated_scores": {"test_score_mean": 0.5}}


def own_result(model="m", task="tiny-v1-full", test=(0.5, 0.6, 0.7), **changes):
    "The content of a result file of mwmae_hear."
    test = list(test)
    return {
        "model": model,
        "task": task,
        "grid": "paper",
        "score": "top1_acc",
        "seeds": [*range(len(test))],
        "test": test,
        "scores": {"top1_acc": test},
        "folds": [[value] for value in test],
        "chosen": [{"hidden_layers": 1} for _ in test],
        "seconds": 1.0,
    } | changes


def make_results(folder: Path):
    "Results of two models on two tasks, and one of the kit."
    for shift, model in ((0.0, "first"), (0.1, "second")):
        for task in ("tiny-v1-full", "other-v1-full"):
            (folder / model / task).mkdir(parents=True)
            values = [0.5 + shift + 0.01 * i for i in range(3)]
            (folder / model / task / "paper.json").write_text(
                json.dumps(own_result(model, task, values)), encoding="utf-8"
            )
    (folder / "kitmodel" / "tiny-v1-full").mkdir(parents=True)
    (folder / "kitmodel" / "tiny-v1-full" / "test.predicted-scores.json").write_text(
        json.dumps(kit_result()), encoding="utf-8"
    )


GRID = [{"epochs": 4, "validate_every": 2, "hidden_dim": 8, "batch": 8, "patience": 1}]
PRETRAIN = "--batch 4 --epochs 2 --save_every 1 --precision fp32"


def make_all(kit: Path):
    "Make everything below the folder `kit`."
    make_sounds(kit / "sounds")
    make_labelled(kit / "labelled")
    make_model(kit / "model")
    make_task(kit / "tasks" / "tiny-v1-full")
    make_published(kit / "jax")
    make_results(kit / "results")
    (kit / "grid.json").write_text(json.dumps(GRID), encoding="utf-8")
    with tarfile.open(kit / "sounds.tar", "w") as tar:
        tar.add(kit / "sounds", "sounds")
    (kit / "manifest.csv").write_text("path\nsounds/a.wav\nsounds/b.flac\n", encoding="utf-8")


MADE_BY_COMMANDS = """mwmae_prepare sounds store --workers 1
mwmae_embed sounds --model model --out embeddings
mwmae_embed sounds --model model --out steps --timestamps
mwmae_embed sounds --model model --out table --table
mwmae_pretrain --data sounds --out run --batch 4 --epochs 2 --save_every 1 --precision fp32
mwmae_hear tasks --model model --grid grid.json --seeds 2 --out hear
mwmae_finetune labelled --model model --out classifier"""


def make_by_commands(kit: Path):
    "What only the commands make: a store, embeddings, a run, scores, a classifier."
    beside = kit.parent / "making"
    (beside / "logs").mkdir(parents=True)
    for name in ("tmp", "home"):
        (beside / name).mkdir()
    work = beside / "work"
    shutil.copytree(kit, work)
    for command in MADE_BY_COMMANDS.splitlines():
        ended = run_commands(Case("fixtures", command, limit=120), [command], work)[0]
        if ended.status:
            raise SystemExit(f"the fixtures cannot be made:\n{ended}")
    for name in ("store", "embeddings", "steps", "table", "run", "hear", "classifier", "stores"):
        if (work / name).exists():
            shutil.copytree(work / name, kit / name, symlinks=True)
    shutil.rmtree(beside)


def put(*names: str):
    "A `make` that copies fixtures into the folder."

    def make(kit, work):
        for name in names:
            source = kit / name
            target = work / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target, symlinks=True) if source.is_dir() else shutil.copy(source, target)

    return make


def then(*steps):
    "A `make` of several steps; names are fixtures to copy, functions get the folder."

    def make(kit, work):
        for step in steps:
            put(step)(kit, work) if isinstance(step, str) else step(work)

    return make
