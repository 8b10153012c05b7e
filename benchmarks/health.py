"""Short runs, one that goes well and some that go wrong on purpose, for the chapter 'Is my run healthy?'.

    python benchmarks/health.py --only sane

Each run trains the smallest model for about a minute on sounds made by code. What it wrote of itself, without the
weights, is kept in benchmarks/results/health/<name>: the chapter draws its pictures and tests its findings on it.
"""

import shutil
import tempfile
from pathlib import Path

import soundfile
import torch
from fastcore.script import call_parse

from mwmae.audio import SAMPLE_RATE
from mwmae.checkpoints import list_checkpoints
from mwmae.crops import split_held_out
from mwmae.pretrain import pretrain
from mwmae.settings import machine_settings, open_data
from mwmae.sounds import synth_clip

RUNS = {  # settings of each run that are not chosen for the machine
    "sane": {},
    "rate_high": {"base_lr": 10.0},
    "rate_low": {"base_lr": 1e-8},
    "few_clips": {"data": "short", "share": 0.0175, "epochs": 700, "batch": 4, "base_lr": 0.032},
}
SECONDS = {"sounds": 4.0, "short": 2.0}  # length of the clips; from two seconds there is only one crop


def make_sounds(
    folder: Path,  # where to write FLAC files
    seed: int,  # another seed makes other sounds
    clips: int,  # how many
    seconds: float,  # length of each
    labelled: bool,  # in folders named by label
):
    "Write sounds made by code."
    for index in range(clips):
        samples, labels = synth_clip(seed, index, seconds=seconds)
        path = folder / (labels["family"] if labelled else "") / f"{index:04d}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples.numpy(), SAMPLE_RATE)


def one_run(
    name: str,  # of the run
    work: Path,  # folder with the sounds
    kept: Path,  # folder for what is kept
):
    "Train, and copy all but the weights."
    settings = {"epochs": 16, "data": "sounds", "probe": str(work / "labelled"), **RUNS[name]}
    settings["data"] = str(work / settings["data"])
    corpus = open_data(settings["data"], work / "stores")
    clips = round(settings.get("share", 1.0) * len(split_held_out(corpus)[0]))
    config = machine_settings("cpu", clips, **settings)
    state = pretrain(config, work / name, corpus=corpus)
    print(name, state)
    shutil.rmtree(kept, ignore_errors=True)
    newest = list_checkpoints(work / name / "checkpoints")[-1]
    place = kept / "checkpoints" / newest.name
    place.mkdir(parents=True)
    for file in ("log.csv", "speed.csv"):
        shutil.copy(work / name / file, kept)
    shutil.copy(newest / "state.json", place)
    text = (work / name / "config.json").read_text().replace(str(work) + "/", "")
    (kept / "config.json").write_text(text)


@call_parse
def main(
    only: str | None = None,  # names of runs with commas; default: all
    out: str = str(Path(__file__).parent / "results" / "health"),  # folder for what they wrote
    threads: int = 2,  # threads that compute
):
    "Make the runs and keep what they wrote of themselves."
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        for data, seconds in SECONDS.items():
            make_sounds(work / data, 0, 240, seconds, labelled=False)
        make_sounds(work / "labelled", 3, 120, 1.0, labelled=True)
        for name in only.split(",") if only else RUNS:
            one_run(name, work, Path(out) / name)
