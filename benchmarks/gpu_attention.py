"""Stage c of gpu.py: attention in windows beside other ways to compute it, and beside what no way can beat.

Forward and backward pass in bf16, from queries, keys and values to the joined heads, for as many clips as make up
`PATCHES` patches; a decoder of width 384 with the paper's windows. The floor of bytes reads every input and writes
every result once; that of operations counts the products of the forward pass twice more for the backward pass.
"""
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attention import loop, medians, plain
from gpu_stage import why_no_triton
from mwmae.attention import head_width, split_heads, window_sizes
from mwmae.fast_attention import FastAttention, FastMultiWindowAttention

LENGTHS = (250, 1250, 3750, 125, 500, 640)  # 2 s, 10 s and 30 s of 4x16 patches first
PATCHES = 64_000  # of all clips together
TURNS = 7


def dense_mask(windows: list, n: int, device) -> torch.Tensor:
    "Which patches see each other, (heads, n, n)."
    window, place = torch.tensor(windows, device=device)[:, None], torch.arange(n, device=device)
    number = place // window  # (heads, n)
    return number[:, :, None] == number[:, None]


def masked(attention, x, mask):
    "All heads by one call of PyTorch's fused kernel, with a mask."
    q, k, v = split_heads(attention.qkv(x), attention.heads)  # (b, h, n, d) each
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


def by_flex(attention, x, block_mask, flex):
    "All heads by one call of FlexAttention."
    q, k, v = split_heads(attention.qkv(x), attention.heads)  # (b, h, n, d) each
    return flex(q, k, v, block_mask=block_mask).transpose(1, 2).flatten(2)


def layers(windows: list, n: int, device) -> tuple:
    "Windows, windows with bias, and plain attention, without their linear layers."
    with device:
        made = (FastMultiWindowAttention(384, windows), FastMultiWindowAttention(384, windows, True, n),
                FastAttention(384, len(windows)))
    for layer in made:
        layer.qkv = layer.proj = nn.Identity()
    return made


def block_mask(windows: list, n: int, device):
    "The same mask as `dense_mask`, for FlexAttention."
    window = torch.tensor(windows, device=device)
    same = lambda b, h, i, j: i // window[h] == j // window[h]
    return create_block_mask(same, None, len(windows), n, n, device=device)


def by_triton(layer: FastMultiWindowAttention) -> nn.Module:
    "The same layer with its kernel."
    from mwmae.gpu_kernel import TritonMultiWindowAttention
    windows, device = layer.windows, next(layer.buffers()).device
    made = TritonMultiWindowAttention(384, windows, len(layer.rel_pos) > 0, layer.n).to(device)
    made.qkv = made.proj = nn.Identity()
    made.load_state_dict(layer.state_dict())
    return made


def forms(stage, windows: list, n: int, compiled: bool) -> dict:
    "The ways to compute it, each a layer and a function of layer and input."
    ours, biased, same = layers(windows, n, stage.device)
    if not compiled:
        mask, call = dense_mask(windows, n, stage.device), nn.Module.__call__
        made = {"windows, ours": (ours, call), "windows, loop over heads": (ours, loop),
                "windows, one masked SDPA": (ours, lambda layer, x: masked(layer, x, mask)),
                "windows with bias, ours": (biased, call), "windows with bias, loop over heads": (biased, loop),
                "plain, SDPA": (same, plain)}
        if why := why_no_triton(stage):
            stage.row(f"n = {n}: windows, Triton is not measured, {why}", "", "")
            return made
        return made | {"windows, Triton": (by_triton(ours), call),
                       "windows with bias, Triton": (by_triton(biased), call)}
    blocks = block_mask(windows, n, stage.device)
    backend = "eager" if stage.toy else "inductor"  # on a CPU FlexAttention has no backward pass
    flex = flex_attention if stage.toy else torch.compile(flex_attention, dynamic=False)
    fast = torch.compile(ours, backend=backend, dynamic=False)
    learned = torch.compile(biased, backend=backend, dynamic=False)
    return {"windows, FlexAttention": (ours, lambda layer, x: by_flex(layer, x, blocks, flex)),
            "windows, ours compiled": (ours, lambda layer, x: fast(x)),
            "windows with bias, ours compiled": (biased, lambda layer, x: learned(x))}


