"""Make an environment that holds a wheel and what it requires, and nothing else.

    python tools/wheel_env.py FOLDER WHEEL [EXTRA ...] [--beside REQUIREMENT ...] [--over ENVIRONMENT]

FOLDER becomes a virtual environment. What the wheel (with these extras) names as required, what stands after --beside, and
what these require in turn, is taken from the environment that runs this: its files are hard links, so nothing is downloaded
and the disk holds no second PyTorch. FOLDER must lie on the same disk. --over names an environment that this made and that
holds a part of it already: the rest is put over that, which is faster. Console commands of the requirements are left out,
since they would start the other environment. `pip check` then says whether anything is missing.
"""
import argparse
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


def closure(requirements: list[Requirement]) -> dict[str, Distribution]:
    "All distributions that these need, of those that are installed, by name."
    found: dict[str, Distribution] = {}
    asked, waiting = set(), list(requirements)
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


def in_wheel(wheel: Path) -> Distribution:
    "The distribution in a wheel."
    opened = zipfile.ZipFile(wheel)
    info = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
    return PathDistribution(zipfile.Path(opened, info.removesuffix("METADATA")))


def site_of(folder: Path) -> Path:
    "Where an environment has its packages."
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(subprocess.run([str(folder / "bin" / "python"), "-c", ask], check=True, capture_output=True, text=True).stdout.strip())


def main(folder: Path, wheel: Path | None, *extras: str, beside: list[str], over: Path | None = None) -> None:
    "Make the environment, with these extras of the wheel, or without a wheel, and these requirements beside it."
    venv.create(folder, with_pip=over is None)
    site = site_of(folder)
    sites = [site]
    if over:
        sites.append(site_of(over))
        (site / "over.pth").write_text(f"{sites[1]}\n", encoding="utf-8")
    own = required(in_wheel(wheel), set(extras)) if wheel else []
    packages = closure([*own, *map(Requirement, beside)])
    there = {canonicalize_name(package.name) for package in distributions(path=[str(each) for each in sites])}
    for name in packages.keys() - there:
        link(packages[name], site)
    # -I: a folder that holds the project, or a PYTHONPATH to it, would pass for an installed wheel.
    pip = [str(folder / "bin" / "python"), "-I", "-m", "pip", "--disable-pip-version-check"]
    if wheel:
        subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed", str(wheel)], check=True)
    subprocess.run([*pip, "check"], check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("extras", nargs="*")
    parser.add_argument("--beside", nargs="+", default=[])
    parser.add_argument("--over", type=Path)
    given = parser.parse_args()
    main(given.folder, given.wheel, *given.extras, beside=given.beside, over=given.over)
