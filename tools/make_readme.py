"""Make README.md from the notebook that is the site's front page, without Quarto.

Markdown cells stand as they are, with relative links and pictures leading into nbs/. Code cells stand
with their saved outputs as text; a picture among the outputs becomes a file in nbs/images/.
"""
import base64
import re
import sys
from difflib import unified_diff
from pathlib import Path

from fastcore.script import call_parse
from nbdev.config import get_config
from nbdev.process import NBProcessor

HIDDEN = {"hide", "default_exp", "export", "exporti"}  # directives whose cells the site does not show either
LINK = re.compile(r"(\]\(|\b(?:src|href)=\")(?![a-z][a-z0-9+.-]*:|[#/])([^)\"\s]+)")


def option(
    cell,  # a code cell
    name: str,  # a Quarto option such as fig-alt
    default: str = "",  # what an absent option means
) -> str:  # its value
    "Read the `#| name: value` line of a cell."
    found = re.search(rf"^#\|\s*{name}:\s*(.*)$", cell.source, re.MULTILINE)
    return found[1].strip().strip("\"'") if found else default


def plain_markdown(
    markdown: str,  # text of a notebook in the folder
    folder: str,  # the folder as seen from README.md
) -> str:  # the text as GitHub reads it; fenced code stays as it is
    "Make relative links lead into the folder, and leave out what only the site's renderers read."
    parts = re.split(r"(^```.*?^```)", markdown, flags=re.MULTILINE | re.DOTALL)
    for i, part in enumerate(parts):
        if not part.startswith("```"):
            part = LINK.sub(rf"\1{folder}/\2", part)
            part = re.sub(r"^:::.*\n?", "", part, flags=re.MULTILINE)  # the fences of a callout
            parts[i] = re.sub(r"(\]\([^)]*\))\{[^}\n]*\}", r"\1", part)  # attributes of a link or picture
    return "".join(parts)


def show_output(
    output,  # one output of a code cell
    picture: str,  # where its picture goes, relative to the notebook, without an ending
    alt: str,  # text for its picture
    pictures: dict,  # collects the pictures: name to bytes
) -> str:  # Markdown with links relative to the notebook, or nothing
    "Write one output as Markdown."
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        pictures[f"{picture}.png"] = base64.b64decode("".join(data["image/png"]))
        return f"![{alt}]({picture}.png)"
    if "text/markdown" in data:
        return "".join(data["text/markdown"]).strip()
    text = "".join(data.get("text/plain", "")).rstrip()
    is_object = re.fullmatch(r"<(IPython|Figure)\b.*>", text)  # a player: there is none on a page of plain text
    return "" if is_object or not text else f"```text\n{text}\n```"


def convert(
    notebook: Path,  # the notebook
    folder: str,  # its folder as seen from README.md
) -> tuple[str, dict]:  # the text of README.md; the pictures, name to bytes, relative to the notebook
    "Convert a notebook to the text of README.md."
    parts = [f"<!-- Made from {folder}/{notebook.name} by tools/make_readme.py: edit the notebook. -->"]
    pictures: dict = {}
    for cell in NBProcessor(notebook, rm_directives=False).nb.cells:
        if cell.cell_type == "markdown":
            parts.append(plain_markdown(cell.source.strip(), folder))
        elif cell.cell_type == "code" and not HIDDEN & set(cell.directives_) and option(cell, "include") != "false":
            code = re.sub(r"^#\|.*\n?", "", cell.source, flags=re.MULTILINE).strip()
            if code and option(cell, "echo") != "false":
                parts.append(f"```python\n{code}\n```")
            for output in cell.outputs if option(cell, "output") != "false" else []:
                name = f"images/{notebook.stem}-{len(pictures) + 1}"
                parts.append(plain_markdown(show_output(output, name, option(cell, "fig-alt"), pictures), folder))
    return "\n\n".join(part for part in parts if part) + "\n", pictures


@call_parse
def main(
    check: bool = False,  # write nothing; exit 1 and print a diff if README.md or a picture differs
):
    "Make README.md from the front page's notebook."
    config = get_config()
    notebook, readme = config.nbs_path / config.readme_nb, config.config_path / "README.md"
    text, pictures = convert(notebook, config.nbs_path.name)
    files = {readme: text.encode(), **{notebook.parent / name: data for name, data in pictures.items()}}
    stale = [file for file, data in files.items() if not file.is_file() or file.read_bytes() != data]
    if not check:
        for file in stale:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(files[file])
        return
    for file in stale:
        print(f"{file.relative_to(config.config_path)} is not what {notebook.name} makes: run python tools/make_readme.py.")
    if readme in stale and readme.is_file():
        print(*unified_diff(readme.read_text().splitlines(), text.splitlines(), "README.md", notebook.name, lineterm=""), sep="\n")
    sys.exit(bool(stale))
