"""Give malformed and extreme input to all that reads sound: commands, `read_audio` and the HEAR functions.

A case of a command is a broken or odd sound file, most often beside good ones, given to the command as one gives it at
the command line. It must end well, with all numbers finite and the good sounds in place, or with status 2 and one
sentence. Another exception, a process that dies, hangs, works for long or takes much memory, and NaN are violations;
the exit status is then 1. `--commands embed --first 17 --cases 1 --show --keep FOLDER` repeats case 17 and keeps its
files.
"""

import csv
import gzip
import io
import os
import re
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from collections import Counter
from multiprocessing import connection, get_context
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import soundfile
import torch
from common import run_command
from fastcore.script import call_parse
from tqdm import tqdm

from mwmae.audio import InputError, read_audio
from mwmae.crops import SpectrogramStore
from mwmae.recordings import quiet_decoders
from mwmae.store import read_skipped
from mwmae.embed import (
    EmbeddingModel, get_scene_embeddings, get_timestamp_embeddings, load_model, step_count,
)
from mwmae.classifier import load_classifier
from mwmae.models import save_model
from mwmae.commands import mwmae_embed, mwmae_finetune, mwmae_prepare
from mwmae.model import MaskedAutoencoder, model_config

LIMIT = 120  # seconds after which a case hangs, however busy the machine is
CPU_LIMIT = 10  # seconds of a processor that a case may take
MEMORY_LIMIT = 1024  # MB that a case may take beside what the process has
DTYPES = [
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int16,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
]
FORMATS = {
    "wav": ("WAV", ["PCM_16", "PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW"]),
    "flac": ("FLAC", ["PCM_16", "PCM_24"]),
    "ogg": ("OGG", ["VORBIS", "OPUS"]),
    "mp3": ("MP3", ["MPEG_LAYER_III"]),
    "aiff": ("AIFF", ["PCM_16", "FLOAT"]),
    "au": ("AU", ["PCM_16"]),
    "w64": ("W64", ["PCM_16"]),
    "caf": ("CAF", ["PCM_16"]),
    "rf64": ("RF64", ["PCM_16"]),
    "voc": ("VOC", ["PCM_16"]),
}
PROMISING = {"wav", "flac", "aiff", "au", "w64", "rf64", "voc"}  # formats whose header says how long the sound is


class Violation(Exception):
    "Something that must not happen."


def refused(
    act,  # what to try
    names: list[str],  # one of these must stand in the message
):  # what it returned, and an empty text; or None, and the message with which it was refused
    "Try something that may be refused, but only as it should be."
    try:
        return act(), ""
    except InputError as error:
        message = str(error)
        name = next((name for name in names if name in message), None)
        if name is None or "\n" in message.replace(name, "") or not 15 < len(message) - len(name) < 400:
            raise Violation(f"not a clear sentence: {message!r}") from None
        return None, message


def samples_of(
    rng: np.random.Generator,  # where the choices come from
    size: tuple,  # shape
) -> tuple[str, np.ndarray]:  # what they are, and float64 samples
    "Samples, more or less like sound."
    noise, t = np.asarray(rng.standard_normal(size)), np.arange(size[-1]) if size else np.array(1)
    loudness = float(10 ** rng.uniform(-46, 39))
    kinds = {
        "noise": lambda: 0.1 * noise,
        "zeros": lambda: 0 * noise,
        "constant": lambda: 0 * noise + rng.uniform(-1, 1),
        "loud or faint": lambda: noise * loudness,
        "square wave": lambda: np.broadcast_to(np.where(t % 2, 1.0, -1.0), size) * 3e38,
        "tone": lambda: np.broadcast_to(np.sin(t * rng.uniform(0, np.pi)), size).copy(),
        "too large for float32": lambda: noise * 1e300,
        "faint offset": lambda: 0 * noise + 1e-40,
        "one click": lambda: np.where(rng.random(size) < 1 / max(1, noise.size), 1.0, 0.0),
    }
    kind = str(rng.choice(list(kinds)))
    samples = np.array(kinds[kind]())
    if samples.size and rng.random() < 0.2:
        bad = float(rng.choice([np.nan, np.inf, -np.inf]))
        samples.reshape(-1)[rng.integers(samples.size)] = bad
        kind += f" with {bad}"
    return kind, samples


