"""Give malformed and extreme input to all that reads sound: the HEAR functions, `read_audio`, and what `mwmae_embed` does with a file.

Every case must end in finite embeddings of the right shape, or in an `InputError` of one line that names the file
or the argument. Another exception, a process that dies or hangs, and NaN are violations; the exit status is then 1.
"""
import gzip
import io
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import torch
from fastcore.script import call_parse
from tqdm import tqdm

from mwmae.audio import InputError, read_audio
from mwmae.corpus import Sound, quiet_decoders
from mwmae.embed import EmbeddingModel, embed_sounds, get_scene_embeddings, get_timestamp_embeddings, step_count
from mwmae.model import MaskedAutoencoder, model_config

KINDS = "file", "array"  # even and odd numbers
LIMIT = 10  # seconds that one case may take
DTYPES = [torch.float64, torch.float16, torch.bfloat16, torch.int16, torch.int64, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn]
FORMATS = {"wav": ("WAV", ["PCM_16", "PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW", "ALAW"]), "flac": ("FLAC", ["PCM_16", "PCM_24"]),
           "ogg": ("OGG", ["VORBIS", "OPUS"]), "mp3": ("MP3", ["MPEG_LAYER_III"]), "aiff": ("AIFF", ["PCM_16", "FLOAT"]), "au": ("AU", ["PCM_16"]),
           "w64": ("W64", ["PCM_16"]), "caf": ("CAF", ["PCM_16"]), "rf64": ("RF64", ["PCM_16"]), "voc": ("VOC", ["PCM_16"])}


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
        if "\n" in message or not 15 < len(message) < 400 or not any(name in message for name in names):
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
        "noise": lambda: 0.1 * noise, "zeros": lambda: 0 * noise, "constant": lambda: 0 * noise + rng.uniform(-1, 1),
        "loud or faint": lambda: noise * loudness, "square wave": lambda: np.broadcast_to(np.where(t % 2, 1.0, -1.0), size) * 3e38,
        "tone": lambda: np.broadcast_to(np.sin(t * rng.uniform(0, np.pi)), size).copy(), "too large for float32": lambda: noise * 1e300,
        "faint offset": lambda: 0 * noise + 1e-40, "one click": lambda: np.where(rng.random(size) < 1 / max(1, noise.size), 1.0, 0.0)}
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
    lengths = [int(rng.integers(0, 401)), int(rng.integers(0, 401)), int(rng.choice([1, 199, 200, 201, 31_840, 32_000, 63_999, 100_000]))]
    size = tuple(int(rng.choice([0] + [1, 2, 3, 8] * 3)) for _ in range(dims - 1)) + (int(rng.choice(lengths)),) * bool(dims)
    kind, samples = samples_of(rng, size)
    audio = torch.from_numpy(samples).to(torch.float32)
    form = str(rng.choice(["plain"] * 8 + ["dtype"] * 6 + ["strided", "transposed", "expanded", "requires_grad"] * 2
                          + ["numpy", "list", "none", "text", "sparse", "meta", "parameter"]))
    if form == "dtype":
        dtype = DTYPES[rng.integers(len(DTYPES))]
        form, audio = str(dtype), torch.from_numpy(samples).to(dtype)
    change = {
        "strided": lambda: audio.repeat_interleave(2, dim=-1)[..., ::2] if dims else audio, "transposed": lambda: audio.mT.contiguous().mT if dims > 1 else audio,
        "expanded": lambda: audio[:1].expand(4, *audio.shape[1:]) if dims and audio.numel() else audio, "requires_grad": lambda: audio.clone().requires_grad_(),
        "numpy": lambda: samples, "list": lambda: samples.tolist(), "none": lambda: None, "text": lambda: "sound.wav", "sparse": lambda: audio.to_sparse(),
        "meta": lambda: audio.to("meta"), "parameter": lambda: torch.nn.Parameter(audio.clone())}
    return f"{form} {size} {kind}", change.get(form, lambda: audio)()


