"Models, classifiers, runs and published checkpoints from anywhere: odd configs, weights that are none."

import json
import os
import shutil
import struct

from common import packed_leaf

from .case import Case
from .fixtures import make_published, published_tree, then

EMBED = "mwmae_embed sounds --model model --out out"


def config(folder="model", text=None, **changes):
    "A step that changes the config of a model."

    def step(work):
        path = work / folder / "config.json"
        content = json.loads(path.read_text(encoding="utf-8")) | changes
        path.write_text(
            json.dumps({key: value for key, value in content.items() if value is not ...}) if text is None else text,
            encoding="utf-8",
        )

    return step


def tensors(change, folder="model"):
    "A step that changes the weights of a model."

    def step(work):
        from safetensors.torch import load_file, save_file

        path = work / folder / "model.safetensors"
        content = load_file(path)
        change(content)
        save_file(content, path)

    return step


def blob(change, name="model/model.safetensors"):
    "A step that changes the bytes of a file."

    def step(work):
        data = (work / name).read_bytes()
        (work / name).write_bytes(change(data))

    return step


def _headed(header, rest=b""):
    "A safetensors file of a header of one's own."
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + rest


CONFIGS = {
    "a width of a billion": dict(encoder_width=10**9),
    "a depth of a million": dict(encoder_depth=10**6),
    "a billion frames": dict(frames=10**9),
    "a billion bands": dict(mels=10**9),
    "a billion heads": dict(encoder_heads=10**9),
    "a width of zero": dict(encoder_width=0),
    "a depth of zero": dict(encoder_depth=0),
    "no heads": dict(encoder_heads=0),
    "negative frames": dict(frames=-200),
    "a width that heads do not divide": dict(encoder_width=50),
    "patches of zero frames": dict(patch_frames=0),
    "patches of zero bands": dict(patch_mels=0),
    "patches larger than the picture": dict(patch_frames=400),
    "a huge decoder": dict(decoder_width=10**9, decoder_depth=10**6),
    "a text for a width": dict(encoder_width="48"),
    "null for a width": dict(encoder_width=None),
    "a list for a width": dict(encoder_width=[48]),
    "true for a depth": dict(encoder_depth=True),
    "a fraction for a width": dict(encoder_width=48.0),
    "a dictionary for frames": dict(frames={}),
    "a text for windows": dict(windows="2,5"),
    "windows of texts": dict(windows=["2"] * 8),
    "windows of zero": dict(windows=[0] * 8),
    "a million windows": dict(windows=[250] * 1_000_000),
    "a mask ratio of two": dict(mask_ratio=2),
    "a mask ratio in words": dict(mask_ratio="much"),
    "a number of 401 digits": dict(encoder_width=10**400),
    "an unknown setting": dict(surprise=1),
    "a missing setting": dict(encoder_width=...),
    "a negative depth": dict(encoder_depth=-1),
    "another width": dict(encoder_width=96),
    "another depth": dict(encoder_depth=3),
    "other frames": dict(frames=400),
    "no bands": dict(mels=0),
    "a position that nobody added": dict(positions="spiral"),
    "a position that is a path": dict(positions="../parts.py"),
    "a list of positions": dict(positions=["sincos"]),
    "null for a position": dict(positions=None),
    "a rule of windows that nobody added": dict(windows="mine"),
    "windows in the encoder, with a bias": dict(encoder_attention="windows", rel_pos_bias=True),
    "another target": dict(target="os.system"),
    "code to run": dict(code="parts.py"),
}
TEXTS = {
    "empty": "",
    "a list": "[]",
    "null": "null",
    "nested deeply": "[" * 100_000,
    "no JSON": "width: 48",
    "NaN": '{"mask_ratio": NaN}',
    "zero bytes": "\0" * 99,
}


def _fill(value):
    "A change that fills a tensor with a value."
    return lambda content: content["encoder.norm.weight"].fill_(value)