def array_case(
    rng: np.random.Generator,  # where the choices come from
):  # description, and what is given to the HEAR functions
    "An array, a tensor, or nothing of the kind."
    dims = int(rng.choice([2] * 16 + [0, 1, 3, 4]))
    lengths = [
        int(rng.integers(0, 401)),
        int(rng.integers(0, 401)),
        int(rng.choice([1, 199, 200, 201, 31_840, 32_000, 63_999, 100_000])),
    ]
    size = tuple(int(rng.choice([0] + [1, 2, 3, 8] * 3)) for _ in range(dims - 1)) + (
        int(rng.choice(lengths)),
    ) * bool(dims)
    kind, samples = samples_of(rng, size)
    audio = torch.from_numpy(samples).to(torch.float32)
    form = str(
        rng.choice(
            ["plain"] * 8
            + ["dtype"] * 6
            + ["strided", "transposed", "expanded", "requires_grad"] * 2
            + ["numpy", "list", "none", "text", "sparse", "meta", "parameter"]
        )
    )
    if form == "dtype":
        dtype = DTYPES[rng.integers(len(DTYPES))]
        form, audio = str(dtype), torch.from_numpy(samples).to(dtype)
    change = {
        "strided": lambda: audio.repeat_interleave(2, dim=-1)[..., ::2] if dims else audio,
        "transposed": lambda: audio.mT.contiguous().mT if dims > 1 else audio,
        "expanded": lambda: audio[:1].expand(4, *audio.shape[1:]) if dims and audio.numel() else audio,
        "requires_grad": lambda: audio.clone().requires_grad_(),
        "numpy": lambda: samples,
        "list": lambda: samples.tolist(),
        "none": lambda: None,
        "text": lambda: "sound.wav",
        "sparse": lambda: audio.to_sparse(),
        "meta": lambda: audio.to("meta"),
        "parameter": lambda: torch.nn.Parameter(audio.clone()),
    }
    return f"{form} {size} {kind}", change.get(form, lambda: audio)()


