"""Make an environment that holds a wheel and what it requires, and nothing else.

    python tools/wheel_env.py FOLDER WHEEL [EXTRA ...]

FOLDER becomes a virtual environment. What the wheel names as required, and what that requires in turn, is taken from the
environment that runs this: its files are hard links, so nothing is downloaded and the disk holds no second PyTorch. FOLDER
must lie on the same disk. Console commands of the requirements are left out, since they would start the other environment.
`pip check` then says whether anything is missing.
"""
import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def required(package: Distribution, extras: set) -> list[Requirement]:
    "What a distribution requires here, with these extras of it."
    listed = [Requirement(line) for line in package.requires or []]
    return [one for one in listed if not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in extras | {""})]


def closure(package: Distribution, extras: set) -> dict[str, Distribution]:
    "All distributions that one needs, of those that are installed, by name."
    found: dict[str, Distribution] = {}
    asked = set()
    waiting = required(package, extras)
    while waiting:
        one = waiting.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in asked:
            continue
        asked.add(key)
        try:
            found[key[0]] = distribution(one.name)
        except PackageNotFoundError:
            sys.exit(f"{one} is not installed, expected all that the wheel requires")
        waiting += required(found[key[0]], one.extras)
    return found


def link(package: Distribution, site: Path) -> None:
    "Link the files of a distribution into another folder of packages."
    for name in package.files or []:
        if ".." not in name.parts:  # a console command
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(name.locate(), site / name)


def main(folder: Path, wheel: Path, *extras: str) -> None:
    "Make the environment."
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())
    with zipfile.ZipFile(wheel) as opened:
        info = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        packages = closure(PathDistribution(zipfile.Path(opened, info.removesuffix("METADATA"))), set(extras))
    there = {canonicalize_name(package.name) for package in distributions(path=[str(site)])}
    for name in packages.keys() - there:
        link(packages[name], site)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    subprocess.run([*pip, "check"], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
