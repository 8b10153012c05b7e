"""How a function or class stands on a page of the site: by its source or by its signature, not by both.

`#| exports` shows the source, `#| exporti` shows it folded, `#| export` shows the signature with its comments.
Links to a name lead to its definition in all three.
"""
import ast

from execnb.nbio import mk_cell
from nbdev.doclinks import patch_name
from nbdev.processors import FilterDefaults, add_fold, add_show_docs, mv_exports, rm_export

HIDING = {"hide", "export", "default_exp"}  # directives whose cells do not show
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def anchors(
    cell,  # a cell whose source the page shows
) -> str:  # Markdown to stand above it
    "Make what links to a name lead to: a heading for public names, out of sight but in the contents and in the search."
    made = []
    for node in cell.parsed_() or []:
        if isinstance(node, DEFINITIONS):
            name = patch_name(node)
            heading = "exports" in cell.directives_ and not node.name.startswith("_")
            made.append(f"### {name} {{.name-of-source}}" if heading else f'<div id="{name.lower()}"></div>')
            methods = [each.name for each in node.body if isinstance(each, DEFINITIONS)] if isinstance(node, ast.ClassDef) else []
            made += [f'<div id="{name.lower()}.{method.lower()}"></div>' for method in methods]
    return "\n\n".join(made)


class SignatureOrSource(add_show_docs):
    "A function is shown once: by its source (`exports`, `exporti`) with anchors above it, or by its signature (`export`)."

    def begin(self):
        "Add signatures and anchors to the notebook."
        shown = [cell for cell in self.nb.cells if cell.cell_type == "code" and "exports" in cell.directives_]
        kept = [cell.directives_.pop("exports") for cell in shown]
        super().begin()
        for cell, arguments in zip(shown, kept):
            cell.directives_["exports"] = arguments
        cells = []
        for cell in self.nb.cells:
            directives = getattr(cell, "directives_", {})
            if cell.cell_type == "code" and directives.keys() & {"exports", "exporti"} and not directives.keys() & HIDING:
                cells += [mk_cell(text, "markdown")] if (text := anchors(cell)) else []
            cells.append(cell)
        self.nb.cells[:] = cells


def show_or_hide(
    cell,  # a cell of a notebook
):
    "Take out cells that do not show, and fold the source of those that the package keeps to itself."
    directives = getattr(cell, "directives_", None) or {}
    if directives.keys() & HIDING:
        del cell["source"]
    elif "exporti" in directives and "code-fold" not in cell.source:
        names = [patch_name(node) for node in cell.parsed_() or [] if isinstance(node, DEFINITIONS)]
        cell.source = f'#| code-fold: true\n#| code-summary: "{": ".join(["Code", *names[:1]])}"\n{cell.source}'


class PageFilter(FilterDefaults):
    "What nbdev does to a notebook, but for signatures and sources."

    def base_procs(self):
        "nbdev's processors with those of this file in place of four."
        own = {add_show_docs: SignatureOrSource, rm_export: show_or_hide, add_fold: None, mv_exports: None}
        return list(filter(None, [own.get(each, each) for each in super().base_procs()]))