def _cast(kind):
    "A change that stores all tensors as another type."

    def change(content):
        import torch

        for name in content:
            content[name] = content[name].to(getattr(torch, kind))

    return change


def _reshape(content):
    "A tensor of another shape."
    content["encoder.norm.weight"] = content["encoder.norm.weight"][:-1].clone()


TENSORS = {
    "NaN": (_fill(float("nan")), "norm.weight"),
    "infinity": (_fill(float("inf")), "norm.weight"),
    "int32": (_cast("int32"), "model.safetensors: .* holds"),
    "complex64": (_cast("complex64"), "model.safetensors: .* holds"),
    "bool": (_cast("bool"), "model.safetensors: .* holds"),
    "float8": (_cast("float8_e4m3fn"), "model.safetensors: .* holds"),
    "one missing": (lambda c: c.pop("encoder.norm.weight"), "norm.weight"),
    "one of another shape": (_reshape, "norm.weight"),
    "an unknown one": (lambda c: c.update({"encoder.strange": c["encoder.norm.weight"].clone()}), "strange"),
    "one NaN in the decoder": (lambda c: c["decoder.norm.weight"].fill_(float("nan")), "decoder"),
}
BLOBS = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "of text": lambda data: b"<html>" * 999,
    "of random bytes": lambda data: os.urandom(5000),
    "a pickle": lambda data: b"\x80\x04\x95" + b"cposix\nsystem\n(S'touch ../../beside/evil'\ntR.",
    "with a header of 2^60 bytes": lambda data: struct.pack("<Q", 1 << 60) + data[8:],
    "with a header nested deeply": lambda data: _headed(b"[" * 100_000),
    "with a tensor of 2^60 numbers": lambda data: _headed(
        {"a": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 1 << 62]}}
    ),
    "with a negative shape": lambda data: _headed(
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "with overlapping tensors": lambda data: _headed(
        {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"}, bytes(4)
    ),
    "without tensors": lambda data: _headed({}),
    "with more behind it": lambda data: data + b"x" * 99,
}
RUNS = {  # what is done to the newest checkpoint of a run; the one before it must be used
    "a state that is empty": ("state.json", lambda data: b""),
    "a state that is a list": ("state.json", lambda data: b"[]"),
    "a state without files": ("state.json", lambda data: b'{"files": {}}'),
    "a state with files in words": ("state.json", lambda data: b'{"files": "all", "step": 4}'),
    "a state with a list of files": ("state.json", lambda data: b'{"files": [], "step": 4}'),
    "a state of nulls": ("state.json", lambda data: b'{"files": null}'),
    "a state nested deeply": ("state.json", lambda data: b"[" * 100_000),
    "a state with files elsewhere": (
        "state.json",
        lambda data: b'{"files": {"../../../../../etc/passwd": [1, 2]}, "step": 4}',
    ),
    "a step in words": ("state.json", lambda data: data.replace(b'"step": ', b'"step": "x", "was": ')),
    "weights that were cut": ("model.safetensors", lambda data: data[:-100]),
    "weights that are empty": ("model.safetensors", lambda data: b""),
    "an optimiser that was cut": ("optimizer.safetensors", lambda data: data[:999]),
    "a config that is empty": ("config.json", lambda data: b""),
}


def _newest(name, change):
    "A step that changes a file of the newest checkpoint."

    def step(work):
        path = max((work / "run" / "checkpoints").iterdir()) / name
        path.write_bytes(change(path.read_bytes()))

    return step


def published(tree=None, arguments=None, leaves=None, **more):
    "A step that writes a published checkpoint with other content."

    def step(work):
        shutil.rmtree(work / "jax", ignore_errors=True)
        changed = published_tree()
        if tree:
            tree(changed)
        make_published(work / "jax", changed, arguments, leaves() if leaves else None)

    return step


def _cut_axis(tree):
    "Positions without an axis."
    tree["pos_embed"] = tree["pos_embed"].flatten()[0].clone()


def _nan(tree):
    "A bias of NaN."
    tree["encoder_norm"]["bias"] = tree["encoder_norm"]["bias"] * float("nan")


TREES = {
    "positions of no axis": dict(tree=_cut_axis),
    "a leaf of NaN": dict(tree=_nan),
    "no positions": dict(tree=lambda t: t.pop("pos_embed")),
    "no decoder": dict(tree=lambda t: [t.pop(k) for k in list(t) if "decoder" in k]),
    "no parameters": dict(tree=lambda t: t.clear()),
    "patches of zero": dict(arguments={"patch_size": [0, 0]}),
    "patches of one number": dict(arguments={"patch_size": [4]}),
    "patches in words": dict(arguments={"patch_size": "4x16"}),
    "a picture of a billion": dict(arguments={"img_size": [10**9, 80]}),
    "negative sizes": dict(arguments={"img_size": [-200, -80]}),
    "null for sizes": dict(arguments={"img_size": None}),
    "heads in words": dict(arguments={"decoder_num_heads": "eight"}),
    "no heads": dict(arguments={"decoder_num_heads": 0}),
    "windows in words": dict(arguments={"decoder_window_sizes": "all"}),
    "negative windows": dict(arguments={"decoder_window_sizes": [-1] * 8}),
    "a mask ratio of text": dict(arguments={"mask_ratio": "x"}),
}
LEAVES = {
    "empty data": lambda: {
        "encoder_norm": {"scale": packed_leaf([48], "float32", b""), "bias": packed_leaf([48], "float32", bytes(192))}
    },
    "a number for a leaf": lambda: {"encoder_norm": 5},
    "a text for a leaf": lambda: {"encoder_norm": "x"},
    "a scalar leaf": lambda: {"encoder_norm": {"scale": 1.0, "bias": 2}},
    "a list for a leaf": lambda: {"encoder_norm": [1, 2]},
    "an unknown type": lambda: {"encoder_norm": {"scale": packed_leaf([48], "object", bytes(384))}},
    "a shape of 2^60": lambda: {"encoder_norm": {"scale": packed_leaf([1 << 60], "float32", bytes(192))}},
    "a negative shape": lambda: {"encoder_norm": {"scale": packed_leaf([-1], "float32", bytes(192))}},
    "data that are too short": lambda: {"encoder_norm": {"scale": packed_leaf([48], "float32", bytes(10))}},
    "a shape in words": lambda: {"encoder_norm": {"scale": packed_leaf("48", "float32", bytes(192))}},
    "another extension": lambda: {"encoder_norm": {"scale": packed_leaf([48], "float32", bytes(192), 77)}},
    "a type of Python": lambda: {"encoder_norm": {"scale": packed_leaf([48], "O8", bytes(384))}},
    "numbers for names": lambda: {5: {6: packed_leaf([1], "float32", bytes(4))}},
    "positions of nothing": lambda: {"pos_embed": packed_leaf([0, 0, 0], "float32", b"")},
    "complex numbers": lambda: {"encoder_norm": {"scale": packed_leaf([24], "complex64", bytes(192))}},
}
FLAX_BYTES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "of text": lambda data: b"{}" * 99,
    "of random bytes": lambda data: os.urandom(999),
    "nested deeply": lambda data: b"\x81\xa1a" * 100_000 + b"\x01",
    "a list": lambda data: b"\x93\x01\x02\x03",
    "a map of 2^32 entries": lambda data: b"\xdf\xff\xff\xff\xff",
    "a text of 2^32 bytes": lambda data: b"\xdb\xff\xff\xff\xff",
}