def try_array(
    rng: np.random.Generator,  # where the choices come from
    model: EmbeddingModel,  # the model
) -> tuple[str, str]:  # description and message, empty if it was embedded
    "Give an array to both HEAR functions."
    description, audio = array_case(rng)
    try:
        scene, message = refused(lambda: get_scene_embeddings(audio, model), ["audio"])
        steps, same = refused(lambda: get_timestamp_embeddings(audio, model), ["audio"])
        if message != same:
            raise Violation(f"scene: {message!r}, timestamps: {same!r}")
        if not message:
            clips, samples = audio.shape
            count = step_count(1 + max(201, samples) // 160, model.encoder.config, model.hop)
            shapes = [tuple(scene.shape), tuple(steps[0].shape), tuple(steps[1].shape)]
            size = model.timestamp_embedding_size
            if shapes != [(clips, size), (clips, count, size), (clips, count)]:
                raise Violation(f"shapes {shapes}")
            for part in (scene, *steps):
                if not torch.isfinite(part).all() or part.requires_grad or part.dtype != torch.float32:
                    raise Violation(f"NaN, gradients, or {part.dtype}")
    except Exception as error:
        error.add_note(description)
        raise
    return description, message


def sound_bytes(
    rng: np.random.Generator,  # where the choices come from
) -> tuple[str, str, bytes]:  # description, suffix and content of a file
    "A sound file that libsndfile can write, of any rate."
    suffix = str(rng.choice(list(FORMATS)))
    name, subtypes = FORMATS[suffix]
    subtype, channels = str(rng.choice(subtypes)), int(rng.choice([1, 1, 2, 8]))
    rate = int(
        rng.choice(
            [
                16_000,
                44_100,
                8_000,
                48_000,
                44_100,
                16_000,
                int(10 ** rng.uniform(0, 7.5)),
                int(10 ** rng.uniform(2, 6)),
                1_000_000,
                1,
            ]
        )
    )
    kind, samples = samples_of(rng, (int(rng.choice([0, 1, 150, 400, 5_000, 40_000])), channels))
    fragile = suffix in ("mp3", "ogg")  # encoders that end the process when they are given anything unusual
    rate = min(max(rate, 8_000), 48_000) if fragile else rate
    for attempt in ((rate, channels), (rate, 1), (16_000, 1), (48_000, 1)):  # many formats refuse most rates
        file, written = io.BytesIO(), samples[:, : attempt[1]]
        if fragile:
            written = np.nan_to_num(written).clip(-1, 1)
        try:
            with np.errstate(all="ignore"):
                soundfile.write(
                    file,
                    written.astype(np.float64 if subtype == "DOUBLE" else np.float32),
                    attempt[0],
                    subtype,
                    format=name,
                )
        except (RuntimeError, ValueError, TypeError, AssertionError):
            continue
        return f"{suffix} {subtype} {attempt} {len(samples)} {kind}", suffix, file.getvalue()
    return f"{suffix} empty", suffix, b""


def damaged(
    rng: np.random.Generator,  # where the choices come from
    suffix: str,  # of its format
    data: bytes,  # content of a sound file
) -> tuple[str, bytes]:  # what was done to it
    "Do to a file what cables, disks and people do."
    kind = str(
        rng.choice(
            ["whole"] * 6
            + ["cut", "bytes changed", "a number in the header is huge", "header changed", "length is a lie"] * 3
            + ["cut in its header", "a piece is missing", "data chunk of size 0", "random after its header"] * 2
            + ["twice", "zeros", "random", "text", "compressed"]
        )
    )
    data = bytearray(data)
    if kind == "cut":
        del data[rng.integers(len(data) + 1) :]
    elif kind == "cut in its header":
        del data[rng.integers(60) :]
    elif kind in ("header changed", "bytes changed") and data:
        reach = min(len(data), 64) if kind == "header changed" else len(data)
        for at in rng.integers(reach, size=rng.integers(1, 6)):
            data[at] = rng.integers(256)
    elif kind == "a number in the header is huge" and len(data) > 60:
        at, value = int(rng.integers(4, 56)), rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0xFFFF])
        data[at : at + 4] = int(value).to_bytes(4, str(rng.choice(["little", "big"])))
    elif kind == "length is a lie":
        data = lying(rng, suffix, data)
    elif kind == "a piece is missing":
        at = int(rng.integers(len(data) + 1))
        del data[at : at + int(rng.integers(1, 500))]
    elif kind == "twice":
        data = data * 2
    elif kind == "zeros":
        data = bytes(len(data))
    elif kind == "random":
        data = rng.bytes(int(rng.integers(0, 5_000)))
    elif kind == "random after its header":
        data[48:] = rng.bytes(max(0, len(data) - 48))
    elif kind == "text":
        data = b"<html><body>404 Not Found</body></html>\n" * 30
    elif kind == "compressed":
        data = gzip.compress(bytes(data))
    elif kind == "data chunk of size 0" and (found := re.search(b"data|SSND", bytes(data))):
        data[found.end() : found.end() + 4] = bytes(4)
    return kind, bytes(data)


def ogg_checksum(
    page: bytes,  # a page of an Ogg file, its checksum zero
) -> int:  # its checksum
    "Ogg's CRC-32, without which a page is passed over."
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        crc &= 0xFFFFFFFF
    return crc


def lying(
    rng: np.random.Generator,  # where the choices come from
    suffix: str,  # of the format
    data: bytes,  # content of a sound file
) -> bytes:  # the same with another length in its header
    "Let the header promise a length that nobody could store, in the way of each format."
    data, bits = bytearray(data), int(rng.integers(20, 63))
    huge = 2**bits - int(rng.integers(0, 2))

    def put(at, size, order):
        value = min(huge, 2 ** (8 * size) - 1)
        if 0 <= at <= len(data) - size:
            data[at : at + size] = value.to_bytes(size, order)

    if suffix == "wav":
        put(4, 4, "little")
        put(data.find(b"data") + 4, 4, "little")
    elif suffix == "rf64":
        for at in (20, 28, 36):
            put(at, 8, "little")
    elif suffix == "w64":
        put(16, 8, "little")
        put(data.find(b"data") + 16, 8, "little")
    elif suffix == "flac" and len(data) > 26:
        data[21] |= 0x0F
        put(22, 4, "big")
    elif suffix == "aiff":
        put(data.find(b"COMM") + 10, 4, "big")
        put(data.find(b"SSND") + 4, 4, "big")
    elif suffix == "au":
        put(8, 4, "big")
    elif suffix == "caf":
        put(data.find(b"data") + 4, 8, "big")
    elif suffix == "mp3":
        put(max(data.find(b"Xing"), data.find(b"Info")) + 8, 4, "big")
    elif suffix == "ogg" and (at := data.rfind(b"OggS")) > 0:
        put(at + 6, 8, "little")
        data[at + 22 : at + 26] = bytes(4)
        data[at + 22 : at + 26] = ogg_checksum(bytes(data[at:])).to_bytes(4, "little")
    return bytes(data)


