"""Embedding files: this library beside a plain loop that reads, embeds and writes in turn, with the packaged model.

    python benchmarks/embedding_files.py SOURCE [--short 2000] [--long 20] [--workers 2]

SOURCE is a folder of recordings; sounds are cut from them: short ones of 1 to 4 s, and long ones of two minutes, as FLAC
files of 44.1 kHz. The loop decodes in the main thread, embeds once 4,000 frames are together with all threads of PyTorch,
and waits twice for the disk after every sound. The two take turns on equal shares of the sounds, so that whatever else the
machine does disturbs both, and each turn begins with the other one. The files are compared byte for byte. The encoder is
busy while at least one batch is being encoded; the second share is that of its streams on average. CPU seconds are
those of all processes. Every unit is encoded once, where the packaged model by itself would encode it four times.
`mwmae, bf16` is this library with `--precision bf16`, whose embeddings are rounded. Rows are appended to benchmarks/results/embedding_files.csv.
"""
import csv
import os
import resource
import shutil
import tempfile
import threading
from datetime import date
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import soundfile
import torch
from fastcore.script import call_parse

from machine import cpu_model
from mwmae.audio import read_audio
from mwmae.batches import encoder_streams
from mwmae.embed import EmbeddingModel, load_model
from mwmae.embed_files import _embed_sounds
from mwmae.files import atomic_file
from mwmae.pooling import pool_blocks
from mwmae.reading import sound_spectrogram
from mwmae.recordings import quiet_decoders
from mwmae.sources import list_sounds, Sound

ONCE = {"layers": [6], "pool": "mean+std", "shifts": 1}  # the way of the packaged model in which a unit is encoded once
RESULTS = Path(__file__).parent / "results" / "embedding_files.csv"
RATE = 44_100


