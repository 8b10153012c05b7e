"""From recordings under free licences to a table of scores, step by step.

Pre-trains MW-MAE and MAE, scores both beside two baselines, and writes the files of the page on
results (nbs/results.ipynb). Each step is a function, in the order of the page.
"""
import base64
import ctypes
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zlib
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import soundfile
import torch
from fastcore.basics import chunked
from safetensors.numpy import save
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics.pairwise import cosine_distances
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from mwmae.audio import InputError, LogMelSpectrogram, SAMPLE_RATE
from mwmae.model import model_cost
from mwmae.files import atomic_file, atomic_folder, load_config
from mwmae.models import (
    INSTALLED, load_encoder, load_mae, MODEL_FILES, OWN_WAY, PACKAGED, packaged_folder,
    write_model,
)
from mwmae.checkpoints import check_checkpoint, list_checkpoints, newest_checkpoint
from mwmae.sharing import share_encoder, training_facts
from mwmae.crops import split_held_out, SpectrogramStore
from mwmae.units import embedding_input
from mwmae.embed import EmbedConfig, EmbeddingModel, get_scene_embeddings
from mwmae.quick import quick_scores
from mwmae.settings import has_bfloat16, PretrainConfig
from mwmae.tasks import load_sound, read_split
from mwmae.task_sets import find_tasks, open_task
from mwmae.encoders import embed_with_options, open_hear_model, random_model
from mwmae.task_embeddings import embed_task, row_order
from mwmae.embedded import read_embedded
from mwmae.probe import list_folds, read_grid, task_points
from mwmae.grid_search import best_of_folds
from mwmae.task_results import load_result
from mwmae.hear import probing, run_jobs
from mwmae.compare import collect_results, score_rows
from mwmae.report import card_scores, grid_report, markdown_table, report_table, report_text
from mwmae.commands import command

HERE = Path(__file__).resolve().parent
QUICK = HERE / "small.json"  # grid of a probe that gives up early
KINDS = ("mwmae", "mae")  # compared with each other: as many steps on the same clips
ROUNDS = ("mwmae", "longer", "longest")  # each begins where the one before ends
RUNS = (*KINDS, *ROUNDS[1:])


def write_csv(table, path):
    "Write a table, whole or not at all."
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False)


def tasks_of(here):
    "The tasks, in the order of their names."
    return [open_task(folder) for folder in find_tasks(here.corpora / "tasks")]


def task_named(here, name):
    "The task of that name."
    return next(task for task in tasks_of(here) if task.name == name)


# --- Commands, as one types them

START = """import sys
from mwmae.command_line import run_at_command_line
from mwmae.commands import {0}
sys.argv[0] = "{0}"
run_at_command_line({0}.__wrapped__)"""


def start(typed, folder, **options):
    "Start a command of this library; it is asked to stop when this process is gone."
    name, *words = typed.split()
    ask_to_stop = lambda: ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG
    return subprocess.Popen([sys.executable, "-c", START.format(name), *words],
                            cwd=folder, text=True, preexec_fn=ask_to_stop, **options)


def run(typed, folder):
    "Run a command and return what it printed. Raises `InputError` if it fails."
    process = start(typed, folder, stdout=subprocess.PIPE)
    printed, _ = process.communicate()
    if process.returncode:
        raise InputError(f"{typed}: ended with status {process.returncode}")
    return printed


def run_together(commands, folder):
    "Run commands side by side, with a core each if there are several. If one fails, all stop."
    threads = {"OMP_NUM_THREADS": "1"} if len(commands) > 1 else {}
    running = [start(typed, folder, env={**os.environ, **threads}) for typed in commands]
    asked = False
    try:
        while None in [process.poll() for process in running]:
            time.sleep(0.2)
            if any(process.returncode for process in running) and not asked:
                asked = True
                for process in running:
                    process.terminate()  # it stops after the current step
    finally:
        for process in running:
            process.wait()
    if failed := [process.returncode for process in running if process.returncode]:
        sys.exit(failed[0])


# --- The pool: recordings, chosen by the licences of their packages

LEFT_OUT = {"gcompris-qt-data": "some of its files are under CC Sampling Plus 1.0, "
                                "which forbids their use in advertising"}
LICENCES = {  # read off the copyright files of packages for which licences.csv names none
    "asterisk-moh-opsound-g722": "CC-BY-SA-3.0", "fillets-ng-data-cs": "GPL-2",
    "fillets-ng-data-nl": "GPL-2", "freepats": "GPL-2+"}


