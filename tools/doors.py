"""Use every door of the library from an environment of its own, as its documentation prints it, and compare what comes out.

    python tools/doors.py WHEEL

A door is a way to a model: a model folder and its card, a folder for transformers and its card, and torch.hub. The Python
is cut out of the card or of the page, and only names of places are filled in. The environment holds what the door asks for
and nothing else (tools/wheel_env.py): the wheel; or transformers without the library; or what hubconf.py names, and a
clone. The embedding must equal that of the library here. Prints a line for each door, and how many were used.
"""
import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import wheel_env
from fastcore.script import call_parse

from mwmae.audio import read_audio
from mwmae.commands import mwmae_export
from mwmae.embed import get_scene_embeddings, load_model

ROOT = Path(__file__).resolve().parent.parent
SOUND = ROOT / "nbs" / "sounds" / "crow.wav"
WITHOUT = "import importlib.util\nassert importlib.util.find_spec('mwmae') is None\n"


class Door(NamedTuple):
    "A way to a model."
    name: str
    wheel: bool  # whether the library is installed there
    beside: list[str]  # what else is
    code: str  # Python as its documentation prints it, which leaves an array `embeddings`


def python_of(text: str) -> str:
    "The first block of Python in Markdown."
    return re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]


def page_text(name: str, heading: str) -> str:
    "The Markdown of a page from a heading on."
    cells = json.loads((ROOT / "nbs" / name).read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return text[text.index(f"## {heading}\n") :]


def hub_needs() -> list[str]:
    "What hubconf.py says that it needs."
    tree = ast.parse((ROOT / "hubconf.py").read_text(encoding="utf-8"))
    lists = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "dependencies"]
    return ast.literal_eval(lists[0])


def doors(folder: Path) -> list[Door]:
    "Write what the doors open, and say how each is used. All run in this folder, beside sound.wav."
    shutil.copy(SOUND, folder / "sound.wav")
    mwmae_export("packaged", str(folder / "own"), format="folder")
    mwmae_export("packaged", str(folder / "foreign"), format="transformers")
    cards = {name: python_of((folder / name / "README.md").read_text(encoding="utf-8")) for name in ("own", "foreign")}
    hub = [line for line in python_of(page_text("73_hub_folder.ipynb", "torch.hub")).splitlines() if "CLONE" in line]
    hub = ["import torch", *hub, "import mwmae", "sounds = mwmae.read_audio('sound.wav')[None]", "embeddings = mwmae.get_scene_embeddings(sounds, model)"]
    clone = f"CLONE = {str(ROOT)!r}\n"
    return [
        Door("a model folder, by its card", True, [], cards["own"]),
        Door("a folder for transformers, by its card", False, ["transformers", "torch"], WITHOUT + cards["foreign"]),
        Door("torch.hub, from a clone", False, hub_needs(), WITHOUT + clone + "\n".join(hub)),
    ]


def use(door: Door, environment: Path, folder: Path) -> dict:  # arrays of the sound, if it made one, and of the embedding
    "Run the code of a door in its environment."
    keep = "\nimport numpy\nnumpy.savez('kept.npz', embeddings=embeddings, **({'sound': sound} if 'sound' in globals() else {}))\n"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "cache"), "TORCH_HOME": str(folder / "cache")}
    done = subprocess.run([environment / "bin" / "python", "-P", "-c", door.code + keep], cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"FAILED  {door.name}:\n{door.code}\n{done.stderr}")
    return dict(np.load(folder / "kept.npz", allow_pickle=False))


@call_parse
def main(
    wheel: Path,  # the wheel of the library
):
    "Use all doors; exit 1 at the first that fails or gives another embedding."
    model, count = load_model("packaged"), 0
    with tempfile.TemporaryDirectory(prefix="mwmae-doors-") as place:
        folder = Path(place) / "work"
        folder.mkdir()
        for door in doors(folder):
            environment = Path(place) / f"environment{count}"
            wheel_env.main(environment, wheel.resolve() if door.wheel else None, beside=door.beside)
            kept = use(door, environment, folder)
            sound = torch.from_numpy(kept["sound"]).float() if "sound" in kept else read_audio(SOUND)
            difference = np.abs(kept["embeddings"] - get_scene_embeddings(sound[None], model).numpy()).max()
            if not difference <= 1e-5:
                sys.exit(f"FAILED  {door.name}: differs by {difference:.0e}")
            count += 1
            print(f"passed  {door.name}: within {difference:.0e} of the library", flush=True)
    print(f"{count} doors used")
