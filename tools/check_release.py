"""Check that the tree is ready for a release: one version everywhere, and a dated section in the changelog.

Prints `X.Y.Z can be released`, or what is missing, and then exits 1.
"""
import re
import sys
from configparser import ConfigParser
from pathlib import Path

from fastcore.script import call_parse

ROOT = Path(__file__).resolve().parent.parent


def problems(
    root: Path,  # folder of the project
    tag: str,  # the tag of the release, such as v1.2.3; empty: any
) -> tuple[str, list[str]]:  # the version of settings.ini, and what is missing
    "What stands in the way of a release."
    settings = ConfigParser(delimiters=["="])
    settings.read(root / "settings.ini", encoding="utf-8")
    version, wrong = settings["DEFAULT"]["version"], []
    if tag and tag != f"v{version}":
        wrong.append(f"the tag is {tag}, expected v{version} as in settings.ini")
    expected = {
        "CHANGELOG.md": rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$",
        "CITATION.cff": rf"^version: {re.escape(version)}$",
        "mwmae/__init__.py": rf'^__version__ = "{re.escape(version)}"$',
    }
    for name, line in expected.items():
        if not re.search(line, (root / name).read_text(encoding="utf-8"), re.MULTILINE):
            wrong.append(f"{name}: no line like {line}")
    return version, wrong


@call_parse
def main(
    tag: str = "",  # the tag of the release; default: none yet
):
    "Check that a release can be made."
    version, wrong = problems(ROOT, tag)
    print(*wrong or [f"{version} can be released"], sep="\n")
    sys.exit(bool(wrong))