def pool(here):
    "Choose recordings, write down whom they are owed to, and make their spectrograms."
    manifest = pd.read_csv(here.corpora / "pool" / "manifest.csv")
    licences = pd.read_csv(here.corpora / "licences.csv").set_index("package").licence
    licences = licences.to_dict() | LICENCES
    if unknown := sorted(set(manifest.package) - set(licences)):
        raise InputError(f"{here.corpora / 'licences.csv'}: has no licence of {', '.join(unknown)}")
    place = here.out / "pool"  # a link: clips are named, and held out, by paths that begin here
    if not place.is_symlink():
        place.symlink_to((here.corpora / "pool").resolve())
    chosen = manifest[~manifest.package.isin(LEFT_OUT)]
    listed = chosen.assign(path="pool/" + chosen.file)[["path", "seconds", "kind", "package"]]
    write_csv(listed, here.out / "pool.csv")
    write_credits(here, chosen, licences)
    print(run("mwmae_prepare pool.csv recordings", here.out))


def write_credits(here, chosen, licences):
    "Write `credits.csv`, and the same as a page."
    packages = chosen.groupby("package").agg(clips=("file", "size"), hours=("seconds", "sum"))
    packages["hours"] /= 3600
    credits = packages.reset_index()
    credits.insert(1, "licence", credits.package.map(licences))
    write_csv(credits.round(2), here.out / "credits.csv")
    text = credits.assign(clips=credits.clips.astype(str), hours=credits.hours.map("{:.2f}".format))
    left = "".join(f"- {name} was left out: {why}.\n" for name, why in LEFT_OUT.items())
    with atomic_file(here.out / "credits.md") as temporary:
        temporary.write_text(
            "# Credits\n\nThe recordings come from packages of Debian's main archive, whose "
            "licences permit use, change and redistribution for any purpose. "
            f"{credits.hours.sum():.2f} hours in {len(chosen)} clips. Every package names its "
            "authors in `/usr/share/doc/PACKAGE/copyright`.\n\n"
            f"{markdown_table(text.set_index('package'))}\n\n{left}", encoding="utf-8")


# --- Pre-training


def pretrain(here, folder, model, epochs, seed=0, batch=16, peak=0.0008, init=None):
    "The command that begins a run or continues it; batch and learning rate are those of `tune`."
    typed = (f"mwmae_pretrain --out {folder} --model {model}_{here.size} --epochs {epochs} "
             f"--batch {batch} --base_lr {peak * 256 / batch} --beta2 0.95 --precision bf16 "
             f"--seed {seed}")
    if (here.out / folder / "config.json").is_file():
        return f"{typed} --resume"
    clips = len(split_held_out(SpectrogramStore(here.out / "recordings"))[0])
    steps = epochs * math.ceil(clips / batch)
    begin = f" --init {init}" if init else ""
    return f"{typed} --data recordings --save_every {math.ceil(steps / 8)} --keep 100{begin}"


def run_all(here, commands):
    "Run commands, two at a time with --parallel."
    for some in chunked(commands, 2 if here.parallel else 1):
        run_together(some, here.out)


CANDIDATES = [(32, 0.0032), (32, 0.0016), (16, 0.0016), (16, 0.0008)]  # batch, learning rate


def tune(here, epochs=4):
    "Compare batches and learning rates in short runs, by held-out loss. No task is looked at."
    folders = [f"tune/batch{batch}-{peak}" for batch, peak in CANDIDATES]
    run_all(here, [pretrain(here, folder, "mwmae", epochs, here.seed, batch, peak)
                   for folder, (batch, peak) in zip(folders, CANDIDATES)])
    found = []
    for folder, (batch, peak) in zip(folders, CANDIDATES):
        last = pd.read_csv(here.out / folder / "log.csv").dropna(subset="held_out_loss").iloc[-1]
        found.append({"model": f"mwmae_{here.size}", "batch": batch, "learning_rate": peak,
                      "epochs": epochs, "steps": int(last.step),
                      "held_out_loss": last.held_out_loss})
    write_csv(pd.DataFrame(found).round(5), here.out / "tuning.csv")


def pretrain_both(here):
    "MW-MAE and MAE, on the same clips in the same order for the same number of steps."
    run_all(here, [pretrain(here, f"runs/{k}", k, here.epochs, here.seed) for k in KINDS])


