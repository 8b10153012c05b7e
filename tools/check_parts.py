"""Check every part that the library has by name, in a small model of its own.

- The loss of each clip and the gradients of all weights are those of plain_model.py, in float64.
- The model is written and read again: the same weights, and the same outputs to the last bit.
- The encoder is exported to ONNX, and onnxruntime embeds as the library does. A variant that changes the decoder alone
  has the encoder of another one; what embeds a sound to the same bits is exported once.

And loss and gradients once more for models in which many parts meet, drawn at random, the same each time.

Prints a line for each variant. The last line counts them; the exit status is 1 if anything does not hold. That a run
with each of them is killed and resumed to the same bytes is checked by `kill_test.py --parts`.
"""
import random
import sys
import tempfile
from pathlib import Path

import torch
from fastcore.script import call_parse
from plain_model import plain_loss

from mwmae.audio import InputError
from mwmae.embed import load_model
from mwmae.export import export_onnx, largest_difference
from mwmae.model import CHOICES, MAEConfig, MaskedAutoencoder
from mwmae.models import load_mae, save_model

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from every_part import all_variants, LEFT_OUT

MANY = {  # values that combinations are drawn from, beside the names of all parts
    "qk_norm": (False, True), "layer_scale": (0.0, 0.1), "rel_pos_bias": (False, True), "registers": (0, 1, 3),
    "cls_token": (False, True), "decoder_qk_norm": (None, False, True), "windows": (None, [2, 5, 60], [3, 12, 20, 60]),
}
SHAPE = dict(frames=48, encoder_width=24, encoder_depth=2, encoder_heads=3, decoder_width=24, decoder_depth=2)


def small_model(
    settings: dict,  # of `MAEConfig`
) -> MaskedAutoencoder:  # in evaluation mode, so that no block is left out at random
    "A model of two blocks each, with no weight at zero or one that could hide a mistake."
    torch.manual_seed(0)
    model = MaskedAutoencoder(MAEConfig(**(SHAPE | settings))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def combination(
    rng: random.Random,  # what draws
) -> dict:  # settings of `MAEConfig`
    "Parts of each kind and other settings, at random."
    names = {setting: [name for name in parts if name not in LEFT_OUT] for setting, parts in CHOICES.items()}
    return {setting: rng.choice(values) for setting, values in (names | MANY).items()}


def gradient_difference(
    model: MaskedAutoencoder,  # in float32
) -> float:  # largest difference of a loss or of a value of a gradient
    "Compare losses and gradients with those of the plain model, in float64."
    model, config = model.double(), model.config
    generator = torch.Generator().manual_seed(0)
    clips = torch.randn(2, config.frames, config.mels, generator=generator, dtype=torch.float64)
    out = model(clips, torch.rand(2, config.patches, generator=generator))
    out.loss.backward()
    plain = {name: value.detach().clone().requires_grad_() for name, value in model.state_dict().items()}
    losses = torch.stack([plain_loss(plain, config, clip, (mask == 0).nonzero()[:, 0]) for clip, mask in zip(clips, out.mask)])
    losses.mean().backward()
    worst = (out.clip_losses - losses).abs().max().item()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            worst = max(worst, (parameter.grad - plain[name].grad).abs().max().item())
    return worst


def read_again(
    model: MaskedAutoencoder,  # in float32
    folder: Path,  # model folder to write
) -> bool:  # the same?
    "Write a model, read it, and compare weights and outputs to the last bit."
    save_model(model, folder)
    again = load_mae(folder).eval()
    clips, noise = torch.randn(2, model.config.frames, model.config.mels), torch.rand(2, model.config.patches)
    same = [torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items()]
    with torch.no_grad():
        outputs = zip(model(clips, noise), again(clips, noise))
        return again.config == model.config and all(same) and all(torch.equal(one, other) for one, other in outputs)


def export_difference(
    folder: Path,  # model folder
    known: dict,  # by the bytes of an embedding, the difference of its encoder; gets that of this one
) -> float:  # largest difference of a value
    "Export an encoder to ONNX, unless the same was exported before, and compare embeddings."
    embedder, sound = load_model(str(folder)), 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        key = embedder(sound).numpy().tobytes()
    if key not in known:
        export_onnx(embedder, folder / "model.onnx")
        known[key] = largest_difference(folder / "model.onnx", embedder)
    return known[key]


@call_parse
def main(
    only: str | None = None,  # names of variants with commas, or parts of names; default: all
    combinations: int = 30,  # models in which many parts meet
):
    "Check every part, and exit 1 if anything does not hold."
    failed, rng, drawn, encoders = [], random.Random(0), 0, {}
    chosen = {name: settings for name, settings in all_variants().items() if not only or any(word in name for word in only.split(","))}
    for name, settings in chosen.items():
        with tempfile.TemporaryDirectory() as folder:
            same = read_again(small_model(settings), Path(folder) / "model")
            exported = export_difference(Path(folder) / "model", encoders)
        gradient = gradient_difference(small_model(settings))
        holds = gradient < 1e-9 and same and exported < 1e-4
        failed += [] if holds else [name]
        print(f"{name:36} loss and gradients {gradient:.0e}, {'read again' if same else 'READ OTHERWISE'}, ONNX {exported:.0e}", flush=True)
    while drawn < combinations:
        settings = combination(rng)
        try:
            model = small_model(settings)
        except InputError:  # parts that do not go together
            continue
        drawn += 1
        if (gradient := gradient_difference(model)) > 1e-9:
            failed.append(str(settings))
            print(f"loss and gradients {gradient:.0e} of {settings}", flush=True)
    print(f"{len(encoders)} encoders exported, {drawn} combinations of many parts drawn")
    print(f"{len(chosen)} variants, {len(failed)} failed" + "".join(f"; {name}" for name in failed))
    sys.exit(bool(failed))
