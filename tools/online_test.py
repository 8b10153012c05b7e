"""Run every page of tools/online.py as a reader would in Colab: in an empty folder, with only the wheel and IPython installed.

    python tools/online_test.py [--wheel FILE] [--only masking,howto_embed] [--flags slow] [--environment FOLDER]

The environment of a page holds the wheel, what it requires, and what the first cell of the page installs, and nothing else
(tools/wheel_env.py); pages that need the same share one. The first cell runs as it stands. pip finds all that it asks for,
or fails, as it may not ask an index; and the files come from a server of this machine, which stands for GitHub. Cells that
`nbdev_test` leaves out are left out here: --flags names flags of tst_flags in settings.ini whose cells run too.

Prints a line for each page, and as the last one how many ran.
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import wheel_env
from fastcore.script import call_parse
from nbdev.config import get_config
from online import ELSEWHERE, online, pages
from page_needs import ROOT, THERE

LIMIT = 1200  # seconds that one page may take
PLAIN = (), ()  # what a page needs that has no extras and no other packages
LOG_LINES = 40  # of a page that failed


class Quiet(SimpleHTTPRequestHandler):
    "Serves the files of the project."

    def log_message(self, *args):
        "Say nothing."


def serve() -> ThreadingHTTPServer:  # it runs in a thread until `shutdown`
    "Serve the project on this machine alone, on any free port."
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(ROOT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def build_wheel(
    folder: Path,  # where to
) -> Path:
    "Build the wheel of the project."
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


class Player:
    "Runs pages in one environment, each in a process of its own that has imported what takes longest to import."

    def __init__(self, environment: Path, env: dict):
        env = env | {"PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        command = [str(environment / "bin" / "python"), "-P", str(ROOT / "tools" / "play_notebook.py")]
        self.process = subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.one = threading.Lock()

    def start(
        self,
        **order,  # see tools/play_notebook.py
    ) -> int:  # process number, which leads a group
        "Start a page."
        with self.one:
            print(json.dumps({name: value if name == "left_out" else str(value) for name, value in order.items()}),
                  file=self.process.stdin, flush=True)
            return int(self.process.stdout.readline())


def is_there(
    process: int,  # its number
) -> bool:
    "Whether a process has not ended."
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


class Test:
    "Runs pages, each in an empty folder."

    def __init__(self, work: Path, wheel: Path, address: str, left_out: list[str]):
        self.work, self.wheel, self.left_out = work, wheel, left_out
        (work / "home").mkdir()
        own = {"HOME": str(work / "home"), "IPYTHONDIR": str(work / "home"), ELSEWHERE: address, "PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
        # CI asks for all that the dev extra has, which is not there
        foreign = ("PYTHON", "PIP_", "VIRTUAL_ENV", "CI")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | own
        self.environments: dict[tuple, Path] = {}
        self.players: dict[Path, Player] = {}

    def environment(
        self,
        needs: tuple,  # extras of the wheel, and other packages
    ) -> Path:  # its folder
        "An environment for what pages need, made if there is none."
        if needs not in self.environments:
            base = None if needs == PLAIN else self.environment(PLAIN)
            folder = self.work / f"environment{len(self.environments)}"
            wheel_env.main(folder, self.wheel, *needs[0], beside=[THERE, *needs[1]], over=base)
            self.environments[needs] = folder
        return self.environments[needs]

    def run(
        self,
        name: str,  # of the page
        notebook: dict,  # what tools/online.py writes
        player: Player,  # of the environment to run it in
    ) -> tuple[bool, str, float]:  # whether it went through, what it printed, seconds
        "Run a page."
        folder, start = self.work / "pages" / name, time.monotonic()
        folder.mkdir(parents=True)
        file, log, status = (self.work / f"{name}.{end}" for end in ("ipynb", "log", "status"))
        file.write_text(json.dumps(notebook), encoding="utf-8")
        log.touch()
        page = player.start(notebook=file, left_out=self.left_out, folder=folder, log=log, status=status)
        while is_there(page) and time.monotonic() < start + LIMIT:
            time.sleep(0.1)
        late = is_there(page)
        if late:
            os.killpg(page, signal.SIGKILL)  # with the commands that the page started
        printed = log.read_text(encoding="utf-8", errors="replace").strip() + (f"\nstopped after {LIMIT} seconds" if late else "")
        good = not late and status.exists() and status.read_text(encoding="utf-8") == "0"
        return good, printed, time.monotonic() - start

    def player(
        self,
        environment: Path,
    ) -> Player:
        "What runs the pages of an environment."
        if environment not in self.players:
            self.players[environment] = Player(environment, self.env)
        return self.players[environment]

    def end(self):
        "End the players."
        for player in self.players.values():
            player.process.stdin.close()
            player.process.wait()


def page_line(
    good: bool,
    name: str,  # of the page
    installed: list[str],  # requirements of its first cell
    files: list[str],  # that it fetches
    log: str,  # what it printed
    seconds: float,
) -> str:
    "What is said of a page."
    size = sum((ROOT / file).stat().st_size for file in files) / 1e6
    fetched = f"{len(files)} files of {size:.2f} MB" if files else "no files"
    cells = log.rpartition("\n")[2] if good else "see below"
    line = f"{'passed' if good else 'FAILED'}  {name}: {' '.join(installed)}; {fetched}; {cells} ({seconds:.0f} s)"
    return line if good else "\n".join([line, *(f"    {each}" for each in log.splitlines()[-LOG_LINES:])])


@call_parse
def main(
    wheel: str = "",  # the wheel (default: build it)
    only: str = "",  # names of pages, as masking,howto_embed (default: all)
    flags: str = "",  # flags of tst_flags in settings.ini whose cells run too, with spaces between
    workers: int = 2,  # pages at the same time
    environment: str = "",  # run the pages that need no extra in this environment, such as that of tools/oldest.py, and no others
):
    "Run pages from empty folders, print a line for each and a count; exit 1 if one fails."
    config, start = get_config(), time.monotonic()
    chosen = {name: path for name, path in pages().items() if not only or name in only.split(",")}
    if unknown := set(only.split(",")) - {"", *chosen}:
        sys.exit(f"--only: no page with code is called {', '.join(sorted(unknown))}")
    left_out = [flag for flag in config.tst_flags.split() if flag not in flags.split()]
    server, failed = serve(), 0
    with tempfile.TemporaryDirectory(prefix="mwmae-online-") as folder, ThreadPoolExecutor(workers) as pool:
        work = Path(folder).resolve()
        test = Test(work, Path(wheel).resolve() if wheel else build_wheel(work), f"http://127.0.0.1:{server.server_port}", left_out)
        if environment:
            test.environments[PLAIN] = Path(environment).resolve()
        running = {}
        for name, path in chosen.items():
            page = online(name, path, f"v{config.version}")
            needs = tuple(page.extras), tuple(page.others)
            if environment and needs != PLAIN:
                continue
            running[name] = page, pool.submit(test.run, name, page.notebook, test.player(test.environment(needs)))
        for name, (page, run) in running.items():
            good, log, seconds = run.result()
            failed += not good
            print(page_line(good, name, page.installed, page.files, log, seconds), flush=True)
        test.end()
    server.shutdown()
    print(f"took {time.monotonic() - start:.0f} s, in {len(test.environments)} environments")
    print(f"{len(running)} pages ran, {failed} failed")
    sys.exit(bool(failed))
