"""Check a built site: links, anchors, pictures, page sizes, and that every page can be reached.

llms.txt has to link to every page, and every page with code to what tools/online.py writes of it. Looks only at files: an address on another host is not asked for.
"""
import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup
from common import page_name
from fastcore.script import call_parse
from nbdev.config import get_config
from online import open_links, pages

PAGE_LIMIT = 2_000_000  # bytes of one page, with its pictures and sounds
LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "audio": "src", "video": "src", "source": "src"}


def read_page(
    file: Path,  # an HTML file
) -> tuple[list, set, list]:  # (element, address) of its links, its anchors, its problems
    "Read from a page what can be checked."
    html = BeautifulSoup(file.read_bytes(), "html.parser")
    links = [(tag, tag[LINKS[tag.name]]) for tag in html.find_all(list(LINKS)) if tag.has_attr(LINKS[tag.name])]
    anchors = {tag[key] for key in ("id", "name") for tag in html.find_all(attrs={key: True})}
    problems = [f"a picture without alt text: {str(img)[:100]}" for img in html.find_all("img") if not img.get("alt", "").strip()]
    if file.stat().st_size > PAGE_LIMIT:
        problems.append(f"{file.stat().st_size:,} bytes, more than {PAGE_LIMIT:,}")
    return links, anchors, problems


def beside_title(
    notebook: Path,  # a notebook
) -> str:  # the first line; empty if there is none
    "Words in the cell of the title, which nbdev leaves out of the page unless they are `> subtitle` or `- key: value`."
    cell = json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]
    lines = "".join(cell["source"]).splitlines() if cell["cell_type"] == "markdown" else []
    return next((line for line in lines if line.strip() and not re.match(r"# |> |- \S.*:", line)), "")


def check(
    site: Path,  # the folder of the site
) -> tuple[int, list[str], list[str]]:  # links checked, broken links, other problems
    "Check every page of `site`."
    pages = {file: read_page(file) for file in sorted(site.rglob("*.html"))}
    checked, broken, problems, reached = 0, [], [], {site / "index.html"}
    if site / "index.html" not in pages:
        problems.append("index.html: missing")
    for file, (links, _, own_problems) in pages.items():
        problems += [f"{file.name}: {problem}" for problem in own_problems]
        for tag, address in links:
            url = urlsplit(address)
            if url.scheme in ("data", "mailto", "javascript"):
                continue
            if url.scheme or url.netloc:
                # A reader may follow a link to elsewhere; a page must not need it to be shown.
                if tag.name != "a" and tag.get("rel") != ["canonical"]:
                    problems.append(f"{file.name}: loads {address} from the network")
                continue
            checked += 1
            target = (file.parent / unquote(url.path)).resolve() if url.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                broken.append(f"{file.name}: {address}: there is no such file")
            elif unquote(url.fragment) and target in pages and unquote(url.fragment) not in pages[target][1]:
                broken.append(f"{file.name}: {address}: there is no such anchor")
            elif target != file:
                reached.add(target)
    problems += [f"{file.name}: no other page links to it" for file in pages if file not in reached and file.name != "404.html"]
    return checked, broken, problems


def check_list(
    site: Path,  # the folder of the site
    address: str,  # where it is published
    pages: set,  # names of the pages that have to be listed
) -> tuple[int, list[str]]:  # links checked, problems
    "Check that `llms.txt` has the parts that its readers expect, and that it links to every page."
    if not (site / "llms.txt").is_file():
        return 0, ["llms.txt: missing"]
    text = (site / "llms.txt").read_text(encoding="utf-8")
    problems = [] if re.match(r"# .+\n\n> .+\n\n\S", text) else ["llms.txt: does not begin with a title and a summary"]
    links = re.findall(r"^- \[.+\]\((\S+)\): \S", text, re.MULTILINE)
    listed = {link.removeprefix(f"{address}/") for link in links}
    problems += [f"llms.txt: {name}: there is no such file" for name in sorted(listed) if not (site / name).is_file()]
    problems += [f"llms.txt: {name}: not listed" for name in sorted(pages - listed)]
    return len(links), problems


def check_open(
    site: Path,  # the folder of the site
) -> tuple[int, list[str]]:  # links checked, problems
    "Check that pages with code, and only they, have links that open them as notebooks, and that these name the notebooks."
    checked, problems = 0, []
    for name in sorted({page_name(path.name) for path in get_config().nbs_path.glob("*.ipynb")}):
        if not (site / name).is_file():
            continue  # reported by check_list
        html = BeautifulSoup((site / name).read_bytes(), "html.parser")
        found = {link.get_text(): link["href"] for link in html.select(".open-elsewhere a")}
        stem = name.removesuffix(".html")
        if found != (expected := open_links(stem) if stem in pages() else {}):
            problems.append(f"{name}: opens elsewhere by {found or 'nothing'}, expected {expected or 'nothing'}")
        checked += len(found)
    return checked, problems


@call_parse
def main(
    site: str = "",  # the folder of the site (default: doc_path of settings.ini)
):
    "Check a built site and print `N links checked, N broken`; exit 1 if there is anything to mend."
    folder = Path(site or get_config().doc_path).resolve()
    checked, broken, problems = check(folder)
    for notebook in sorted(get_config().nbs_path.glob("*.ipynb")):
        if lost := beside_title(notebook):
            problems.append(f"{notebook.name}: in the cell of the title, so left out of the page: {lost[:60]}")
    config = get_config()
    names = {page_name(path.name) for path in config.nbs_path.glob("*.ipynb")}
    listed, wrong = check_list(folder, config.doc_host + config.doc_baseurl, names)
    opening, astray = check_open(folder)
    checked, problems = checked + listed + opening, problems + wrong + astray
    for line in broken + problems:
        print(line)
    print(f"{checked} links checked, {len(broken)} broken, {len(problems)} other problems")
    sys.exit(bool(broken or problems or not checked))
