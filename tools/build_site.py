"""Build the site offline: nbdev processes the notebooks into _proc, smalldocs renders them into _docs.

The published site is rendered from the same _proc and the same _quarto.yml by Quarto (--process stops
before rendering). Before either renders, a page that shows the source of a function gets no signature above it
(page_filter.py), signatures are mended where nbdev leaves them unreadable, words in tables go to the left, no
line breaks between a number and its sign, a page with code gets links that open it as a notebook elsewhere (online.py),
and the page 'Try it' gets what it runs on (try/build.py). llms_txt.py lists all pages for programs that read. smalldocs is
brought to do four things as nbdev and Quarto do: name a page as nbdev does (03_masking.ipynb is masking.html),
link names in backticks to this copy of the site, load KaTeX from the site, and ask no other host for fonts
(fonts.scss does that for Quarto).
"""
import ast
import inspect
import itertools
import json
import re
import shutil
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path

import nbdev.serve
from common import page_name
from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.doclinks import NbdevLookup
from nbdev.quarto import refresh_quarto_yml
from llms_txt import llms_txt
from online import open_links, pages
from page_filter import PageFilter
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


def keep_together(
    text: str,  # Markdown or HTML
) -> str:  # the same, without line breaks within 1.0 ± 0.2 and 80 %
    "Put spaces that do not break between a number and its sign, but not into code, formulas or tags."
    parts = re.split(r"(```.*?```|`[^`\n]*`|\$[^$]*\$|<[^>]*>)", text, flags=re.DOTALL)
    parts[::2] = [re.sub(r"(?<=\d) (?=[±%])|(?<=±) (?=\d)", "\N{NO-BREAK SPACE}", part) for part in parts[::2]]
    return "".join(parts)


def mend_table(
    table: re.Match,  # a table as pandas writes it
) -> str:  # the same table, its columns of words on the left
    "Align words to the left; styles.css has numbers on the right."
    rows = [re.findall(r"<td>(.*?)</td>", row, flags=re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", table[0], flags=re.DOTALL)]
    columns = list(zip(*filter(None, rows)))
    words = {i for i, column in enumerate(columns) if not any(re.match(r"\W*\d|$", cell) for cell in column)}
    left = ' style="text-align: left"'

    def mend_row(row):
        count = itertools.count()
        text = re.sub("<td>", lambda _: f"<td{left}>" if next(count) in words else "<td>", row[0])
        heads = text.count("<th")
        if "<td" not in text and heads >= len(columns):  # a row of the head; what stands before the columns names the rows
            count = itertools.count(len(columns) - heads)
            text = re.sub("<th>", lambda _: f"<th{left}>" if next(count) in words else "<th>", text)
        return text

    return re.sub(r"<tr.*?</tr>", mend_row, table[0], flags=re.DOTALL)


def opens_elsewhere(
    name: str,  # of a page, without .html
) -> str:  # HTML
    "Links that open a page as a notebook that runs."
    links = [f'<a href="{address}">{words}</a>' for words, address in open_links(name).items()]
    return f'<p class="open-elsewhere">{" ".join(links)}</p>'


def mend(
    proc: Path,  # the folder of processed notebooks
):
    """Mend in processed notebooks the signatures that `show_doc` wrote, tables, and lines that break after a number. Put
    links to what online.py writes below the title."""
    paths = list(proc.rglob("*.ipynb"))
    shown = {name for path in paths for name in re.findall(r'<div id=\\"(_\w+)', path.read_text(encoding="utf-8"))}
    link = lambda found: found[0] if found[2] in shown else found[1]  # a private name whose source is not shown has no anchor
    for path in paths:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                text = re.sub(r"\[(`_\w+`)\]\([^)\s]*#([^)\s]*)\)", link, "".join(cell["source"]))
                cell["source"] = keep_together(text).splitlines(keepends=True)
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if text := "".join(data.get("text/markdown", "")):
                    mended = re.sub(r"```python\n(.*?)\n```", mend_signature, text, flags=re.DOTALL)
                    data["text/markdown"] = keep_together(mended).splitlines(keepends=True)
                if 'class="dataframe"' in (text := "".join(data.get("text/html", ""))):
                    mended = re.sub(r'<table[^>]*class="dataframe".*?</table>', mend_table, text, flags=re.DOTALL)
                    data["text/html"] = keep_together(mended).splitlines(keepends=True)
        if path.parent == proc and (name := page_name(path.name).removesuffix(".html")) in pages():
            first = next(i for i, cell in enumerate(notebook["cells"]) if cell["cell_type"] != "raw")
            links = {"cell_type": "markdown", "id": "open-elsewhere", "metadata": {}, "source": opens_elsewhere(name)}
            notebook["cells"].insert(first, links)
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
    nbdev.serve.FilterDefaults = PageFilter
    try:
        proc = nbdev.serve.proc_nbs(n_workers=n_workers)
    except Exception as error:
        sys.exit(f"{error}\nCells that import, are exported or call show_doc run here, without those before them: "
                 "keep imports in cells of their own.")
    mend(proc)
    address = config.doc_host + config.doc_baseurl
    (proc / "llms.txt").write_text(llms_txt(config.nbs_path, config.title, address), encoding="utf-8")
    subprocess.run([sys.executable, Path(__file__).parent / "try" / "build.py", proc / "try"], check=True)
    if process:
        return
    layout.KATEX = "katex"
    site = NotebookSite(load(proc), address)
    pages = site.build()
    warnings = [w for w in site.warnings if not any(e in w for e in EXPECTED)]
    shutil.move(proc / config.doc_path.name, config.doc_path)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{pages} pages in {config.doc_path.name}, {len(warnings)} warnings")
    sys.exit(bool(warnings))
