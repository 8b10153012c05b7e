"""Write each page as a notebook that runs anywhere, such as in Colab or on Kaggle: nothing but `pip install mwmae` has to be there.

    python tools/online.py FOLDER [--ref REF]

The site links every page that has code to its form in the branch `online`, which the workflow `site.yml` fills with FOLDER.
It differs from the notebook in nbs/ in this:

- The first cell of code installs mwmae, with the extras and packages that the page needs, and fetches the files that it
  reads to where its paths lead. Both are found in its code: a package is needed if a cell imports it, a file if an
  expression names it. Only `USED_INSIDE` is kept by hand.
- A cell that can only be true in a clone, marked `#| clone`, is left out, and so are cells for nbdev.
- What the page hides or folds is folded, and code that is shown and not run is text.
- Answers of exercises are folded, and links lead to the site.

REF is what the page is taken from: the tag of a release (by default that of the version in settings.ini), whose package the
index has, or a commit, whose package pip then builds. tools/online_test.py runs what is written here.
"""
import ast
import json
import re
import sys
from functools import cache
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import NamedTuple

from common import page_name
from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.process import NBProcessor
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from wheel_env import closure, required

ROOT = Path(__file__).resolve().parent.parent
BRANCH = "online"  # where the site's links look for what is written here
ELSEWHERE = "MWMAE_FILES"  # an environment variable: the address that files are fetched from in place of GitHub's
SOUNDS = "sounds"  # a word that names a folder of nbs/ where a function is given it
HERE = "./"
THERE = "ipython"  # what every notebook has
USED_INSIDE = {  # extras that the library needs for what a page does, by the name of the page
    "far_files": ["remote"],
    "howto_embed": ["parquet"],
    "recordings": ["remote"],
    "sources": ["remote"],
}

SET_UP = '''#@title Set up: install mwmae, fetch the files of this page
# Run this cell first. On Kaggle, switch on "Internet" in the settings of the notebook before.
%pip install -q {requirements}
'''
FETCH = '''
def fetch(names, source):
    "Fetch files of the project into a folder of their own, and work in it as the page expects."
    import os
    from concurrent.futures import ThreadPoolExecutor
    from pathlib import Path
    from urllib.request import urlretrieve

    if Path.cwd().name != "nbs":  # else this cell has run before
        os.makedirs("mwmae-page/nbs", exist_ok=True)
        os.chdir("mwmae-page/nbs")
    for name in names:
        Path("..", name).parent.mkdir(parents=True, exist_ok=True)
    source = os.environ.get("{elsewhere}", source)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: urlretrieve(f"{{source}}/{{name}}", Path("..", name)), names))

fetch("""
{files}
""".split(), "{source}")
'''


def for_clone(
    cell,  # a cell as NBProcessor reads it
) -> bool:
    "Whether a cell of code serves nbdev alone, or tests what is only true in a clone."
    return bool(cell.directives_.keys() & {"default_exp", "clone"}) or "nbdev_export" + "(" in cell.source or not cell.source.strip()


def read(
    notebook: Path,
):  # its cells have `directives_`, and sources without them
    "Read a notebook as nbdev does."
    return NBProcessor(notebook).nb


@cache
def pages() -> dict[str, Path]:  # name of the page, without .html -> notebook
    "The pages that are written: those with code, but for the front page."
    config = get_config()
    found = {}
    for path in sorted(config.nbs_path.glob("*.ipynb")):
        code = any(cell.cell_type == "code" and not for_clone(cell) for cell in read(path).cells)
        if code and path.name != config.readme_nb:
            found[page_name(path.name).removesuffix(".html")] = path
    return found


def open_links(
    name: str,  # of a page, without .html
) -> dict[str, str]:  # words of the link -> address
    "Where a page opens as a notebook."
    config = get_config()
    place = f"{config.user}/{config.repo}/blob/{BRANCH}/{name}.ipynb"
    return {
        "Open in Colab": f"https://colab.research.google.com/github/{place}",
        "Open in Kaggle": f"https://kaggle.com/kernels/welcome?src=https://github.com/{place}",
    }