def odd_name(
    rng: np.random.Generator,  # where the choices come from
    suffix: str,  # of the file, with its dot; or nothing
) -> str:  # its name
    "A name that files can have, however seldom they do."
    kind = str(rng.choice(["plain"] * 8 + ["bytes", "long", "longest", "line", "signs", "dots", "foreign"]))
    most = 255 - len(suffix)
    stem = {
        "plain": "case",
        "bytes": os.fsdecode(b"case\xff\xfe\xe9"),
        "long": "case" + "x" * int(rng.integers(200, most - 3)),
        "longest": "case" + "é" * ((most - 4) // 2),
        "line": "case\nof two lines\r\x1b[31m",
        "signs": "case,\"';$(touch x)`&|<>*?",
        "dots": "case..",
        "foreign": "case ñ 音 🎵",
    }[kind]
    return stem + suffix


def read_both(
    path: Path,  # a file, or something else
    data: bytes,  # what is in it
    rng: np.random.Generator,  # where the choices come from
) -> str:  # why it cannot be read; empty if it can
    "Read a file, a part of it, and the same bytes as an open file; all must agree."
    part = (
        float(rng.choice([0, -1, 0.01, 1e9, np.nan, np.inf, -np.inf])),
        rng.choice([None, 0, 0.02, -1, 1e12, np.nan, np.inf]),
    )
    with quiet_decoders():
        sound, message = refused(lambda: read_audio(path), [path.name, repr(path.name)[1:40]])
        refused(lambda: read_audio(path, *part), [path.name, repr(path.name)[1:40]])
        if path.is_file():
            _, other = refused(lambda: read_audio(io.BytesIO(data)), ["the sound"])
            if bool(message) != bool(other) and data:
                raise Violation(f"as a path {message!r}, as an open file {other!r}")
    if sound is not None and (
        sound.ndim != 1 or sound.dtype != torch.float32 or not len(sound) or not torch.isfinite(sound).all()
    ):
        raise Violation(f"read as {sound.dtype} {tuple(sound.shape)}, or not finite")
    return message


class FileCase:
    "A sound file to try a command with, most often a broken one."

    def __init__(
        self,
        rng: np.random.Generator,  # where the choices come from
        folder: Path,  # where to put it
    ):
        self.rng = rng
        made, suffix, self.whole = sound_bytes(rng)
        self.damage, self.data = damaged(rng, suffix, self.whole)
        self.lost = suffix in PROMISING and self.damage == "cut" and len(self.data) < 0.8 * len(self.whole)
        if rng.random() < 0.15:
            suffix = str(rng.choice(list(FORMATS) + ["opus", "m4a", "wave", "snd"]))
        self.special = str(rng.choice(["file"] * 60 + ["folder", "pipe", "broken link", "missing"]))
        self.path = folder / odd_name(rng, f".{suffix}")
        folder.mkdir(parents=True, exist_ok=True)
        {
            "file": lambda: self.path.write_bytes(self.data),
            "folder": self.path.mkdir,
            "pipe": lambda: os.mkfifo(self.path),
            "broken link": lambda: self.path.symlink_to("nowhere"),
            "missing": lambda: None,
        }[self.special]()
        self.description = f"{made}; {self.damage}; {self.special} {self.path.name[:40]!r}"

    def packed(self) -> str:  # how
        "Perhaps put the file into an archive, a table or a list instead, beside where it was."
        way = (
            str(self.rng.choice(["folder"] * 12 + ["tar", "parquet", "manifest"]))
            if self.special == "file"
            else "folder"
        )
        folder = self.path.parent
        if way == "tar":
            with tarfile.open(folder / "packed.tar", "w") as archive:
                archive.add(self.path, self.path.name)
            self.path.unlink()
        elif way == "parquet":
            rows = pyarrow.table({"audio": [{"bytes": self.data, "path": "case"}]})
            pyarrow.parquet.write_table(rows, folder / "packed.parquet")
            self.path.unlink()
        self.description += f" in {way}"
        return way


def run(
    function,  # a command, such as `mwmae_embed`
    *arguments: str,  # of the command line
) -> tuple[int, str]:  # exit status, and the line on standard error
    "Run a command in this process as at the command line. Raises `Violation` if it does not end as a command should."
    status, said = run_command(function, *arguments)
    if status not in (0, 2) or "Traceback" in said:
        raise Violation(f"status {status}: {said}")
    if status == 2 and ("\n" in said or not said.startswith(f"{function.__name__}: ") or not 30 < len(said) < 1200):
        raise Violation(f"not a clear sentence: {said!r}")
    return status, said if status else ""


def check_reasons(
    skipped: list[tuple[str, str]],  # (name, reason) of sounds that were left out
    good: set[str],  # names of sounds that must not be among them
) -> str:  # reason of the case; empty if it was used
    "Look at what a command says of the sounds that it left out."
    for name, reason in skipped:
        if "\n" in reason or not 8 < len(reason) < 500 or re.match(r"\w*(Error|Exception|Warning)\b", reason):
            raise Violation(f"not a clear reason: {reason!r}")
        if name in good:
            raise Violation(f"{name} is good and was left out: {reason}")
    if len(skipped) > 1:
        raise Violation(f"left out more than one: {skipped}")
    return skipped[0][1] if skipped else ""


def read_table(
    path: Path,  # skipped.csv
) -> list[tuple[str, str]]:  # its rows
    "What a command left out."
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def no_leftovers(
    out: Path,  # folder that a command wrote
):
    "Nothing half-written may stay."
    if left := [path.name for path in out.rglob(".*") if path.name != ".lock"]:
        raise Violation(f"left behind: {left}")


class Bench:
    "What all cases of a process share: a small model, and good sounds."

    def __init__(
        self,
        folder: Path,  # where they are kept
    ):
        torch.manual_seed(0)
        config = model_config("mwmae_tiny_4x16", encoder_width=48, encoder_depth=2, decoder_width=32, decoder_depth=1)
        save_model(MaskedAutoencoder(config), folder / "model")
        self.model, self.folder, self.good = load_model(folder / "model"), folder, []
        rng = np.random.default_rng(0)
        for i in range(6):
            tone = np.sin(np.arange(5_000) * 0.05 * (1 + i % 2)) + 0.1 * rng.standard_normal(5_000)
            self.good.append(folder / f"good{i}.wav")
            soundfile.write(self.good[-1], 0.3 * tone, 16_000)
        with torch.no_grad():
            self.scene = self.model(read_audio(self.good[0])[None])[0].numpy()


def write_list(
    path: Path,  # a .csv
    folder: Path,  # beside it
):
    "Write a manifest of the files in a folder."
    with open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file).writerows([["path"], *([f"{folder.name}/{found.name}"] for found in folder.iterdir())])