def try_array(
    rng: np.random.Generator,  # where the choices come from
    model: EmbeddingModel,  # the model
    folder: Path,  # not needed
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
    rate = int(rng.choice([16_000, 44_100, 8_000, 48_000, 44_100, 16_000, int(10 ** rng.uniform(0, 7.5)), int(10 ** rng.uniform(2, 6)), 1_000_000, 1]))
    kind, samples = samples_of(rng, (int(rng.choice([0, 1, 150, 400, 5_000, 40_000])), channels))
    fragile = suffix in ("mp3", "ogg")  # encoders that end the process when they are given anything unusual
    rate = min(max(rate, 8_000), 48_000) if fragile else rate
    for attempt in ((rate, channels), (rate, 1), (16_000, 1), (48_000, 1)):  # many formats refuse most rates
        file, written = io.BytesIO(), samples[:, : attempt[1]]
        if fragile:
            written = np.nan_to_num(written).clip(-1, 1)
        try:
            with np.errstate(all="ignore"):
                soundfile.write(file, written.astype(np.float64 if subtype == "DOUBLE" else np.float32), attempt[0], subtype, format=name)
        except (RuntimeError, ValueError, TypeError, AssertionError):
            continue
        return f"{suffix} {subtype} {attempt} {len(samples)} {kind}", suffix, file.getvalue()
    return f"{suffix} empty", suffix, b""


def damaged(
    rng: np.random.Generator,  # where the choices come from
    data: bytes,  # content of a sound file
) -> tuple[str, bytes]:  # what was done to it
    "Do to a file what cables, disks and people do."
    kind = str(rng.choice(
        ["whole"] * 6 + ["cut", "bytes changed", "a number in the header is huge", "header changed"] * 3
        + ["cut in its header", "a piece is missing", "data chunk of size 0", "random after its header"] * 2
        + ["twice", "zeros", "random", "text", "compressed"]))
    data = bytearray(data)
    if kind == "cut":
        del data[rng.integers(len(data) + 1):]
    elif kind == "cut in its header":
        del data[rng.integers(60):]
    elif kind in ("header changed", "bytes changed") and data:
        reach = min(len(data), 64) if kind == "header changed" else len(data)
        for at in rng.integers(reach, size=rng.integers(1, 6)):
            data[at] = rng.integers(256)
    elif kind == "a number in the header is huge" and len(data) > 60:
        at, value = int(rng.integers(4, 56)), rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0xFFFF])
        data[at : at + 4] = int(value).to_bytes(4, str(rng.choice(["little", "big"])))
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


def try_file(
    rng: np.random.Generator,  # where the choices come from
    model: EmbeddingModel,  # the model
    folder: Path,  # where files may be written
) -> tuple[str, str]:  # description and message, empty if it was embedded
    "Read a file, and a part of it, and embed it as `mwmae_embed` does."
    description, suffix, whole = sound_bytes(rng)
    damage, data = damaged(rng, whole)
    lost = suffix in PROMISING and damage == "cut" and len(data) < 0.8 * len(whole)
    if rng.random() < 0.15:
        suffix = str(rng.choice(list(FORMATS) + ["opus", "m4a", "wave", "txt"]))
    path = folder / f"case.{suffix}"
    special = str(rng.choice(["file"] * 60 + ["folder", "pipe", "broken link", "missing"]))
    {"file": lambda: path.write_bytes(data), "folder": path.mkdir, "pipe": lambda: os.mkfifo(path),
     "broken link": lambda: path.symlink_to("nowhere"), "missing": lambda: None}[special]()
    part = (float(rng.choice([0, -1, 0.01, 1e9, np.nan, np.inf, -np.inf])), rng.choice([None, 0, 0.02, -1, 1e12, np.nan, np.inf]))
    try:
        with quiet_decoders():
            sound, message = refused(lambda: read_audio(path), [path.name])
            refused(lambda: read_audio(path, *part), [path.name])
            if special == "file":
                read, other = refused(lambda: read_audio(io.BytesIO(data)), ["the sound"])
                if bool(message) != bool(other) and data:
                    raise Violation(f"as a path {message!r}, as an open file {other!r}")
        if sound is not None and (sound.ndim != 1 or sound.dtype != torch.float32 or not len(sound) or not torch.isfinite(sound).all()):
            raise Violation(f"read as {sound.dtype} {tuple(sound.shape)}, or not finite")
        skipped = embed_sounds([Sound(path.name, str(path))], model, folder / "out")
        reason = skipped[0][1] if skipped else ""
        if "\n" in reason or re.match(r"\w*(Error|Exception|Warning)\b", reason) or (message and not reason):
            raise Violation(f"read: {message!r}, embedded: {reason!r}")
        if not reason:
            if lost:
                raise Violation(f"embedded {len(data)} of {len(whole)} bytes as if they were all")
            scene = np.load(folder / "out" / f"{path.name}.npy")
            if scene.shape != (model.scene_embedding_size,) or not np.isfinite(scene).all():
                raise Violation(f"embedding of shape {scene.shape}, or not finite")
    except Exception as error:
        error.add_note(f"{description}; {damage}; {special} .{suffix}; part {part}")
        raise
    return f"{description}; {damage}; {special} .{suffix}", reason