def pretrain_longer(here):
    """Two further rounds of MW-MAE, whose learning rates rise and fall once more.

    The last begins as a user of the packaged model would: with an encoder in half precision and
    a fresh decoder.
    """
    run_together([pretrain(here, "runs/longer", "mwmae", here.more, here.seed + 1,
                           init="runs/mwmae")], here.out)
    run("mwmae_export runs/longer encoder --format folder", here.out)
    run_together([pretrain(here, "runs/longest", "mwmae", here.still_more, here.seed + 2,
                           init="encoder")], here.out)


# --- Scores

EVENED = "mean_norm+std_norm"
# of an untrained encoder, of which no block is better than its output
ALIKE = {"pool": EVENED, "overlap": 0.0, "timestamp_overlap": 0.5, "shifts": 4}
PACKAGED_WAY = {"layers": [6], **ALIKE}  # of the packaged model, see `choose`


def opened(here, short, name):
    "A model under a short name; an encoder computes in bfloat16 if the machine does."
    model = replace(open_hear_model(name, here.device), name=short)
    if isinstance(model.module, EmbeddingModel):
        precision = "bf16" if has_bfloat16(here.device) else "fp32"
        model.module.config = replace(model.module.config, precision=precision)
    return model


def evaluate(here):
    "Score all models on all tasks, most of them once more with the hurried probe."
    names = {kind: str(here.out / "runs" / kind) for kind in RUNS}
    names |= {"random": f"random:mwmae_{here.size}", "logmel": "logmel"}
    models = {short: opened(here, short, name) for short, name in names.items()}
    typed = PACKAGED_WAY | {"layers": ",".join(map(str, PACKAGED_WAY["layers"]))}
    models["packaged"] = embed_with_options(models["longest"], **typed)
    models["random_alike"] = embed_with_options(models["random"], **ALIKE)
    jobs = []
    for task in tasks_of(here):
        for short, model in models.items():
            folder = here.out / "hear" / "embeddings" / short / task.full_name
            embed = partial(embed_task, task, replace(model, name=short), folder)
            jobs.append((task.full_name, short, embed))
    hurried = [job for job in jobs if job[1] in names and job[1] != "longest"]
    results, skipped = here.out / "hear" / "results", []
    for some, grid in ((jobs, here.grid), (hurried, QUICK)):
        skipped += run_jobs(some, probing(grid, range(here.seeds), results, here.device))[1]
    if skipped:
        raise InputError("; ".join(skipped))


# --- More than a mean

SCENES = [{}, *({"pool": pool, "layers": layers} for pool in ("mean+max", "mean+std")
                for layers in (None, "2", "4", "6", "2,6"))]
FEWER = [{}, *({"pool": "mean+std", "layers": layers} for layers in (None, "4", "6"))]
SHIFTED = [{"pool": EVENED, "layers": "6", "shifts": shifts} for shifts in (1, 4)]
EVENTS = [{}, *({"layers": layers} for layers in ("2", "6", "2,6")),
          *({"layers": "2,6", "overlap": overlap} for overlap in (0.5, 0.75, 0.9)),
          {"layers": "6", "overlap": 0.5, "shifts": 4}]
WAYS = {  # of the small tasks all, of the larger ones those that were good there
    "drum_stroke": SCENES + SHIFTED, "letters": SCENES + SHIFTED, "drum_events": EVENTS,
    **dict.fromkeys(("mandarin_rime", "mix_tags", "sfx"), FEWER + SHIFTED)}


def choose(here):
    "Compare ways to embed by validation scores; test clips have no part in it."
    model, found = opened(here, "longest", str(here.out / "runs" / "longest")), []
    for task in tasks_of(here):
        for way in tqdm(WAYS.get(task.name, []), f"choose: {task.name}", unit="way", disable=None):
            path = here.out / "ways" / f"{'-'.join([task.name, *map(str, way.values())])}.csv"
            if not path.is_file():
                row = asdict(EmbedConfig()) | way | {"task": task.name}
                score = validation_score(here, task, embed_with_options(model, **way))
                path.parent.mkdir(exist_ok=True)
                write_csv(pd.DataFrame([row | {"validation": score}]), path)
            found.append(pd.read_csv(path, dtype={"layers": str}))
    if not found:
        raise InputError(f"{here.corpora / 'tasks'}: has none of {', '.join(WAYS)}")
    columns = ["task", "layers", "pool", "overlap", "shifts", "validation"]
    write_csv(pd.concat(found)[columns].round(2), here.out / "ways.csv")


