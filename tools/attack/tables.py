"Tables that name sounds or hold them (.csv, .parquet), tables of labels, and the tables that commands write."

import json
import os

from .case import Case
from .fixtures import then

EMBED = "mwmae_embed list.csv --model model --out out"
PREPARE = "mwmae_prepare list.csv out --workers 1"
LEARN = "mwmae_finetune list.csv --model model --out out"


def text(content, name="list.csv"):
    "A step that writes a table."

    def step(work):
        data = content(work) if callable(content) else content
        (work / name).write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))

    return step


def parquet(columns, name="list.parquet"):
    "A step that writes a Parquet table; `columns` is called with the folder."

    def step(work):
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(columns(work, pa)), work / name)

    return step


def _audio(pa, *items):
    "A column of sounds."
    return pa.array(
        [item if item is None else {"bytes": item, "path": None} for item in items],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )


GOOD = "path\nsounds/a.wav\nsounds/b.flac\n"
ROWS = {  # rows that stand beside two good ones, which must be embedded all the same
    "of a slash": "/",
    "of two dots": "..",
    "of a dot": ".",
    "of many dots": "../../../..",
    "of the root's file": "/etc/passwd",
    "of a device": "/dev/zero",
    "of a missing file": "sounds/none.wav",
    "of a folder": "sounds",
    "of 5,000 characters": "n" * 5000,
    "of a name of 300 bytes": "n" * 300 + ".wav",
    "of an address": "https://example.com/a.wav",
    "of a pipe": "pipe.wav",
    "of a home": "~/a.wav",
    "of a variable": "$HOME/a.wav",
    "with a line break": '"a\nb.wav"',
    "with a zero byte": "a\0b.wav",
    "with control characters": "a\x1b[31mb.wav",
    "with an emoji": "🎵.wav",
    "of spaces": "   ",
    "with a comma too many": "sounds/c.ogg,x,y",
    "of a parent and back": "../work/sounds/c.ogg",
    "twice": "sounds/a.wav",
    "with a backslash": "sounds\\c.ogg",
    "with a formula": "=cmd|' /C calc'!A0",
}
WHOLE = {  # tables that nothing can be done with
    "empty": "",
    "of a head alone": "path\n",
    "without a column path": "name,label\na,b\n",
    "of random bytes": bytes(range(256)) * 9,
    "of zero bytes": bytes(999),
    "of one line": "x" * 100_000,
    "not UTF-8": b"path\n\xff\xfe.wav\n",
    "of a field of a megabyte": "path\n" + "x" * 1_000_000 + "\n",
    "with a quote that does not end": 'path\n"sounds/a.wav\n' + "x\n" * 999,
    "of missing files": "path\nx.wav\ny.wav\n",
    "of empty rows": "path\n\n\n,,\n",
    "of UTF-16": GOOD.encode("utf-16"),
}
HARMLESS = {
    "with a byte order mark": "\ufeff" + GOOD,
    "with carriage returns": GOOD.replace("\n", "\r\n"),
    "with quotes": 'path\n"sounds/a.wav"\n"sounds/b.flac"\n',
    "without a last line break": GOOD.strip(),
    "with more columns": "label,path\nx,sounds/a.wav\ny,sounds/b.flac\n",
}


def _labelled(extra="", head="path,label"):
    "Eight good rows of a table of labels, and others."
    rows = [f"labelled/{label}/{i}.wav,{label}" for label in ("high", "low") for i in range(4)]
    return "\n".join([head, *rows, extra]) + "\n"


LABELS = {  # a row of a table of labels, and whether the rest can be learnt from
    "a label of 5,000 characters": ("sounds/a.wav," + "n" * 5000, (0, 2)),
    "a label with a line break": ('sounds/a.wav,"a\nb"', (0, 2)),
    "no label": ("sounds/a.wav,", 0),
    "a missing column": ("sounds/a.wav", (0, 2)),
    "two labels": ("labelled/high/0.wav,low", 2),
    "a label of markup": ("sounds/a.wav,<script>", (0, 2)),
    "a missing file": ("none.wav,high", 0),
    "a slash": ("/,high", 0),
    "a device": ("/dev/zero,high", 0),
    "a number for a label": ("sounds/a.wav,7", (0, 2)),
    "a zero byte": ("a\0.wav,high", (0, 2)),
    "a name of 300 bytes": ("n" * 300 + ".wav,high", 0),
    "a sound that is none": ("grid.json,high", 0),
    "too many columns": ("sounds/a.wav,high,x,y", (0, 2)),
}


def _pipe(work):
    "A pipe that nobody writes to."
    os.mkfifo(work / "pipe.wav")


def _wav(work):
    "The bytes of a sound."
    return (work / "sounds" / "a.wav").read_bytes()


