"""Put into the site what the page 'Try it' runs on: the engine, the model, the recorded example, and a list of them.

tools/build_site.py runs this. The engine is onnxruntime-web as package-lock.json names it: npm compares what it
downloads with the SHA-512 in the lock. What takes long is kept in .made/ under the hash of what it was made from.
Without npm, or without the packages of mwmae[onnx], the site is made all the same: the page then plays its example.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastcore.script import call_parse

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MADE = HERE / ".made"
ENGINE = "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
LISTED = "model.onnx", f"ort/{ENGINE[-1]}", "example.safetensors", "atlas.safetensors"
EXPORT = "from mwmae.export import export_autoencoder as e; from mwmae.models import load_mae as l; " \
         "import sys; e(l('packaged'), sys.argv[1])"


class Missing(Exception):
    "What this machine lacks, in a sentence."


def last_line(
    done: subprocess.CompletedProcess,  # a command that failed
) -> str:  # what it said last
    "The last line of a failed command that speaks of an error."
    lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
    telling = [line for line in lines if "rror" in line and "complete log" not in line]
    return (telling or lines or ["it says nothing"])[-1][:300]


def run(
    *command: str,  # program and arguments
    lacks: str,  # what to say if it fails
):
    "Run a command in this folder. Raises `Missing` if it fails."
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Missing(f"{lacks} ({last_line(done)})")


def engine() -> Path:  # the folder of the engine's files
    "Have npm install what package-lock.json names, unless it is there. Raises `Missing`."
    package = HERE / "node_modules" / "onnxruntime-web"
    pinned = json.loads((HERE / "package.json").read_text())["devDependencies"]["onnxruntime-web"]
    facts = package / "package.json"
    if not facts.is_file() or json.loads(facts.read_text())["version"] != pinned:
        if not (npm := shutil.which("npm")):
            raise Missing("npm is not installed")
        run(npm, "ci", lacks="npm ci failed")
    if lost := [name for name in ENGINE if not (package / "dist" / name).is_file()]:
        raise Missing(f"onnxruntime-web {pinned} has no {lost[0]}")
    return package / "dist"


def fingerprint(
    files: list[Path],  # what something is made from
) -> str:  # in hexadecimal
    "Hash files by name and content, and the versions of what reads them."
    found = hashlib.sha256()
    for name in ("torch", "onnx", "onnxscript"):
        try:
            found.update(f"{name} {version(name)}\n".encode())
        except PackageNotFoundError:
            pass
    for file in files:
        content = file.read_bytes()
        found.update(f"{file.name} {len(content)}\n".encode() + content)
    return found.hexdigest()


def made(
    name: str,  # of the file
    sources: list[Path],  # what it is made from, beside the library
    *command: str,  # what makes it, without the path to write
) -> Path:  # the file in .made/
    "Make a file, or find the one that was made from the same sources. Raises `Missing`."
    library = sorted(path for path in (ROOT / "mwmae").rglob("*") if path.is_file() and path.suffix != ".pyc")
    file = MADE / f"{fingerprint(library + sources)[:16]}-{name}"
    if not file.is_file():
        MADE.mkdir(exist_ok=True)
        for old in MADE.glob(f"*-{name}"):
            old.unlink()
        new = MADE / name
        run(sys.executable, *command, str(new), lacks=f"{name} could not be made")
        os.replace(new, file)
    return file


def fill(
    out: Path,  # the folder try/ of the site
):
    "Write what can be had, and a list of it with sizes and hashes. Raises `Missing` for what cannot."
    example = made("example.safetensors", [HERE / "library.py", HERE / "example.py", *sorted((ROOT / "nbs" / "sounds").iterdir())],
                   "example.py", "--out")
    shutil.copyfile(example, out / "example.safetensors")
    dist, model = engine(), made("model.onnx", [], "-c", EXPORT)
    (out / "ort").mkdir(exist_ok=True)
    for name in ENGINE:
        shutil.copyfile(dist / name, out / "ort" / name)
    shutil.copyfile(model, out / "model.onnx")


def list_files(
    out: Path,  # the folder try/ of the site
):
    "Write files.json, by which the page knows how much it will load, and whether a copy that it kept is the same."
    listed = {}
    for name in LISTED:
        if (out / name).is_file():
            content = (out / name).read_bytes()
            listed[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (out / "files.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    print("Try it: " + ", ".join(f"{name} {facts['bytes'] / 1e6:.1f} MB" for name, facts in listed.items()))


@call_parse
def main(
    out: str,  # the folder try/ of the site
):
    "Fill the folder; say in one line what is not there and why."
    folder = Path(out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        fill(folder)
    except Missing as lack:
        print(f"Try it: {lack}; the page plays its example or says that it cannot")
    list_files(folder)