def validation_score(here, task, model, seeds=2):
    "What the hurried probe reaches in validation, in per cent."
    _, splits = read_embedded(embed_task(task, model, here.out / "ways" / task.name))
    points = task_points(read_grid(QUICK)[1], task)
    runs = [(seed, point) for seed in range(seeds) for point in points]
    folds = best_of_folds(task, splits, range(len(list_folds(task))), runs, here.device)
    return 100 * np.mean([run.score for fold in folds for _, run in fold.values()])


# --- When to stop


def curves(here):
    "Quick scores of every kept checkpoint on all multiclass scene tasks; a file for each."
    for task in tasks_of(here):
        if (task.embedding_type, task.prediction_type) != ("scene", "multiclass"):
            continue
        missing = {}
        for kind in RUNS:
            for step, load in stages(here, kind).items():
                path = here.out / "curves" / task.name / f"{kind}-{step:08d}.csv"
                if not path.is_file():
                    missing[kind, step] = path, load
        sounds = read_some(here, task) if missing else {}
        bar = tqdm(missing.items(), f"curves: {task.name}", unit="stage", disable=None)
        for (kind, step), (path, load) in bar:
            scores, clips = score_stage(task, sounds, load())
            rows = [(task.name, kind, step, probe, 100 * scores[name], clips)
                    for probe, name in (("nearest", "nearest_neighbour"), ("linear", "linear"))]
            columns = ["task", "model", "step", "probe", "score", "clips"]
            write_csv(pd.DataFrame(rows, columns=columns), path)


def stages(here, kind):
    "For each step a function that loads the encoder then: at 0, and at eight moments."
    run = here.out / "runs" / kind
    config, kept = load_config(PretrainConfig, run / "config.json"), {}
    if not config.init:
        kept[0] = lambda: random_model(config.model, config.seed).encoder
    for path in (checkpoints := list_checkpoints(run / "checkpoints")):
        step = int(path.name)
        if path == checkpoints[-1] or step % config.save_every == 0:  # not where it was stopped
            kept[step] = partial(load_encoder, path)
    return kept


def read_some(here, task):
    "Spectrograms and labels of a part of every split but the test split, always the same part."
    found, log_mel = {}, LogMelSpectrogram()
    # One split to learn from, where others have four folds.
    most = 5 * here.most if task.split_mode == "trainvaltest" else here.most
    for split in [name for name in task.splits if name != "test"]:
        truth = read_split(task.folder, split)
        chance = np.random.default_rng([here.seed, zlib.crc32(f"{task.name}/{split}".encode())])
        files = chance.permutation(sorted(truth))[:most]
        sounds = torch.stack([load_sound(task, split, str(file)) for file in files])
        clips = embedding_input(sounds, log_mel)  # (n, frames, mels)
        # Clips of 2 s have a frame too many, which would double the work.
        whole = clips.shape[1] // 200 * 200 or None
        found[split] = clips[:, :whole], [truth[file][0] for file in files]
    return found


def score_stage(task, sounds, encoder):
    "Shares of right answers about every clip of a task with folds, or about the validation split."
    precision = "bf16" if has_bfloat16("cpu") else "fp32"
    model = EmbeddingModel(encoder, EmbedConfig(precision=precision))
    with torch.no_grad():
        x = {split: torch.stack(model.scenes(list(clips))).numpy()
             for split, (clips, _) in sounds.items()}
    asked = ["valid"] if task.split_mode == "trainvaltest" else task.splits
    scores = []
    for split in asked:
        others = [name for name in x if name != split]
        known = np.concatenate([x[name] for name in others])
        labels = sum((sounds[name][1] for name in others), [])
        scores.append(quick_scores(known, labels, x[split], sounds[split][1]))
    sizes = [len(x[split]) for split in asked]
    means = {name: np.average([s[name] for s in scores], weights=sizes) for name in scores[0]}
    return means, sum(sizes)


# --- A map of notes

MAPPED, BANK = "notes_family", "train"
SOUND_CREDIT = "FluidR3 GM, by Frank Wen and others, MIT licence"  # the bank of the train split


