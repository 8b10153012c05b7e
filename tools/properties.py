"""Check what must hold for every shape, length and setting, on examples that hypothesis chooses.

The examples are the same every time. Each property compares the library with a plain reference or with its own
inverse. A failure prints the smallest example that hypothesis can find. The last line counts what held; the exit status
is 1 if anything did not.
"""

import io
import math
import os
import statistics
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from dataclasses import fields
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import hypothesis
import hypothesis.strategies as st
import numpy as np
import soundfile
import torch
from fastcore.script import call_parse
from hypothesis import assume, given
from scipy.stats import t as student

from mwmae.attention import MultiWindowAttention, split_heads, win_attention, window_sizes
from mwmae.audio import InputError, LogMelSpectrogram, read_audio, resampling_ratio
from mwmae.recordings import CLIP, clip_bounds, read_pieces
from mwmae.store import name_hash
from mwmae.far_files import FileWindow
from mwmae.crops import crop_samples, reflected, split_held_out
from mwmae.units import cut_units, join_units, log_mel_in_pieces, step_count, unit_count
from mwmae.pooling import pool_steps
from mwmae.embed import EmbedConfig, EmbeddingModel, get_timestamp_embeddings
from mwmae.examples import choose_held_out
from mwmae.fast_attention import FastMultiWindowAttention
from mwmae.files import load_config, plain_name, save_config
from mwmae.masking import keep_visible, random_masking, restore_order, visible_count
from mwmae.model import list_models, MAEConfig, MaskedAutoencoder
from mwmae.patches import patchify, unpatchify
from mwmae.settings import PretrainConfig
from mwmae.training import epoch_order, step_batches, steps_per_epoch
from mwmae.task_results import interval
from mwmae.task_embeddings import labels_at

PROPERTIES = []  # (function, share of the examples that it gets)
LOG_MEL = LogMelSpectrogram()


def holds(
    *strategies,  # where the arguments come from
    share: float = 1.0,  # of the examples; less for what takes long
):  # a decorator
    "Note a property."

    def note(check):
        PROPERTIES.append((check, strategies, share))
        return check

    return note


def noise(
    *shape: int,  # of the array
    seed: int = 0,  # of the numbers
) -> torch.Tensor:  # float32
    "Numbers that have nothing to do with each other."
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sizes(
    least: int,  # smallest
    most: int,  # largest
):  # a strategy
    "Whole numbers."
    return st.integers(least, most)


def divisors(
    n: int,  # a number
) -> list[int]:  # all of them, ascending
    "What divides `n`."
    return [d for d in range(1, n + 1) if n % d == 0]


# Patches and masks


@holds(sizes(1, 3), sizes(1, 9), sizes(1, 9), sizes(1, 5), sizes(1, 5))
def patches_are_put_back(b, rows, columns, pt, pf):
    "`unpatchify` is the inverse of `patchify`, and a patch is a rectangle of the spectrogram."
    spectrogram = noise(b, rows * pt, columns * pf)
    patches = patchify(spectrogram, (pt, pf))
    assert torch.equal(unpatchify(patches, (pt, pf), (rows, columns)), spectrogram)
    for n in range(rows * columns):
        i, j = divmod(n, columns)
        assert torch.equal(patches[:, n], spectrogram[:, i * pt : (i + 1) * pt, j * pf : (j + 1) * pf].flatten(1))


@holds(sizes(1, 5000), st.floats(0, 1, exclude_max=True))
def visible_patches_are_counted(n, ratio):
    "As many stay visible as a share of `1 - ratio` allows, to a millionth of a per cent."
    wanted = math.floor(n * (1 - Fraction(round(ratio * 10**8), 10**8)))
    try:
        assert visible_count(n, ratio) == wanted
    except InputError:
        assert wanted == 0


