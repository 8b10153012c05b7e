"""Give damaged and hostile published checkpoints to `convert`, which is what `mwmae_convert` does.

Every case must end in a model folder whose weights are finite, or in an `InputError` that names the file or the
argument. Another exception, a process that dies, hangs or takes much memory, and NaN are violations; the exit status
is then 1.
"""
import json
import re
import resource
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, TimeoutError
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import msgpack
import numpy as np
import torch
from common import ARGUMENTS, packed_leaf as array, published_tree, write_published
from fastcore.script import call_parse
from tqdm import tqdm

from mwmae.audio import InputError
from mwmae.convert import convert
from mwmae.models import load_encoder, load_mae
from mwmae.model import MAEConfig, MaskedAutoencoder

LIMIT = 20  # seconds that one case may take
MEMORY = 2 << 30  # bytes that all cases may take beyond what the process had at first
KINDS = "cut", "bytes", "array", "tree", "settings", "text"
SETTINGS = ARGUMENTS | {"mask_ratio": 0.8}
HOSTILE = [None, True, 0, -1, 1, 2**63, 10**300, 1.5, float("nan"), float("inf"), -float("inf"), "", "a\nb", "../../x", "9" * 5000, [], {}, [0], [0, 0], [-4, 16],
           [1e9, 1], [2**31, 2**31], [[4, 16]], ["4", "16"], [4], [4, 16, 1], {"a": 1}, [250] * 3000, [2, 5], [1] * 8, [250] * 8]


def published(
    folder: Path,  # where to write
):
    "Write a small checkpoint in the published form, untrained."
    config = MAEConfig(encoder_width=48, encoder_depth=1, encoder_heads=3, decoder_width=32, decoder_depth=1)
    tree = published_tree(MaskedAutoencoder(config))
    write_published(folder, tree, SETTINGS, 1, step=array([], "int32", bytes(4)), buffers={})


def branches(
    tree: dict,  # nested dictionaries
    found: list,  # collects them
) -> list:  # (dictionary, name) of all that is in them
    "Every place of a tree."
    for name, value in tree.items():
        found.append((tree, name))
        if isinstance(value, dict):
            branches(value, found)
    return found