def mapped_notes(here, each=36):
    "The notes on the map: some of each family. Their index is the row of their embedding."
    task = task_named(here, MAPPED)
    truth = {split: read_split(task.folder, split) for split in task.splits}
    files = row_order(truth)[BANK]
    table = pd.DataFrame({"file": files, "label": [truth[BANK][file][0] for file in files]})
    draw = lambda group: group.sample(min(each, len(group)), random_state=here.seed)
    table = table.groupby("label", group_keys=False)[["file", "label"]].apply(draw)
    return table.assign(note=table.file.str.split("-").str[1].astype(int))


def note_map(here):
    "Lay embeddings of notes out in the plane, and let a dozen be heard. No label is used."
    folder = here.out / "hear" / "embeddings" / "longest" / task_named(here, MAPPED).full_name
    splits, table = read_embedded(folder)[1], mapped_notes(here)
    x = StandardScaler().fit_transform(np.asarray(splits[BANK].embeddings)[table.index])
    distance = cosine_distances(x)
    tsne = TSNE(2, metric="precomputed", init="random", perplexity=min(20, len(x) / 4),
                random_state=here.seed)
    place = tsne.fit_transform(distance)
    np.fill_diagonal(distance, np.inf)
    table = table.reset_index(drop=True)
    table["neighbour"] = table.label.to_numpy()[distance.argmin(1)]
    table["x"], table["y"] = (100 * (place - place.min(0)) / np.ptp(place, axis=0)).round(1).T
    alike, astray = table[table.label == table.neighbour], table[table.label != table.neighbour]
    heard = {*alike.groupby("label").head(1).index[:10],
             *astray.index[:: max(1, len(table) // 40)][:2]}
    source = task_named(here, MAPPED)
    encoded = lambda file: base64.b64encode(short_sound(load_sound(source, BANK, file))).decode()
    table["sound"] = [encoded(file) if i in heard else "" for i, file in enumerate(table.file)]
    return table[["x", "y", "label", "note", "neighbour", "sound"]]


def short_sound(samples):
    "The first second of a sound, faded out, as the bytes of an MP3 file."
    samples = samples[:SAMPLE_RATE].numpy().copy()
    samples[-1600:] *= np.linspace(1, 0, 1600, dtype=np.float32)
    samples *= 0.7 / max(1e-3, abs(samples).max())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "note.mp3"
        soundfile.write(path, samples, SAMPLE_RATE, format="MP3", bitrate_mode="CONSTANT",
                        compression_level=0.9)
        return path.read_bytes()


def atlas(here, kept=64):
    """Write the map for the page that runs in a browser, with a second of every note. A sound of
    your own is placed by its neighbours in `kept` principal components."""
    table, task = mapped_notes(here), task_named(here, MAPPED)
    places = pd.read_csv(here.results / "map.csv")
    if list(zip(table.label, table.note)) != list(zip(places.label, places.note)):
        raise InputError(f"{here.results / 'map.csv'}: shows other notes, expected those of "
                         f"{task.folder}; run the step report")
    model = EmbeddingModel(load_encoder(PACKAGED)).eval()  # as the page in a browser does
    sounds = [load_sound(task, BANK, file) for file in table.file]
    x = np.concatenate([get_scene_embeddings(sound[None], model).numpy() for sound in sounds])
    scaler = StandardScaler().fit(x)
    projection = PCA(kept, svd_solver="full").fit(scaler.transform(x)).components_.T  # (size, kept)
    recorded = [short_sound(sound) for sound in sounds]
    tensors = {
        "mean": scaler.mean_.astype(np.float32), "scale": scaler.scale_.astype(np.float32),
        "projection": projection.astype(np.float16),
        "points": (scaler.transform(x) @ projection).astype(np.float16),
        "xy": places[["x", "y"]].to_numpy(np.float32),
        "sounds": np.frombuffer(b"".join(recorded), np.uint8),
        "starts": np.cumsum([0, *map(len, recorded)]).astype(np.int32)}
    about = {"labels": json.dumps(list(table.label)), "notes": json.dumps(table.note.tolist()),
             "credit": SOUND_CREDIT}
    with atomic_file(HERE.parent / "nbs" / "try" / "atlas.safetensors") as temporary:
        temporary.write_bytes(save({n: np.ascontiguousarray(t) for n, t in tensors.items()}, about))


# --- Fifty labelled clips

FIFTY = {  # five kinds of sounds each
    "drum_stroke": ("clap", "hihat_closed", "kick", "ride", "snare"),
    "notes_family": ("brass", "guitar", "keyboard", "reed", "string"),
    "sfx": ("bird", "human", "mammal", "tool", "vehicle")}
FINETUNE = "mwmae_finetune clips --valid others --out kinds"


def copy_sounds(task, sounds, folder):
    "Copy sounds, pairs of split and file, into a folder."
    folder.mkdir(parents=True)
    for split, file in sounds:
        shutil.copy(task.folder / "16000" / split / file, folder)


def fifty_clips(here, name, draws=5, most=20):
    "Teach the packaged model five kinds of sounds from ten clips of each; ask about other sources."
    task = task_named(here, name)
    if "train" in task.splits:
        known, asked = ["train"], "test"
    else:
        *known, asked = task.splits
    truth = {split: read_split(task.folder, split) for split in [*known, asked]}
    sounds_of = lambda label, splits: [(split, file) for split in splits
                                       for file in truth[split] if truth[split][file] == [label]]
    model = ""  # the one that is installed with the library, if there is one
    if not (INSTALLED / PACKAGED / "model.safetensors").is_file():
        model = f" --model {(here.out / 'runs' / 'longest').resolve()}"
    found, answers = {"command": FINETUNE, "seconds": [], "right": [], "asked": 0}, []
    for draw in range(draws):
        with tempfile.TemporaryDirectory() as place:
            place, chance = Path(place), np.random.default_rng(draw)
            for label in FIFTY[name]:
                clips = sounds_of(label, known)
                drawn = [clips[i] for i in chance.permutation(len(clips))[:10]]
                copy_sounds(task, drawn, place / "clips" / label)
                others = sorted(sounds_of(label, [asked]))
                order = np.random.default_rng(0).permutation(len(others))
                drawn = [others[i] for i in order[:most]]
                copy_sounds(task, drawn, place / "others" / label)
            begin = time.perf_counter()
            printed = run(FINETUNE + model, place)
            found["seconds"].append(round(time.perf_counter() - begin, 1))
            answers.append(pd.read_csv(place / "kinds" / "held_out.csv"))
            found["right"].append(float((answers[-1].label == answers[-1].answer).mean()))
            if not draw:
                found |= {"printed": printed, "asked": len(answers[0])}
    return found, answers[0]


# --- The files of the page


def compute(here):
    "Seconds on the clock: of training from speed.csv, of probes from the results."
    rows = {f"pre-train {kind}": pd.read_csv(here.out / "runs" / kind / "speed.csv").seconds.sum()
            for kind in RUNS}
    results = (here.out / "hear" / "results").glob("*/*/*.json")
    probes = pd.DataFrame([(path.stem, load_result(path).seconds) for path in results],
                          columns=["grid", "seconds"])
    times = pd.read_csv(here.out / "times.csv", names=["step", "seconds"])
    times = times.groupby("step").seconds.sum()
    rows["choose a way to embed"] = times.get("choose", 0)
    rows["embed the tasks"] = max(0.0, times.get("evaluate", 0) - probes.seconds.sum())
    for grid, seconds in probes.groupby("grid").seconds.sum().items():
        rows[f"probes, grid {grid}"] = seconds
    rows["curves"] = times.get("curves", 0)
    return pd.DataFrame(rows.items(), columns=["what", "seconds"]).round(0)


def losses(here):
    "Held-out losses of all runs."
    logs = [pd.read_csv(here.out / "runs" / kind / "log.csv").assign(model=kind) for kind in RUNS]
    columns = ["model", "step", "epoch", "held_out_loss"]
    return pd.concat(logs).dropna(subset="held_out_loss")[columns].round(5)


def run_facts(here, kind):
    "Settings, end and size of a run, without any path."
    run = here.out / "runs" / kind
    config = load_config(PretrainConfig, run / "config.json")
    state = check_checkpoint(newest_checkpoint(run / "checkpoints"))
    settings = {name: value for name, value in asdict(config).items()
                if name not in ("data", "init")}
    ends = ("step", "steps", "clips", "held_out_clips", "loss_before", "loss", "band_mean_loss")
    return {"settings": settings, **{name: state[name] for name in ends if name in state},
            **model_cost(config.model_config())}


def facts(here, fifty):
    "What has to be known of models, tasks and machine."
    name, points = read_grid(here.grid)
    tasks = {}
    for task in tasks_of(here):
        clips = {split: len(read_split(task.folder, split)) for split in task.splits}
        total = sum(clips.values())
        tasks[task.name] = {"labels": len(task.vocabulary), "clips": total,
                            "tested": clips.get("test", total)}
    hours = pd.read_csv(here.out / "pool.csv").groupby("kind").seconds.sum() / 3600
    about = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.split(":")[1].strip() for line in about if line.startswith("model name")),
               "unknown")
    return {"grid": name, "points": [asdict(point) for point in points], "fifty": fifty,
            "sounds": SOUND_CREDIT, "left_out": LEFT_OUT, "tasks": tasks,
            "pool_hours": hours.round(2).to_dict(),
            "models": {kind: run_facts(here, kind) for kind in RUNS},
            "cores": len(os.sched_getaffinity(0)), "cpu": cpu, "torch": torch.__version__}


def report(here):
    "Write every file that the page reads."
    rows = score_rows(collect_results([here.out / "hear" / "results"])[0])
    name = read_grid(here.grid)[0]
    shown = rows[(rows.grid == name) & ~rows.model.str.contains("_")]
    tables = grid_report(shown, name, pair=KINDS)
    with atomic_file(here.results / "report.md") as temporary:
        temporary.write_text(report_text(tables), encoding="utf-8")
    stages = [pd.read_csv(path) for path in sorted((here.out / "curves").glob("*/*.csv"))]
    fifty = {name: fifty_clips(here, name) for name in FIFTY}
    answers = pd.concat([table.assign(task=name) for name, (_, table) in fifty.items()])
    files = {
        "scores": rows.round(3), "table": report_table(tables.summary).T.reset_index(),
        "curves": pd.concat(stages).round(2), "losses": losses(here), "map": note_map(here),
        "fifty": answers, "compute": compute(here)}
    for file, table in files.items():
        write_csv(table, here.results / f"{file}.csv")
    for file in ("credits.csv", "tuning.csv", "ways.csv"):
        if (here.out / file).is_file():
            shutil.copy(here.out / file, here.results / file)
    known = facts(here, {name: measured for name, (measured, _) in fifty.items()})
    with atomic_file(here.results / "facts.json") as temporary:
        temporary.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


# --- How much data it takes, and which windows (nbs/63_ablations.ipynb)


def ablate(here):
    "Two tables of ablations on the pool, scored on the smallest tasks."
    for name in ("drum_stroke", "letters"):
        place = here.out / "small_tasks" / name
        place.parent.mkdir(exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(task_named(here, name).folder.resolve())
    for table in ("7", "windows"):
        typed = (f"mwmae_ablate {table} --budget tiny --data pool.csv --tasks small_tasks "
                 f"--epochs {here.ablation_epochs} --seeds 5")
        print(f"$ {typed}\n{run(typed, here.out)}")
        for ending in ("txt", "csv"):
            file = f"table-{table}.{ending}"
            shutil.copy(here.out / "ablations" / file, here.results / file)


# --- The model that is installed with the library


def package(here):
    "Write the encoder that learnt longest to `mwmae/packaged`, with scores and credits."
    run = here.out / "runs" / "longest"
    config, grid = load_config(PretrainConfig, run / "config.json"), read_grid(here.grid)[0]
    found, _ = collect_results([here.out / "hear" / "results"])
    scores = card_scores([r for r in found if (r.grid, r.model) == (grid, "packaged")])
    credits = (here.out / "credits.md").read_text(encoding="utf-8").strip()
    before = []
    for kind in ROUNDS[:-1]:
        newest = newest_checkpoint(here.out / "runs" / kind / "checkpoints")
        before.append(f"{check_checkpoint(newest)['step']:,}")
    notes = (f"The run above goes on from earlier ones, of {' and '.join(before)} steps on the "
             "same clips, each with a learning rate of its own that rises and falls. Scores are "
             "those of `recipes/real_sounds.py`, on the tasks of its chapter, which also says "
             "what other ways to embed bring.\n\n")
    notes += credits.replace("# Credits", "## Credits", 1)
    folder = HERE.parent / "mwmae" / PACKAGED
    share_encoder(run, folder, PACKAGED_WAY, title=config.model, scores=scores, notes=notes)


DECODER = """## Decoder

The model of the last round was saved without its decoder. This one began anew and learnt on the same clips, while the
encoder above stayed as it is: the step `decoder` of `recipes/real_sounds.py`.
"""


def decoder(here):
    "Train a decoder for the encoder in `mwmae/packaged`, which stays as it is, and add it."
    packaged, run_folder = packaged_folder(), here.out / "runs" / "decoder"
    if (run_folder / "config.json").is_file():
        print(run("mwmae_pretrain --out runs/decoder --resume", here.out))
    else:
        run(f"mwmae_export {PACKAGED} packaged_encoder --format folder", here.out)
        print(run("mwmae_pretrain --data recordings --init packaged_encoder --freeze_encoder "
                  "--epochs 60 --batch 32 --base_lr 0.0256 --beta2 0.95 --precision bf16 "
                  f"--seed {here.seed + 3} --out runs/decoder", here.out))
    newest = newest_checkpoint(run_folder / "checkpoints")
    facts = pd.Series(training_facts(newest), name="value").rename_axis("setting")
    card = (packaged / "README.md").read_text(encoding="utf-8")
    before, credits = card.split("## Credits")
    before = before.partition("## Decoder")[0].replace("its encoder, without the decoder: 4.8 M",
                                                       "encoder and decoder: 5.1 M")
    with atomic_folder(packaged, replaces=MODEL_FILES) as temporary:
        write_model(load_mae(newest), temporary, torch.float16)
        if (packaged / OWN_WAY).is_file():  # the encoder is the same, so it embeds as before
            shutil.copyfile(packaged / OWN_WAY, temporary / OWN_WAY)
        (temporary / "README.md").write_text(
            f"{before}{DECODER}\n{markdown_table(facts.astype(str).to_frame())}\n\n"
            f"## Credits{credits}", encoding="utf-8")


STEPS = {
    "pool": pool, "tune": tune, "pretrain": pretrain_both, "longer": pretrain_longer,
    "choose": choose, "evaluate": evaluate, "curves": curves, "package": package,
    "decoder": decoder, "report": report, "atlas": atlas, "ablate": ablate}


@command
def real_sounds(
    corpora: str,  # folder with licences.csv, pool/ and tasks/
    out: str = "real_sounds",  # folder for everything large: runs, embeddings, results
    # folder for the small files that the page reads
    results: str = str(HERE.parent / "benchmarks" / "results" / "real_sounds"),
    # steps to do, separated by commas; tune looks for the learning rate once more, package
    # replaces the installed model, decoder trains a decoder for it, atlas writes the map of
    # the page nbs/try.ipynb, ablate makes two tables of ablations at a tiny budget
    steps: str = "pool,pretrain,longer,choose,evaluate,curves,report",
    size: str = "mini_4x16",  # encoder and patch of both models
    epochs: int = 36,  # passes over the pool
    more: int = 60,  # further passes of MW-MAE in a second round
    still_more: int = 80,  # further passes in a third, for the packaged model
    ablation_epochs: int = 4,  # passes over the pool of the runs of the step ablate
    seed: int = 0,  # of both runs, of the choice of clips for the curves, and of the map
    grid: str = str(HERE / "patient.json"),  # grid of the probe: paper, kit, or a JSON file
    seeds: int = 10,  # seeds of the probe
    most: int = 40,  # clips of a fold that a point of a curve is made from; of a split five times
    parallel: bool = False,  # pre-train two models side by side, a core for each
    device: str = "cpu",  # where to embed and to probe
):
    "Pre-train MW-MAE and MAE on recordings, score them, and report. Typed again, it continues."
    here = SimpleNamespace(**locals())
    here.corpora, here.out, here.results = Path(corpora), Path(out), Path(results)
    chosen = steps.split(",")
    if unknown := sorted(set(chosen) - set(STEPS)):
        raise InputError(f"--steps has {', '.join(unknown)}, expected some of {', '.join(STEPS)}")
    needed = ("licences.csv", "pool/manifest.csv", "tasks")
    if missing := [name for name in needed if not (here.corpora / name).exists()]:
        raise InputError(f"{corpora}: there is no {', '.join(missing)}, "
                         "expected what recipes/README.md says of CORPORA")
    here.out.mkdir(parents=True, exist_ok=True)
    here.results.mkdir(parents=True, exist_ok=True)
    for step in [step for step in STEPS if step in chosen]:
        print(f"{step} ...", flush=True)
        begin = time.perf_counter()
        try:
            STEPS[step](here)
        finally:
            with open(here.out / "times.csv", "a", encoding="utf-8") as file:
                file.write(f"{step},{time.perf_counter() - begin:.1f}\n")
    print(f"written to {results}")