def try_embed(
    case: FileCase,  # a sound
    bench: Bench,  # good ones
    folder: Path,  # where files may be written
) -> str:  # why it was not embedded; empty if it was
    "Embed a file, as a whole or by steps, into arrays or a table, with a good one or alone."
    rng, out, model = case.rng, folder / "out", bench.model
    message = read_both(case.path, case.data, rng)
    good, table, timestamps = rng.random() < 0.5, rng.random() < 0.2, rng.random() < 0.3
    if good:
        shutil.copy(bench.good[0], case.path.parent / "good.wav")
    alone = not good and case.special != "missing" and rng.random() < 0.5
    way = "alone" if alone else case.packed()
    source = case.path if alone else case.path.parent
    if way == "manifest":
        source = folder / "list.csv"
        write_list(source, case.path.parent)
    options = ["--table"] * table + ["--timestamps"] * timestamps
    status, said = run(mwmae_embed, str(source), "--out", str(out), "--model", str(bench.folder / "model"), "--workers", "0", *options)
    unreadable = way == "manifest" and "not a table" in said  # a list has to be UTF-8
    if good and status and not unreadable:
        raise Violation(f"a good sound was there: {said}")
    if out.is_dir():
        no_leftovers(out)
    if status:
        return said
    reason = check_reasons(read_table(out / "skipped.csv"), {"good.wav", "in/good.wav"})
    if table:
        rows = pyarrow.parquet.read_table(out / "embeddings.parquet")
        files = set(rows["file"].to_pylist())
        arrays = [np.array(rows["embedding"].to_pylist(), np.float32)]
    else:
        files = {
            str(path.relative_to(out))[:-4] for path in out.rglob("*.npy") if not path.name.endswith(".times.npy")
        }
        arrays = [np.load(out / f"{name}.npy") for name in files]
    embedded = len(files) - good
    if any(
        not np.isfinite(array).all() or array.shape[-1] != model.scene_embedding_size or not array.size
        for array in arrays
    ):
        raise Violation(f"embeddings of shapes {[array.shape for array in arrays]}, or not finite")
    if embedded != (not reason and case.special in ("file",)):
        raise Violation(f"{embedded} embedded beside the good one, left out: {reason!r}")
    if embedded and case.lost:
        raise Violation(f"embedded {len(case.data)} of {len(case.whole)} bytes as if they were all")
    if embedded and message:
        raise Violation(f"embedded what cannot be read: {message}")
    good_name = "in/good.wav.npy" if way == "manifest" else "good.wav.npy"
    if good and not table and not timestamps and not np.allclose(np.load(out / good_name), bench.scene, atol=1e-3):
        raise Violation("the good sound's embedding is another one")
    return reason or ("not there" if not embedded else "")


