"""Stage a of gpu.py: does the device compute what the published system and the readable code compute?

Errors are relative: the norm of the difference over the norm of what should have come out.
"""
import os
import shutil
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch

os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read once, and needed for the same bytes again

import numpy as np
import torch
from safetensors.torch import load_file

from gpu_stage import choose_products, REFERENCE, waits_forbidden, why_no_triton
from gpu_steps import backend, cut, Steps
from mwmae.attention import attend, MultiHeadAttention, MultiWindowAttention, window_sizes
from mwmae.checkpoints import list_checkpoints
from mwmae.convert import from_flax
from mwmae.fast_attention import _attend, _attend_by_products, FastAttention, FastMultiWindowAttention
from mwmae.model import MAEConfig, MaskedAutoencoder
from mwmae.pretrain import pretrain
from mwmae.settings import builtin_sound, PretrainConfig
from mwmae.store import prepare_samples

PUBLISHED = dict(encoder_width=48, encoder_depth=2, encoder_heads=3, decoder_width=32, decoder_depth=2,
                 learned_positions=True)
MODELS = {"mwmae": dict(rel_pos_bias=True), "mae": dict(multi_window=False, cls_token=True)}
TOLERANCES = {"fp32": 1e-4, "tf32": 2e-2, "bf16": 5e-2}


def relative(found: list, expected: list) -> float:
    "Relative error of several tensors together."
    found, expected = (torch.cat([t.detach().double().cpu().flatten() for t in ts]) for ts in (found, expected))
    return ((found - expected).norm() / expected.norm()).item()


