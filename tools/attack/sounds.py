"Sound files that lie, break off, are none, or have odd names; through every command that reads sound."

import os
import struct

from .case import Case
from .fixtures import then

EMBED = "mwmae_embed mixed --model model --out out"
PREPARE = "mwmae_prepare mixed out --workers 1"


def _ogg_checksum(page):
    "The CRC-32 of an Ogg page, whose own field is zero."
    value = 0
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
    return value


def lying_ogg(samples):
    "A change of an Ogg file: its last page claims to end at `samples`."

    def change(data):
        at = data.rindex(b"OggS")
        page = bytearray(data[at:])
        page[6:14], page[22:26] = struct.pack("<q", samples), bytes(4)
        page[22:26] = struct.pack("<I", _ogg_checksum(page))
        return data[:at] + bytes(page)

    return change


def lying_flac(samples):
    "A change of a FLAC file: its header claims `samples`."

    def change(data):
        data = bytearray(data)
        field = int.from_bytes(data[18:26], "big") & ~((1 << 36) - 1) | samples
        data[18:26] = field.to_bytes(8, "big")
        return bytes(data)

    return change


def wav_field(offset, kind, value):
    "A change of a number in the header of a WAV file."

    def change(data):
        packed = struct.pack(kind, value)
        return data[:offset] + packed + data[offset + len(packed) :]

    return change


def wav(frames, rate=16_000, channels=1, kind="PCM_16", value=0.1):
    "A WAV file of a constant and a tone."

    def content(data):
        import io

        import numpy as np
        import soundfile

        file, time = io.BytesIO(), np.arange(frames)
        samples = (value * np.sin(time * 0.3)[:, None] * np.ones(channels)).astype(np.float64)
        soundfile.write(file, samples, rate, kind, format="WAV")
        return file.getvalue()

    return content


def _nan(data):
    "A WAV file of floating point with NaN in it."
    data = bytearray(wav(8000, kind="FLOAT")(data))
    data[4000:4004] = struct.pack("<f", float("nan"))
    return bytes(data)