def try_prepare(
    case: FileCase,  # a sound
    bench: Bench,  # good ones
    folder: Path,  # where files may be written
) -> str:  # why it was not used; empty if it was
    "Make a spectrogram store of a file and a good one."
    rng, store = case.rng, folder / "store"
    good = rng.random() < 0.8
    if good:
        shutil.copy(bench.good[0], case.path.parent / "good.wav")
    way, source = case.packed(), case.path.parent
    if way == "manifest":
        source = folder / "list.csv"
        write_list(source, case.path.parent)
    status, said = run(
        mwmae_prepare, str(source), str(store), "--workers", "1", "--clip_seconds", str(rng.choice([0.1, 1.0, 10.0]))
    )
    unreadable = way == "manifest" and "not a table" in said  # a list has to be UTF-8
    if good and status and not unreadable:
        raise Violation(f"a good sound was there: {said}")
    if store.is_dir():
        no_leftovers(store)
    if status:
        return said
    corpus = SpectrogramStore(store)
    names = Counter(corpus.source(clip) for clip in range(len(corpus)))
    reason = check_reasons(read_skipped(store), {"good.wav", "in/good.wav"})
    for clip in range(len(corpus)):
        if not torch.isfinite(corpus.clip(clip)).all():
            raise Violation(f"{corpus.name(clip)} is not finite")
    others = sum(names.values()) - names["good.wav"] - names["in/good.wav"]
    if good and sum(names.values()) == others:
        raise Violation(f"the good sound is not in the store, but {list(names)}")
    if not others and not reason and case.special == "file":
        raise Violation("neither in the store nor said why")
    return reason or ("not there" if not others else "")


