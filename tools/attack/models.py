from .case import Case
from .fixtures import put
def cases():
    return [Case("models/x", "mwmae_embed sounds --model model --out out", put("sounds","model"), status=0, leaves=("out/a.wav.npy",)),
     Case("models/real", "mwmae_embed sounds --model model --out out", put("sounds","model"), status=0, leaves=("out/a.wav.npy",), real=True),
     Case("models/y", "mwmae_hear tasks --model model --grid grid.json --seeds 2 --out hear2", put("tasks","model","grid.json"), status=0),
     Case("models/c", "mwmae_convert jax conv --encoder_heads 3", put("jax"), status=0),
     Case("models/e", "mwmae_export model m.onnx", put("model"), status=0),
     Case("models/p", "mwmae_export model m.pt2 --format program", put("model"), status=0),
     Case("models/a", "mwmae_analyze model --data store --out an --clips 2 --formats png", put("model","store"), status=0),
     Case("models/r", "mwmae_report results --out rep", put("results"), status=0),
     Case("models/ab", "mwmae_ablate 7 --data store --tasks tasks --epochs 1 --seeds 1", put("store","tasks"), status=0),
     Case("models/pre", "mwmae_pretrain --data sounds --out run2 --epochs 1 --batch 4", put("sounds"), status=0),
     ]
