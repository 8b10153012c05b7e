"""Build the site offline: nbdev processes the notebooks into _proc, smalldocs renders them into _docs.

The published site is rendered from the same _proc and the same _quarto.yml by Quarto. smalldocs is
brought to do three things as nbdev and Quarto do: name a page as nbdev does (02_masking.ipynb is
masking.html), link names in backticks to this copy of the site, and load KaTeX from the site.
"""
import shutil
import sys

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


@call_parse
def main(
    n_workers: int = 2,  # notebooks that are processed at the same time
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
    layout.KATEX = "katex"
    site = NotebookSite(load(proc), config.doc_host + config.doc_baseurl)
    pages = site.build()
    warnings = [w for w in site.warnings if not any(e in w for e in EXPECTED)]
    shutil.move(proc / config.doc_path.name, config.doc_path)
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{pages} pages in {config.doc_path.name}, {len(warnings)} warnings")
    sys.exit(bool(warnings))
