"""What several of these programs need: a HEAR task, a published checkpoint, a command that runs in this process, and the
name of a page.

The library and its extras are imported where they are used, so that a program can decide when to import them.
"""
import csv
import io
import json
import os
import re
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

# What the published system notes beside a checkpoint; a window of 0 is the whole clip.
ARGUMENTS = {
    "img_size": [200, 80], "patch_size": [4, 16], "decoder_num_heads": 8, "window_sizes": 0,
    "decoder_window_sizes": [2, 5, 10, 25, 50, 125, 0, 0],
}


def page_name(
    notebook: str,  # name of a notebook, as 03_masking.ipynb
) -> str:  # name of its page, as masking.html
    "The page that nbdev makes of a notebook."
    return re.sub(r"^\d+[a-zA-Z0-9]*_", "", Path(notebook).stem.lower()) + ".html"


def tone(
    seconds: float,  # length
    pitch: float,  # Hz
    rate: int = 16_000,  # Hz
    level: float = 0.3,  # largest value
):  # (samples,) float32
    "A tone that fades, with a little noise."
    import numpy as np

    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(round(pitch)).standard_normal(len(time))
    return (level * np.sin(2 * np.pi * pitch * time) * np.exp(-time) + 0.01 * noise).astype(np.float32)


def make_task(
    folder: Path,  # the folder of the task
    name: str = "tiny",  # its name, which need not be a good one
    counts: tuple = (4, 4, 4),  # clips of train, valid and test
    seconds: float = 0.5,  # length of a clip
    **changes,  # other entries of task_metadata.json
):
    "Write a HEAR task of high and low tones."
    from mwmae.audio import SAMPLE_RATE
    from mwmae.tasks import wav_bytes

    metadata = {
        "task_name": name, "version": "v1", "mode": "full", "embedding_type": "scene",
        "prediction_type": "multiclass", "split_mode": "trainvaltest", "splits": ["train", "valid", "test"],
        "sample_duration": seconds, "evaluation": ["top1_acc"], "use_scoring_for_early_stopping": True,
        "evaluation_params": {},
    } | changes
    folder.mkdir(parents=True)
    (folder / "task_metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    with open(folder / "labelvocabulary.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("idx", "label"), (0, "high"), (1, "low")])
    for number, (split, count) in enumerate(zip(("train", "valid", "test"), counts)):
        sounds, truth = folder / str(SAMPLE_RATE) / split, {}
        sounds.mkdir(parents=True)
        for i in range(count):
            pitch = (2000, 200)[i % 2] * (1 + (i + count * number) / 20)
            (sounds / f"{split}{i}.wav").write_bytes(wav_bytes(tone(seconds, pitch), SAMPLE_RATE))
            truth[f"{split}{i}.wav"] = [("high", "low")[i % 2]]
        (folder / f"{split}.json").write_text(json.dumps(truth), encoding="utf-8")


def published_tree(
    model,  # a MaskedAutoencoder
) -> dict:  # nested dictionaries of tensors
    "The parameters of a model by the names and in the shapes of the published system."
    from mwmae.convert import flax_name

    depths = {"encoder": model.config.encoder_depth, "decoder": model.config.decoder_depth}
    attention = {
        "encoder": ("Attention_0/Dense_0", "Attention_0/Dense_1"),
        "decoder": ("wmha_block/qkv", "wmha_block/proj"),
    }
    layers = ["encoder_norm", "decoder_norm", "decoder_embed", "decoder_pred", "patch_embed/proj"]
    for side, depth in depths.items():
        inner = ("LayerNorm_0", "LayerNorm_1", "Mlp_0/Dense_0", "Mlp_0/Dense_1", *attention[side])
        layers += [f"{side}_block_{i:02d}/{layer}" for i in range(depth) for layer in inner]
    paths = [f"{layer}/{kind}" for layer in layers for kind in ("scale" if "orm" in layer else "kernel", "bias")]
    state, tree = model.state_dict(), {}
    for path in [*paths, "pos_embed", "decoder_pos_embed", "mask_token"]:
        value, place = state[flax_name(path)], tree
        if path.endswith("pos_embed"):
            value = value[None]
        if path.endswith("kernel"):
            value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T
        *above, last = path.split("/")
        for layer in above:
            place = place.setdefault(layer, {})
        place[last] = value
    return tree


def packed_leaf(
    shape,  # a list of sizes
    kind,  # name of a type
    data,  # bytes
    code: int = 1,  # of the MessagePack extension
):
    "An array as the published system packs it, or one that lies."
    import msgpack

    return msgpack.ExtType(code, msgpack.packb((shape, kind, data)))


def packed(
    tree,  # nested dictionaries; what is no tensor stays as it is
):
    "A tree of tensors as the published system packs them."
    import torch

    if isinstance(tree, dict):
        return {name: packed(value) for name, value in tree.items()}
    if isinstance(tree, torch.Tensor):
        return packed_leaf(list(tree.shape), "float32", tree.contiguous().numpy().tobytes())
    return tree


def write_published(
    folder: Path,  # made if there is none
    tree: dict,  # parameters: tensors, or leaves that are packed already
    arguments: dict = ARGUMENTS,  # model_args of config.json
    number: int = 7,  # of its step, in the name of the file
    **beside,  # what the file holds beside the parameters
):
    "Write a checkpoint as the published system does."
    import msgpack

    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model": {"model_args": arguments}}), encoding="utf-8")
    content = {"params": packed(tree), "step": number} | beside
    (folder / f"checkpoint_{number}").write_bytes(msgpack.packb(content))


def run_command(
    function,  # a command, such as `mwmae_embed`
    *arguments,  # of the command line
) -> tuple[int, str]:  # exit status, and what it wrote to standard error
    "Run a command in this process, as at the command line."
    from mwmae.command_line import run_at_command_line

    kept, stderr, status = sys.argv, os.dup(2), 0
    sys.argv = [function.__name__, *map(str, arguments)]
    with tempfile.TemporaryFile() as errors:
        os.dup2(errors.fileno(), 2)
        try:
            with redirect_stdout(io.StringIO()):
                run_at_command_line(function.__wrapped__)
        except SystemExit as end:
            status = end.code or 0
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            sys.argv = kept
        errors.seek(0)
        return status, errors.read().decode("utf-8", "replace").strip()
