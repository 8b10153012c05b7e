"""Build the site offline: nbdev processes the notebooks into _proc, smalldocs renders them into _docs.

The published site is rendered from the same _proc and the same _quarto.yml by Quarto (--process stops
before rendering). Before either renders, signatures are mended where nbdev leaves them unreadable. smalldocs is
brought to do four things as nbdev and Quarto do: name a page as nbdev does (02_masking.ipynb is
masking.html), link names in backticks to this copy of the site, load KaTeX from the site, and ask no
other host for fonts (fonts.scss does that for Quarto).
"""
import ast
import inspect
import json
import re
import shutil
import sys
import textwrap
from importlib import import_module
from pathlib import Path

from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.quarto import refresh_quarto_yml
from nbdev.serve import proc_nbs
from smalldocs import layout
from smalldocs.config import load
from smalldocs.site import Site

# What smalldocs says about options that only Quarto needs, or that NotebookSite reads itself.
EXPECTED = (
    "output-file is not read",
    "format.html.html-math-method is ignored",
    "format.html.grid is ignored",
    "theme fonts.scss",
)


class NotebookSite(Site):
    "A smalldocs site whose pages have the names that nbdev gives them."

    def __init__(
        self,
        project,  # the project as smalldocs loads it
        address: str,  # where the site is published; links to it become links within the site
    ):
        super().__init__(project, quiet=True)
        self.address = address.rstrip("/") + "/"

    def read(self, src):
        "Read a page and name its file as its front matter says."
        page = super().read(src)
        page.out = page.out.with_name(page.front.get("output-file", page.out.name))
        return page

    def find_page(self, target):
        "Find a page by its source, or by the file that is written."
        return super().find_page(target) or next((p for p in self.pages.values() if p.out == target), None)

    def resolve(self, href, page, record=True):
        "Resolve a link, after making one to the published site relative."
        return super().resolve((href or "").removeprefix(self.address), page, record)

    def copy_assets(self, nav):
        "Copy the themes without the fonts that they would load from another host."
        super().copy_assets(nav)
        for css in (self.out / "site_libs" / "themes").glob("*.css"):
            css.write_text(re.sub(r"@import url\(https?://[^)]*\);", "", css.read_text(encoding="utf-8")), encoding="utf-8")


def find_class(
    name: str,  # name of a class of the library
) -> type | None:  # None if the library exports no such class
    "Find an exported class by its name."
    for module, symbols in NbdevLookup().entries[get_config().lib_name]["syms"].items():
        if f"{module}.{name}" in symbols and isinstance(found := getattr(import_module(module), name, None), type):
            return found


def class_fields(
    name: str,  # name of a class
    signature: str,  # what nbdev printed, used if there is no such class
) -> str:  # the head of the class and its fields, with their comments
    "What a reader has to know of a class whose signature is (*args, **kwargs), such as a named tuple."
    if not (found := find_class(name)):
        return signature
    source = textwrap.dedent(inspect.getsource(found))
    tree = ast.parse(source).body[0]
    head = f"class {name}({', '.join(ast.unparse(base) for base in tree.bases)})"
    lines = source.splitlines()
    fields = [line for node in tree.body if isinstance(node, ast.AnnAssign) for line in lines[node.lineno - 1:node.end_lineno]]
    return "\n".join([f"{head}:" if fields else head, *fields])


def mend_signature(
    block: re.Match,  # a block of Python in the Markdown that nbdev made
) -> str:  # the same block
    "Take links in Markdown out of comments, where they do not work, and say more than (*args, **kwargs)."
    code = re.sub(r"\[`([^`]+)`\]\([^)\s]+\)", r"`\1`", block[1]).replace("__main__.", "")
    anything = re.fullmatch(r"def (\w+)\(\s*\*args, \*\*kwargs\s*\):\s*", code)
    return f"```python\n{class_fields(anything[1], code) if anything else code}\n```"


def mend_signatures(
    proc: Path,  # the folder of processed notebooks
):
    "Mend the signatures that `show_doc` wrote into processed notebooks."
    for path in proc.rglob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                if text := "".join(output.get("data", {}).get("text/markdown", "")):
                    mended = re.sub(r"```python\n(.*?)\n```", mend_signature, text, flags=re.DOTALL)
                    output["data"]["text/markdown"] = mended.splitlines(keepends=True)
        path.write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@call_parse
def main(
    n_workers: int = 2,  # notebooks that are processed at the same time
    process: bool = False,  # stop when _proc is there, for Quarto to render
):
    "Build the site into _docs without Quarto and without a network."
    config = get_config()
    if config.lib_name not in NbdevLookup().entries:
        sys.exit(f"{config.lib_name} is not installed, so no name could be linked: run pip install -e '.[dev]' first.")
    refresh_quarto_yml()
    # From the beginning each time: nbdev's cache does not notice a notebook that was removed.
    for folder in (config.config_path / "_proc", config.doc_path):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        proc = proc_nbs(n_workers=n_workers)
    except Exception as error:
        sys.exit(f"{error}\nCells that import, are exported or call show_doc run here, without those before them: "
                 "keep imports in cells of their own.")
    mend_signatures(proc)
    if process:
        return
    layout.KATEX = "katex"
    site = NotebookSite(load(proc), config.doc_host + config.doc_baseurl)
    pages = site.build()
    warnings = [w for w in site.warnings if not any(e in w for e in EXPECTED)]
    shutil.move(proc / config.doc_path.name, config.doc_path)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{pages} pages in {config.doc_path.name}, {len(warnings)} warnings")
    sys.exit(bool(warnings))
