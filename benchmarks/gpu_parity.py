"""Stage a of gpu.py: does the device compute what the published system and the readable code compute?

Errors are relative: the norm of the difference over the norm of what should have come out.
"""
import os
import shutil
from pathlib import Path
from tempfile import mkdtemp
from unittest.mock import patch

os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # read once, and needed for the same bytes again

import numpy as np
import torch
from safetensors.torch import load_file

from gpu_stage import REFERENCE
from mwmae.attention import attend, window_sizes
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
TOLERANCES = {"float32": 1e-4, "TF32": 2e-2, "bf16": 5e-2}


def set_precision(precision: str) -> None:
    "Allow TF32 or forbid it."
    torch.set_float32_matmul_precision("high" if precision == "TF32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "TF32"


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


def check_golden(stage, kind: str, precision: str) -> None:
    "Compare features, loss, gradients and three steps of AdamW with those of the published system."
    golden = np.load(REFERENCE / f"tiny_{kind}.npz")
    tensor = lambda key: torch.from_numpy(golden[key]).to(stage.device)

    def under(prefix):
        names = [name for name in golden.files if name.startswith(prefix)]
        return from_flax({name[len(prefix):]: torch.from_numpy(golden[name]) for name in names})

    def compare(what, found, expected):
        stage.compare(f"tiny_{kind}, {precision}: {what}", relative(found, expected), TOLERANCES[precision])

    def run(forward, *inputs):
        with torch.autocast(stage.device.type, torch.bfloat16, enabled=precision == "bf16"):
            return forward(*inputs)

    set_precision(precision)
    model = MaskedAutoencoder(MAEConfig(**PUBLISHED, **MODELS[kind]))
    model.load_state_dict(under("params/"))
    model.to(stage.device)
    clips = tensor("input")[..., 0]
    compare("features", [run(model.encoder.features, clips)], [tensor("features")])
    out = run(model, clips, tensor("noise"))
    compare("prediction", [out.prediction], [tensor("pred")])
    compare("loss", [out.loss], [tensor("loss")])
    out.loss.backward()
    found, expected = ({name: p.grad for name, p in model.named_parameters()}, under("grad/"))
    found, expected = without_keys(found), without_keys(expected)
    compare("gradients", [found[name] for name in expected], list(expected.values()))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05, fused=True)
    losses = []
    for noise in tensor("train_noise"):
        optimizer.zero_grad()
        losses.append(run(model, clips, noise).loss)
        losses[-1].backward()
        optimizer.step()
    compare("losses of three steps", losses, list(tensor("train_losses")[:3]))
    found, expected = without_keys(model.state_dict()), without_keys(under("params_after3/"))
    compare("parameters after three steps", [found[name] for name in expected], list(expected.values()))


def readable(q, k, v, bias=None):
    "The attention that chapter 3 explains, with one bias for each head."
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
    set_precision("float32")
    for n, biased in ((10, False), (10, True), (250, False), (250, True)):
        exact = list(torch.randn(3, 2, 5, n, 48, dtype=torch.float64, device=stage.device))
        if biased:
            exact.append(torch.randn(2, n, n, dtype=torch.float64, device=stage.device))
        for tensor in exact:
            tensor.requires_grad_()
        expected = with_gradients(readable(*exact), exact)
        for precision, dtype in (("float32", torch.float32), ("bf16", torch.bfloat16)):
            inputs = [t.to(dtype) for t in exact[:3]] + [t.float() for t in exact[3:]]  # biases stay
            inputs = [t.detach().requires_grad_() for t in inputs]
            for name, function in ways.items():
                what = f"{name}, n = {n}{', bias' * biased}, {precision}"
                with torch.autocast(stage.device.type, torch.bfloat16, enabled=precision == "bf16"):
                    out = function(*inputs)
                compare_values(stage, what, with_gradients(out, inputs), expected, precision)


def readable_layer(layer) -> torch.nn.Module:
    "The layer of chapter 3 with the same parameters, in float64."
    kind = type(layer).__base__
    if isinstance(layer, FastMultiWindowAttention):
        same = kind(layer.proj.out_features, layer.windows, len(layer.rel_pos) > 0, layer.n)
    else:
        same = kind(layer.proj.out_features, layer.heads)
    same.load_state_dict(layer.state_dict())
    return same.double().to(layer.proj.weight.device)


def check_layers(stage, compiled: bool) -> None:
    "Compare the fast layers with the readable ones in float64; compiled, only the one that has all parts."
    torch.manual_seed(0)
    windows = window_sizes(20 if stage.toy else 250)
    layers = {"FastAttention": FastAttention(384, len(windows)),
              "FastMultiWindowAttention": FastMultiWindowAttention(384, windows),
              "FastMultiWindowAttention, bias": FastMultiWindowAttention(384, windows, rel_pos_bias=True)}
    for name, layer in list(layers.items())[-1 if compiled else 0 :]:
        layer.to(stage.device)
        x = torch.randn(4, max(windows), 384, device=stage.device, requires_grad=True)
        same, exact = readable_layer(layer), x.detach().double().requires_grad_()
        expected = with_gradients(same(exact), [exact, *same.parameters()])
        forward = layer
        if compiled:
            backend = "eager" if stage.toy else "inductor"  # compiling for a CPU takes too long
            name, forward = f"{name}, compiled", torch.compile(layer, backend=backend)
        for precision in ("float32", "bf16") if compiled else TOLERANCES:
            set_precision(precision)
            with torch.autocast(stage.device.type, torch.bfloat16, enabled=precision == "bf16"):
                out = forward(x)
            found = with_gradients(out, [x, *layer.parameters()])
            compare_values(stage, f"{name}, {precision}", found, expected, precision)


def check_resume(stage, precision: str, deterministic: bool) -> None:
    "Train, go back to the first checkpoint, train again, and compare the weights."
    set_precision("float32")
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    work = Path(mkdtemp())
    prepare_samples(map(builtin_sound, range(20)), work / "store")
    model = "mwmae_nano_4x16" if stage.toy else "mwmae_tiny_4x16"
    config = PretrainConfig(data=str(work / "store"), model=model, epochs=2, batch=7, warmup=1, keep=9,
                            evaluate_every=3, save_every=3, precision=precision)
    pretrain(config, work / "run")
    first, *later = list_checkpoints(work / "run" / "checkpoints")
    expected = load_file(later[-1] / "model.safetensors")
    for checkpoint in later:
        shutil.rmtree(checkpoint)
    pretrain(config, work / "run", resume=True)
    last = list_checkpoints(work / "run" / "checkpoints")[-1]
    found = load_file(last / "model.safetensors")
    largest = max((found[name] - expected[name]).abs().max().item() for name in expected)
    what = f"resumed after {first.name}, weights of {last.name}, {precision}"
    if deterministic:
        stage.compare(f"{what}, deterministic", largest, 0, "largest difference")
    else:
        stage.row(what, largest, "largest difference")
    torch.use_deterministic_algorithms(False)


def measure(stage) -> None:
    "All comparisons; those of the published system first."
    for precision in TOLERANCES:
        for kind in MODELS:
            check_golden(stage, kind, precision)
    check_paths(stage)
    check_layers(stage, compiled=False)
    runs = [("fp32", True)] if stage.toy else [("fp32", True), ("bf16", True), ("fp32", False)]
    for precision, deterministic in stage.in_time(runs):
        check_resume(stage, precision, deterministic)
    for compiled in stage.in_time([True]):
        check_layers(stage, compiled)
