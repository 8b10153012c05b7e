"""Make an environment with the wheel and the oldest releases that settings.ini allows, to run the pages that need no extra in.

    python tools/oldest.py FOLDER WHEEL
    python tools/online_test.py --environment FOLDER

What settings.ini requires is taken in the oldest release that fits all the others, and what that requires in the newest; so
uv resolves it with --resolution lowest-direct. The Python is the oldest, too. Needs uv (pip install uv) and the package
index. Prints the releases that were taken.
"""
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from fastcore.script import call_parse
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from page_needs import ROOT, THERE


@call_parse
def main(
    folder: Path,  # the environment, which must not exist yet
    wheel: Path,  # of the library
):
    "Make the environment."
    uv = shutil.which("uv")
    if not uv:
        sys.exit("uv is not installed: pip install uv")
    settings = ConfigParser(delimiters=["="])
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    required = settings["DEFAULT"]["requirements"].split()
    python = ["--python-version", settings["DEFAULT"]["min_python"]]
    compile_ = [uv, "pip", "compile", "-", "--quiet", "--no-header", "--no-annotate", "--resolution", "lowest-direct", *python]
    done = subprocess.run(compile_, input="\n".join(required), check=True, capture_output=True, text=True)
    pins = done.stdout.split()
    subprocess.run([uv, "venv", "--quiet", "--python", settings["DEFAULT"]["min_python"], str(folder)], check=True)
    interpreter = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", interpreter, *pins, THERE, "pip", wheel], check=True)
    direct = {canonicalize_name(Requirement(one).name) for one in required}
    print(*[pin for pin in pins if pin.partition("==")[0] in direct])