def syntax(
    source: str,  # of a cell
) -> ast.Module:
    "Parse a cell, without lines that only IPython understands."
    return ast.parse(re.sub(r"^[%!].*", "", source, flags=re.MULTILINE))


class Reads(ast.NodeVisitor):
    "Follows paths through the code of a page: strings, f-strings, `Path(...)`, `/`, and variables that hold one of these."

    def __init__(self):
        self.nbs, self.held, self.files = get_config().nbs_path.resolve(), {}, set()

    def pattern(
        self,
        node: ast.AST,  # an expression
    ) -> str:  # a path seen from nbs/, with * for what is not known; empty if it is none
        "What an expression says of a path."
        match node:
            case ast.Constant(value=str(text)):
                return "" if "*" in text else text
            case ast.Name(id=name):
                return self.held.get(name, "")
            case ast.Call(func=ast.Name(id="Path"), args=[ast.Constant(value=str(text))]):
                return f"{text}/"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="Path"), attr="cwd")):
                return HERE
            case ast.Attribute(attr="parent", value=value) if self.pattern(value) == HERE:
                return f"{HERE}.."
            case ast.BinOp(op=ast.Div(), left=left, right=right):
                return f"{start}/{self.pattern(right) or '*'}".replace("//", "/") if (start := self.pattern(left)) else ""
            case ast.JoinedStr(values=parts):
                texts = [self.pattern(getattr(part, "value", part) if isinstance(part, ast.FormattedValue) else part) for part in parts]
                return "".join(text or "*" for text in texts)
        return ""

    def found(
        self,
        pattern: str,  # see above
    ) -> set[Path]:  # empty if it names nothing
        "Files that a path names: itself, all of a folder, all that fit."
        if not re.fullmatch(r"(\./|\.\./)*\w[\w.-]*/[\w.*/-]*|\./(\.\./)?\w[\w.-]*", pattern):
            return set()
        name = re.sub(r"\*+", "*", pattern.rstrip("/"))
        paths = list(self.nbs.glob(name)) if "*" in name else [self.nbs / name]
        files = {file.resolve() for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()}
        return {file for file in files if file.is_relative_to(ROOT) and "__pycache__" not in file.parts}

    def visit(self, node):
        "Take the largest expressions that name files; a variable counts where it is used."
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.held.pop(name, None)
                if (pattern := self.pattern(value)).startswith(HERE) or self.found(pattern):
                    self.held[name] = pattern
                    return
            case ast.FunctionDef(args=arguments):
                held = self.held
                own = {each.arg for each in ast.walk(arguments) if isinstance(each, ast.arg)}
                self.held = {name: pattern for name, pattern in held.items() if name not in own}
                self.generic_visit(node)
                self.held = held
                return
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if len(names) == len(values):
                for name, value in zip(names, values):
                    self.visit(ast.Assign([name], value))
                return
            case ast.Call(args=arguments) if any(self.pattern(each) == SOUNDS for each in arguments):
                self.files |= self.found(f"{SOUNDS}/")
        files = self.found(self.pattern(node))
        self.files |= files
        if not files:
            self.generic_visit(node)


def files_read(
    modules: list[ast.Module],  # the syntax of each cell, in order
) -> list[str]:  # paths in the project
    "The files that a page reads, as far as its code says."
    reads = Reads()
    for module in modules:
        reads.visit(module)
    return sorted(file.relative_to(ROOT).as_posix() for file in reads.files)


@cache
def known() -> tuple[dict, set, dict, dict]:  # module -> packages; packages; package -> extra; package -> its pin
    "Where modules come from; what comes with mwmae or with a notebook; what its extras bring; what else its tests use."
    own = distribution(get_config().lib_name)
    base = {canonicalize_name(one.name) for one in required(own, set())}
    extras = {}
    for extra in sorted(set(own.metadata.get_all("Provides-Extra")) - {"dev"}):
        extras |= {canonicalize_name(one.name): extra for one in required(own, {extra}) if one.name not in base}
    pins = {canonicalize_name(one.name): f"{one.name}{one.specifier}" for one in required(own, {"dev"})}
    there = {*closure([*required(own, set()), Requirement(THERE)]), canonicalize_name(own.name)}
    return packages_distributions(), there, extras, pins