def hostile_array(
    rng: np.random.Generator,  # where the choices come from
    value: msgpack.ExtType,  # the array that it replaces
):  # something else
    "An array that lies, or something that is no array."
    try:
        shape, kind, data = msgpack.unpackb(value.data)
    except (ValueError, TypeError):  # an array of an earlier change
        shape, kind, data = [48], "float32", bytes(192)
    floats = np.frombuffer(data, np.float32, len(data) // 4).copy()
    if len(floats):
        floats[rng.integers(len(floats))] = rng.choice([np.nan, np.inf, -np.inf, 3e38, 1e-45])
    forms = [
        lambda: array(shape, kind, b""), lambda: array(shape, kind, data[:-1]), lambda: array(shape, kind, data * 2), lambda: array(shape, kind, floats.tobytes()),
        lambda: array([10**9, *shape], kind, data), lambda: array([-1, *shape], kind, data), lambda: array([2**62, 4], kind, data), lambda: array([0], kind, b""),
        lambda: array([], "float32", bytes(4)), lambda: array([1, *shape], kind, data), lambda: array(shape[::-1], kind, data), lambda: array([1] * 64, "float32", bytes(4)),
        lambda: array([1] * 70, "float32", bytes(4)), lambda: array(shape, rng.choice(["object", "O", "complex64", "float8", "int32", "<f4", "S4", "", "V4"]).item(), data),
        lambda: array(shape, kind.encode(), data), lambda: array(shape, kind, data.hex()), lambda: array(HOSTILE[rng.integers(5)], kind, data),
        lambda: array(shape, kind, data, int(rng.choice([0, 2, 3, 4, 127]))), lambda: msgpack.ExtType(1, rng.bytes(20)), lambda: msgpack.ExtType(1, b""),
        lambda: array(shape, "float64", np.full(len(data) // 4, 1e300).tobytes()), lambda: array(shape, "bfloat16", data[: len(data) // 2]),
        lambda: array(shape, "float16", np.full(len(data) // 4, np.inf, np.float16).tobytes()), lambda: None, lambda: 0.5, lambda: "text", lambda: b"bytes", lambda: [1, 2], dict]
    return forms[rng.integers(len(forms))]()


def changed_tree(
    rng: np.random.Generator,  # where the choices come from
    content: bytes,  # a checkpoint
    arrays: bool,  # change arrays, or else the tree
) -> bytes:  # another
    "A checkpoint of which some places are changed."
    tree = msgpack.unpackb(content, ext_hook=msgpack.ExtType, strict_map_key=False)
    for _ in range(rng.integers(1, 4)):
        places = [(branch, name) for branch, name in branches(tree, []) if not arrays or isinstance(branch[name], msgpack.ExtType)]
        if not places:
            break
        branch, name = places[rng.integers(len(places))]
        if arrays:
            branch[name] = hostile_array(rng, branch[name])
            continue
        value, change = branch[name], rng.integers(7)
        if change == 0:
            del branch[name]
        elif change == 1:
            branch[str(rng.choice(["encoder_block_1", "encoder_block_0", "encoder_block_99999", "head", "", "../x", "decoder_block_٣", "a/b", "x" * 2000]))] = value
        elif change == 2:
            branch[[1, b"name", None, True, 1.5][rng.integers(5)]] = value
        elif change == 3:
            for _ in range(int(rng.choice([5, 40, 400]))):
                value = {"x": value}
            branch[name] = value
        elif change == 4:
            branch[name] = {"kernel": value, "bias": value}
        elif change == 5:
            branch[name] = json.loads("[" * 30 + "]" * 30)
        else:
            tree = [tree] if rng.random() < 0.3 else {"params": tree} if isinstance(tree, dict) else tree
            break
    return msgpack.packb(tree)


def case(
    number: int,  # which case
    seed: int,  # of all choices
    base: str,  # folder of a whole checkpoint
) -> tuple[str, str]:  # kind, and the message with which it was refused; empty if it was converted
    "Try one case. Whatever it raises is a violation."
    rng, kind = np.random.default_rng([seed, number]), KINDS[number % len(KINDS)]
    checkpoint = next(Path(base).glob("checkpoint_*"))
    content, settings = checkpoint.read_bytes(), (Path(base) / "config.json").read_text(encoding="utf-8")
    if kind == "cut":
        content = content[: rng.integers(len(content))]
    elif kind == "bytes":
        content = bytearray(content)
        for place in rng.integers(rng.choice([40, 2000, len(content)]), size=rng.integers(1, 12)):
            content[place] = rng.integers(256)
    elif kind in ("array", "tree"):
        content = changed_tree(rng, content, kind == "array")
    elif kind == "settings":
        told = json.loads(settings)
        for _ in range(rng.integers(1, 3)):
            where = told["model"]["model_args"]
            where[str(rng.choice([*SETTINGS, "shift", "other"]))] = HOSTILE[rng.integers(len(HOSTILE))]
        settings = json.dumps(told)
    else:
        place = rng.integers(len(settings))
        settings = [settings[:place], settings[:place] + "[" * 100_000, settings.replace("{", "[", 1), "", "[]", "7", '{"model": 7}', '{"model": {"model_args": []}}',
                    settings[:place] + chr(rng.integers(1, 2000)) + settings[place + 1 :], settings[:place] + "9" * 10_000 + settings[place:]][rng.integers(10)]
    heads = [None, 0, -1, 5, 16, 10**9][rng.integers(6)] if kind == "settings" and rng.random() < 0.3 else 3
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given", Path(folder) / "out"
        given.mkdir()
        (given / "checkpoint_1").write_bytes(content)
        (given / "config.json").write_bytes(settings.encode("utf-8", "surrogatepass"))
        try:
            convert(given, out, heads)
        except InputError as error:
            message = str(error)
            if out.exists() or len(message) > 1000 or not any(name in message for name in ("checkpoint_1", "config.json", "encoder_heads")):
                raise AssertionError(f"not a clear sentence: {message!r}") from None
            return kind, message.replace(folder, "")
        weights = [*load_mae(out).state_dict().values(), *load_encoder(out).state_dict().values()]
        assert all(tensor.isfinite().all() for tensor in weights), "weights that are not finite"
    return kind, ""


def limited():
    "Keep a process from taking much more memory than it has."
    torch.set_num_threads(1)
    used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def new_process() -> ProcessPoolExecutor:  # of one worker
    "A process of its own for cases that may bring it down."
    return ProcessPoolExecutor(1, get_context("spawn"), limited)


@call_parse
def main(
    cases: int = 1000,  # how many cases
    seed: int = 0,  # of all choices
    first: int = 0,  # number of the first case, to repeat one
    checkpoint: str | None = None,  # folder of a published checkpoint to start from; default: a small one made here
    show: bool = False,  # print every case
):
    "Try many cases, print what became of them, and exit 1 if anything happened that must not."
    outcomes, sentences, violations, process = Counter(), Counter(), [], new_process()
    with tempfile.TemporaryDirectory() as folder:
        if checkpoint is None:
            published(Path(folder))
        for number in tqdm(range(first, first + cases), unit="case", disable=None):
            kind = KINDS[number % len(KINDS)]
            try:
                kind, message = process.submit(case, number, seed, checkpoint or folder).result(LIMIT)
            except (BrokenProcessPool, TimeoutError) as error:
                message = f"VIOLATION the process died or took more than {LIMIT} s ({type(error).__name__})"
                for worker in list(process._processes.values()):
                    worker.kill()
                process = new_process()
            except Exception as error:
                message = f"VIOLATION {type(error).__name__}: {' '.join(str(error).split())[:500]}"
            outcome = "violation" if message.startswith("VIOLATION") else "refused" if message else "converted"
            outcomes[kind, outcome] += 1
            if outcome == "refused":
                sentences[re.sub(r"\d[\d.e+,-]*|'.*'|\(.*\)|\[.*\]", "…", message)[:120]] += 1
            if outcome == "violation":
                violations.append(f"case {number} ({kind}): {message}")
            if show:
                print(number, kind, "|", message or "converted")
    process.shutdown(cancel_futures=True)
    print("what       converted  refused  violations")
    for kind in KINDS:
        print(f"{kind:10} {outcomes[kind, 'converted']:9} {outcomes[kind, 'refused']:8} {outcomes[kind, 'violation']:11}")
    print("\nrefused with")
    for sentence, count in sentences.most_common(40):
        print(f"{count:5}  {sentence}")
    print(*violations, sep="\n")
    sys.exit(bool(violations))