def without_keys(tensors: dict) -> dict:
    "The same with zeros for the biases of keys: their gradients are rounding, and so are their steps."
    tensors = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if name.endswith("qkv.bias"):
            tensor[len(tensor) // 3 : 2 * len(tensor) // 3] = 0
    return tensors


def golden_file(kind: str) -> tuple:
    "Arrays of the published system, and a function that reads the parameters under a prefix."
    golden = np.load(REFERENCE / f"tiny_{kind}.npz")

    def under(prefix):
        names = [name for name in golden.files if name.startswith(prefix)]
        return from_flax({name[len(prefix):]: torch.from_numpy(golden[name]) for name in names})

    return golden, under


def shape_of(kind: str) -> MAEConfig:
    "The shape of the published system's small models."
    return MAEConfig(**PUBLISHED, **MODELS[kind])


def check_golden(stage, kind: str, precision: str) -> None:
    "Compare features, loss, gradients and three steps of AdamW with those of the published system."
    golden, under = golden_file(kind)
    tensor = lambda key: torch.from_numpy(golden[key]).to(stage.device)

    def compare(what, found, expected):
        stage.compare(f"tiny_{kind}, {precision}: {what}", relative(found, expected), TOLERANCES[precision])

    clips = tensor("input")[..., 0]
    steps = Steps(stage, shape_of(kind), len(clips), precision, weights=under("params/"))
    with torch.no_grad(), steps.accelerator.autocast():
        compare("features", [steps.module.encoder.features(clips)], [tensor("features")])
        compare("prediction", [steps.module(clips, tensor("noise")).prediction], [tensor("pred")])
    steps.batches = cut(clips, tensor("noise"))
    compare("loss", [steps.add()[0]], [tensor("loss")])
    found, expected = ({name: p.grad for name, p in steps.module.named_parameters()}, under("grad/"))
    found, expected = without_keys(found), without_keys(expected)
    compare("gradients", [found[name] for name in expected], list(expected.values()))
    steps.optimizer.zero_grad()
    losses = []
    for noise in tensor("train_noise"):
        steps.batches = cut(clips, noise)
        losses.append(steps(rate=1e-3)[0])
    compare("losses of three steps", losses, list(tensor("train_losses")[:3]))
    found, expected = without_keys(steps.module.state_dict()), without_keys(under("params_after3/"))
    compare("parameters after three steps", [found[name] for name in expected], list(expected.values()))


def exact_steps(kind: str, noises: list, rate: float, clip_norm: float) -> tuple:
    "A plain loop in float64 on the CPU: losses and norms, parameters, and AdamW's means of gradients."
    golden, under = golden_file(kind)
    model = MaskedAutoencoder(shape_of(kind)).double()
    model.load_state_dict(under("params/"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05, fused=False)
    clips, numbers = torch.from_numpy(golden["input"])[..., 0].double(), []
    for noise in noises:
        optimizer.zero_grad()
        loss = model(clips, noise.double()).loss
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        if norm < clip_norm:
            raise ValueError(f"the norm is {norm:.2g}, so that nothing is shortened to {clip_norm}")
        optimizer.step()
        numbers += [loss.detach(), norm]
    return numbers, *of_optimizer(model, optimizer)


def of_optimizer(model, optimizer) -> tuple:
    "Parameters by name, and AdamW's means of their gradients."
    means = {name: optimizer.state[p]["exp_avg"] for name, p in model.named_parameters()}
    return without_keys(dict(model.named_parameters())), without_keys(means)


def check_steps(stage, kind: str, precision: str) -> None:
    "Steps whose gradient is shortened, of two micro-batches, beside a plain loop; then one that holds a NaN."
    golden, under = golden_file(kind)
    clips = torch.from_numpy(golden["input"])[..., 0].to(stage.device)
    noises = list(torch.from_numpy(golden["train_noise"]))
    numbers, parameters, means = exact_steps(kind, noises, 1e-3, clip_norm=0.1)
    steps, found = Steps(stage, shape_of(kind), len(clips), precision, weights=under("params/")), []
    for noise in noises:
        steps.batches = cut(clips, noise.to(stage.device), micro_batch=1)
        found += steps(rate=1e-3, clip_norm=0.1)[:2]
    what = f"tiny_{kind}, {precision}, three steps of norm 0.1"
    state = of_optimizer(steps.module, steps.optimizer)
    parts = (("losses and norms", found, numbers), ("parameters", state[0].values(), parameters.values()),
             ("means of gradients", state[1].values(), means.values()))
    for part, ours, exact in parts:
        stage.compare(f"{what}: {part}", relative(list(ours), list(exact)), TOLERANCES[precision])
    before = [t.clone() for t in all_state(steps)]
    steps.batches[1][0]["spectrogram"] = clips[1:] * float("nan")
    with waits_forbidden(stage.device):
        loss = steps(rate=1e-3, clip_norm=0.1)[0]
    moved = max((a - b).abs().max().item() for a, b in zip(all_state(steps), before))
    stage.compare(f"tiny_{kind}, {precision}, a step whose loss is {loss.item()}: weights and moments", moved, 0,
                  "largest difference")


def all_state(steps: Steps) -> list:
    "Weights, and all that AdamW keeps of them."
    moments = [value for state in steps.optimizer.state.values() for value in state.values()]
    return [p.detach() for p in steps.module.parameters()] + moments


def readable(q, k, v, bias=None):
    "The attention that the chapter on attention explains, with one bias for each head."
    return attend(q, k, v, None if bias is None else bias[:, None])


def when_compiled(*inputs):
    "The way of `_attend` inside a compiled model."
    with patch("torch.compiler.is_compiling", return_value=True):
        return _attend(*inputs)


def with_gradients(out, leaves: list) -> list:
    "An output, and its gradients for a fixed direction."
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out)
    return [out, *torch.autograd.grad((out * direction).sum(), leaves)]


def compare_values(stage, what: str, found: list, exact: list, precision: str) -> None:
    "Compare an output and its gradients with exact ones."
    stage.compare(f"{what}: value", relative(found[:1], exact[:1]), TOLERANCES[precision])
    stage.compare(f"{what}: gradients", relative(found[1:], exact[1:]), TOLERANCES[precision])


def check_paths(stage) -> None:
    "Compare each way to attend with the readable one in float64."
    ways = {"_attend": _attend, "_attend when compiled": when_compiled, "RecomputedAttention": _attend_by_products}
    torch.manual_seed(0)
    choose_products("fp32")
    for n, biased in ((10, False), (10, True), (250, False), (250, True)):
        exact = list(torch.randn(3, 2, 5, n, 48, dtype=torch.float64, device=stage.device))
        if biased:
            exact.append(torch.randn(2, n, n, dtype=torch.float64, device=stage.device))
        for tensor in exact:
            tensor.requires_grad_()
        expected = with_gradients(readable(*exact), exact)
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            inputs = [t.to(dtype) for t in exact[:3]] + [t.float() for t in exact[3:]]  # biases stay
            inputs = [t.detach().requires_grad_() for t in inputs]
            for name, function in ways.items():
                what = f"{name}, n = {n}{', bias' * biased}, {precision}"
                with torch.autocast(stage.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    out = function(*inputs)
                compare_values(stage, what, with_gradients(out, inputs), expected, precision)


def readable_layer(layer) -> torch.nn.Module:
    "The layer of that chapter with the same parameters, in float64."
    width = layer.proj.out_features
    if isinstance(layer, MultiWindowAttention):
        same = MultiWindowAttention(width, layer.windows, len(layer.rel_pos) > 0, layer.n)
    else:
        same = MultiHeadAttention(width, layer.heads)
    same.load_state_dict(layer.state_dict())
    return same.double().to(layer.proj.weight.device)


def triton_layer(windows: list, **options) -> torch.nn.Module:
    "The layer whose kernel is written in Triton's language."
    from mwmae.gpu_kernel import TritonMultiWindowAttention  # needs Triton
    return TritonMultiWindowAttention(384, windows, **options)


LAYERS = {  # how to make a layer for windows
    "FastAttention": lambda windows: FastAttention(384, len(windows)),
    "FastMultiWindowAttention": partial(FastMultiWindowAttention, 384),
    "FastMultiWindowAttention, bias": partial(FastMultiWindowAttention, 384, rel_pos_bias=True),
    "TritonMultiWindowAttention": triton_layer,
    "TritonMultiWindowAttention, bias": partial(triton_layer, rel_pos_bias=True),
}


def check_layer(stage, name: str, compiled: bool = False) -> None:
    "Compare a fast layer with the readable one in float64."
    why = why_no_triton(stage) if "Triton" in name else ""
    if why:
        stage.row(f"{name}: the kernel is not checked, {why}", "")
    if why and not stage.toy:
        return
    torch.manual_seed(0)
    windows = window_sizes(20 if stage.toy else 250)
    layer = LAYERS[name](windows).to(stage.device)
    x = torch.randn(4, max(windows), 384, device=stage.device, requires_grad=True)
    same, exact = readable_layer(layer), x.detach().double().requires_grad_()
    expected = with_gradients(same(exact), [exact, *same.parameters()])
    forward = torch.compile(layer, backend=backend(stage)) if compiled else layer
    for precision in ("fp32", "bf16") if compiled else TOLERANCES:
        choose_products(precision)
        with torch.autocast(stage.device.type, torch.bfloat16, enabled=precision == "bf16"):
            out = forward(x)
        found = with_gradients(out, [x, *layer.parameters()])
        what = f"{name}{', compiled' * compiled}, {precision}"
        compare_values(stage, what, found, expected, precision)


def check_resume(stage, precision: str, deterministic: bool) -> None:
    "Train, go back to the first checkpoint, train again, and compare the weights."
    choose_products("fp32")
    work = Path(mkdtemp())
    prepare_samples(map(builtin_sound, range(20)), work / "store")
    model = "mwmae_nano_4x16" if stage.toy else "mwmae_tiny_4x16"
    config = PretrainConfig(data=str(work / "store"), model=model, epochs=2, batch=7, warmup=1, keep=9,
                            evaluate_every=3, save_every=3, precision=precision)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    try:
        first, last, largest = resumed(config, work / "run")
    finally:
        torch.use_deterministic_algorithms(False)
    what = f"resumed after {first.name}, weights of {last.name}, {precision}"
    if deterministic:
        stage.compare(f"{what}, deterministic", largest, 0, "largest difference")
    else:
        stage.row(what, largest, "largest difference")


def resumed(config: PretrainConfig, run: Path) -> tuple:
    "Train, go back to the first checkpoint and train again: both checkpoints, and how far weights are apart."
    pretrain(config, run)
    first, *later = list_checkpoints(run / "checkpoints")
    expected = load_file(later[-1] / "model.safetensors")
    for checkpoint in later:
        shutil.rmtree(checkpoint)
    pretrain(config, run, resume=True)
    last = list_checkpoints(run / "checkpoints")[-1]
    found = load_file(last / "model.safetensors")
    return first, last, max((found[name] - expected[name]).abs().max().item() for name in expected)


def measure(stage) -> None:
    "All comparisons; those of the published system first."
    jobs = {}
    for precision in TOLERANCES:
        for kind in MODELS:
            jobs[f"tiny_{kind}, {precision}"] = partial(check_golden, stage, kind, precision)
    for precision in ("fp32", "bf16"):
        jobs[f"steps, {precision}"] = partial(check_steps, stage, "mwmae", precision)
    jobs["ways to attend"] = partial(check_paths, stage)
    plain, kernel = list(LAYERS)[:3], list(LAYERS)[3:]
    jobs |= {name: partial(check_layer, stage, name) for name in plain}
    jobs["resume, fp32, deterministic"] = partial(check_resume, stage, "fp32", True)
    jobs |= {name: partial(check_layer, stage, name) for name in kernel}
    if not stage.toy:
        jobs["resume, bf16, deterministic"] = partial(check_resume, stage, "bf16", True)
        jobs["resume, fp32"] = partial(check_resume, stage, "fp32", False)
    for name in (plain[-1], kernel[-1]):  # they have all parts
        jobs[f"{name}, compiled"] = partial(check_layer, stage, name, compiled=True)
    stage.attempt_all(jobs)