QUICK = (
    "models/a good one",
    "models/config with a width of a billion",
    "models/config with a depth of a million",
    "models/config with a billion frames",
    "models/config with a text for a width",
    "models/config with null for a width",
    "models/config with a number of 401 digits",
    "models/config that is nested deeply",
    "models/weights with NaN",
    "models/weights with infinity",
    "models/weights with int32",
    "models/weights with complex64",
    "models/weights a pickle",
    "models/weights cut",
    "models/weights with a header of 2^60 bytes",
    "models/a pipe for weights",
    "models/a name on the hub without a network",
    "models/embed a run with a state without files",
    "models/embed a run with a state with files in words",
    "models/embed a run with weights that were cut",
    "models/resume a run with a state nested deeply",
    "models/classify with labels that are one label",
    "models/convert a good one",
    "models/convert one with empty data",
    "models/convert one with a scalar leaf",
    "models/convert one with positions of no axis",
    "models/convert one with patches of zero",
    "models/convert bytes cut",
    "models/share over what is mine",
    "models/a classifier over what is mine",
)


def cases():
    "All cases of models."
    base = ("sounds", "model")
    yield Case("models/a good one", EMBED, then(*base), status=0, leaves=("out/a.wav.npy", "out/deep/f.wav.npy"))
    for name, changes in CONFIGS.items():
        harmless = name in ("a huge decoder", "a mask ratio of two")
        yield Case(
            f"models/config with {name}",
            EMBED,
            then(*base, config(**changes)),
            status=(0, 2) if harmless or name == "windows of zero" else 2,
            says="" if harmless else "config.json|safetensors|model",
            limit=20,
        )
        yield Case(
            f"models/analyse a config with {name}",
            "mwmae_analyze model --data store --out out --clips 1 --formats png",
            then("store", "model", config(**changes)),
            status=2,
            limit=20,
        )
    for name, text in TEXTS.items():
        yield Case(f"models/config that is {name}", EMBED, then(*base, config(text=text)), says="config.json", limit=20)
    for name, (change, says) in TENSORS.items():
        yield Case(
            f"models/weights with {name}",
            EMBED,
            then(*base, tensors(change)),
            status=(0, 2) if "decoder" in name else 2,
            says="" if "decoder" in name else says,
            leaves=() if "decoder" in name else ("!out/a.wav.npy",),
        )
        yield Case(
            f"models/export weights with {name}",
            "mwmae_export model shared --format folder",
            then("model", tensors(change)),
            status=(0, 2) if "decoder" in name else 2,
            leaves=() if "decoder" in name else ("!shared",),
        )
        yield Case(
            f"models/begin with weights with {name}",
            "mwmae_pretrain --data sounds --init model --model mwmae_tiny_4x16 --out fresh --epochs 1",
            then(*base, tensors(change)),
            says="model",
            leaves=("!fresh/config.json",),
        )
    for name, change in BLOBS.items():
        yield Case(
            f"models/weights {name}",
            EMBED,
            then(*base, blob(change)),
            says="safetensors|model",
            leaves=("!out/a.wav.npy",),
            limit=20,
        )
        yield Case(
            f"models/score with weights {name}",
            "mwmae_hear tasks --model model --grid grid.json --seeds 2",
            then("tasks", "model", "grid.json", blob(change)),
            lines=3,
        )
    special = {
        "a pipe": lambda work: os.mkfifo(work / "model/model.safetensors"),
        "a folder": lambda work: (work / "model/model.safetensors").mkdir(),
        "a link that leads nowhere": lambda work: (work / "model/model.safetensors").symlink_to("nowhere"),
    }
    for name, act in special.items():
        yield Case(
            f"models/{name} for weights",
            EMBED,
            then(*base, lambda work: (work / "model/model.safetensors").unlink(), act),
            limit=20,
        )
        yield Case(
            f"models/{name} for a config",
            EMBED,
            then(*base, lambda work: (work / "model/config.json").unlink(), lambda work, act=act: _special(work, act)),
            limit=20,
        )
    yield Case("models/a folder that holds nothing", EMBED, then("sounds", lambda work: (work / "model").mkdir()))
    yield Case(
        "models/a name that is nowhere", "mwmae_embed sounds --model nowhere --out out", then("sounds"), says="nowhere"
    )
    yield Case(
        "models/a name on the hub without a network",
        "mwmae_embed sounds --model owner/name --out out",
        then("sounds"),
        says="owner/name",
    )
    yield Case("models/a file for a model", "mwmae_embed sounds --model sounds/a.wav --out out", then("sounds"))
    for name, (file, change) in RUNS.items():
        yield Case(
            f"models/embed a run with {name}",
            "mwmae_embed sounds --model run --out out",
            then("sounds", "run", _newest(file, change)),
            status=0,
            says="" if name == "a step in words" else "checkpoint",
            leaves=("out/a.wav.npy",),
        )
        yield Case(
            f"models/resume a run with {name}",
            "mwmae_pretrain --resume --out run",
            then("sounds", "run", "stores", _newest(file, change)),
            status=0,
            changes=("run/*", "stores/*"),
            says="checkpoint",
        )
    for name, text in TEXTS.items():
        yield Case(
            f"models/resume a run whose settings are {name}",
            "mwmae_pretrain --resume --out run",
            then("sounds", "run", "stores", config("run", text=text)),
            says="config.json",
            limit=20,
        )
    for name, changes in {
        "batch in words": dict(batch="4"),
        "no epochs": dict(epochs=0),
        "unknown data": dict(data="nowhere"),
        "another model": dict(model="mae_nano_8x8"),
        "null for a seed": dict(seed=None),
        "an unknown setting": dict(x=1),
    }.items():
        yield Case(
            f"models/resume a run with {name}",
            "mwmae_pretrain --resume --out run",
            then("sounds", "run", "stores", config("run", **changes)),
            limit=20,
        )
    for name, content in {
        "that were cut": lambda data: data[:40],
        "in words": lambda data: b"step,epoch\nx,y,z,a,b,c\n",
        "of random bytes": lambda data: bytes(range(128, 256)) * 9,
        "empty": lambda data: b"",
    }.items():
        yield Case(
            f"models/resume a run with rows of its log {name}",
            "mwmae_pretrain --resume --out run",
            then("sounds", "run", "stores", blob(content, "run/log.csv")),
            status=(0, 2),
            changes=("run/*", "stores/*"),
        )
    for name, text in {
        "empty": "",
        "a list": "[]",
        "one label": '{"labels": ["a"]}',
        "numbers": '{"labels": [1, 2]}',
        "a text": '{"labels": "ab"}',
        "one label twice": '{"labels": ["a", "a"]}',
        "nested deeply": "[" * 100_000,
        "three labels": '{"labels": ["a", "b", "c"]}',
        "an unknown pool": '{"labels": ["high", "low"], "pool": "sum"}',
        "a label of a million characters": json.dumps({"labels": ["a" * 1_000_000, "b"]}),
        "labels with control characters": json.dumps({"labels": ["a\x1b[31m\n", "b"]}),
    }.items():
        usable = name in ("a label of a million characters", "labels with control characters")
        yield Case(
            f"models/classify with labels that are {name}",
            "mwmae_embed sounds --model classifier --classify --out out",
            then(
                "sounds",
                "classifier",
                lambda work, text=text: (work / "classifier/labels.json").write_text(text, encoding="utf-8"),
            ),
            status=(0, 2) if usable else 2,
            limit=30,
        )
    for name, text in {
        "empty": "",
        "a list": "[]",
        "another layer": '{"layers": [99]}',
        "layer 0": '{"layers": [0]}',
        "no layers": '{"layers": []}',
        "a layer a million times": json.dumps({"layers": [1] * 1_000_000}),
        "a layer of text": '{"layers": ["1"]}',
        "an unknown pool": '{"pool": "sum"}',
        "a pool of a million parts": json.dumps({"pool": "+".join(["mean"] * 1_000_000)}),
        "a pool of control characters": json.dumps({"pool": "a\x1b[31m\n"}),
        "an overlap of 1": '{"overlap": 1}',
        "an overlap of NaN": '{"overlap": NaN}',
        "an unknown setting": '{"precision": "bf16"}',
        "nested deeply": "[" * 100_000,
    }.items():
        yield Case(
            f"models/embed in a way of its own that is {name}",
            EMBED,
            then(
                "sounds",
                "model",
                lambda work, text=text: (work / "model/own_way.json").write_text(text, encoding="utf-8"),
            ),
            status=2,
            says="own_way.json",
        )
    convert = "mwmae_convert jax out --encoder_heads 3"
    yield Case("models/convert a good one", convert, then("jax"), status=0, leaves=("out/model.safetensors",))
    for name, change in TREES.items():
        yield Case(
            f"models/convert one with {name}",
            convert,
            then(published(**change)),
            status=(0, 2) if name == "a mask ratio of text" else 2,
            leaves=() if name == "a mask ratio of text" else ("!out",),
            limit=20,
        )
    for name, leaves in LEAVES.items():
        yield Case(
            f"models/convert one with {name}" + (" in a leaf" if name in ("no heads",) else ""),
            convert,
            then(published(leaves=leaves)),
            leaves=("!out",),
            limit=20,
        )
    for name, change in FLAX_BYTES.items():
        yield Case(
            f"models/convert bytes {name}",
            convert,
            then("jax", blob(change, "jax/checkpoint_7")),
            leaves=("!out",),
            limit=20,
        )
    for name, text in TEXTS.items():
        yield Case(
            f"models/convert with a config that is {name}",
            convert,
            then("jax", config("jax", text=text)),
            leaves=("!out",),
            limit=20,
        )
    yield Case("models/convert heads of zero", "mwmae_convert jax out --encoder_heads 0", then("jax"), leaves=("!out",))
    yield Case("models/convert heads of five", "mwmae_convert jax out --encoder_heads 5", then("jax"), leaves=("!out",))
    yield Case(
        "models/convert over what is mine",
        "mwmae_convert jax sounds --encoder_heads 3",
        then("jax", "sounds"),
        says="sounds",
    )
    yield Case(
        "models/convert a pipe",
        convert,
        then(
            "jax", lambda work: (work / "jax/checkpoint_7").unlink(), lambda work: os.mkfifo(work / "jax/checkpoint_7")
        ),
        leaves=("!out",),
        limit=20,
    )
    yield Case(
        "models/share over what is mine",
        "mwmae_export model sounds --format folder",
        then("sounds", "model"),
        says="sounds",
    )
    yield Case(
        "models/share over a model that holds more",
        "mwmae_export model mine --format folder",
        then(
            "model",
            lambda work: shutil.copytree(work / "model", work / "mine"),
            lambda work: (work / "mine/notes.txt").write_text("mine"),
        ),
        says="notes.txt|mine",
    )
    yield Case(
        "models/a classifier over what is mine",
        "mwmae_finetune labelled --model model --out sounds",
        then("labelled", "sounds", "model"),
        says="sounds",
    )
    yield Case(
        "models/learn into a file",
        "mwmae_finetune labelled --model model --out grid.json",
        then("labelled", "model", "grid.json"),
        says="grid.json",
    )
    yield Case(
        "models/learn into a link",
        "mwmae_finetune labelled --model model --out link",
        then("labelled", "model", "classifier", lambda work: (work / "link").symlink_to("classifier")),
        status=(0, 2),
        changes=("classifier/*", "link"),
    )


def _special(work, act):
    "Put something special where the config was."
    weights = work / "model" / "model.safetensors"
    os.rename(weights, work / "kept")
    act(work)
    os.rename(weights, work / "model" / "config.json") if not (weights.is_symlink()) else (
        weights.unlink(),
        (work / "model/config.json").symlink_to("nowhere"),
    )
    os.rename(work / "kept", weights)
