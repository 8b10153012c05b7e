"""From recordings under free licences to a table of scores: pre-train MW-MAE and MAE, score both beside two baselines, report."""
import base64
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from fastcore.basics import chunked
from sklearn.exceptions import ConvergenceWarning
from sklearn.manifold import TSNE
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from mwmae.audio import InputError, LogMelSpectrogram
from mwmae.sharing import INSTALLED, PACKAGED, share_encoder
from mwmae.checkpoints import check_checkpoint, list_checkpoints, newest_checkpoint
from mwmae.models import load_encoder
from mwmae.commands import command, readable_errors
from mwmae.files import atomic_file, load_config
from mwmae.crops import ClipIndex, split_held_out
from mwmae.embed import EmbedConfig, embedding_input, EmbeddingModel
from mwmae.model import Encoder, model_cost
from mwmae.settings import has_bfloat16, open_data, PretrainConfig
from mwmae.record import compare_settings
from mwmae.pretrain import pretrain
from mwmae.hear import best_of_folds, load_result, run_jobs
from mwmae.probe import list_folds, read_grid, task_points
from mwmae.quick import linear_labels, nearest_labels
from mwmae.report import card_scores, grid_report, markdown_table, report_table, report_text
from mwmae.compare import collect_results, score_rows
from mwmae.encoders import embed_with_options, HearModel, open_hear_model, random_model
from mwmae.tasks import load_sound, read_split, Task
from mwmae.task_embeddings import embed_task, row_order
from mwmae.task_sets import find_tasks, open_task
from mwmae.embedded import read_embedded

KINDS = ("mwmae", "mae")  # compared with each other: as many steps on the same clips
LONGER, LONGEST = "longer", "longest"  # MW-MAE, trained on, and on once more: the latter is installed with the library
ROUNDS = ("mwmae", LONGER, LONGEST)  # each begins where the one before ends, the last with its encoder alone
RUNS = (*KINDS, LONGER, LONGEST)
WIDE = {"scene": {"layers": "6", "pool": "mean+max"}, "event": {"layers": "2,6", "overlap": 0.9}}  # of those best in validation the shortest, see the step `choose`
OTHERWISE = {  # what is embedded in another way, too; an untrained encoder has no block that is better than its output
    "longest_wide": (LONGEST, WIDE),
    "random_wide": ("random", WIDE | {"scene": {"pool": "mean+max"}}),
}
QUICK = "small.json"  # grid of a probe that gives up early: to see what the patience of the other is worth
STEPS = ("pool", "tune", "pretrain", "longer", "choose", "evaluate", "curves", "package", "report", "ablate")
LEFT_OUT = {"gcompris-qt-data": "some of its files are under CC Sampling Plus 1.0, which forbids their use in advertising"}
LICENCES = {  # read off the copyright files of packages for which licences.csv names none
    "asterisk-moh-opsound-g722": "CC-BY-SA-3.0", "fillets-ng-data-cs": "GPL-2", "fillets-ng-data-nl": "GPL-2", "freepats": "GPL-2+",
}
HERE = Path(__file__).resolve().parent


# --- what every step needs


@contextmanager
def timed(
    out: Path,  # folder of the recipe
    step: str,  # name of the step
):
    "Add the seconds that a step took, in this call, to `times.csv`."
    begin = time.perf_counter()
    try:
        yield
    finally:
        with open(out / "times.csv", "a", encoding="utf-8") as file:
            file.write(f"{step},{time.perf_counter() - begin:.1f}\n")


def write_csv(
    table: pd.DataFrame,  # what to write
    path: Path,  # where
):
    "Write a table, whole or not at all."
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False)


# --- 1. the pool


def select_pool(
    corpora: Path,  # folder with licences.csv and pool/manifest.csv
    out: Path,  # folder of the recipe
) -> Path:  # a manifest for mwmae_prepare
    "Choose recordings by the licences of their packages, and write down whom they are owed to."
    manifest = pd.read_csv(corpora / "pool" / "manifest.csv")
    licences = pd.read_csv(corpora / "licences.csv").set_index("package").licence.to_dict() | LICENCES
    if unknown := sorted(set(manifest.package) - set(licences)):
        raise InputError(f"{corpora / 'licences.csv'}: has no licence of {', '.join(unknown)}")
    place = out / "pool"  # a link, so that the names of clips, and with them those held out, do not depend on where the pool lies
    if not place.is_symlink():
        place.symlink_to((corpora / "pool").resolve())
    chosen = manifest[~manifest.package.isin(LEFT_OUT)]
    write_csv(chosen.assign(path="pool/" + chosen.file)[["path", "seconds", "kind", "package"]], out / "pool.csv")
    credits = chosen.groupby("package").agg(clips=("file", "size"), hours=("seconds", lambda s: s.sum() / 3600)).reset_index()
    credits.insert(1, "licence", credits.package.map(licences))
    write_csv(credits.round(2), out / "credits.csv")
    left = "".join(f"- {name} was left out: {why}.\n" for name, why in LEFT_OUT.items())
    text = credits.assign(clips=credits.clips.astype(str), hours=credits.hours.map("{:.2f}".format)).set_index("package")
    with atomic_file(out / "credits.md") as temporary:
        temporary.write_text(
            f"# Credits\n\nThe recordings come from packages of Debian's main archive, whose licences permit use, change and redistribution "
            f"for any purpose. {chosen.seconds.sum() / 3600:.2f} hours in {len(chosen)} clips. Every package names its authors in "
            f"`/usr/share/doc/PACKAGE/copyright`.\n\n{markdown_table(text)}\n\n{left}", encoding="utf-8")
    return out / "pool.csv"


