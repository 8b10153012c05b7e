"""Use the page 'Try it' as a reader would, in Chromium without a window, and compare it with the Python library.

Needs what tools/browse_site.py needs, and a built site with the model in it. `--results` writes what was measured to
benchmarks/results/try.csv, and `--shots FOLDER` writes pictures of the page instead of checking it.
"""
import csv
import datetime
import sys
from pathlib import Path
from statistics import median

from fastcore.script import call_parse
from nbdev.config import get_config
from playwright.sync_api import sync_playwright

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1] / "benchmarks")]
from browse_site import DESKTOP, find_browser, PHONE
from checks_model import first_view, heads, masks, numbers, Reader, sound_map
from checks_page import dropped, front, NO_WASM, sizes, sounds, tour, without_model
from dropped import files
from library import packaged_mae
from machine import cpu_model
from visit import serve

CHANGES = 20  # of which the median counts
SLOWEST = 1000  # milliseconds that a change may take on a busy machine


def time_changes(reader: Reader, measured: dict):
    "How long it takes from a new mask to the new picture, with 80 % hidden."
    reader.where = "time of a change"
    script = """async seed => { const begin = performance.now(); await window.tryit.setSeed(seed); return performance.now() - begin; }"""
    reader.masked(7, 0.8)
    times = [reader.page.evaluate(script, 100 + i) for i in range(CHANGES)]
    measured["a change with 80 % hidden"] = median(times), "ms"
    reader.check(median(times) < SLOWEST, f"{median(times):.0f} ms")


def go(reader: Reader, part, *given):
    "Do one part of a visit; what stops it is one failed check, and the next part follows."
    try:
        part(reader, *given)
    except Exception as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        reader.check(False, f"{part.__name__} stopped: {type(error).__name__}: {reason}")


def check_all(browser, server, site: Path) -> tuple[list[Reader], dict]:  # the visits; what was measured: value and unit
    "Visit the page as readers with different browsers."
    measured: dict = {}
    reader = Reader(browser, server, site)
    for part in (first_view, numbers, time_changes, masks, heads, sound_map, sounds, tour, sizes, dropped, front):
        go(reader, part, *([measured] if part in (first_view, time_changes, sounds) else []))
    reader.context.close()
    old = Reader(browser, server, site, script=NO_WASM)
    go(old, without_model, "no WebAssembly")
    old.context.close()
    offline = Reader(browser, server, site)
    offline.page.route("**/*.wasm*", lambda route: route.abort())
    go(offline, without_model, "a download fails", "ort-wasm", "net::ERR_FAILED")
    offline.context.close()
    return [reader, old, offline], measured


def write_results(measured: dict, browser: str):
    "Write what was measured as a table for the page of costs."
    facts = {"browser": f"Chromium {browser}", "threads": 1, "cpu": cpu_model(), "date": datetime.date.today().isoformat()}
    with open(HERE.parents[1] / "benchmarks" / "results" / "try.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["what", "value", "unit", *facts])
        for what, (value, unit) in measured.items():
            writer.writerow([what, f"{value:.3g}", unit, *facts.values()])


def shoot(browser, server, site: Path, folder: Path):
    "Write pictures of the page and of every step of its tour: wide and narrow, light and dark."
    folder.mkdir(parents=True, exist_ok=True)
    for size in (DESKTOP, PHONE):
        for scheme in ("light", "dark"):
            reader = Reader(browser, server, site)
            reader.page.set_viewport_size(size)
            reader.page.emulate_media(color_scheme=scheme)
            reader.begin()
            reader.ready()
            reader.page.locator("#try-map").scroll_into_view_if_needed()
            reader.page.wait_for_selector("#try-map .try-near button")
            reader.masked(7, 0.8)
            name = f"{size['width']}.{scheme}"
            reader.page.evaluate("scrollTo(0, 0)")
            reader.page.screenshot(path=folder / f"{name}.page.png", full_page=True)
            reader.page.locator("#try-tour").click()
            for step in range(6):
                reader.settle()
                reader.page.wait_for_timeout(300)
                reader.page.screenshot(path=folder / f"{name}.step{step + 1}.png")
                if step == 3:
                    reader.page.locator("#try-heads .try-head").nth(3).click()
                    reader.page.wait_for_timeout(200)
                    reader.page.screenshot(path=folder / f"{name}.step{step + 1}.alone.png")
                reader.page.locator("[data-go=next]").click()
            reader.context.close()


@call_parse
def main(
    site: str = "",  # the folder of the site (default: doc_path of settings.ini)
    results: bool = False,  # write what was measured to benchmarks/results/try.csv
    shots: str = "",  # write pictures to this folder instead
):
    "Check the page, print a line for each failed check, what was measured, and a count; exit 1 if a check fails."
    config = get_config()
    folder = Path(site or config.doc_path).resolve()
    if not (folder / "try.html").is_file() or not (folder / "try" / "model.onnx").is_file():
        sys.exit(f"{folder.name} has no page 'Try it' with its model: run tools/build_site.py first.")
    server = serve(folder, f"/{str(config.doc_baseurl).strip('/')}/", files())
    Reader.model = packaged_mae()
    # A name of another host is not even looked up; the microphone is one of the browser's own.
    quiet = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-gpu", "--disable-dev-shm-usage",
             "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=find_browser(False), args=quiet) as browser:
        if shots:
            shoot(browser, server, folder, Path(shots))
            return
        visits, measured = check_all(browser, server, folder)
        if results:
            write_results(measured, browser.version)
        version = browser.version
    server.shutdown()
    for line in (line for visit in visits for line in visit.problems):
        print(line)
    for what, (value, unit) in measured.items():
        print(f"{what}: {value:.3g} {unit}")
    failed = sum(len(visit.problems) for visit in visits)
    print(f"Chromium {version}, one thread, {cpu_model()}")
    print(f"{sum(visit.checks for visit in visits)} checks, {failed} failed")
    sys.exit(bool(failed))