@holds(sizes(1, 4), sizes(1, 60), st.floats(0, 0.99), sizes(0, 99))
def masking_is_restored(b, n, ratio, seed):
    "Exactly `visible_count` patches are kept, and `restore_order` puts them back where they were."
    try:
        kept = visible_count(n, ratio)
    except InputError:
        assume(False)
    tokens, token = noise(b, n, 3, seed=seed), torch.full((1, 1, 3), 7.0)
    masking = random_masking(torch.rand(b, n, generator=torch.Generator().manual_seed(seed)), ratio)
    assert masking.ids_keep.shape == (b, kept) and (masking.mask.sum(1) == n - kept).all()
    whole = restore_order(keep_visible(tokens, masking.ids_keep), token, masking.ids_restore)
    assert torch.equal(whole, torch.where(masking.mask[..., None].bool(), token, tokens))


# Windows


@holds(sizes(1, 60), sizes(1, 3), st.data())
def windows_are_put_back(n, b, data):
    "Attention that looks at all alike is the mean of each window; windows of one patch give back what went in."
    win, values = data.draw(st.sampled_from(divisors(n))), noise(b, n, 4)
    even = win_attention(torch.zeros(b, n, 4), torch.zeros(b, n, 4), values, win)
    means = values.reshape(b, n // win, win, 4).mean(2)  # (b, windows, 4)
    torch.testing.assert_close(even, means.repeat_interleave(win, 1))
    torch.testing.assert_close(win_attention(values, values, values, 1), values)


@holds(sizes(2, 96), sizes(1, 2), st.booleans(), st.data(), share=0.6)
def attention_of_all_windows(n, b, bias, data):
    "Multi-Window attention is attention with walls between windows, and the fast one is the same, gradients as well."
    some = st.lists(st.sampled_from(divisors(n)), min_size=1, max_size=8)
    windows, width = data.draw(st.one_of(st.just(window_sizes(n)), some)), data.draw(sizes(1, 24))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(n)
        layer, fast = (kind(width, windows, bias, n) for kind in (MultiWindowAttention, FastMultiWindowAttention))
    fast.load_state_dict(layer.state_dict())
    inputs = [noise(b, n, width).requires_grad_() for _ in range(2)]
    outputs = [layer(inputs[0]), fast(inputs[1])]
    torch.testing.assert_close(*outputs, atol=2e-5, rtol=1e-4)
    for output in outputs:
        (output * noise(b, n, width, seed=1)).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, atol=1e-4, rtol=1e-3)
    queries, keys, values = split_heads(layer.qkv(inputs[0]), len(windows))  # (b, h, n, d) each
    place, heads = torch.arange(n), []
    for head, (win, added) in enumerate(zip(windows, layer.biases(n), strict=True)):
        scores = queries[:, head] @ keys[:, head].mT / queries.shape[-1] ** 0.5  # (b, n, n)
        if added is not None:
            scores = scores + added.repeat(n // win, n // win)
        walls = place[:, None] // win != place // win
        heads.append(scores.masked_fill(walls, -torch.inf).softmax(-1) @ values[:, head])
    torch.testing.assert_close(outputs[0], layer.proj(torch.cat(heads, -1)), atol=2e-5, rtol=1e-4)


# Recordings, clips and crops


@holds(sizes(1, 10**9), sizes(1, 10**7))
def clips_cover_a_recording(samples, wanted):
    "Clips follow each other without a gap, are equally long, and as many as there are of the wanted length, rounded."
    assume(samples / wanted < 3000)
    bounds = clip_bounds(samples, wanted)
    lengths = [b - a for a, b in pairwise(bounds)]
    assert bounds[0] == 0 and bounds[-1] == samples and min(lengths) > 0 and max(lengths) - min(lengths) <= 1
    assert len(lengths) == max(1, math.floor(Fraction(samples, wanted) + Fraction(1, 2)))


@holds(sizes(1, 40), st.data())
def reflection_is_numpys(length, data):
    "`reflected` continues a clip at both ends as numpy's pad does."
    start = data.draw(sizes(-(length - 1) if length > 1 else 0, 3 * length))
    frames = data.draw(sizes(1, 4 * length))
    padded = np.pad(np.arange(length), (max(0, -start), max(0, start + frames - length)), mode="reflect")
    first = max(0, start)
    assert reflected(start, frames, length).tolist() == padded[first : first + frames].tolist()


@holds(sizes(201, 12_000), st.data())
def crops_need_few_samples(samples, data):
    "The samples that `crop_samples` names give the same frames as the whole clip."
    frames = 1 + samples // 160
    start = data.draw(sizes(0, frames - 1))
    stop = data.draw(sizes(start + 1, frames))
    first, last, early = crop_samples(start, stop, samples)
    assert 0 <= first < last <= samples
    sound = 0.1 * noise(samples)
    crop = LOG_MEL(sound[first:last])[early : early + stop - start]
    torch.testing.assert_close(crop, LOG_MEL(sound)[start:stop], atol=1e-3, rtol=1e-3)


def wav(
    samples: torch.Tensor,  # (samples,)
    rate: int,  # Hz
) -> io.BytesIO:  # an open file
    "A sound file in memory."
    file = io.BytesIO()
    soundfile.write(file, samples.numpy(), rate, "FLOAT", format="WAV")
    return file


@holds(
    st.one_of(st.sampled_from([8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 16_000]), sizes(1_000, 200_000)),
    sizes(50, 9_000),
    st.data(),
    share=0.3,
)
def a_part_is_a_slice(rate, count, data):
    "`read_audio` of a part has the values of that slice of the whole, at any rate."
    file = wav(0.1 * noise(count), rate)
    up, down = resampling_ratio(rate)
    whole = read_audio(file)
    assert len(whole) == math.ceil(count * up / down)
    first = data.draw(sizes(0, len(whole) - 1))
    last = data.draw(sizes(first + 1, len(whole)))
    part = read_audio(file, first / 16_000, (last - first) / 16_000)
    torch.testing.assert_close(part, whole[first:last], atol=1e-6, rtol=1e-4)


@holds(sizes(400, 30_000), sizes(100, 5_000), sizes(1, 10_000))
def pieces_are_the_whole(count, wanted, block):
    "`read_pieces` gives the whole recording, in whatever blocks it is read."
    file, bounds = wav(0.1 * noise(count), 16_000), clip_bounds(count, wanted)
    with mock.patch("mwmae.recordings.BLOCK", block):
        pieces = list(read_pieces(file, bounds))
    assert [len(piece) for piece in pieces] == [b - a for a, b in pairwise(bounds)]
    assert torch.equal(torch.cat(pieces), read_audio(file))


@holds(st.binary(max_size=60), st.data())
def a_window_is_a_file(content, data):
    "`FileWindow` reads like a file that holds nothing but the window."
    first = data.draw(sizes(0, len(content)))
    last = data.draw(sizes(first, len(content)))
    plain = io.BytesIO(content[first:last])
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        with FileWindow(file.name, first, last - first, "window") as window:
            for act, number in data.draw(
                st.lists(st.tuples(st.sampled_from(["read", "set", "current", "end"]), sizes(0, 70)), max_size=8)
            ):
                if act == "read":
                    assert window.read(number) == plain.read(number)
                else:
                    whence = {"set": os.SEEK_SET, "current": os.SEEK_CUR, "end": os.SEEK_END}[act]
                    assert window.seek(number, whence) == plain.seek(number, whence)


# Embeddings


@holds(sizes(1, 3_000), sizes(1, 40), sizes(1, 40), sizes(1, 8))
def units_and_steps_are_counted(frames, steps, hop, patch_frames):
    "As many units as it takes to reach the end, and a step for each patch that begins inside the sound."
    assume(hop <= steps)
    unit, hop = steps * patch_frames, hop * patch_frames
    units, first = 1, 0
    while first + unit < frames:
        units, first = units + 1, first + hop
    assert unit_count(frames, unit, hop) == units
    inside = [step for step in range((first + unit) // patch_frames) if step * patch_frames < frames]
    assert step_count(frames, SimpleNamespace(frames=unit, patch_frames=patch_frames), hop) == len(inside)
    cut = list(cut_units(torch.arange(frames)[:, None], unit, hop))
    assert len(cut) == units and all(len(part) == unit for part in cut)


@holds(sizes(1, 12), sizes(1, 12), sizes(1, 9), sizes(1, 3))
def units_are_joined(steps, hop, units, size):
    "`join_units` is the inverse of cutting, whatever the overlap."
    assume(hop <= steps)
    whole = torch.randint(
        -999, 999, ((units - 1) * hop + steps, size), generator=torch.Generator().manual_seed(steps)
    ).float()
    blocks = list(join_units((whole[i * hop : i * hop + steps] for i in range(units)), hop))
    torch.testing.assert_close(torch.cat(blocks), whole)


@holds(sizes(1, 30), st.lists(sizes(0, 7), min_size=1, max_size=8))
def pooling_does_not_see_blocks(size, lengths):
    "Pooling blocks is pooling what they make up."
    assume(sum(lengths))
    whole = noise(sum(lengths), size).double()
    blocks = whole.split(lengths)
    torch.testing.assert_close(pool_steps(blocks), whole.mean(0))
    assert torch.equal(pool_steps(blocks, "max"), whole.amax(0))
    torch.testing.assert_close(pool_steps(blocks, "mean+max"), torch.cat([whole.mean(0), whole.amax(0)]))
    torch.testing.assert_close(pool_steps(blocks, "std"), whole.std(0, correction=0))


@holds(sizes(201, 40_000), sizes(1, 300), share=0.6)
def spectrograms_in_pieces(samples, piece):
    "A spectrogram made in pieces is that of the whole."
    sound = 0.1 * noise(1, samples)
    with mock.patch("mwmae.units.PIECE", piece):
        assume((1 + samples // 160) / piece < 40)
        parts = log_mel_in_pieces(lambda first, last: sound[..., first:last], samples, LOG_MEL)
    torch.testing.assert_close(parts, LOG_MEL(sound), atol=1e-3, rtol=1e-3)


def small_encoder(
    patch_frames: int,  # length of a patch, frames
):  # an encoder of one block
    "An encoder that takes no time."
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MaskedAutoencoder(
            MAEConfig(
                frames=40,
                patch_frames=patch_frames,
                encoder_width=8,
                encoder_depth=1,
                encoder_heads=2,
                decoder_width=8,
                decoder_depth=1,
            )
        ).encoder.eval()


@holds(sizes(201, 200_000), st.sampled_from([1, 2, 4, 8, 20]), st.floats(0, 0.95), sizes(1, 2), share=0.4)
def timestamps_are_evenly_spaced(samples, patch_frames, overlap, clips):
    "A sound of any length has a step for each patch, evenly spaced from 0 to its end, all finite."
    model = EmbeddingModel(small_encoder(patch_frames), EmbedConfig(overlap=overlap))
    embeddings, times = get_timestamp_embeddings(0.1 * noise(clips, samples), model)
    steps = math.ceil((1 + samples // 160) / patch_frames)
    assert embeddings.shape == (clips, steps, model.timestamp_embedding_size) and torch.isfinite(embeddings).all()
    expected = [step * samples / 16 / steps for step in range(steps)]
    torch.testing.assert_close(
        times.double(), torch.tensor([expected] * clips, dtype=torch.float64), atol=1e-2, rtol=1e-5
    )


# Order, batches and what is held out


@holds(sizes(1, 60), sizes(1, 70), st.one_of(st.none(), sizes(1, 20)), sizes(1, 5), sizes(0, 3), sizes(0, 2**40))
def an_epoch_is_every_clip_once(clips, batch, micro_batch, processes, epoch, seed):
    "All processes together see every clip once, weights add up, and nobody has to wait for another's micro-batch."
    config, seen = PretrainConfig(batch=batch, micro_batch=micro_batch, seed=seed), []
    assert sorted(epoch_order(seed, epoch, clips).tolist()) == list(range(clips))
    steps = steps_per_epoch(config, clips)
    for step in range(epoch * steps, (epoch + 1) * steps):
        shares = [step_batches(config, clips, step, rank, processes) for rank in range(processes)]
        parts = [part for share in shares for part in share]
        assert len({len(share) for share in shares}) == 1
        assert all(1 <= len(part) <= (micro_batch or batch) for part, _ in parts)
        assert math.isclose(sum(len(part) * weight for part, weight in parts), processes)
        seen += [pair for part, weight in parts if weight for pair in part]
    assert sorted(seen) == [(epoch, clip) for clip in range(clips)]


@holds(st.lists(st.sampled_from("abcde"), min_size=1, max_size=40), st.floats(0.01, 0.99), sizes(0, 9))
def every_label_is_on_both_sides(labels, share, seed):
    "Of each label with two sounds or more, some are held out and some are not, as many as its number of sounds says."
    held_out = choose_held_out([(label,) for label in labels], share, seed)
    for label in set(labels):
        members = [aside for aside, found in zip(held_out, labels) if found == label]
        assert sum(members) == min(len(members) - 1, max(1, round(share * len(members))))


class Corpus:
    "As much of a store as `split_held_out` looks at."

    def __init__(
        self,
        sources: list[int],  # recording of each clip
    ):
        self.clips = np.zeros(len(sources), CLIP)
        self.clips["source"] = sources
        self.clips["first"] = np.arange(len(sources))

    def __len__(self):
        return len(self.clips)

    def source(
        self,
        number: int,  # of a clip
    ) -> str:  # name of its recording
        "A name for each recording."
        return f"{self.clips['source'][number]}.wav"

    def name_hashes(
        self,
        seed: int,  # of the split
    ) -> np.ndarray:  # (recordings,)
        "The hash of each recording's name."
        names = [f"{i}.wav" for i in range(self.clips["source"].max() + 1)]
        return np.array([name_hash(name, seed) for name in names], np.uint64)


@holds(st.lists(sizes(0, 9), min_size=1, max_size=60), st.floats(0.001, 0.999), sizes(0, 9), sizes(1, 40))
def recordings_are_on_one_side(sources, share, seed, most):
    "No recording is learnt from and held out, neither side is empty, and no more are held out than asked for."
    corpus = Corpus(sorted(sources))
    train, held_out = split_held_out(corpus, share, seed, most)
    assert len(train) and 1 <= len(held_out) <= most
    if len(corpus) > 1:
        assert not set(train) & set(held_out)
        learnt, asked = ({corpus.clips["source"][i] for i in side} for side in (train, held_out))
        assert not learnt & asked or len(set(sources)) == 1
        assert [held.tolist() for held in split_held_out(corpus, share, seed, most)] == [
            train.tolist(),
            held_out.tolist(),
        ]


# Scores


moments = st.floats(0, 10_000).map(lambda value: round(value, 2))
events = st.lists(
    st.fixed_dictionaries({"label": st.sampled_from("ab"), "start": moments, "end": moments}), max_size=6
)


@holds(events, st.lists(moments, max_size=20).map(sorted))
def labels_hold_from_start_to_end(events, times):
    "The labels at a moment are those of the events around it, the end among them."
    plain = [[event["label"] for event in events if event["start"] <= time < event["end"] + 1e-4] for time in times]
    assert labels_at(events, np.array(times)) == plain


@holds(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12))
def an_interval_is_students(values):
    "Mean and half-width are those of Student's t; a single value has no interval."
    mean, half = interval(values)
    assert math.isclose(mean, statistics.fmean(values), rel_tol=1e-9, abs_tol=1e-6)
    if len(values) == 1:
        assert math.isnan(half)
    else:
        plain = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
        assert math.isclose(half, plain, rel_tol=1e-6, abs_tol=1e-6)


# Files


def kept(
    config,  # a dataclass
):
    "Write a config, read it again, and compare."
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a config is on the disk when `save_config` returns
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        path = Path(folder) / "config.json"
        save_config(config, path)
        assert load_config(type(config), path) == config


@st.composite
def model_shapes(draw):
    "Settings of a model that can be."
    patch_frames, patch_mels, rows, columns = (
        draw(sizes(1, 8)),
        draw(sizes(1, 20)),
        draw(sizes(1, 30)),
        draw(sizes(1, 8)),
    )
    heads, multi_window, patches = draw(sizes(1, 8)), draw(st.booleans()), rows * columns
    windows = draw(st.one_of(st.none(), st.lists(st.sampled_from(divisors(patches)), min_size=1, max_size=6)))
    return MAEConfig(
        frames=rows * patch_frames,
        mels=columns * patch_mels,
        patch_frames=patch_frames,
        patch_mels=patch_mels,
        encoder_width=heads * draw(sizes(1, 64)),
        encoder_depth=draw(sizes(1, 40)),
        encoder_heads=heads,
        decoder_width=draw(sizes(1, 999)),
        decoder_depth=draw(sizes(1, 40)),
        decoder_heads=None if multi_window else draw(st.one_of(st.none(), sizes(1, 16))),
        multi_window=multi_window,
        windows=windows,
        rel_pos_bias=draw(st.booleans()),
        cls_token=not multi_window and draw(st.booleans()),
        learned_positions=draw(st.booleans()),
        mask_ratio=draw(st.floats(0, 1 - 1 / patches)),
        norm_pix_loss=draw(st.booleans()),
    )


@holds(st.data())
def model_settings_are_kept(data):
    "Any shape of a model that can be is written and read unchanged."
    try:
        config = data.draw(model_shapes())
    except InputError:  # a ratio that leaves no patch
        assume(False)
    kept(config)


names = st.text(max_size=20)
positive = st.floats(1e-12, 1e12)
RUN = {
    "data": st.text(min_size=1, max_size=20),
    "model": st.sampled_from(list_models()),
    "frames": sizes(1, 50).map(lambda n: n * 8),
    "mask_ratio": st.floats(0, 0.95),
    "norm_pix_loss": st.booleans(),
    "share": st.floats(0, 1, exclude_min=True),
    "decoder_depth": st.one_of(st.none(), sizes(1, 12)),
    "rel_pos_bias": st.booleans(),
    "learned_positions": st.booleans(),
    "init": st.one_of(st.none(), names),
    "epochs": sizes(1, 10**6),
    "batch": sizes(1, 10**6),
    "micro_batch": st.one_of(st.none(), sizes(1, 9999)),
    "base_lr": positive,
    "warmup": positive,
    "weight_decay": positive,
    "beta2": st.floats(0.01, 0.9999),
    "precision": st.sampled_from(["fp32", "bf16"]),
    "compile": st.booleans(),
    "recompute": st.booleans(),
    "workers": sizes(0, 99),
    "seed": sizes(0, 2**53),
    "evaluate_every": sizes(1, 10**6),
    "probe": st.one_of(st.none(), names),
    "save_every": sizes(1, 10**6),
    "keep": sizes(1, 99),
}


@holds(st.fixed_dictionaries({}, optional=RUN))
def run_settings_are_kept(settings):
    "Any settings of a run that can be are written and read unchanged."
    assert settings.keys() <= {field.name for field in fields(PretrainConfig)}
    try:
        config = PretrainConfig(**settings)
    except InputError:  # a model that does not go with that length or ratio
        assume(False)
    kept(config)


@holds(st.one_of(st.text(max_size=12), st.text("./\\a-_~ \n\0", max_size=8)))
def plain_names_stay_inside(name):
    "A name that `plain_name` takes is a file right inside the folder that it is put into, and no hidden one."
    try:
        plain_name(name, "the name")
    except InputError:
        return
    folder = Path("/nowhere/folder")
    assert (
        Path(os.path.normpath(folder / name)).parent == folder
        and not name.startswith(".")
        and Path(name).name == name
    )


@contextmanager
def own_storage():
    "Keep hypothesis from leaving files in the folder that this is called from."
    from hypothesis.configuration import set_hypothesis_home_dir

    with tempfile.TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        yield


@call_parse
def main(
    examples: int = 100,  # Examples for a property; those that take long get a part of them
    only: str = "",  # Check only properties whose name holds this
):
    "Check every property, print what became of each, and exit 1 if one does not hold."
    torch.set_num_threads(1)
    held = failed = 0
    with own_storage():
        for check, strategies, share in PROPERTIES:
            if only not in check.__name__:
                continue
            rules = hypothesis.settings(
                max_examples=max(1, round(share * examples)),
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            start = time.perf_counter()
            try:
                rules(given(*strategies)(check))()
                held, word = held + 1, "held  "
            except Exception:
                failed, word = failed + 1, "FAILED"
                traceback.print_exc()
            print(f"{word}  {check.__name__.replace('_', ' ')} ({time.perf_counter() - start:.1f} s)", flush=True)
    if failed:
        print(f"{failed} FAILED")
    print(f"{held} properties held")
    sys.exit(bool(failed or not held))
