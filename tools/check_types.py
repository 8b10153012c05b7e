"""Check the types of the package with mypy, as pyproject.toml says.

mypy doesn't know what fastcore's `@patch` does. So it gets a copy of the package, in `.mypy_cache/`, in which each
function that a chapter adds to a class stands within that class. The places that it names are those of the package.
"""
import ast
import re
import subprocess
import sys
from pathlib import Path

from fastcore.script import call_parse

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".mypy_cache"


def is_patch(
    function: ast.stmt,  # a statement of a module
) -> bool:
    "Whether a statement is a function that `@patch` adds to the class of its first parameter."
    if not isinstance(function, ast.FunctionDef) or not function.decorator_list:
        return False
    return ast.unparse(function.decorator_list[0]).startswith("patch") and bool(function.args.args)


def within_classes(
    source: str,  # of a module
) -> tuple[list[str], list[int]]:  # lines of the copy, and the number of each in the source
    "Move functions that `@patch` adds to a class of this module into the class."
    lines, tree = source.splitlines(), ast.parse(source)
    ends = {node.name: node.end_lineno for node in tree.body if isinstance(node, ast.ClassDef)}
    moved, added = set(), {}  # numbers of lines that go, and those that come behind a line
    for node in filter(is_patch, tree.body):
        owner = ast.unparse(node.args.args[0].annotation)
        if owner not in ends:
            continue
        begin = node.decorator_list[0].lineno
        moved.update(range(begin, node.end_lineno + 1))
        added.setdefault(ends[owner], []).extend(range(begin, node.end_lineno + 1))
    made, numbers = [], []

    def write(number, indent):
        line = lines[number - 1]
        if indent and re.match(r"@patch\b", line):
            line = "@property" if "as_prop" in line else ""
        made.append(indent + line if line else "")
        numbers.append(number)

    for number in range(1, len(lines) + 1):
        if number not in moved:
            write(number, "")
        for other in added.get(number, []):
            write(other, "    ")
    return made, numbers


def copy_package(
    package: Path,  # folder of the package
    copy: Path,  # folder of the copy; files that would not change are left, for mypy's cache
) -> dict[str, list[int]]:  # for each file of the copy, such as 'mwmae/model.py', the numbers of its lines in the source
    "Copy the modules of the package."
    numbers = {}
    copy.mkdir(parents=True, exist_ok=True)
    for left in copy.glob("*.py"):
        if not (package / left.name).exists():
            left.unlink()
    for module in sorted(package.glob("*.py")):
        lines, numbers[f"{package.name}/{module.name}"] = within_classes(module.read_text(encoding="utf-8"))
        text, target = "\n".join(lines) + "\n", copy / module.name
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
    return numbers


@call_parse
def main():
    "Check the types of the package, print what is wrong, and exit 1 if there is anything."
    numbers = copy_package(ROOT / "mwmae", CACHE / "copy" / "mwmae")
    options = ["--config-file", ROOT / "pyproject.toml", "--cache-dir", CACHE]
    done = subprocess.run([sys.executable, "-m", "mypy", *options], cwd=CACHE / "copy", stdout=subprocess.PIPE, text=True)
    for line in done.stdout.splitlines():
        place = re.match(r"(mwmae/\w+\.py):(\d+):", line)
        print(line.replace(place[0], f"{place[1]}:{numbers[place[1]][int(place[2]) - 1]}:", 1) if place else line)
    sys.exit(done.returncode)