def try_finetune(
    case: FileCase,  # a sound
    bench: Bench,  # good ones
    folder: Path,  # where files may be written
) -> str:  # why it was not used; empty if it was
    "Teach a model two labels of three good sounds each, with a file among them."
    rng, out = case.rng, folder / "out"
    sounds, second = folder / "in", odd_name(rng, "") if rng.random() < 0.1 else "b"
    for i, path in enumerate(bench.good):
        label = sounds / (second if i % 2 else "a")
        label.mkdir(exist_ok=True)
        shutil.copy(path, label)
    own = rng.random() < 0.1  # a label with a single sound can be refused
    if own:
        (sounds / "c").mkdir()
    if case.special != "missing":
        case.path.rename(sounds / ("c" if own else "a") / case.path.name)
    layers = str(rng.choice(["0"] * 4 + ["1"]))
    options = ["--layers", layers, "--epochs", "1", "--batch", "4", "--device", "cpu"]
    status, said = run(
        mwmae_finetune, str(sounds), "--model", str(bench.folder / "model"), "--out", str(out), *options
    )
    if status and not own and not (second != "b" and "label" in said):  # a label can be too odd
        raise Violation(f"good sounds were there: {said}")
    if status:
        return said
    classifier = load_classifier(out)
    if (
        not all(torch.isfinite(value).all() for value in classifier.state_dict().values())
        or len(classifier.labels) < 2
    ):
        raise Violation("the classifier is not finite")
    held_out = pd.read_csv(out / "held_out.csv", encoding_errors="surrogateescape")
    if held_out.isna().any().any():
        raise Violation(f"held_out.csv has holes: {held_out.to_dict()}")
    no_leftovers(out)
    reason = check_reasons(read_table(out / "skipped.csv"), {f"a/{path.name}" for path in bench.good})
    return reason or ("not there" if case.special != "file" else "")


TRIALS = {"embed": try_embed, "prepare": try_prepare, "finetune": try_finetune}
COMMANDS = [*TRIALS, "arrays"]


def try_case(
    command: str,  # one of COMMANDS
    seed: int,  # of all choices
    number: int,  # which case
    bench: Bench,  # model and good sounds
    folder: Path,  # where files may be written
) -> tuple[str, str]:  # description, and why it was refused; empty if it was not
    "Try one case."
    rng = np.random.default_rng([seed, COMMANDS.index(command), number])
    if command == "arrays":
        return try_array(rng, bench.model)
    case = FileCase(rng, folder / "in")
    try:
        return case.description, TRIALS[command](case, bench, folder)
    except Exception as error:
        error.add_note(case.description)
        raise


def peak_memory() -> float:  # MB
    "The most memory that this process has had since `forget_peak`, or since it began where the system cannot forget."
    found = (
        re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
        if Path("/proc/self/status").exists()
        else None
    )
    return int(found[1]) / 1024 if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak():
    "Let the peak begin anew at what the process has now."
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def serve(
    pipe,  # where numbers of cases come from and results go
    seed: int,  # of all choices
    keep: str,  # folder for the files of the cases; empty: they are removed
):
    "Try cases, one at a time, until the pipe ends."
    torch.set_num_threads(1)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # commands wait until the disk has what they wrote
    with tempfile.TemporaryDirectory(dir=memory) as home:
        bench = Bench(Path(home))
        pipe.send(None)
        while True:
            try:
                command, number = pipe.recv()
            except EOFError:
                return
            folder = Path(keep or home) / f"{command}-{number}"
            folder.mkdir(parents=True, exist_ok=True)
            forget_peak()
            memory, start = peak_memory(), time.process_time()
            try:
                description, message = try_case(command, seed, number, bench, folder)
                wrong = ""
            except Exception as error:
                description, message = "; ".join(getattr(error, "__notes__", [])), ""
                wrong = f"{type(error).__name__}: {' '.join(str(error).split())}"
            took, grown = time.process_time() - start, peak_memory() - memory
            if not wrong and (took > CPU_LIMIT or grown > MEMORY_LIMIT):
                wrong = f"took {took:.1f} s of a processor and {grown:.0f} MB"
            if not keep:
                shutil.rmtree(folder)
            pipe.send((description, message, wrong))


class Apart:
    "A process of its own for cases that may bring it down."

    def __init__(
        self,
        seed: int,  # of all choices
        keep: str,  # folder for the files of the cases
    ):
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, seed, keep), daemon=True)
        self.process.start()
        theirs.close()
        self.case, self.deadline = None, time.monotonic() + 120  # until it says that it is ready

    def ask(
        self,
        case: tuple[str, int],  # command and number
    ):
        "Begin a case."
        self.case, self.deadline = case, time.monotonic() + LIMIT
        self.pipe.send(case)

    def answer(self) -> tuple[str, str, str]:  # description, why it was refused, and what is wrong
        "What came of the case, or of the process."
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            code = self.process.exitcode
            return "", "", f"died: {signal.Signals(-code).name if code < 0 else code}"


