"""Write `requirements-dev.lock`: every package of the development environment, with the hashes of its files.

It is made from settings.ini by `uv pip compile` for the oldest supported Python on Linux (x86_64), and nothing is installed. Without
options this asks the package index, so it needs a network and `uv` (`pip install uv`). With `--check` it needs neither:
it says whether the lock holds what settings.ini asks for, and exits 1 if it does not.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from configparser import ConfigParser
from pathlib import Path

from fastcore.script import call_parse
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements-dev.lock"
SETTINGS = ConfigParser(delimiters=["="])
SETTINGS.read(ROOT / "settings.ini", encoding="utf-8")
PYTHON = SETTINGS["DEFAULT"]["min_python"]
PLATFORM = "x86_64-manylinux_2_28"
OPTIONS = [
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
    "--no-config",
    "--quiet",
    "--python-version",
    PYTHON,
    "--python-platform",
    PLATFORM,
]
HEADER = f"""\
# Every package of the development environment for Python {PYTHON} on Linux (x86_64), with the hashes of its files.
# Written by tools/lock.py from settings.ini; do not edit it. To install:
# pip install --require-hashes -r requirements-dev.lock && pip install --no-deps --no-build-isolation -e .
"""


def wanted() -> list[str]:  # such as 'torch>=2.11,<2.12', sorted
    "What settings.ini asks for: requirements, those of the extras and of development, and what builds the package."
    lists = [
        value.split()
        for name, value in SETTINGS["DEFAULT"].items()
        if name == "requirements" or name.endswith("_requirements")
    ]
    builds = re.search(r'^requires = \["(.+)"\]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]
    return sorted({*sum(lists, []), builds})


def locked(
    text: str,  # content of a lock
) -> dict:  # for each package its version, and how many hashes it has
    "What a lock holds."
    found = {}
    for entry in re.split(r"\n(?=\S)", text):
        if pin := re.match(r"([\w.-]+)==([^\s;\\]+)", entry):
            found[canonicalize_name(pin[1])] = pin[2], len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry))
    return found


def problems(
    text: str,  # content of a lock
    requirements: list[str],  # what it has to hold
) -> list[str]:  # what is wrong, one line each
    "Compare a lock with requirements."
    pins, wrong = locked(text), []
    for requirement in map(Requirement, requirements):
        version, _ = pins.get(canonicalize_name(requirement.name), ("", 0))
        if not version:
            wrong.append(f"{requirement.name}: not in the lock")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name}: {version} in the lock, expected {requirement.specifier}")
    wrong += [f"{name}: has no hash" for name, (_, hashes) in pins.items() if not hashes]
    wrong += [
        f"names a place to download from: {line.strip()}"
        for line in text.splitlines()
        if "://" in line or "--index" in line or "--find-links" in line
    ]
    return wrong


def compile_lock(
    requirements: list[str],  # what it has to hold
    upgrade: bool,  # take the newest versions, not those of the lock that is there
) -> str:  # content of the lock
    "Let uv choose versions and ask the index for their hashes."
    uv = shutil.which("uv")
    if not uv:
        sys.exit("uv is not installed: pip install uv")
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "settings.ini", Path(folder) / "lock"
        source.write_text("\n".join(requirements) + "\n", encoding="utf-8")
        if LOCK.exists() and not upgrade:
            shutil.copy(LOCK, made)
        subprocess.run(
            [uv, "pip", "compile", source.name, "--output-file", made.name, *OPTIONS], cwd=folder, check=True
        )
        return HEADER + re.sub(r"-r settings\.ini", "settings.ini", made.read_text(encoding="utf-8"))


@call_parse
def main(
    check: bool = False,  # Only say whether the lock holds what settings.ini asks for
    upgrade: bool = False,  # Take the newest versions that fit, not those of the lock that is there
):
    "Write the lock of the development environment, or check it."
    requirements = wanted()
    if not check:
        LOCK.write_text(compile_lock(requirements, upgrade), encoding="utf-8")
    text = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    wrong = problems(text, requirements)
    print(*wrong, sep="\n", end="\n" if wrong else "")
    hashes = sum(count for _, count in locked(text).values())
    held = f"{len(requirements)} requirements, {len(locked(text))} packages, {hashes} hashes"
    print(f"{LOCK.name}: {held}, {len(wrong)} problems")
    sys.exit(bool(wrong))
