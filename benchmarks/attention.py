"""Multi-Window attention beside plain attention and beside the loop over heads: time and kept memory.

    python benchmarks/attention.py [--lengths 125,250,500,640,1250] [--patches 4000] [--turns 15] [--clock wall]

Forward and backward pass, for as many clips as make up `patches` patches. 'core' is attention from the output of the
layer that makes queries, keys and values to the joined heads; 'layer' has the two linear layers as well. 'plain' is
PyTorch's `scaled_dot_product_attention` with as many heads, 'MHA' the library's own plain attention. All take turns in
one process, and medians count. Kept memory is what autograd keeps for the backward pass, parameters left out. With
`--clock cpu --threads 1` the time is that of the processor, which other programs on the machine disturb less; with
several threads on a busy machine, set OMP_WAIT_POLICY=passive.

Results go to benchmarks/results/attention.csv, and those of single windows to attention_windows.csv.
"""
import statistics
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from fastcore.script import call_parse
from torch import nn

from machine import CLOCKS, facts
from mwmae.attention import head_width, split_heads, win_attention, window_sizes
from mwmae.fast_attention import FastAttention, FastMultiWindowAttention, group_attention

RESULTS = Path(__file__).parent / "results"


def plain(attention, x):
    "Global attention by PyTorch's fused kernel."
    q, k, v = split_heads(attention.qkv(x), attention.heads)  # (b, h, n, d) each: views, no copies
    return attention.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def loop(attention, x):
    "Multi-Window attention, head by head."
    q, k, v = split_heads(attention.qkv(x), attention.heads)  # (b, h, n, d) each
    heads = []
    for i, bias in enumerate(attention.biases(x.shape[1])):
        heads.append(win_attention(q[:, i], k[:, i], v[:, i], attention.windows[i], bias))
    return attention.proj(torch.cat(heads, dim=-1))


def kept_megabytes(forward) -> float:
    "Memory that autograd keeps after `forward()`, in MB."
    kept = {}

    def note(tensor):
        if not isinstance(tensor, nn.Parameter) and not isinstance(tensor._base, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = forward()  # held until everything is counted
    del out
    return sum(kept.values()) / 1e6


def medians(runs: dict, turns: int, clock) -> dict:
    "Median milliseconds of each of `runs`, which take turns."
    taken = {name: [] for name in runs}
    for _ in range(turns + 1):  # the first turn warms up
        for name, run in runs.items():
            begin = clock()
            run()
            taken[name].append(clock() - begin)
    return {name: 1e3 * statistics.median(times[1:]) for name, times in taken.items()}


def compare(n, patches, part, precision, rel_pos_bias, turns, clock) -> dict:
    "One row: all forms at one length."
    windows = window_sizes(n)
    ours = FastMultiWindowAttention(384, windows, rel_pos_bias)
    same = FastAttention(384, len(windows))
    channels, half = 384, precision == "bf16"
    x = torch.randn(max(patches // n, 2), n, channels)
    if part == "core":
        x = torch.randn(len(x), n, 3 * len(windows) * head_width(384, len(windows)), dtype=torch.bfloat16 if half else None)
        for attention in (ours, same):
            attention.qkv = attention.proj = nn.Identity()
    x.requires_grad_()

    def forward(form, attention):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            return form(attention, x)

    def both(form, attention):
        out = forward(form, attention)
        torch.autograd.grad(out, [x, *attention.parameters()], gradient[out.dtype])

    gradient = {dtype: torch.randn(forward(plain, same).shape).to(dtype) for dtype in (torch.float32, torch.bfloat16)}
    forms = {"plain": (plain, same), "MHA": (nn.Module.__call__, same), "loop": (loop, ours), "ours": (nn.Module.__call__, ours)}
    ms = medians({name: (lambda form=form: both(*form)) for name, form in forms.items()}, turns, clock)
    kept = {name: kept_megabytes(lambda: forward(*forms[name])) for name in ("plain", "loop", "ours")}
    return {"n": n, "heads": len(windows), "clips": len(x), "precision": precision, "part": part, "bias": rel_pos_bias,
            **{f"{name} ms": value for name, value in ms.items()}, "plain/ours": ms["plain"] / ms["ours"],
            "MHA/ours": ms["MHA"] / ms["ours"], "loop/ours": ms["loop"] / ms["ours"],
            **{f"{name} MB": value for name, value in kept.items()}, "ours/loop MB": kept["ours"] / kept["loop"]}


def single_windows(n, patches, precision, turns, clock) -> list:
    "Rows: one head for each window, and three small ones in common tiles."
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    clips, gradients, groups = patches // n, torch.randn(3, patches // n, n, 48).to(dtype), [[w] for w in window_sizes(n)[:-1]]
    qkv = torch.randn(3, 3, clips, n, 48).to(dtype).requires_grad_()

    def both(group):
        parts = qkv[:, : len(group)].unbind(0)
        torch.autograd.grad(group_attention(*parts, group), qkv, gradients[: len(group)])

    groups.insert(3, [2, 5, 10])
    ms = medians({tuple(group): (lambda group=group: both(group)) for group in groups}, turns, clock)
    return [{"n": n, "windows": " ".join(map(str, group)), "precision": precision,
             "us per clip and head": 1e3 * value / clips / len(group),
             "arithmetic": sum(group) / len(group) / n} for group, value in ms.items()]


@call_parse
def main(
    lengths: str = "125,250,500,640,1250",  # Patches of a clip, n
    patches: int = 4000,  # Patches of all clips together
    parts: str = "core,layer",  # What to measure
    precisions: str = "fp32,bf16",  # In which precision
    bias: bool = False,  # With relative position bias too?
    turns: int = 15,  # How often each form is timed
    threads: int = 2,  # Threads of PyTorch
    clock: str = "wall",  # 'wall', or 'cpu' for the time of the processor
):
    "Print two tables, and write them to benchmarks/results/."
    about = facts(clock, threads)
    rows, precisions = [], precisions.split(",")
    for part in parts.split(","):
        for n in map(int, lengths.split(",")):
            for precision in precisions:
                for rel_pos_bias in (False, True)[: 1 + bias]:
                    rows.append(compare(n, patches, part, precision, rel_pos_bias, turns, CLOCKS[clock]) | about)
                    print(pd.DataFrame(rows[-1:]).iloc[:, :-5].round(2).to_string(index=False, header=len(rows) == 1), flush=True)
                    pd.DataFrame(rows).round(3).to_csv(RESULTS / "attention.csv", index=False)
    rows = [row | about for precision in precisions for row in single_windows(250, patches, precision, turns, CLOCKS[clock])]
    print(pd.DataFrame(rows).iloc[:, :-5].round(3).to_string(index=False))
    pd.DataFrame(rows).round(4).to_csv(RESULTS / "attention_windows.csv", index=False)