PARQUETS = {  # columns, and what must come of it
    "a null path": (lambda work, pa: {"path": pa.array(["sounds/a.wav", None])}, 0),
    "numbers for paths": (lambda work, pa: {"path": [1, 2]}, (0, 2)),
    "lists for paths": (lambda work, pa: {"path": [["sounds/a.wav"], []]}, (0, 2)),
    "bytes for paths": (lambda work, pa: {"path": [b"sounds/a.wav"]}, (0, 2)),
    "no rows": (lambda work, pa: {"path": pa.array([], pa.string())}, (0, 2)),
    "no columns": (lambda work, pa: {}, (0, 2)),
    "another column": (lambda work, pa: {"x": [1.0]}, 2),
    "a null sound": (lambda work, pa: {"audio": _audio(pa, _wav(work), None)}, 0),
    "a sound without bytes": (lambda work, pa: {"audio": _audio(pa, _wav(work), b"")}, 0),
    "a sound that is none": (lambda work, pa: {"audio": _audio(pa, _wav(work), b"no sound at all")}, 0),
    "nulls alone": (lambda work, pa: {"audio": _audio(pa, None, None)}, (0, 2)),
    "numbers for sounds": (lambda work, pa: {"audio": [1, 2]}, (0, 2)),
    "texts for sounds": (lambda work, pa: {"audio": ["sounds/a.wav"]}, (0, 2)),
    "sounds without the field bytes": (lambda work, pa: {"audio": pa.array([{"path": "sounds/a.wav"}])}, (0, 2)),
    "numbers for bytes": (lambda work, pa: {"audio": pa.array([{"bytes": 5}])}, (0, 2)),
    "a list for bytes": (lambda work, pa: {"audio": pa.array([{"bytes": [1, 2]}])}, (0, 2)),
}


def _parquet_bytes(change):
    "A step that writes a good Parquet table and then changes its bytes."

    def step(work):
        parquet(lambda work, pa: {"path": ["sounds/a.wav"]})(work)
        data = (work / "list.parquet").read_bytes()
        (work / "list.parquet").write_bytes(change(data))

    return step


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "of random bytes": lambda data: os.urandom(3000),
    "with a bad foot": lambda data: data[:-12] + b"\xff" * 8 + b"PAR1",
    "with a bit flipped": lambda data: data[:30] + bytes([data[30] ^ 255]) + data[31:],
    "of marks alone": lambda data: b"PAR1" * 4,
}


def _million(work):
    "A million rows of which one is there."
    (work / "list.csv").write_text(
        "path\n" + "\n".join(f"missing/{i:07d}.wav" for i in range(1_000_000)) + "\nsounds/a.wav\n", encoding="utf-8"
    )


def _spoil(name, content):
    "A step that replaces a file by other bytes."

    def step(work):
        data = (work / name).read_bytes() if (work / name).exists() else b""
        (work / name).write_bytes(content(data) if callable(content) else content)

    return step


def _table_rows(work):
    "Whether the table that was written holds each sound once."
    import pyarrow.parquet as pq

    names = pq.read_table(work / "table" / "embeddings.parquet", columns=["file"])["file"].to_pylist()
    if len(names) != len(set(names)) or len(names) < 6:
        return f"the table has {len(names)} rows of {len(set(names))} sounds"


QUICK = (
    "tables/embed a list with a row of a slash",
    "tables/embed a list with a row of two dots",
    "tables/embed a list with a row of a name of 300 bytes",
    "tables/embed a list with a row of a device",
    "tables/embed a list with a row with a zero byte",
    "tables/embed a list of a head alone",
    "tables/embed a list of zero bytes",
    "tables/embed a list with a byte order mark",
    "tables/prepare a list with a row of two dots",
    "tables/learn from a list with a missing file",
    "tables/embed a Parquet table of a null path",
    "tables/embed a Parquet table of numbers for paths",
    "tables/embed a Parquet table of a null sound",
    "tables/embed a Parquet table cut",
    "tables/a table of embeddings that is cut",
    "tables/a pipe called .csv",
    "tables/a table that is brought up to date",
)


