"""Open every page of the built site in a real browser, without a window, and check what a reader would see.

Needs Playwright for Python (in the dev requirements) and a Chromium of the system, for instance Debian's
package `chromium`: nothing is downloaded. tools/check_site.py looks at the files; this looks at pages that
have run their scripts: at formulas, players, search, the sidebar, and at the width of a phone.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import yaml
from common import page_name
from fastcore.script import call_parse
from nbdev.config import get_config
from online import open_links, pages
from playwright.sync_api import sync_playwright

BROWSERS = "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 375, "height": 812}
SHARED = "site_libs/", "katex/"  # what all pages load, and a browser loads once
MODEL = "try/model.onnx", "try/ort/", "try/atlas"  # what 'Try it' loads after it shows; tools/try/browse.py weighs it
PAGE_LIMIT = 2_000_000  # bytes of one page with its pictures and sounds, without what pages share
SEARCHES = {  # what a reader types, and the page that must come first
    "window_sizes": "attention.html", "MultiWindowAttention": "attention.html", "random_masking": "masking.html",
    "read_audio": "audio.html", "patchify": "patches.html", "create_model": "model.html", "load_model": "embed.html",
    "mwmae_prepare": "commands.html", "mwmae_pretrain": "commands.html", "mwmae_hear": "commands.html",
    "interval": "task_results.html", "pwcca": "similarity.html",
}

LOOK = r"""async () => {
  // What stands outside of code, formulas and scripts: no formula may be left there as it was typed.
  const prose = [];
  const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walk.nextNode())
    if (!walk.currentNode.parentElement.closest("pre, code, script, style, .katex, svg")) prose.push(walk.currentNode.data);
  const raw = prose.join("").match(/\\\(|\\\[|\$[^\s$][^$\n]*\$/g) || [];
  const marks = [...document.querySelectorAll("main p, main li, main td, main th, main figcaption")].map(e => e.innerText)
    .flatMap(t => t.match(/.{0,30}\]\([^\s)]+\)|:::.*|.{0,20}\{#[^\s}]+\}|@(fig|eq|sec|tbl)-\w+/g) || []);
  const scroll = [...document.querySelectorAll(".katex-display")].filter(e => e.scrollWidth > e.clientWidth + 1);
  const code = [...document.querySelectorAll("main pre")].map(e => e.textContent).join("\n");
  const hidden = [...document.querySelectorAll("main pre")].filter(e => e.getClientRects().length && e.clientWidth < 20 && !e.closest("details:not([open])"));
  const players = [];
  for (const player of document.querySelectorAll("audio, video")) {
    const source = player.currentSrc || player.src || player.querySelector("source")?.src || "";
    let seconds = 0, peak = 0, error = "";
    try {
      const bytes = await (await fetch(source)).arrayBuffer();
      const sound = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes);
      seconds = sound.duration;
      for (const value of sound.getChannelData(0)) peak = Math.max(peak, Math.abs(value));
    } catch (problem) { error = String(problem); }
    players.push({seconds, peak, error: error || (player.error ? player.error.message : "")});
  }
  return {
    title: document.title,
    raw,
    marks,
    formulas: document.querySelectorAll("main .katex").length,
    wrong: [...document.querySelectorAll(".katex-error")].map(e => e.textContent),
    long: scroll.map(e => e.querySelector("annotation").textContent.slice(0, 60)),
    unlinked: code.match(/\[`[^`\n]*`\]\(http[^)\n]*\)/g) || [],
    players,
    hidden: hidden.map(e => e.textContent.slice(0, 40)),
    images: [...document.querySelectorAll("img")].map(i => ({alt: i.alt.trim(), width: i.naturalWidth, start: i.src.slice(0, 60)})),
    opens: [...document.querySelectorAll("main .open-elsewhere a")].filter(a => a.getClientRects().length).map(a => [a.innerText, a.href]),
    links: [...document.querySelectorAll("a[href]")].filter(a => a.getAttribute("href")).map(a => a.href),
    ids: [...document.querySelectorAll("[id], a[name]")].flatMap(e => [e.id, e.getAttribute("name")]).filter(Boolean),
    repeated: [...document.querySelectorAll("main [id]")].map(e => e.id).filter((id, i, all) => all.indexOf(id) < i),
    sidebar: [...document.querySelectorAll("#quarto-sidebar a[href]")].map(a => a.href),
  };
}"""

WIDE = r"""() => {
  // What reaches beyond the right edge of the window, and no box of its own to be scrolled in.
  const edge = document.documentElement.clientWidth, found = [];
  const scrolls = e => { for (let b = e; b && b !== document.body; b = b.parentElement)
    if (/auto|scroll/.test(getComputedStyle(b).overflowX) && b.getBoundingClientRect().right <= edge + 1) return true; };
  for (const e of document.querySelectorAll("main *")) {
    const box = e.getBoundingClientRect();
    if (box.width && box.right > edge + 1 && !e.closest("svg, .katex-mathml, .visually-hidden") && !scrolls(e))
      found.push(`<${e.tagName.toLowerCase()} class="${e.getAttribute("class") || ""}"> "${e.textContent.trim().slice(0, 40)}"`);
  }
  return {scroll: Math.max(document.documentElement.scrollWidth, document.body.scrollWidth), found};
}"""


class SiteHandler(SimpleHTTPRequestHandler):
    "Serves a folder under the path at which the site is published, and nothing beside it."
    base = "/"

    def translate_path(self, path):
        "The file of an address, or one that is not there."
        return super().translate_path("/" + path.removeprefix(self.base) if path.startswith(self.base) else "/outside")

    def log_message(self, *args):
        "Say nothing."


def serve(
    site: Path,  # the folder of the site
    base: str,  # the path at which it is published, as /mwmae/
) -> ThreadingHTTPServer:  # it runs in a thread until `shutdown`
    "Serve a folder on this machine alone, on any free port."
    handler = type("Handler", (SiteHandler,), {"base": base})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def count_formulas(
    notebook: Path,
) -> int:  # formulas in its text
    "Count what stands between dollars in the Markdown of a notebook, outside of code."
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    text = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    return len(re.findall(r"\$\$.+?\$\$|(?<![\\$])\$[^\s$](?:[^$]*[^\s$\\])?\$(?!\d)", text, flags=re.DOTALL))


def notebooks_of(
    entries: list,  # `contents` of the sidebar in _quarto.yml
) -> list[list[str]]:  # names of notebooks, a list for each section
    "The notebooks of the sidebar, in its order."
    return [[e["href"] for e in entry.get("contents", [entry])] for entry in entries]


class Browse:
    "Goes through a site with one browser and collects what is wrong."

    def __init__(self, browser, site: Path, nbs: Path, address: str):
        self.site, self.nbs, self.address = site, nbs, address
        self.context = browser.new_context(viewport=DESKTOP, color_scheme="light", reduced_motion="reduce")
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.checks, self.problems, self.where = 0, [], ""
        self.seen = {}  # what LOOK found on each page
        self.events, self.loaded = [], 0
        self.page.on("console", lambda m: m.type == "error" and self.events.append(f"console: {m.text}"))
        self.page.on("pageerror", lambda e: self.events.append(f"script: {e}"))
        self.page.on("requestfailed", lambda r: self.events.append(f"request failed: {r.url[:100]}"))
        self.page.on("request", self.on_request)
        self.page.on("response", self.on_response)

    def on_request(self, request):
        "A page must not ask another host for anything."
        if urlsplit(request.url).scheme not in ("data", "blob", "about") and not request.url.startswith(self.address):
            self.events.append(f"asks for {request.url[:100]}")

    def on_response(self, response):
        "Note what could not be had, and how much came."
        if response.status >= 400:
            self.events.append(f"status {response.status}: {response.url[:100]}")
        if not response.url.removeprefix(self.address).startswith((*SHARED, *MODEL, "data:")):
            self.loaded += int(response.headers.get("content-length", 0))

    def check(self, good, problem: str):
        "Count one check, and keep its line if it failed."
        self.checks += 1
        if not good:
            self.problems.append(f"{self.where}: {problem}")

    def open(self, name: str):
        "Open a page and wait until its scripts have run."
        self.page.goto("about:blank")  # what the page before still loads is given up here
        self.where, self.events[:], self.loaded = name, [], 0
        self.page.goto(self.address + name, wait_until="load")

    def desktop(self, name: str, formulas: int):
        "What a reader at a desk sees."
        self.open(name)
        look = self.seen[name] = self.page.evaluate(LOOK)
        self.check(not self.events, "; ".join(dict.fromkeys(self.events)))
        self.check(look["title"], "no title")
        self.check(not look["raw"], f"formulas as they were typed: {look['raw'][:3]}")
        self.check(not look["marks"], f"Markdown as it was typed: {look['marks'][:3]}")
        self.check(not look["wrong"], f"formulas that KaTeX refuses: {look['wrong'][:3]}")
        self.check(look["formulas"] >= formulas, f"{look['formulas']} formulas are typeset, the notebook has {formulas}")
        self.check(not look["long"], f"formulas wider than the page: {look['long'][:3]}")
        self.check(not look["unlinked"], f"links in code, where they are only text: {look['unlinked'][:3]}")
        self.check(not look["hidden"], f"code that nobody can see: {look['hidden'][:3]}")
        wanted = open_links(stem) if (stem := name.removesuffix(".html")) in pages() else {}
        self.check(dict(look["opens"]) == wanted, f"opens as a notebook by {look['opens']}, expected {wanted or 'nothing'}")
        self.check(not look["repeated"], f"anchors that stand twice: {look['repeated'][:5]}")
        self.check(self.loaded <= PAGE_LIMIT, f"loads {self.loaded:,} bytes, more than {PAGE_LIMIT:,}")
        for i, sound in enumerate(look["players"]):
            self.check(sound["seconds"] > 0 and sound["peak"] > 0 and not sound["error"], f"player {i + 1} has no sound: {sound}")
        for image in look["images"]:
            self.check(image["alt"], f"a picture without alt text: {image['start']}")
            self.check(image["width"], f"a picture that does not show: {image['start']} {image['alt'][:40]}")

    def phone(self, name: str):
        "The page that is open, at the width of a phone."
        self.page.set_viewport_size(PHONE)
        wide = self.page.evaluate(WIDE)
        self.check(wide["scroll"] <= PHONE["width"], f"{wide['scroll']} px wide on a phone of {PHONE['width']}")
        self.check(not wide["found"], f"beyond the edge of a phone: {'; '.join(wide['found'][:3])}")

    def links(self):
        "All links and anchors between pages lead somewhere; the anchors are those that the browser sees."
        for where, look in self.seen.items():
            self.where = where
            for link in dict.fromkeys(look["links"]):
                address, anchor = urldefrag(link)
                if not address.startswith(self.address):
                    self.check(urlsplit(link).scheme in ("https", "mailto", "data"), f"{link}: leads out of the site")
                    continue
                target = unquote(address.removeprefix(self.address)) or "index.html"
                self.check((self.site / target).is_file(), f"{target}: there is no such file")
                if anchor and target in self.seen:
                    self.check(unquote(anchor) in self.seen[target]["ids"], f"{target}#{anchor}: there is no such anchor")

    def sidebar(self):
        "Every notebook stands once in the sidebar, chapters by their numbers."
        config = yaml.safe_load((self.nbs / "_quarto.yml").read_text(encoding="utf-8"))
        sections = notebooks_of(config["website"]["sidebar"]["contents"])
        listed = [name for section in sections for name in section]
        self.where = "_quarto.yml"
        notebooks = sorted(path.name for path in self.nbs.glob("*.ipynb"))
        self.check(sorted(listed) == notebooks, f"not once in the sidebar: {sorted(set(listed) ^ set(notebooks)) or 'a page stands twice'}")
        chapters = [name for name in listed if name[0].isdigit()]  # pages about use have no number
        self.check(chapters == sorted(chapters), f"not in the order of their numbers: {chapters}")
        for where, look in self.seen.items():
            self.where = where
            pages = [urldefrag(link)[0].removeprefix(self.address) for link in look["sidebar"]]
            self.check(pages == [page_name(n) for n in listed], "its sidebar does not follow _quarto.yml")

    def phone_menu(self, name: str):
        "On a phone the sidebar comes and goes with its button."
        self.page.set_viewport_size(PHONE)
        self.open(name)
        link = self.page.locator("#quarto-sidebar a.active")
        inside = lambda: self.page.evaluate("() => document.querySelector('#quarto-sidebar').getBoundingClientRect().right > 50")
        self.check(not inside(), "the sidebar covers the page of a phone")
        self.page.locator(".quarto-secondary-nav .quarto-btn-toggle").click()
        self.page.wait_for_function("() => document.querySelector('#quarto-sidebar').getBoundingClientRect().left >= 0")
        self.check(link.is_visible() and inside(), "the button of a phone does not open the sidebar")

    def search(self, searches: dict[str, str]):
        "The search box finds the page of a name first."
        self.page.set_viewport_size(DESKTOP)
        self.open("index.html")
        box = self.page.locator("#quarto-search input")
        for words, expected in searches.items():
            self.where = f"search for {words}"
            self.page.evaluate("() => document.querySelectorAll('.smalldocs-search-results').forEach(r => { r.innerHTML = ''; })")
            box.fill(words)
            self.page.wait_for_selector(".smalldocs-search-results.show > *", state="attached")
            found = self.page.eval_on_selector_all(".smalldocs-search-results a", "all => all.map(a => a.href)")
            first = found[0].removeprefix(self.address) if found else "nothing"
            self.check(urldefrag(first)[0] == expected, f"finds {first} first, not {expected}")
        self.check(not self.events, "; ".join(dict.fromkeys(self.events)))

    def screenshots(self, folder: Path, names: list[str]):
        "Write a picture of every page: at a desk in light and dark, and on a phone."
        folder.mkdir(parents=True, exist_ok=True)
        for kind, size, scheme in (("desktop", DESKTOP, "light"), ("dark", DESKTOP, "dark"), ("phone", PHONE, "light")):
            self.page.set_viewport_size(size)
            self.page.emulate_media(color_scheme=scheme)
            for name in names:
                self.open(name)
                self.page.screenshot(path=folder / f"{Path(name).stem}.{kind}.png", full_page=True)


def find_browser(
    install: bool,  # install Debian's Chromium if there is none
) -> str:  # path of the program
    "Chromium as the system has it; exit 1 if there is none."
    if install and not any(map(shutil.which, BROWSERS)) and shutil.which("apt-get"):
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *command], check=False, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    return found or sys.exit(f"None of {', '.join(BROWSERS)} is there: as root, apt-get install --no-install-recommends chromium")


@call_parse
def main(
    site: str = "",  # the folder of the site (default: doc_path of settings.ini)
    screenshots: str = "",  # write pictures of all pages to this folder
    install: bool = False,  # install Debian's package of Chromium if no browser is there; needs root
    only: str = "",  # pages to look at, as masking,audio (default: all; then links and search are checked too)
):
    "Check a built site in Chromium, print a line for each failed check and a count; exit 1 if there is one."
    config = get_config()
    folder = Path(site or config.doc_path).resolve()
    base = f"/{str(config.doc_baseurl).strip('/')}/"
    notebooks = {page_name(path.name): path for path in sorted(Path(config.nbs_path).glob("*.ipynb"))}
    names = [f"{name}.html" for name in only.split(",")] if only else sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    if missing := sorted(set(notebooks) - {path.name for path in folder.glob("*.html")}):
        sys.exit(f"{folder.name} lacks {', '.join(missing)}: run tools/build_site.py first.")
    program = find_browser(install)
    server = serve(folder, base)
    with sync_playwright() as playwright:
        # A name of another host is not even looked up.
        quiet = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-gpu", "--disable-dev-shm-usage"]
        with playwright.chromium.launch(executable_path=program, args=quiet) as browser:
            browse = Browse(browser, folder, Path(config.nbs_path), f"http://127.0.0.1:{server.server_port}{base}")
            for name in names:
                browse.page.set_viewport_size(DESKTOP)
                browse.desktop(name, count_formulas(notebooks[name]) if name in notebooks else 0)
                browse.phone(name)
            if not only:
                browse.links()
                browse.sidebar()
                browse.phone_menu("masking.html")
                browse.search(SEARCHES)
            if screenshots:
                browse.screenshots(Path(screenshots), names)
    server.shutdown()
    for line in browse.problems:
        print(line)
    print(f"{len(names)} pages, {browse.checks} checks, {len(browse.problems)} failed")
    sys.exit(bool(browse.problems))
