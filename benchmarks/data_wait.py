"""The share of its time that pre-training waits for data, with crops from the store and with crops from the sound files.

Each run has a process of its own, so that its peak memory can be told too.
"""
import datetime
import platform
import resource
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import soundfile
import torch
from fastcore.script import call_parse

from mwmae.audio import SAMPLE_RATE
from mwmae.crops import split_held_out
from mwmae.settings import builtin_sound, machine_settings, open_data
from mwmae.pretrain import pretrain


def measure(
    sounds: str,  # folder of sounds
    run: Path,  # run folder
    from_files: bool,  # crops from the files
    settings: dict,  # settings of the run
) -> dict:  # a row of the table
    "Pre-train, and read off what it took."
    corpus = open_data(sounds, run.parent / "stores", from_files)
    config = machine_settings("cpu", len(split_held_out(corpus)[0]), data=sounds, from_files=from_files, **settings)
    pretrain(config, run, corpus=corpus)
    speed = pd.read_csv(run / "speed.csv").iloc[1:]  # the first measurement holds the start
    return {
        "crops from": "files" if from_files else "store", "clips": len(corpus), "model": config.model, "epochs": config.epochs,
        "clips/s": (speed.clips_per_second * speed.seconds).sum() / speed.seconds.sum(),
        "data wait share": (speed.data_wait_share * speed.seconds).sum() / speed.seconds.sum(),
        "peak memory MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "precision": config.precision, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "machine": platform.machine(), "date": datetime.date.today().isoformat()}


@call_parse
def main(
    data: str | None = None,  # folder of sounds; default: clips of the built-in corpus, written as FLAC files
    clips: int = 600,  # how many of those
    model: str = "mwmae_nano_4x16",  # the smallest model waits the most
    epochs: int = 1,  # passes over the data
):
    "Print a table, and add its rows to benchmarks/results/data_wait.csv."
    path = Path(__file__).parent / "results" / "data_wait.csv"
    with tempfile.TemporaryDirectory() as folder:
        if data is None:
            data = f"{folder}/sounds"
            Path(data).mkdir()
            for name, samples in map(builtin_sound, range(clips)):
                soundfile.write(f"{data}/{name}.flac", samples, SAMPLE_RATE)
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
            jobs = [pool.submit(measure, data, Path(folder) / f"{files}", files, dict(model=model, epochs=epochs)) for files in (False, True)]
            table = pd.DataFrame([job.result() for job in jobs]).round(4)
    print(table.to_string(index=False))
    pd.concat([pd.read_csv(path), table] if path.exists() else [table]).to_csv(path, index=False)