def cases():
    "All cases of tables."
    base = ("sounds", "model")
    for name, row in ROWS.items():
        rows = GOOD + row + "\n"
        made = then(*base, text(rows), _pipe)
        yield Case(
            f"tables/embed a list with a row {name}",
            EMBED,
            made,
            status=0,
            leaves=("out/sounds/a.wav.npy", "out/sounds/b.flac.npy"),
        )
        yield Case(f"tables/prepare a list with a row {name}", PREPARE, made, status=0, leaves=("out/store.json",))
    for name, content in WHOLE.items():
        yield Case(
            f"tables/embed a list {name}",
            EMBED,
            then(*base, text(content)),
            status=2 if name != "of missing files" else (0, 2),
        )
        yield Case(f"tables/prepare a list {name}", PREPARE, then(*base, text(content)), leaves=(), status=2)
        yield Case(
            f"tables/learn from a list {name}", LEARN, then(*base, text(content)), status=2, leaves=("!out",), lines=12
        )
    for name, content in HARMLESS.items():
        yield Case(
            f"tables/embed a list {name}", EMBED, then(*base, text(content)), status=0, leaves=("out/sounds/a.wav.npy",)
        )
    for name, (row, status) in LABELS.items():
        yield Case(
            f"tables/learn from a list with {name}",
            LEARN,
            then(*base, "labelled", "grid.json", text(_labelled(row))),
            status=status,
        )
    yield Case(
        "tables/learn from a list of one label",
        LEARN,
        then(*base, text("path,label\nsounds/a.wav,x\nsounds/b.flac,x\n")),
        status=2,
        leaves=("!out",),
    )
    yield Case(
        "tables/learn from a list without labels",
        LEARN,
        then(*base, text(GOOD)),
        status=2,
        says="label",
        leaves=("!out",),
    )
    yield Case(
        "tables/check with a list that is none",
        "mwmae_finetune labelled --valid list.csv --model model --out out",
        then("labelled", "model", text(b"\0\1\2")),
        status=2,
    )
    yield Case(
        "tables/probe with a list that is none",
        "mwmae_pretrain --data sounds --probe list.csv --out run",
        then("sounds", text(b"\xff\xfe")),
        status=2,
        leaves=("!run",),
    )
    yield Case(
        "tables/probe with a list of missing files",
        "mwmae_pretrain --data sounds --probe list.csv --out run",
        then("sounds", text("path,label\nx.wav,a\ny.wav,b\n")),
        status=2,
        leaves=("!run/config.json",),
    )
    for name, (columns, status) in PARQUETS.items():
        yield Case(
            f"tables/embed a Parquet table of {name}",
            EMBED.replace("csv", "parquet"),
            then(*base, parquet(columns)),
            status=status,
        )
        yield Case(
            f"tables/prepare a Parquet table of {name}",
            PREPARE.replace("csv", "parquet"),
            then(*base, parquet(columns)),
            status=status,
        )
    for name, change in DAMAGE.items():
        made = then(*base, _parquet_bytes(change))
        yield Case(f"tables/embed a Parquet table {name}", EMBED.replace("csv", "parquet"), made, status=(0, 2))
        yield Case(
            f"tables/embed a folder with a Parquet table {name}",
            "mwmae_embed . --model model --out ../work/out",
            made,
            status=0,
            leaves=("out/sounds/a.wav.npy",),
        )
        yield Case(f"tables/prepare a Parquet table {name}", PREPARE.replace("csv", "parquet"), made, status=2)
    yield Case(
        "tables/a million rows",
        EMBED,
        then(*base, _million),
        status=0,
        limit=45,
        leaves=("out/sounds/a.wav.npy",),
        memory=2048,
    )
    yield Case(
        "tables/a pipe called .csv",
        EMBED,
        then(*base, lambda work: os.mkfifo(work / "list.csv")),
        status=(0, 2),
        limit=20,
    )
    yield Case(
        "tables/a pipe called .parquet",
        EMBED.replace("csv", "parquet"),
        then(*base, lambda work: os.mkfifo(work / "list.parquet")),
        status=(0, 2),
        limit=20,
    )
    yield Case(
        "tables/a folder called .csv", EMBED, then(*base, lambda work: (work / "list.csv").mkdir()), status=(0, 2)
    )
    yield Case(
        "tables/a device for a table",
        "mwmae_embed /dev/zero --model model --out out",
        then(*base),
        status=(0, 2),
        limit=20,
    )
    add = "mwmae_embed sounds --model model --out table --table"
    for name, content in {
        "empty": b"",
        "cut": lambda data: data[: len(data) // 2],
        "random": os.urandom(2000),
        "text": b"file,embedding\n",
    }.items():
        yield Case(
            f"tables/a table of embeddings that is {name}",
            add,
            then(*base, "table", _spoil("table/embeddings.parquet", content)),
            status=(0, 2),
            changes=("table/*",),
        )
    for name, content in {
        "empty": b"",
        "a list": b"[]",
        "deep": b"[" * 100_000,
        "another's": json.dumps({"model": 5}).encode(),
    }.items():
        for out in ("table", "embeddings"):
            yield Case(
                f"tables/what a folder of {out} was made with is {name}",
                add if out == "table" else add.replace("--out table --table", "--out embeddings"),
                then(*base, out, lambda work, out=out, content=content: _spoil_settings(work / out, content)),
                status=(0, 2),
                changes=("table/*", "embeddings/*"),
            )
    yield Case(
        "tables/a table that is brought up to date",
        add,
        then(*base, "table", lambda work: (work / "sounds/a.wav").rename(work / "sounds/z.wav")),
        status=0,
        changes=("table/*",),
        check=_table_rows,
    )
    yield Case(
        "tables/a table into a folder of arrays",
        add.replace("--out table", "--out embeddings"),
        then(*base, "embeddings"),
        status=2,
    )
    yield Case(
        "tables/arrays into a folder of a table",
        "mwmae_embed sounds --model model --out table",
        then(*base, "table"),
        status=2,
    )


def _spoil_settings(folder, content):
    "Replace the JSON file that says how embeddings were made."
    for path in folder.glob("*.json"):
        path.write_bytes(content)
