"""The share of its time that pre-training waits for data, with crops from the store and with crops from the sound files."""
import datetime
import platform
import tempfile
from pathlib import Path

import pandas as pd
import soundfile
import torch
from fastcore.script import call_parse

from mwmae.audio import SAMPLE_RATE
from mwmae.pretrain import builtin_sound, has_bfloat16, machine_settings, pretrain


@call_parse
def main(
    clips: int = 600,  # clips of the built-in corpus, written as FLAC files
    model: str = "mwmae_nano_4x16",  # the smallest model waits the most
    epochs: int = 2,  # passes over them
):
    "Print a table, and write it to benchmarks/results/data_wait.csv."
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sounds = Path(folder) / "sounds"
        sounds.mkdir()
        for name, samples in map(builtin_sound, range(clips)):
            soundfile.write(sounds / f"{name}.flac", samples, SAMPLE_RATE)
        for from_files in (False, True):
            run = Path(folder) / f"run-{from_files}"
            pretrain(machine_settings("cpu", clips, data=str(sounds), model=model, epochs=epochs, from_files=from_files), run)
            speed = pd.read_csv(run / "speed.csv").iloc[1:]  # the first measurement holds the start
            rows.append({
                "crops from": "files" if from_files else "store", "model": model,
                "clips/s": (speed.clips_per_second * speed.seconds).sum() / speed.seconds.sum(),
                "data wait share": (speed.data_wait_share * speed.seconds).sum() / speed.seconds.sum(),
                "precision": "bf16" if has_bfloat16("cpu") else "fp32", "threads": torch.get_num_threads(),
                "torch": torch.__version__, "machine": platform.machine(), "date": datetime.date.today().isoformat()})
    table = pd.DataFrame(rows).round(4)
    print(table.to_string(index=False))
    table.to_csv(Path(__file__).parent / "results" / "data_wait.csv", index=False)