def serve(
    connection,  # where numbers of cases come from and results go
    seed: int,  # of all choices
):
    "Try cases, one at a time, until the connection ends."
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = model_config("mwmae_tiny_4x16", encoder_width=48, encoder_depth=2, decoder_width=32, decoder_depth=1)
    model = EmbeddingModel(MaskedAutoencoder(config).encoder).eval()
    connection.send(None)
    while True:
        try:
            number = connection.recv()
        except EOFError:
            return
        kind = KINDS[number % 2]
        with tempfile.TemporaryDirectory() as folder:
            try:
                result = {"array": try_array, "file": try_file}[kind](np.random.default_rng([seed, number]), model, Path(folder))
            except Exception as error:
                note = "; ".join(getattr(error, "__notes__", []))
                result = note, f"VIOLATION {type(error).__name__}: {' '.join(str(error).split())}"
        connection.send((kind, *result))


class Apart:
    "A process of its own for cases that may bring it down."

    def __init__(
        self,
        seed: int,  # of all choices
    ):
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, seed), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()  # it is ready

    def ask(
        self,
        number: int,  # number of a case
    ) -> tuple[str, str, str] | str:  # kind, description and message; or what became of the process
        "Try a case."
        self.connection.send(number)
        if not self.connection.poll(LIMIT):
            self.process.kill()
            return f"hung for {LIMIT} s"
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            return f"died: {signal.Signals(-self.process.exitcode).name if self.process.exitcode < 0 else self.process.exitcode}"


@call_parse
def main(
    cases: int = 1000,  # how many cases
    seed: int = 0,  # of all choices
    first: int = 0,  # number of the first case, to repeat one
    show: bool = False,  # print every case
):
    "Try many cases, print what became of them, and exit 1 if anything happened that must not."
    outcomes, sentences, violations, process = Counter(), Counter(), [], None
    for number in tqdm(range(first, first + cases), unit="case", disable=None):
        process = process or Apart(seed)
        answer = process.ask(number)
        if isinstance(answer, str):
            answer, process = (KINDS[number % 2], "", f"VIOLATION {answer}"), None
        kind, description, message = answer
        outcome = "violation" if message.startswith("VIOLATION") else "refused" if message else "embedded"
        outcomes[kind, outcome] += 1
        if outcome == "refused":
            sentences[kind, re.sub(r"\S*case\.\w+|-?\d[\d.e+,-]*|\(.*\)", "…", message)] += 1
        if outcome == "violation":
            violations.append(f"case {number}: {message} [{description}]")
        if show:
            print(number, kind, description, "|", message or "embedded")
    print("input    embedded  refused  violations")
    for kind in KINDS:
        print(f"{kind:8} {outcomes[kind, 'embedded']:8} {outcomes[kind, 'refused']:8} {outcomes[kind, 'violation']:11}")
    print("\nrefused with")
    for (kind, sentence), count in sorted(sentences.items(), key=lambda item: (item[0][0], -item[1])):
        print(f"{count:5}  {kind:6} {sentence}")
    print(*violations, sep="\n")
    sys.exit(bool(violations))