BAD = {  # what stands beside a good sound: from which file, its name, the change, and whether it may be embedded
    "an OGG that claims 2^50 samples": ("c.ogg", lying_ogg(1 << 50), True),
    "an OGG that claims no samples": ("c.ogg", lying_ogg(0), True),
    "an OGG that claims a negative length": ("c.ogg", lying_ogg(-5), True),
    "an OGG that claims twice its length": ("c.ogg", lying_ogg(32_000), True),
    "a FLAC that claims 2^36 samples": ("b.flac", lying_flac((1 << 36) - 1), False),
    "a FLAC that claims no samples": ("b.flac", lying_flac(0), True),
    "a FLAC that claims twice its length": ("b.flac", lying_flac(22_400), False),
    "a WAV that claims 4 GB": ("a.wav", wav_field(40, "<I", 0xFFFFFFF0), True),
    "a WAV that claims no data": ("a.wav", wav_field(40, "<I", 0), True),
    "a WAV of no channels": ("a.wav", wav_field(22, "<H", 0), False),
    "a WAV of 65,535 channels": ("a.wav", wav_field(22, "<H", 65_535), True),
    "a WAV of a rate of zero": ("a.wav", wav_field(24, "<I", 0), False),
    "a WAV of a rate of 4 GHz": ("a.wav", wav_field(24, "<I", 0xFFFFFFFF), False),
    "a WAV of a rate of 1 Hz": ("a.wav", wav_field(24, "<I", 1), False),
    "a WAV of 0 bits": ("a.wav", wav_field(34, "<H", 0), True),
    "a WAV of an unknown code": ("a.wav", wav_field(20, "<H", 0x7777), False),
    "an empty file": ("a.wav", lambda data: b"", False),
    "a header alone": ("a.wav", lambda data: data[:44], False),
    "a cut header": ("a.wav", lambda data: data[:30], False),
    "a file cut in half": ("a.wav", lambda data: data[: len(data) // 2], False),
    "a FLAC cut in half": ("b.flac", lambda data: data[: len(data) // 2], False),
    "an OGG cut in half": ("c.ogg", lambda data: data[: len(data) // 2], True),
    "random bytes": ("a.wav", lambda data: os.urandom(20_000), False),
    "zeros": ("a.wav", lambda data: bytes(20_000), False),
    "text": ("a.wav", lambda data: b"<html>404</html>" * 99, False),
    "a FLAC of damaged frames": ("b.flac", lambda data: data[:3000] + os.urandom(len(data) - 3000), False),
    "a sound of one sample": ("a.wav", wav(1), True),
    "a sound of 200 samples": ("a.wav", wav(200), True),
    "silence": ("a.wav", wav(8000, value=0.0), True),
    "NaN": ("a.wav", _nan, False),
    "samples of 1e300": ("a.wav", wav(8000, kind="DOUBLE", value=1e300), True),
    "a hundred channels": ("a.wav", wav(4000, channels=100), True),
    "a rate of 96 kHz": ("a.wav", wav(48_000, rate=96_000), True),
    "a rate of 11,027 Hz": ("a.wav", wav(9_000, rate=11_027), True),
    "an MP3 that is none": ("a.wav", lambda data: b"ID3\x04" + bytes(500) + b"\xff\xfb\x90\x00" * 99, True),
    "a tag of 256 MB": ("a.wav", lambda data: b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + data, True),
    "a chunk that never ends": ("a.wav", lambda data: data[:12] + b"junk\xff\xff\xff\xff" + data[12:], True),
    "ten thousand chunks": ("a.wav", lambda data: data[:36] + b"junk\0\0\0\0" * 10_000 + data[36:], True),
}
SUFFIX = {"an MP3 that is none": ".mp3", "a tag of 256 MB": ".mp3"}
NAMES = {  # names of a good sound, each of which is embedded
    "of 244 bytes": "n" * 240 + ".wav",
    "of 255 bytes": "n" * 251 + ".wav",
    "of 250 bytes of UTF-8": "é" * 123 + ".wav",
    "that is not UTF-8": os.fsdecode(b"\xff\xfe\x80.wav"),
    "with a line break": "a\nb.wav",
    "with an escape": "a\x1b[31mb.wav",
    "with spaces": "  a  .wav",
    "with quotes": "a'\"b.wav",
    "that begins with a dash": "-rf.wav",
    "with a star": "*.wav",
    "with an emoji": "🎵.wav",
    "with right to left": "\u202eabc.wav",
    "with a percent": "%s.wav",
    "with a backslash": "a\\b.wav",
    "like an array": "a.wav.npy.wav",
    "like times": "a.times.npy.wav",
    "in capitals": "A.WAV",
    "with a comma": "a,b.wav",
    "with a colon": "C:a.wav",
    "that ends in dots": "a...wav",
}


def beside(name, change, source):
    "A step that puts a changed sound beside a good one."

    def step(work):
        (work / "mixed").mkdir(exist_ok=True)
        (work / "mixed" / "good.wav").write_bytes((work / "sounds" / "a.wav").read_bytes())
        (work / "mixed" / name).write_bytes(change((work / "sounds" / source).read_bytes()))

    return step


def special(act):
    "A step that puts something that is no file beside a good sound."

    def step(work):
        beside("other.wav", lambda data: data, "d.wav")(work)
        act(work / "mixed" / "bad.wav")

    return step


def _read_only_once(name):
    "A check that a sound stands in skipped.csv."

    def check(work):
        path = work / "out" / "skipped.csv"
        if not path.exists() or name not in path.read_text(encoding="utf-8", errors="surrogateescape"):
            return f"skipped.csv does not say that {name} was left out"

    return check


def _all_there(count):
    "A check that so many arrays were written."

    def check(work):
        found = [name for _, _, names in os.walk(work / "out") for name in names if name.endswith(".npy")]
        if len(found) != count:
            return f"{len(found)} arrays, expected {count}: {sorted(found)[:4]}"

    return check


def _spoil_label(change, source, suffix):
    "A step that puts a changed sound among those to learn from, and another among those to pre-train on."

    def step(work):
        data = change((work / "sounds" / source).read_bytes())
        (work / "labelled" / "high" / f"bad{suffix}").write_bytes(data)

    return step


def _spoil_task(change, source):
    "A step that replaces a sound of the task."
    return lambda work: (work / "tasks/tiny-v1-full/16000/train/train1.wav").write_bytes(
        change((work / "sounds" / source).read_bytes())
    )


QUICK = (
    "sounds/embed an OGG that claims 2^50 samples",
    "sounds/prepare an OGG that claims 2^50 samples",
    "sounds/embed a FLAC that claims 2^36 samples",
    "sounds/prepare a FLAC that claims 2^36 samples",
    "sounds/prepare a FLAC that claims no samples",
    "sounds/embed a WAV that claims 4 GB",
    "sounds/embed a file cut in half",
    "sounds/embed an empty file",
    "sounds/embed NaN",
    "sounds/embed samples of 1e300",
    "sounds/learn from a FLAC cut in half",
    "sounds/embed a name of 244 bytes",
    "sounds/embed a name that is not UTF-8",
    "sounds/embed the steps of a name of 244 bytes",
    "sounds/embed a name with a line break",
    "sounds/prepare a name that is not UTF-8",
    "sounds/embed a pipe",
    "sounds/prepare a link to a device",
    "sounds/pre-train on what lies",
    "sounds/none at all",
    "sounds/a store where something else is",
    "sounds/a store whose state is nested deeply",
    "sounds/pre-train on a store with clips.npy cut",
)


def cases():
    "All cases of sounds."
    base = ("sounds", "model")
    for name, (source, change, usable) in BAD.items():
        suffix = SUFFIX.get(name, os.path.splitext(source)[1])
        made = then(*base, beside(f"bad{suffix}", change, source))
        yield Case(
            f"sounds/embed {name}",
            EMBED,
            made,
            status=0,
            leaves=("out/good.wav.npy",),
            limit=30,
            memory=1200,
            check=None if usable else _read_only_once(f"bad{suffix}"),
        )
        yield Case(f"sounds/prepare {name}", PREPARE, made, status=0, leaves=("out/store.json",), limit=30, memory=1200)
        yield Case(
            f"sounds/embed the steps of {name}",
            EMBED + " --timestamps",
            made,
            status=0,
            leaves=("out/good.wav.npy",),
            limit=30,
            memory=1200,
        )
        yield Case(
            f"sounds/learn from {name}",
            "mwmae_finetune labelled --model model --out out",
            then("labelled", *base, _spoil_label(change, source, suffix)),
            status=0,
            leaves=("out/labels.json",),
            limit=30,
            memory=1300,
        )
        yield Case(
            f"sounds/score {name}",
            "mwmae_hear tasks --model logmel --grid grid.json --seeds 2",
            then("tasks", "grid.json", *base, _spoil_task(change, source)),
            status=(0, 2),
            limit=30,
            memory=1300,
            lines=3,
        )
    for name, file in NAMES.items():
        made = then(*base, beside(file, lambda data: data, "d.wav"))
        yield Case(
            f"sounds/embed a name {name}",
            EMBED,
            made,
            status=0,
            check=_all_there(2) if "255" not in name else None,
            leaves=("out/good.wav.npy",),
        )
        yield Case(
            f"sounds/embed the steps of a name {name}",
            EMBED + " --timestamps",
            made,
            status=(0, 2) if name == "like times" else 0,
            leaves=() if name == "like times" else ("out/good.wav.npy",),
        )
        yield Case(
            f"sounds/a table of a name {name}", EMBED + " --table", made, status=0, leaves=("out/embeddings.parquet",)
        )
        yield Case(f"sounds/prepare a name {name}", PREPARE, made, status=0, leaves=("out/store.json",))
        yield Case(
            f"sounds/classify a name {name}",
            "mwmae_embed mixed --model classifier --classify --out out",
            then("sounds", "classifier", beside(file, lambda data: data, "d.wav")),
            status=0,
            leaves=("out/classes.csv",),
        )
    acts = {
        "a pipe": os.mkfifo,
        "a folder": os.mkdir,
        "a link to itself": lambda path: path.symlink_to("bad.wav"),
        "a link that leads nowhere": lambda path: path.symlink_to("nowhere"),
        "a link to a device": lambda path: path.symlink_to("/dev/zero"),
        "a link to the folder above": lambda path: path.symlink_to(".."),
        "a file that may not be read": lambda path: (path.write_bytes(b"x"), path.chmod(0)),
    }
    for name, act in acts.items():
        for verb, command in {"embed": EMBED, "prepare": PREPARE}.items():
            yield Case(
                f"sounds/{verb} {name}",
                command,
                then(*base, special(act)),
                status=0,
                limit=20,
                leaves=("out/good.wav.npy" if verb == "embed" else "out/store.json",),
            )
        yield Case(
            f"sounds/embed nothing but {name}",
            "mwmae_embed mixed/bad.wav --model model --out out",
            then(*base, special(act)),
            status=(0, 2),
            limit=20,
        )
    yield Case(
        "sounds/pre-train on what lies",
        "mwmae_pretrain --data mixed --out run --batch 4 --epochs 1",
        then(*base, beside("bad.ogg", lying_ogg(1 << 50), "c.ogg")),
        status=0,
        limit=60,
    )
    yield Case(
        "sounds/pre-train from files that lie",
        "mwmae_pretrain --data mixed --from_files --out run --batch 4 --epochs 1",
        then(*base, beside("bad.flac", lying_flac((1 << 36) - 1), "b.flac")),
        status=0,
        limit=60,
    )
    yield Case(
        "sounds/analyse what lies",
        "mwmae_analyze model --data mixed --out out --clips 1 --formats png",
        then(*base, beside("bad.ogg", lying_ogg(1 << 50), "c.ogg")),
        status=0,
        limit=90,
    )
    yield Case(
        "sounds/none at all",
        "mwmae_embed empty --model model --out out",
        then("model", lambda work: (work / "empty").mkdir()),
    )
    yield Case(
        "sounds/a folder that is not there",
        "mwmae_embed nowhere --model model --out out",
        then("model"),
        says="nowhere",
    )
    yield Case(
        "sounds/one folder twice", "mwmae_embed sounds sounds --model model --out out", then(*base), status=(0, 2)
    )
    yield Case(
        "sounds/a folder into itself",
        "mwmae_embed sounds --model model --out sounds",
        then(*base),
        status=(0, 2),
        then="mwmae_embed sounds --model model --out sounds",
    )
    yield Case(
        "sounds/a store into its own source", "mwmae_prepare sounds sounds --workers 1", then(*base), status=(0, 2)
    )
    yield Case(
        "sounds/a store where something else is",
        "mwmae_prepare sounds labelled --workers 1",
        then("sounds", "labelled"),
        says="labelled",
    )
    for name, content in {
        "empty": b"",
        "a list": b"[]",
        "nested deeply": b"[" * 100_000,
        "of counts in words": b'{"clips": "six"}',
        "of huge counts": b'{"clips": 1e400}',
    }.items():
        yield Case(
            f"sounds/a store whose state is {name}",
            "mwmae_prepare sounds store --workers 1",
            then("sounds", "store", lambda work, content=content: (work / "store/store.json").write_bytes(content)),
            changes=("store/*",),
            limit=20,
        )
        yield Case(
            f"sounds/pre-train on a store whose state is {name}",
            "mwmae_pretrain --data store --out run --epochs 1",
            then("store", lambda work, content=content: (work / "store/store.json").write_bytes(content)),
            limit=20,
        )
    for name in ("clips.npy", "sources.npy", "names.npy", "spectrograms-00000.npy"):
        for how, change in {
            "cut": lambda data: data[: len(data) // 2],
            "empty": lambda data: b"",
            "of text": lambda data: b"no array" * 50,
            "a pickle": lambda data: (
                b"\x93NUMPY\x01\x00v\x00"
                + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117)
                + b"\ncposix\nsystem\n(S'touch evil'\ntR."
            ),
        }.items():
            yield Case(
                f"sounds/pre-train on a store with {name} {how}",
                "mwmae_pretrain --data store --out run --epochs 1 --batch 4",
                then(
                    "store",
                    lambda work, name=name, change=change: (work / "store" / name).write_bytes(
                        change((work / "store" / name).read_bytes())
                    ),
                ),
                status=2,
                limit=30,
                leaves=("!evil",),
            )