def cut_sounds(source, folder, count, shortest, longest):
    "Write sounds of random lengths, one recording after the other behind each other."
    chance, recordings, held = np.random.default_rng(0), list(list_sounds(source)), np.zeros(0, np.float32)
    chance.shuffle(recordings)
    folder.mkdir()
    for number in range(count):
        wanted = int(chance.uniform(shortest, longest) * RATE)
        while len(held) < wanted:
            recordings.append(recordings.pop(0))
            samples = read_audio(recordings[-1].path).numpy()
            held = np.append(held, np.repeat(samples, 3)[: len(samples) * 441 // 160])  # crude, and cheap
        soundfile.write(folder / f"{number:05d}.flac", held[:wanted], RATE)
        held = held[wanted:]
    return [Sound(path.name, str(path)) for path in sorted(folder.iterdir())]


@torch.no_grad()
def plain_loop(sounds, model, out):
    "Read, embed and write in turn."
    read, frames = [], 0

    def write():
        units = model.blocks([spectrogram for _, spectrogram in read], model.hop)
        for clip, blocks in groupby(units, key=itemgetter(0)):
            scene = pool_blocks(map(itemgetter(1), blocks), model.config.pool)
            with atomic_file(out / f"{read[clip][0].name}.npy") as temporary, open(temporary, "wb") as file:
                np.save(file, scene.numpy())

    for sound in sounds:
        with quiet_decoders():
            spectrogram, _ = sound_spectrogram(sound, model.log_mel)
        read.append((sound, spectrogram))
        frames += len(spectrogram)
        if frames >= 4_000:
            write()
            read, frames = [], 0
    if read:
        write()


class Busy:
    "Notes when batches are encoded."

    def __init__(self):
        self.spans, self.lock, encode = [], threading.Lock(), EmbeddingModel.encode

        def timed(model, units):
            begin = perf_counter()
            try:
                return encode(model, units)
            finally:
                with self.lock:
                    self.spans.append((begin, perf_counter()))

        EmbeddingModel.encode = timed

    def take(self):
        "Seconds in which something was encoded, and of all batches together; then forget them."
        spans, together, end = sorted(self.spans), 0.0, 0.0
        for first, last in spans:
            together += max(0.0, last - max(first, end))
            end = max(end, last)
        self.spans = []
        return together, sum(last - first for first, last in spans)


def cpu_seconds():
    "Of this process and the children that have ended."
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def timed(busy, streams, run, *args):
    "How long a run takes, what the encoder did meanwhile, and processor time."
    cpu, begin = cpu_seconds(), perf_counter()
    run(*args)
    wall = perf_counter() - begin
    together, total = busy.take()
    return {"seconds": wall, "busy": together / wall, "streams busy": total / streams / wall, "cpu": cpu_seconds() - cpu}


def same_files(a, b):
    "Whether two folders hold the same files."
    names = sorted(os.listdir(a))
    return names == sorted(os.listdir(b)) and all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


def compare(sounds, model, workers, turns, folder, busy):
    "The loop and this library on equal shares of the sounds, in turn."
    streams, ours = encoder_streams(model)[0], lambda *args: _embed_sounds(*args, False, workers)
    rounded = load_model("packaged", **ONCE, precision="bf16")
    ways = {"loop": (1, plain_loop, model), "mwmae": (streams, ours, model), "mwmae, bf16": (streams, ours, rounded)}
    measured = {name: [] for name in ways}
    for turn in range(turns):
        share = sounds[turn::turns]
        outs = {name: folder / f"{name}-{turn}" for name in ways}
        for name in list(ways)[:: 1 if turn % 2 else -1]:
            count, run, encoder = ways[name]
            measured[name].append(timed(busy, count, run, share, encoder, outs[name]) | {"files": len(share)})
        same = same_files(outs["loop"], outs["mwmae"])
        ratios = ", ".join(f"{ratio:.2f}" for ratio in (faster(measured, name)[-1] for name in ways if name != "loop"))
        print(f"  turn {turn + 1}: {ratios} times as fast, the same files: {same}, load {os.getloadavg()[0]:.1f}", flush=True)
        for out in outs.values():
            shutil.rmtree(out)
    return measured


def faster(measured, name):
    "In each turn, how many times as fast as the loop."
    return [a["seconds"] / b["seconds"] for a, b in zip(measured["loop"], measured[name])]


@call_parse
def main(
    source: str,  # folder of recordings to cut sounds from
    short: int = 2000,  # how many short sounds
    long: int = 20,  # how many long ones
    workers: int = 2,  # processes that read
    turns: int = 4,  # shares of the sounds
    threads: int = 2,  # of the encoder
):
    "Print what was measured, and append it to the results."
    torch.set_num_threads(threads)
    model, busy, rows = load_model("packaged", **ONCE), Busy(), []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sets = {"short": (short, 1, 4), "long": (long, 120, 120)}
        for kind, (count, shortest, longest) in sets.items():
            if not count:
                continue
            sounds = cut_sounds(source, folder / kind, count, shortest, longest)
            for warm in ("loop", "mwmae"):  # once, unmeasured
                out = folder / f"warm-{warm}"
                plain_loop(sounds[:4], model, out) if warm == "loop" else _embed_sounds(sounds[:4], model, out, False, 0)
            busy.take()
            print(f"{count} {kind} sounds")
            measured = compare(sounds, model, workers, turns, folder, busy)
            for name, turns_ in measured.items():
                files, seconds = (sum(turn[key] for turn in turns_) for key in ("files", "seconds"))
                ratios = faster(measured, name)
                share = {key: sum(turn[key] * turn["seconds"] for turn in turns_) / seconds for key in ("busy", "streams busy")}
                print(f"  {name}: {files / seconds:.2f} files/s, encoder busy {share['busy']:.0%} of the time, "
                      f"its streams {share['streams busy']:.0%}, {sum(t['cpu'] for t in turns_) / files * 1e3:.0f} ms CPU a file; "
                      f"times as fast: median {median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}", flush=True)
                rows.append([date.today().isoformat(), cpu_model(), kind, name, count, 0 if name == "loop" else workers, threads,
                             round(files / seconds, 3), round(median(ratios), 3),
                             round(share["busy"], 3), round(share["streams busy"], 3),
                             round(sum(t["cpu"] for t in turns_) / files, 4), round(os.getloadavg()[0], 1)])
    new = not RESULTS.exists()
    with open(RESULTS, "a", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        if new:
            table.writerow(["date", "cpu", "sounds", "way", "files", "workers", "threads", "files/s", "times as fast",
                            "encoder busy", "streams busy", "cpu s/file", "load"])
        table.writerows(rows)
