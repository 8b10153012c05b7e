"""Every part that the library has by name, and a few settings that are no names, each in a model of its own."""
from mwmae.attention import WINDOWS
from mwmae.model import CHOICES, MAEConfig

MORE = {  # variants that are no single entry of a registry
    "paper": {}, "mae": {"multi_window": False, "cls_token": True},
    "rel_pos_bias": {"rel_pos_bias": True}, "learned_positions": {"learned_positions": True},
    "registers 2": {"registers": 2}, "cls_token": {"cls_token": True},
    "qk_norm": {"qk_norm": True}, "layer_scale 1e-5": {"layer_scale": 1e-5}, "layer_scale 0.1": {"layer_scale": 0.1},
    "drop_path 0.1": {"drop_path": 0.1},
    "utterance_loss 1": {"target": "teacher", "utterance_loss": 1.0, "cls_token": True},
    "rms, swiglu, qk_norm, rotary": {"norm": "rms", "feed_forward": "swiglu", "qk_norm": True, "positions": "rotary"},
    "swiglu, rms, macaron in the decoder": {
        "decoder_feed_forward": "swiglu", "decoder_norm": "rms", "decoder_block": "macaron", "decoder_qk_norm": True,
        "decoder_layer_scale": 0.1},
    "macaron of half the depth": {"block": "macaron", "encoder_depth": 2, "decoder_depth": 1},
}
LEFT_OUT = {"windows_triton"}  # the numbers of windows by another kernel
USUAL = {"decoder_attention": "windows", "windows": "divisors"}  # what None means


def all_variants() -> dict:
    "Settings by name of the variant: those above, and every entry of a registry that is not the paper's."
    found = dict(MORE)
    for setting, parts in (CHOICES | {"windows": WINDOWS}).items():
        if setting.startswith("decoder_") and setting != "decoder_attention":
            continue  # the same registry as for both
        for name in [name for name in parts if name not in LEFT_OUT]:
            if name != USUAL.get(setting, getattr(MAEConfig, setting)):
                found[f"{setting} {name}"] = {setting: name}
    return found