def needs(
    name: str,  # of a page
    code: list[ast.Module],  # the syntax of each cell
) -> tuple[list[str], list[str]]:  # extras, and requirements beside mwmae
    "What has to be installed so that a page runs."
    imported = set()
    for node in (node for cell in code for node in ast.walk(cell)):
        if isinstance(node, ast.Import):
            imported |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module.partition(".")[0])
    modules, there, from_extras, pins = known()
    packages = {canonicalize_name(modules[each][0]) for each in imported & modules.keys()} - there
    extras = {from_extras[package] for package in packages if package in from_extras}
    others = {pins.get(package, package) for package in packages - set(from_extras)}
    return sorted(extras | set(USED_INSIDE.get(name, []))), sorted(others)


def requirement(
    extras: list[str],  # of mwmae
    ref: str,  # tag or commit
) -> str:  # what pip understands
    "mwmae as it was at a release or a commit."
    config = get_config()
    name = config.lib_name + (f"[{','.join(extras)}]" if extras else "")
    released = f"{name}=={config.version}"
    return released if ref == f"v{config.version}" else f"{name} @ {config.git_url}/archive/{ref}.zip"


def title(
    cell,  # a cell of code
) -> str:  # empty if the cell is shown
    "What stands for a cell that the page hides or folds."
    directives = cell.directives_
    body = syntax(cell.source).body
    names = [node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    if not directives.keys() & {"hide", "export", "exporti", "code-fold:", "echo:"}:
        return ""
    if all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in body):
        return "Imports"
    if "hide" in directives and any(isinstance(node, ast.Assert) or "test_" in ast.unparse(node) for node in body):
        return "Checks"
    return f"Code: {', '.join(names)}" if names else "Code"


def fold(
    cell: dict,  # a cell of code; its source and metadata change
    words: str,  # what stands for it
) -> None:
    "Fold a cell, in the ways of Colab, Kaggle and Jupyter."
    cell["source"] = f"#@title {words}\n{cell['source']}"
    cell["metadata"] |= {"cellView": "form", "_kg_hide-input": True, "jupyter": {"source_hidden": True}}


def to_site(
    link: re.Match,  # ](address) in Markdown
) -> str:
    "Make a relative link lead to the page of the site, or to the file on GitHub."
    config = get_config()
    address, _, anchor = link[1].partition("#")
    site = config.doc_host + config.doc_baseurl
    if not address or re.match(r"[a-z]+:", address):
        return link[0]
    if address.endswith(".ipynb"):
        address = f"{site}/{page_name(address)}"
    else:
        address = f"{config.git_url}/blob/{config.branch}/{get_config().nbs_path.name}/{address}"
    return f"]({address}{'#' if anchor else ''}{anchor})"


def unfolds(
    callout: re.Match,  # its content
) -> str:  # empty if nothing follows its title; then cells of code do
    "Make a callout of Quarto into what a reader unfolds."
    head, _, body = callout[1].strip().partition("\n")
    return f"<details><summary>{head.lstrip('# ')}</summary>\n\n{body.strip()}\n\n</details>\n" if body.strip() else ""


@cache
def names() -> NbdevLookup:
    "The names that the site links."
    return NbdevLookup()