def both_passes(stage, layer, form, x, gradient):
    "A function that runs forward and backward and returns the output and the gradient of the input, if it has one."
    leaves = [x, *layer.parameters()]

    def run():
        with torch.autocast(stage.device.type, torch.bfloat16):
            out = form(layer, x)
        if not out.requires_grad:
            return [out]
        return [out, torch.autograd.grad(out, leaves, gradient.to(out.dtype))[0]]

    return run


def inputs(stage, windows: list, n: int) -> tuple:
    "Queries, keys and values of all heads, (b, n, 3 * h * d), and a gradient (b, n, h * d)."
    clips, inner = max((500 if stage.toy else PATCHES) // n, 1), len(windows) * head_width(384, len(windows))
    x = torch.randn(clips, n, 3 * inner, device=stage.device, dtype=torch.bfloat16, requires_grad=True)
    return x, torch.randn(clips, n, inner, device=stage.device)


def write_floors(stage, windows: list, n: int, x, peak: float, bandwidth: float) -> None:
    "Rows of the least time that bytes and operations take."
    values, heads = x.numel() // 3, len(windows)  # b * n * h * d
    moved = 2 * values * (3 + 1 + 5 + 3)  # q, k, v, out; then q, k, v, out and its gradient, three gradients
    stage.row(f"n = {n}: floor of bytes", 1e3 * moved / bandwidth, "ms")
    for name, keys in (("windows", sum(windows) / heads), ("plain", n)):
        stage.row(f"n = {n}: floor of operations, {name}", 1e3 * 12 * values * keys / peak, "ms")


def compare_with_loop(stage, what: str, layer, x, gradient, found: list) -> None:
    "Compare the first clip with the loop over heads in float32."
    x = x.detach().float().requires_grad_()
    exact = loop(layer, x)
    expected = [exact, torch.autograd.grad(exact, x, gradient)[0]]
    for part, a, b in zip(("value", "gradient"), found, expected):
        stage.compare(f"{what}: {part}", ((a[:1] - b).norm() / b.norm()).item(), 2e-2)


def measure_length(stage, n: int, compiled: bool, peak: float, bandwidth: float) -> None:
    "Rows of one length. A way that fails has a row that says so."
    windows = window_sizes(n)
    x, gradient = inputs(stage, windows, n)
    if not compiled:
        write_floors(stage, windows, n, x, peak, bandwidth)
    runs = {}
    for name, (layer, form) in forms(stage, windows, n, compiled).items():
        try:
            kept = x.detach() if stage.toy and "Flex" in name else x
            run = both_passes(stage, layer, form, kept, gradient)
            found = run()
            if name.startswith("windows"):
                compare_with_loop(stage, f"n = {n}: {name}", layer, x[:1], gradient[:1], found)
            runs[name] = run
        except Exception as error:  # of PyTorch, of a compiler, or of Triton
            sentence = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            stage.row(f"n = {n}: {name} failed, {sentence}", "", "")
        stage.free()
    for name, ms in medians(runs, 1 if stage.toy else TURNS, stage.clock).items():
        stage.row(f"n = {n}, {len(x)} clips, {len(windows)} heads: {name}", ms, "ms")


def measure(stage) -> None:
    "The first lengths, what has to be compiled of them, and then the others."
    peak, bandwidth = stage.matrix_peak(), stage.bandwidth()
    jobs, lengths = {}, (20, 250) if stage.toy else LENGTHS
    for some in (lengths[:3], lengths[3:]):
        for compiled in (False, True):
            for n in some[: 1 if stage.toy and compiled else None]:
                what = f"n = {n}{', compiled' * compiled}"
                jobs[what] = partial(measure_length, stage, n, compiled, peak, bandwidth)
    stage.attempt_all(jobs)