# --- 2. pre-training

FREE = ("data", "init", "workers", "evaluate_every", "save_every", "keep")  # settings on which no weight depends


def training_settings(
    kind: str,  # 'mwmae' or 'mae'
    size: str,  # such as 'mini_4x16'
    out: Path,  # folder of the recipe
    clips: int,  # number of clips to train on
    epochs: int,  # passes over them
    seed: int,  # of weights, order, crops and masks
    batch: int = 16,  # clips in a step; this and the next as the step `tune` found them
    peak: float = 0.0008,  # highest learning rate
) -> PretrainConfig:
    "Settings of a run. The same for both models but for the model's name."
    steps = epochs * math.ceil(clips / batch)
    return PretrainConfig(
        data=str(out / "pool.csv"), model=f"{kind}_{size}", epochs=epochs, batch=batch, base_lr=peak * 256 / batch, warmup=epochs / 10, beta2=0.95,
        precision="bf16", seed=seed, evaluate_every=max(1, steps // 20), save_every=math.ceil(steps / 8), keep=100)


def finished(
    folder: Path,  # run folder
    config: PretrainConfig,  # the settings that it should have
    clips: int,  # number of clips of the pool
) -> bool:  # whether the run is at its end
    "Look at a run. Raises `InputError` if it has other settings, or learnt from other clips."
    newest = newest_checkpoint(folder / "checkpoints")
    if newest is None:
        return False
    before, state = load_config(PretrainConfig, folder / "config.json"), check_checkpoint(newest)
    compare_settings(before, replace(config, **{name: getattr(before, name) for name in FREE}), folder)
    if state["clips"] != clips:
        raise InputError(f"{folder}: learnt from a pool of {state['clips']} clips, expected {clips}")
    return state["step"] == state["steps"]


def train(
    folder: Path,  # run folder
    config: PretrainConfig,  # settings
    corpus: ClipIndex,  # the pool, open already: only one process at a time may look after its store
):
    "Begin a run or go on with it. Raises `KeyboardInterrupt` if it was asked to stop before its end."
    begun = (folder / "config.json").is_file()
    if begun:
        before = load_config(PretrainConfig, folder / "config.json")
        config = replace(config, **{name: getattr(before, name) for name in FREE})
    state = pretrain(config, folder, begun, corpus)
    if state["step"] < state["steps"]:
        raise KeyboardInterrupt


def train_alone(
    folder: Path,  # run folder
    config: PretrainConfig,  # settings
    corpus: ClipIndex,  # the pool
):
    "`train` in a process of its own, with one thread, that stops when the process that began it is gone."
    torch.set_num_threads(1)
    parent = os.getppid()

    def watch():
        "Ask this process to stop once it is an orphan."
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    with readable_errors():
        train(folder, config, corpus)


def train_side_by_side(
    runs: dict,  # for each run folder its settings
    corpus: ClipIndex,  # the pool
):
    "Train several models, a process for each. If one fails, the others stop after their current step, and so does the recipe."
    processes = [get_context("spawn").Process(target=train_alone, args=(folder, config, corpus)) for folder, config in runs.items()]
    for process in processes:
        process.start()
    try:
        while running := [process for process in processes if process.is_alive()]:
            wait([process.sentinel for process in running])
            if any(process.exitcode for process in processes):
                for process in running:
                    process.terminate()
    finally:
        for process in processes:
            process.join()
    if failed := [process.exitcode for process in processes if process.exitcode]:
        sys.exit(failed[0])


def train_all(
    runs: dict,  # for each run folder its settings
    corpus: ClipIndex,  # the pool
    parallel: bool,  # side by side, a core for each
):
    "Train what is not finished."
    left = {folder: config for folder, config in runs.items() if not finished(folder, config, len(corpus))}
    if parallel and len(left) > 1:
        train_side_by_side(left, corpus)
    else:
        for folder, config in left.items():
            train(folder, config, corpus)


def open_pool(
    out: Path,  # folder of the recipe
) -> tuple[ClipIndex, int]:  # the pool, and how many of its clips are trained on
    "Open the store of the pool, which is made if there is none."
    corpus = open_data(str(out / "pool.csv"), out / "runs" / "stores")
    return corpus, len(split_held_out(corpus)[0])


def pretrain_both(
    out: Path,  # folder of the recipe
    size: str,  # such as 'mini_4x16'
    epochs: int,  # passes over the clips
    seed: int,  # of both runs
    parallel: bool,  # side by side, a core for each
):
    "Pre-train both models, or what is left of it."
    corpus, clips = open_pool(out)
    train_all({out / "runs" / kind: training_settings(kind, size, out, clips, epochs, seed) for kind in KINDS}, corpus, parallel)


def pretrain_longer(
    out: Path,  # folder of the recipe
    size: str,  # such as 'mini_4x16'
    epochs: list[int],  # further passes over the clips, for each round
    seed: int,  # of the first run; each round has the next
):
    """Train MW-MAE on, in rounds, each with a learning rate that rises and falls once more.

    The last begins as a user of the installed model would: with an encoder in half precision and a fresh decoder.
    """
    corpus, clips = open_pool(out)
    for i, (before, kind) in enumerate(zip(ROUNDS, ROUNDS[1:])):
        begin = out / "runs" / before
        if newest_checkpoint(begin / "checkpoints") is None:
            raise InputError(f"{begin}: holds no run, expected the end of the step pretrain")
        if kind == LONGEST:
            begin = share_encoder(begin, out / "encoder")
        config = replace(training_settings("mwmae", size, out, clips, epochs[i], seed + 1 + i), init=str(begin))
        train_all({out / "runs" / kind: config}, corpus, False)


CANDIDATES = [(32, 0.0032), (32, 0.0016), (16, 0.0016), (16, 0.0008)]  # clips in a step, and highest learning rate


def tune(
    out: Path,  # folder of the recipe
    size: str,  # such as 'mini_4x16'
    seed: int,  # of all runs
    parallel: bool,  # two side by side
    epochs: int = 4,  # passes over the clips
):
    "Try batches and learning rates of MW-MAE in short runs, and write down their held-out losses in `tuning.csv`. No task is looked at."
    corpus, clips = open_pool(out)
    runs = {out / "tune" / f"batch{batch}-{peak}": training_settings("mwmae", size, out, clips, epochs, seed, batch, peak) for batch, peak in CANDIDATES}
    for some in chunked(runs.items(), 2):
        train_all(dict(some), corpus, parallel)
    found = []
    for folder, config in runs.items():
        last = pd.read_csv(folder / "log.csv").dropna(subset="held_out_loss").iloc[-1]
        found.append((config.model, config.batch, config.base_lr * config.batch / 256, epochs, int(last.step), last.held_out_loss))
    write_csv(pd.DataFrame(found, columns=["model", "batch", "learning_rate", "epochs", "steps", "held_out_loss"]).round(5), out / "tuning.csv")


# --- 3. evaluation


def best_precision(
    device: str,  # where to calculate
) -> str:  # 'bf16' or 'fp32'
    "The precision of all encoders."
    return "bf16" if has_bfloat16(device) else "fp32"


def open_short(
    name: str,  # as `open_hear_model` understands it
    short: str,  # what to call it
    device: str,  # where to calculate
) -> HearModel:
    "Open a model under a short name; an encoder in the precision of all."
    found = replace(open_hear_model(name, device), name=short)
    if isinstance(found.module, EmbeddingModel):
        found.module.config = replace(found.module.config, precision=best_precision(device))
    return found


def opened_models(
    out: Path,  # folder of the recipe
    size: str,  # such as 'mini_4x16'
    device: str,  # where to calculate
) -> list[HearModel]:
    "The models and the two baselines, under short names."
    names = {kind: str(out / "runs" / kind) for kind in RUNS} | {"random": f"random:mwmae_{size}", "logmel": "logmel"}
    return [open_short(name, short, device) for short, name in names.items()]


def opened_otherwise(
    models: list[HearModel],  # of `opened_models`
    kind: str,  # of task, 'scene' or 'event'
) -> list[HearModel]:  # under short names, too
    "What is embedded in another way, which depends on the kind of task."
    named = {model.name: model for model in models}
    return [replace(embed_with_options(named[model], **ways[kind]), name=name) for name, (model, ways) in OTHERWISE.items()]


def evaluate_all(
    corpora: Path,  # folder with tasks
    out: Path,  # folder of the recipe
    size: str,  # such as 'mini_4x16'
    grid: str,  # grid of the probe
    seeds: int,  # seeds of the probe
    device: str,  # where to calculate
):
    "Embed all tasks with all models, score them, and score most once more with a quick probe. Raises `InputError` naming what could not be scored."
    models = opened_models(out, size, device)
    jobs = [(task.full_name, model.name, partial(embed_task, task, model, out / "hear" / "embeddings" / model.name / task.full_name))
            for task in map(open_task, find_tasks(corpora / "tasks")) for model in [*models, *opened_otherwise(models, task.embedding_type)]]
    once = [job for job in jobs if job[1] not in (LONGEST, *OTHERWISE)]
    skipped = [said for some, probe in ((jobs, grid), (once, HERE / QUICK)) for said in run_jobs(some, probe, range(seeds), out / "hear" / "results", device)[1]]
    if skipped:
        raise InputError("; ".join(skipped))


CHOOSING = {"scene": ("drum_stroke", "letters"), "event": ("drum_events",)}  # tasks of short sounds, whose validation clips decide
WAYS = {
    "scene": ({}, *({"pool": "mean+max", "layers": layers} for layers in (None, "2", "4", "6", "2,6", "2,4,6"))),
    "event": ({}, *({"layers": layers} for layers in ("2", "6", "2,6")), *({"layers": "2,6", "overlap": overlap} for overlap in (0.5, 0.75, 0.9))),
}


def choose(
    corpora: Path,  # folder with tasks
    out: Path,  # folder of the recipe
    device: str,  # where to calculate
    seeds: int = 2,  # of the probe
):
    """Try ways of embedding with the model of the middle round, and write their validation scores to `ways.csv`.

    No test clip has a part in it, and neither has the model that is read off in the chosen way later.
    """
    model = open_short(str(out / "runs" / LONGER), LONGER, device)
    points, found = read_grid(HERE / QUICK)[1], []
    for task in map(open_task, find_tasks(corpora / "tasks")):
        ways = WAYS[task.embedding_type] if task.name in CHOOSING[task.embedding_type] else ()
        for way in tqdm(ways, f"choose: {task.name}", unit="way", disable=None):
            path = out / "ways" / f"{'-'.join([task.name, *map(str, way.values())])}.csv"
            if not path.is_file():
                splits = read_embedded(embed_task(task, embed_with_options(model, **way), out / "ways" / task.name))[1]
                runs = [(seed, point) for seed in range(seeds) for point in task_points(points, task)]
                chosen = best_of_folds(task, splits, range(len(list_folds(task))), runs, device)
                score = 100 * np.mean([trained.score for fold in chosen for _, trained in fold.values()])
                path.parent.mkdir(exist_ok=True)
                write_csv(pd.DataFrame([asdict(EmbedConfig()) | way | {"task": task.name, "validation": score}]), path)
            found.append(pd.read_csv(path, dtype={"layers": str}))
    if not found:
        raise InputError(f"{corpora / 'tasks'}: has none of {', '.join(sum(CHOOSING.values(), ()))}")
    write_csv(pd.concat(found)[["task", "layers", "pool", "overlap", "validation"]].round(2), out / "ways.csv")


# --- 4. curves


def answers_of_folds(
    task: Task,  # the task
    scenes: dict,  # for each split its embeddings (n, d)
    labels: dict,  # for each split its labels, one for each embedding
    final: bool = False,  # ask about the test split; otherwise about the validation split, so that the test split stays unseen
) -> pd.DataFrame:  # columns label, nearest and linear
    "Ask about every clip of a task with folds once; of a task without, about those of one split."
    if task.split_mode == "trainvaltest":
        rounds = [(["train"], "test" if final else "valid")]
    else:
        rounds = [([name for name in task.splits if name != asked], asked) for asked in task.splits]
    found = []
    for known, asked in rounds:
        x, y = np.concatenate([scenes[name] for name in known]), sum((labels[name] for name in known), [])
        found.append(pd.DataFrame({"label": labels[asked], "nearest": nearest_labels(x, y, scenes[asked]), "linear": linear_labels(x, y, scenes[asked])}))
    return pd.concat(found)


def read_some(
    task: Task,  # a multiclass scene task
    most: int,  # clips of a fold, at most, and a fifth of those of a split
    seed: int,  # of the choice
) -> tuple[dict, dict]:  # for each split its spectrograms (n, frames, mels) and its labels
    """Read a part of every split but the test split, the same for the same seed.

    What lies behind the last whole unit of 200 frames is left out: clips of 2 s have one frame too many, which would double the work.
    """
    spectrograms, labels, log_mel = {}, {}, LogMelSpectrogram()
    taken = most if task.split_mode != "trainvaltest" else 5 * most  # one split to learn from, where others have four folds
    for split in [name for name in task.splits if name != "test"]:
        truth = read_split(task.folder, split)
        order = np.random.default_rng([seed, zlib.crc32(f"{task.name}/{split}".encode())]).permutation(sorted(truth))[:taken]
        found = embedding_input(torch.stack([load_sound(task, split, str(name)) for name in order]), log_mel)
        spectrograms[split] = found[:, : found.shape[1] // 200 * 200 or None]
        labels[split] = [truth[name][0] for name in order]
    return spectrograms, labels


@torch.no_grad()
def embed_some(
    encoder: Encoder,  # what embeds
    spectrograms: torch.Tensor,  # (n, frames, mels)
) -> np.ndarray:  # (n, d)
    "Scene embeddings of spectrograms."
    model = EmbeddingModel(encoder, EmbedConfig(precision=best_precision("cpu")))
    return torch.stack(model.scenes(list(spectrograms))).numpy()


def stages(
    out: Path,  # folder of the recipe
    kind: str,  # name of a run
) -> dict:  # for each step a function that returns the encoder then
    "The encoders of a run: before its first step, where it begins from nothing, and at checkpoints evenly spaced."
    config = load_config(PretrainConfig, out / "runs" / kind / "config.json")
    kept = list_checkpoints(out / "runs" / kind / "checkpoints")
    steps = {int(path.name): path for path in kept if path == kept[-1] or int(path.name) % config.save_every == 0}  # no others, where it was stopped
    first = {} if config.init else {0: lambda: random_model(config.model, config.seed).encoder}
    return first | {step: partial(load_encoder, path) for step, path in steps.items()}


def draw_curves(
    corpora: Path,  # folder with tasks
    out: Path,  # folder of the recipe
    most: int,  # clips of a fold, at most, see `read_some`
    seed: int,  # of the choice of clips
):
    "Quick scores of every stage of all runs on all multiclass scene tasks; a file for each."
    for task in map(open_task, find_tasks(corpora / "tasks")):
        if (task.embedding_type, task.prediction_type) != ("scene", "multiclass"):
            continue
        files = {(kind, step): (out / "curves" / task.name / f"{kind}-{step:08d}.csv", make) for kind in RUNS for step, make in stages(out, kind).items()}
        missing = {key: file for key, file in files.items() if not file[0].is_file()}
        spectrograms, labels = read_some(task, most, seed) if missing else ({}, {})
        for (kind, step), (path, make) in tqdm(missing.items(), f"curves: {task.name}", unit="stage", disable=None):
            encoder = make()
            answers = answers_of_folds(task, {split: embed_some(encoder, some) for split, some in spectrograms.items()}, labels)
            right = [(task.name, kind, step, probe, 100 * (answers[probe] == answers.label).mean(), len(answers)) for probe in ("nearest", "linear")]
            write_csv(pd.DataFrame(right, columns=["task", "model", "step", "probe", "score", "clips"]), path)


# --- 5. the report

CONFUSED = ("letters", "notes_family")
MAPPED, BANK = "notes_family", "train"  # the bank FluidR3, under the MIT licence
SOUND_CREDIT = "FluidR3 GM, by Frank Wen and others, MIT licence"


def embedded_rows(
    out: Path,  # folder of the recipe
    model: str,  # name of a model
    name: str,  # name of a task
) -> tuple[Task, dict, dict, dict]:  # the task, and for each split its embeddings, labels and files
    "The embeddings of a multiclass scene task from the disk."
    folder = next((out / "hear" / "embeddings" / model).glob(f"{name}-*"))
    task, splits = read_embedded(folder)
    files = row_order({split: read_split(folder, split) for split in task.splits})
    return task, {s: np.asarray(e.embeddings) for s, e in splits.items()}, {s: [row[0] for row in e.labels] for s, e in splits.items()}, files


def confusions(
    out: Path,  # folder of the recipe
) -> pd.DataFrame:  # columns task, model, label, answer, count
    "What a linear layer on the embeddings of the packaged model takes for what, in two tasks."
    found = []
    for name in CONFUSED:
        task, scenes, labels, _ = embedded_rows(out, LONGEST, name)
        answers = answers_of_folds(task, scenes, labels, final=True)
        counts = answers.groupby(["label", "linear"]).size().reset_index(name="count").rename(columns={"linear": "answer"})
        found.append(counts.assign(task=name))
    return pd.concat(found)[["task", "label", "answer", "count"]]


def draw_map(
    corpora: Path,  # folder with tasks
    out: Path,  # folder of the recipe
    seed: int,  # of the choice of notes and of the map
    each: int = 36,  # notes of each family
) -> pd.DataFrame:  # columns x, y, label, note, neighbour and sound (base64 of an MP3 file, or nothing)
    "Lay embeddings of notes out in the plane, and let a dozen of them be heard. No label is used."
    task, scenes, labels, files = embedded_rows(out, LONGEST, MAPPED)
    table = pd.DataFrame({"file": files[BANK], "label": labels[BANK]})
    table = table.groupby("label", group_keys=False)[["file", "label"]].apply(lambda group: group.sample(min(each, len(group)), random_state=seed))
    x = StandardScaler().fit_transform(scenes[BANK][table.index])
    distance = 1 - _unit(x) @ _unit(x).T
    place = TSNE(2, metric="precomputed", init="random", perplexity=min(20, len(x) / 4), random_state=seed).fit_transform(distance.clip(0))
    np.fill_diagonal(distance, np.inf)
    table["neighbour"] = table.label.to_numpy()[distance.argmin(1)]
    table["x"], table["y"] = (100 * (place - place.min(0)) / np.ptp(place, axis=0)).round(1).T
    table["note"] = table.file.str.split("-").str[1].astype(int)
    heard = _chosen_sounds(table.reset_index(drop=True))
    table = table.reset_index(drop=True)
    source = open_task(next(path for path in find_tasks(corpora / "tasks") if open_task(path).name == MAPPED))
    table["sound"] = [_short_sound(load_sound(source, BANK, file)) if i in heard else "" for i, file in enumerate(table.file)]
    return table[["x", "y", "label", "note", "neighbour", "sound"]]


def _unit(x):
    "Rows of length one."
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _chosen_sounds(table):
    "A note of every family whose neighbour is of the same family, and two whose neighbour is of another."
    alike = table[table.label == table.neighbour].groupby("label").head(1).index[:10]
    astray = table[table.label != table.neighbour].index[:: max(1, len(table) // 40)][:2]
    return {*alike, *astray}


def _short_sound(samples):
    "The first second of a sound, faded out, as the base64 of an MP3 file."
    samples = samples[:16000].numpy().copy()
    samples[-1600:] *= np.linspace(1, 0, 1600, dtype=np.float32)
    samples *= 0.7 / max(1e-3, abs(samples).max())
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/note.mp3", samples, 16000, format="MP3", bitrate_mode="CONSTANT", compression_level=0.9)
        return base64.b64encode(Path(f"{folder}/note.mp3").read_bytes()).decode()


FIFTY = {  # five kinds of sounds each; drum_stroke has a part in `choose`, where the others have none
    "drum_stroke": ("clap", "hihat_closed", "kick", "ride", "snare"),
    "notes_family": ("brass", "guitar", "keyboard", "reed", "string"),
    "sfx": ("bird", "human", "mammal", "tool", "vehicle"),
}


def fifty_clips(
    corpora: Path,  # folder with tasks
    out: Path,  # folder of the recipe
    name: str,  # name of the task
    draws: int = 5,  # how often to draw fifty clips
    most: int = 20,  # clips of a kind that are asked about, at most
) -> tuple[dict, pd.DataFrame]:  # what was typed, printed and measured; and the answers of the first draw
    "Teach the packaged model five kinds of sounds from ten clips of each, and ask it about sources that it has not heard."
    folder = next(path for path in find_tasks(corpora / "tasks") if open_task(path).name == name)
    splits = open_task(folder).splits
    known, asked = (["train"], "test") if "train" in splits else (splits[:-1], splits[-1])
    truth = {split: read_split(folder, split) for split in [*known, asked]}
    typed = "mwmae_finetune clips --valid others --out kinds"
    found = {"command": typed, "seconds": [], "right": [], "asked": 0}
    for draw in range(draws):
        with tempfile.TemporaryDirectory() as place:
            place, random = Path(place), np.random.default_rng(draw)
            for label in FIFTY[name]:
                files = [(split, file) for split in known for file, labels in truth[split].items() if labels == [label]]
                for split, file in [files[i] for i in random.permutation(len(files))[:10]]:
                    _copy(folder / "16000" / split / file, place / "clips" / label)
                others = sorted(file for file, labels in truth[asked].items() if labels == [label])
                for file in np.random.default_rng(0).permutation(others)[:most]:
                    _copy(folder / "16000" / asked / file, place / "others" / label)
            begin = time.perf_counter()
            printed = run_typed(typed, place, _packaged(out))
            found["seconds"].append(round(time.perf_counter() - begin, 1))
            answers = pd.read_csv(place / "kinds" / "held_out.csv")
            found["right"].append(float((answers.label == answers.answer).mean()))
            if not draw:
                first, found["printed"], found["asked"] = answers, printed, len(answers)
    return found, first


def run_typed(
    typed: str,  # the command as one would type it
    folder: Path,  # where it is typed
    further: tuple = (),  # further options
) -> str:  # what it printed
    "Run a command of this library, that of this Python. Raises `InputError` with what it said if it fails."
    name, *options = typed.split()
    code = f"from mwmae.commands import run_at_command_line, {name}; run_at_command_line({name}.__wrapped__)"
    done = subprocess.run([sys.executable, "-c", code, *options, *further], cwd=folder, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise InputError(f"{typed}: ended with status {done.returncode}")
    return done.stdout


def _packaged(out):
    "What names the model: nothing where one is installed with the library, which is then meant."
    installed = (INSTALLED / PACKAGED / "model.safetensors").is_file()
    return () if installed else ("--model", str((out / "runs" / LONGEST).resolve()))


def _copy(file, folder):
    "Copy a file into a folder, which is made if there is none."
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, folder)


def losses(
    out: Path,  # folder of the recipe
) -> pd.DataFrame:  # columns model, step, epoch, held_out_loss
    "Held-out losses of all runs."
    logs = [pd.read_csv(out / "runs" / kind / "log.csv").assign(model=kind) for kind in RUNS]
    return pd.concat(logs).dropna(subset="held_out_loss")[["model", "step", "epoch", "held_out_loss"]].round(5)


def compute(
    out: Path,  # folder of the recipe
) -> pd.DataFrame:  # columns what, seconds
    "Seconds on the clock: of training from speed.csv, of probes from the results, of the rest from times.csv."
    rows = [(f"pre-train {kind}", pd.read_csv(out / "runs" / kind / "speed.csv").seconds.sum()) for kind in RUNS]
    probes = pd.DataFrame([(path.stem, load_result(path).seconds) for path in (out / "hear" / "results").glob("*/*/*.json")], columns=["grid", "seconds"])
    times = pd.read_csv(out / "times.csv", names=["step", "seconds"]).groupby("step").seconds.sum()
    rows += [("choose a way to embed", times.get("choose", 0))]
    rows += [("embed the tasks", max(0.0, times.get("evaluate", 0) - probes.seconds.sum()))]
    rows += [(f"probes, grid {name}", seconds) for name, seconds in probes.groupby("grid").seconds.sum().items()]
    rows += [("curves", times.get("curves", 0))]
    return pd.DataFrame(rows, columns=["what", "seconds"]).round(0)


def describe_tasks(
    corpora: Path,  # folder with tasks
) -> dict:  # for each task its labels, its clips, and on how many of them a score rests
    "How large the tasks are."
    found = {}
    for task in map(open_task, find_tasks(corpora / "tasks")):
        clips = {split: len(read_split(task.folder, split)) for split in task.splits}
        found[task.name] = {"labels": len(task.vocabulary), "clips": sum(clips.values()), "tested": clips.get("test", sum(clips.values()))}
    return found


def pool_hours(
    out: Path,  # folder of the recipe
) -> dict:  # hours by kind of sound
    "What the pool is made of."
    return (pd.read_csv(out / "pool.csv").groupby("kind").seconds.sum() / 3600).round(2).to_dict()


def facts(
    out: Path,  # folder of the recipe
) -> dict:  # settings, sizes and the end of all runs
    "What has to be known of the models, without any path."
    found = {}
    for kind in RUNS:
        config = load_config(PretrainConfig, out / "runs" / kind / "config.json")
        state = check_checkpoint(newest_checkpoint(out / "runs" / kind / "checkpoints"))
        cost = model_cost(config.model_config())
        settings = {name: value for name, value in asdict(config).items() if name not in ("data", "init")}
        ends = {name: state[name] for name in ("step", "steps", "clips", "held_out_clips", "loss_before", "loss", "band_mean_loss") if name in state}
        found[kind] = {"settings": settings, **ends, **cost}
    cores = len(os.sched_getaffinity(0))
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"models": found, "cores": cores, "cpu": cpu, "torch": torch.__version__}


def report(
    corpora: Path,  # folder with pool and tasks
    out: Path,  # folder of the recipe
    results: Path,  # folder of small files that the chapter reads
    grid: str,  # grid of the probe
    seed: int,  # of the map
):
    "Write everything that is shown."
    name = read_grid(grid)[0]
    found, _ = collect_results([out / "hear" / "results"])
    rows = score_rows(found)
    table = grid_report(rows[(rows.grid == name) & ~rows.model.isin(OTHERWISE)], name, pair=KINDS)
    write_csv(rows.round(3), results / "scores.csv")
    write_csv(report_table(table.summary).T.reset_index(), results / "table.csv")
    with atomic_file(results / "report.md") as temporary:
        temporary.write_text(report_text(table), encoding="utf-8")
    curves = [pd.read_csv(path) for path in sorted((out / "curves").glob("*/*.csv"))]
    write_csv(pd.concat(curves).round(2), results / "curves.csv")
    write_csv(losses(out), results / "losses.csv")
    write_csv(confusions(out), results / "confusions.csv")
    write_csv(draw_map(corpora, out, seed), results / "map.csv")
    fifty = {name: fifty_clips(corpora, out, name) for name in FIFTY}
    write_csv(pd.concat([answers.assign(task=name) for name, (_, answers) in fifty.items()]), results / "fifty.csv")
    write_csv(compute(out), results / "compute.csv")
    for file in ("credits.csv", "tuning.csv", "ways.csv"):
        if (out / file).is_file():
            shutil.copy(out / file, results / file)
    said = {"grid": name, "points": [asdict(point) for point in read_grid(grid)[1]], "fifty": {name: measured for name, (measured, _) in fifty.items()}, "sounds": SOUND_CREDIT, "left_out": LEFT_OUT,
            "tasks": describe_tasks(corpora), "pool_hours": pool_hours(out), **facts(out)}
    with atomic_file(results / "facts.json") as temporary:
        temporary.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


# --- 6. how much data it takes, and which windows

SMALL_TASKS = ("drum_stroke", "letters")
TABLES = ("7", "windows")


def ablate(
    corpora: Path,  # folder with tasks
    out: Path,  # folder of the recipe
    results: Path,  # folder of small files that the chapter on ablations reads
    epochs: int,  # passes over the pool of a run with all of it
):
    "Two tables of ablations on the pool, scored on the smallest tasks."
    for task in SMALL_TASKS:
        place = out / "small_tasks" / task
        place.parent.mkdir(exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(next(path for path in find_tasks(corpora / "tasks") if open_task(path).name == task).resolve())
    for table in TABLES:
        typed = f"mwmae_ablate {table} --budget tiny --data pool.csv --tasks small_tasks --epochs {epochs} --seeds 5"
        print(f"$ {typed}\n{run_typed(typed, out)}")
        for ending in ("txt", "csv"):
            shutil.copy(out / "ablations" / f"table-{table}.{ending}", results / f"table-{table}.{ending}")


# --- 7. the model that is installed with the library


def package(
    out: Path,  # folder of the recipe
    grid: str,  # grid of the probe
):
    "Write the encoder that learnt longest to `mwmae/packaged`, with its scores and the credits of the recordings in its card."
    config = load_config(PretrainConfig, out / "runs" / LONGEST / "config.json")
    found, _ = collect_results([out / "hear" / "results"])
    scores = card_scores([result for result in found if (result.grid, result.model) == (read_grid(grid)[0], LONGEST)])
    credits = (out / "credits.md").read_text(encoding="utf-8").strip().replace("# Credits", "## Credits", 1)
    before = [f"{check_checkpoint(newest_checkpoint(out / 'runs' / kind / 'checkpoints'))['step']:,}" for kind in ROUNDS[:-1]]
    begun = (f"The run above goes on from earlier ones, of {' and '.join(before)} steps on the same clips, each with a learning rate of "
             f"its own that rises and falls. Scores are those of `recipes/real_sounds.py`, on the tasks of its chapter, which also says what "
             f"`--layers` and `--pool` bring with short sounds.\n\n")
    share_encoder(out / "runs" / LONGEST, HERE.parent / "mwmae" / PACKAGED, title=config.model, scores=scores, notes=begun + credits)


@command
def real_sounds(
    corpora: str,  # Folder with licences.csv, pool/ and tasks/
    out: str = "real_sounds",  # Folder for everything large: runs, embeddings, results
    results: str = str(HERE.parent / "benchmarks" / "results" / "real_sounds"),  # Folder for the small files that the chapter reads
    steps: str = "pool,pretrain,longer,choose,evaluate,curves,report",  # Steps to do, separated by commas; tune looks for the learning rate once more, package replaces the installed model, ablate makes two tables of ablations at a tiny budget
    size: str = "mini_4x16",  # Encoder and patch of both models
    epochs: int = 36,  # Passes over the pool
    more: int = 60,  # Further passes of MW-MAE in a second round
    still_more: int = 80,  # Further passes in a third, from which comes the model that is to be installed
    ablation_epochs: int = 4,  # Passes over the pool of the runs of the step ablate
    seed: int = 0,  # Seed of both runs, of the choice of clips for the curves, and of the map
    grid: str = str(HERE / "patient.json"),  # Grid of the probe: paper, kit, or a JSON file
    seeds: int = 10,  # Seeds of the probe
    most: int = 40,  # Clips of a fold that a point of a curve is made from; of a split five times as many
    parallel: bool = False,  # Pre-train two models side by side, a core for each
    device: str = "cpu",  # Where to embed and to probe
):
    "Pre-train MW-MAE and MAE on recordings under free licences, score them, and report. Typed again, it goes on where it was."
    corpora, out = Path(corpora), Path(out)
    if unknown := sorted(set(steps.split(",")) - set(STEPS)):
        raise InputError(f"--steps has {', '.join(unknown)}, expected some of {', '.join(STEPS)}")
    if missing := [name for name in ("licences.csv", "pool/manifest.csv", "tasks") if not (corpora / name).exists()]:
        raise InputError(f"{corpora}: there is no {', '.join(missing)}, expected what recipes/README.md says of CORPORA")
    out.mkdir(parents=True, exist_ok=True)
    Path(results).mkdir(parents=True, exist_ok=True)
    work = {
        "pool": lambda: select_pool(corpora, out),
        "tune": lambda: tune(out, size, seed, parallel),
        "pretrain": lambda: pretrain_both(out, size, epochs, seed, parallel),
        "longer": lambda: pretrain_longer(out, size, [more, still_more], seed),
        "choose": lambda: choose(corpora, out, device),
        "evaluate": lambda: evaluate_all(corpora, out, size, grid, seeds, device),
        "curves": lambda: draw_curves(corpora, out, most, seed),
        "package": lambda: package(out, grid),
        "report": lambda: report(corpora, out, Path(results), grid, seed),
        "ablate": lambda: ablate(corpora, out, Path(results), ablation_epochs),
    }
    for step in [step for step in STEPS if step in steps.split(",")]:
        print(f"{step} ...", flush=True)
        with timed(out, step):
            work[step]()
    print(f"written to {results}")