def markdown(
    text: str,  # Markdown as Quarto reads it
) -> str:  # as all notebooks read it
    "Put links into text, and callouts into what unfolds; a callout ends with its cell."
    parts = re.split(r"(```.*?```|\[[^\]]*\]\([^)]*\))", text, flags=re.DOTALL)
    parts[::2] = [re.sub(r"`[^`\n]+`", lambda name: names().linkify(name[0]), part) for part in parts[::2]]
    text = re.sub(r"\]\(([^)\s]+)\)", to_site, "".join(parts))
    text = re.sub(r"^::: \{[^}]*collapse[^}]*\}\n(.*?)(?:^:::$|\Z)", unfolds, text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^:::.*\n?", "", text, flags=re.MULTILINE).strip()


class Page(NamedTuple):
    "The form of a page that runs anywhere."
    notebook: dict  # as its file holds it
    extras: list[str]  # of mwmae
    others: list[str]  # requirements beside mwmae
    installed: list[str]  # all requirements
    files: list[str]  # what it fetches, paths in the project


def online(
    name: str,  # of the page
    notebook: Path,  # of nbs/
    ref: str,  # tag or commit
) -> Page:
    "The form of a page that runs anywhere."
    config, source = get_config(), read(notebook)
    code = [cell for cell in source.cells if cell.cell_type == "code" and not for_clone(cell)]
    run = [cell for cell in code if cell.directives_.get("eval:") != ["false"]]
    modules = [syntax(cell.source) for cell in run]
    extras, others = needs(name, modules)
    installed, files = [requirement(extras, ref), *others], files_read(modules)
    cells, answer = [], False  # whether what follows is the answer of an exercise
    for cell in source.cells:
        kept = {"cell_type": cell.cell_type, "id": cell.id, "metadata": {}, "source": cell.source}
        if cell.cell_type == "markdown":
            opened, closed = cell.source.rfind("::: {.callout"), [*re.finditer(r"^:::$", cell.source, re.MULTILINE)]
            kept["source"] = markdown(cell.source)
            answer = opened > closed[-1].start() if closed and opened >= 0 else opened >= 0 or answer and not closed
        elif cell in code and cell not in run:
            kept |= {"cell_type": "markdown", "source": f"```python\n{cell.source.strip()}\n```"}
        elif cell in code:
            kept |= {"execution_count": None, "outputs": [] if answer else cell.outputs}
            slow = [flag for flag in config.tst_flags.split() if flag in cell.directives_]
            kept["metadata"] = {"tags": slow} if slow else {}
            if words := "Answer" if answer else title(cell):
                fold(kept, words)
        if kept["source"] and (cell.cell_type == "markdown" or cell in code):
            cells.append(kept)
    site = f"{config.doc_host}{config.doc_baseurl}/{name}.html"
    cells[0]["source"] += f"\n\n[This page on the site]({site})"
    text = SET_UP.format(requirements=" ".join(f'"{one}"' for one in installed))
    if files:
        raw = config.git_url.replace("github.com", "raw.githubusercontent.com")
        text += FETCH.format(files="\n".join(files), source=f"{raw}/{ref}", elsewhere=ELSEWHERE)
    first = {"cell_type": "code", "id": "set-up", "metadata": {}, "source": "", "execution_count": None, "outputs": []}
    fold(first, "")
    first["source"] = text.strip()
    cells.insert(1, first)
    whole = {"cells": cells, "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
    return Page(whole, extras, others, installed, files)


@call_parse
def main(
    out: str,  # folder to write to; must not be there, or be empty
    ref: str = "",  # tag of a release or commit to install and to fetch from (default: the tag of this version)
):
    "Write all pages that have code as notebooks that run anywhere."
    folder, config = Path(out), get_config()
    if folder.exists() and any(folder.iterdir()):
        sys.exit(f"{folder} is not empty, expected a folder to make")
    folder.mkdir(parents=True, exist_ok=True)
    for name, notebook in pages().items():
        content = online(name, notebook, ref or f"v{config.version}").notebook
        (folder / f"{name}.ipynb").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    about = f"Made by `tools/online.py` from the notebooks in [`nbs/`]({config.git_url}/tree/{config.branch}/nbs): change those.\n"
    (folder / "README.md").write_text(about, encoding="utf-8")
    print(f"{len(pages())} pages in {folder}")