def try_all(
    cases: list[tuple[str, int]],  # commands and numbers
    workers: int,  # processes
    seed: int,  # of all choices
    keep: str,  # folder for the files of the cases
):  # yields case and answer
    "Try cases on all processes; one that dies or hangs is replaced."
    waiting, busy = cases[::-1], {}
    for _ in range(min(workers, len(cases))):
        apart = Apart(seed, keep)
        busy[apart.pipe] = apart
    while busy:
        for pipe in connection.wait(list(busy), 1.0):
            apart = busy[pipe]
            case, answer = apart.case, apart.answer()
            if case or answer:
                yield case or ("", -1), answer
            del busy[pipe]
            if answer and answer[2] and apart.process.exitcode is not None:
                apart = Apart(seed, keep) if waiting else None
                if apart:
                    busy[apart.pipe] = apart
            elif waiting:
                apart.ask(waiting.pop())
                busy[pipe] = apart
        for pipe, apart in list(busy.items()):
            if time.monotonic() > apart.deadline:
                apart.process.kill()
                apart.process.join()
                del busy[pipe]
                yield apart.case or ("", -1), ("", "", f"hung for {LIMIT} s")
                if waiting:
                    apart = Apart(seed, keep)
                    busy[apart.pipe] = apart


@call_parse
def main(
    cases: int = 1000,  # How many cases of each command
    commands: str = ",".join(COMMANDS),  # Which commands, with commas between; arrays are the HEAR functions
    seed: int = 0,  # Of all choices
    first: int = 0,  # Number of the first case, to repeat one
    show: bool = False,  # Print every case
    workers: int = os.cpu_count(),  # Processes
    keep: str = "",  # Folder in which the files of all cases stay; default: they are removed
):
    "Try many cases, print what became of them, and exit 1 if anything happened that must not."
    asked = commands.split(",")
    if unknown := sorted({*asked} - {*COMMANDS}):
        sys.exit(f"commands are {', '.join(unknown)}, expected some of {','.join(COMMANDS)}")
    outcomes, sentences, violations, start = Counter(), Counter(), [], time.monotonic()
    todo = [(command, number) for number in range(first, first + cases) for command in asked]
    for (command, number), (description, message, wrong) in tqdm(
        try_all(todo, workers, seed, keep), total=len(todo), unit="case", disable=None
    ):
        outcome = "violation" if wrong else "refused" if message else "taken"
        outcomes[command, outcome] += 1
        if outcome == "refused":
            sentences[command, re.sub(r"\S*case\S*|-?\d[\d.e+,-]*|\(.*\)|/\S+", "…", message)[:160]] += 1
        if wrong:
            short = wrong if len(wrong) < 500 else f"{wrong[:250]} … {wrong[-250:]}"
            violations.append(f"{command} {number}: {short} [{description}]")
        if show:
            print(command, number, ascii(description), "|", wrong or ascii(message) if wrong or message else "taken")
    print("refused with")
    for (command, sentence), count in sorted(sentences.items(), key=lambda item: (item[0][0], -item[1])):
        print(f"{count:5}  {command:8} {ascii(sentence)[1:-1]}")
    print(
        "\nviolations" if violations else "",
        *map(ascii, sorted(violations)[:50]),
        *["and more"] * (len(violations) > 50),
        sep="\n",
    )
    print(f"\n{'':9} {'taken':>6} {'refused':>8} {'violations':>11}")
    for command in asked:
        taken, others, wrong = (outcomes[command, outcome] for outcome in ("taken", "refused", "violation"))
        print(f"{command:9} {taken:6} {others:8} {wrong:11}")
    seconds = time.monotonic() - start
    tried = sum(outcomes.values())
    print(f"{tried} cases in {seconds:.0f} s ({tried / seconds:.1f} in a second), {tried - len(violations)} held")
    sys.exit(bool(violations) or tried < len(todo))
