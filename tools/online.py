"""Write each page as a notebook that runs anywhere, such as in Colab or on Kaggle: nothing but `pip install mwmae` has to be there.

    python tools/online.py FOLDER [--ref REF]

The site links every page that has code to its form in the branch `online`, which the workflow `site.yml` fills with FOLDER.
It differs from the notebook in nbs/ in this:

- The first cell of code installs mwmae, with the extras and packages that the page needs, and fetches the files that it
  reads to where its paths lead (page_needs.py finds both in its code).
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
from pathlib import Path
from typing import NamedTuple

from common import page_name
from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.process import NBProcessor
from page_needs import files_read, needs, syntax

BRANCH = "online"  # where the site's links look for what is written here
ELSEWHERE = "MWMAE_FILES"  # an environment variable: the address that files are fetched from in place of GitHub's

SET_UP = '''# Run this cell first. On Kaggle, switch on "Internet" in the settings of the notebook before.
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


def never_run(
    cell,  # a cell as NBProcessor reads it
) -> bool:
    "Whether a cell of code is only shown."
    return cell.directives_.get("eval:") == ["false"]


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
    cell: dict,  # a cell of code
    words: str,  # what stands for it
) -> dict:
    "Fold a cell, in the ways of Colab, Kaggle and Jupyter."
    folded = {"cellView": "form", "_kg_hide-input": True, "jupyter": {"source_hidden": True}}
    return cell | {"source": f"#@title {words}\n{cell['source']}", "metadata": cell["metadata"] | folded}


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
    link = r"\[(?:[^\]`]|`[^`\n]*`)*\]\([^)\s]*\)"
    parts = re.split(rf"(```.*?```|{link})", text, flags=re.DOTALL)
    parts[::2] = [re.sub(r"`[^`\n]+`", lambda name: names().linkify(name[0]), part) for part in parts[::2]]
    parts[1::2] = [re.sub(r"\]\(([^)\s]+)\)$", to_site, part) for part in parts[1::2]]
    text = re.sub(r"^::: \{[^}]*collapse[^}]*\}\n(.*?)(?:^:::$|\Z)", unfolds, "".join(parts), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^:::.*\n?", "", text, flags=re.MULTILINE).strip()


def in_answers(
    cells: list,  # of a notebook, as NBProcessor reads them
) -> list[bool]:  # one for each cell
    "Whether a cell lies in a callout that an earlier cell begins, as the answer of an exercise does."
    found, inside = [], False
    for cell in cells:
        found.append(inside)
        if cell.cell_type == "markdown":
            marks = re.findall(r"^:::.*$", cell.source, flags=re.MULTILINE)
            inside = marks[-1] != ":::" if marks else inside
    return found


def set_up(
    installed: list[str],  # requirements
    files: list[str],  # paths in the project
    ref: str,  # tag or commit
) -> dict:  # a cell
    "The first cell of code."
    text = SET_UP.format(requirements=" ".join(f'"{one}"' for one in installed))
    if files:
        raw = get_config().git_url.replace("github.com", "raw.githubusercontent.com")
        text += FETCH.format(files="\n".join(files), source=f"{raw}/{ref}", elsewhere=ELSEWHERE)
    cell = {"cell_type": "code", "id": "set-up", "metadata": {}, "source": text.strip(), "execution_count": None, "outputs": []}
    return fold(cell, "Set up: install mwmae, fetch the files of this page")


def code_cell(
    cell,  # a cell of code, as NBProcessor reads it
    answer: bool,  # whether it is part of an answer, and folded with what it printed
) -> dict:
    "A cell of code as it stands online; text if it is never run."
    code = re.sub(r"\A(#\|.*\n)+", "", cell.source).strip()
    kept = {"cell_type": "code", "id": cell.id, "metadata": {}, "source": code}
    if never_run(cell):
        return kept | {"cell_type": "markdown", "source": f"```python\n{code}\n```"}
    if flags := [flag for flag in get_config().tst_flags.split() if flag in cell.directives_]:
        kept["metadata"] = {"tags": flags}
    kept |= {"execution_count": None, "outputs": [] if answer else cell.outputs}
    words = "Answer" if answer else title(cell)
    return fold(kept, words) if words else kept


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
    run = [cell for cell in source.cells if cell.cell_type == "code" and not for_clone(cell) and not never_run(cell)]
    code = [syntax(cell.source) for cell in run]
    extras, others = needs(name, code)
    installed, files, cells = [requirement(extras, ref), *others], files_read(code), []
    for cell, answer in zip(source.cells, in_answers(source.cells)):
        if cell.cell_type == "markdown" and (text := markdown(cell.source)):
            cells.append({"cell_type": "markdown", "id": cell.id, "metadata": {}, "source": text})
        elif cell.cell_type == "code" and not for_clone(cell):
            cells.append(code_cell(cell, answer))
    cells[0]["source"] += f"\n\n[This page on the site]({config.doc_host}{config.doc_baseurl}/{name}.html)"
    cells.insert(1, set_up(installed, files, ref))
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    whole = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
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
