"""Make `llms.txt`, the list of all pages for programs that read (llmstxt.org): a title, a summary, and for each section
of the sidebar its pages with their first line.
"""
import json
from pathlib import Path

import yaml
from common import page_name


def first_words(
    notebook: Path,  # a notebook
) -> tuple[str, str]:  # the line `> ...` below its title, and the first paragraph
    "What a page says of itself. Exits if it says nothing."
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
    said = [line[2:].strip() for line in texts[0].splitlines() if line.startswith("> ")]
    if not said:
        raise SystemExit(f"{notebook.name}: expected a line '> ...' below the title")
    return said[0], texts[1].strip().split("\n\n")[0]


def llms_txt(
    nbs: Path,  # folder of the notebooks and of _quarto.yml
    title: str,  # of the site
    address: str,  # where it is published
) -> str:  # content of llms.txt
    "List all pages of the sidebar."
    sidebar = yaml.safe_load((nbs / "_quarto.yml").read_text(encoding="utf-8"))["website"]["sidebar"]
    summary, about = first_words(nbs / "index.ipynb")
    lines, section = [f"# {title}", "", f"> {summary}", "", about], None
    for entry in sidebar["contents"]:
        if entry.get("section", "Start") != section:
            section = entry.get("section", "Start")
            lines += ["", f"## {section}", ""]
        for page in entry.get("contents", [entry]):
            said, _ = first_words(nbs / page["href"])
            lines.append(f"- [{page['text']}]({address}/{page_name(page['href'])}): {said}")
    return "\n".join(lines) + "\n"
