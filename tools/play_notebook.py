"""Run the cells of a notebook one after the other, as Colab does, and stop at the first that fails.

    python tools/play_notebook.py NOTEBOOK [TAG ...]
    python tools/play_notebook.py

Cells with one of these tags are left out. The last line counts the cells. Needs nothing but IPython, so that it also runs in
the environment of somebody who only installed the package; tools/online_test.py does that.

Without a notebook it takes orders from its input, each a line of JSON:

    {"notebook": FILE, "left_out": [TAG, ...], "folder": FOLDER, "log": FILE, "status": FILE}

A copy of the process runs the notebook in `folder`, prints to `log`, and at its end writes its exit status to `status`. The
answer is a line with its process number. The copy has imported what takes longest to import, and nothing of mwmae.
"""
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

SLOW = ("torch._dynamo", "sklearn.linear_model", "matplotlib.pyplot", "pandas")  # what takes longest to import


class Shell(InteractiveShell):
    "IPython without a terminal and without windows."

    def enable_gui(self, gui=None):
        "Pictures need no window."


def main(notebook: Path, *left_out: str) -> int:
    "Run a notebook; the exit status is 1 if a cell fails."
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    wanted = [cell for cell in code if not set(left_out) & set(cell["metadata"].get("tags", []))]
    sys.argv = [notebook.name]
    shell = Shell.instance(colors="NoColor")
    shell.run_line_magic("matplotlib", "inline")
    for number, cell in enumerate(wanted, 1):
        source = "".join(cell["source"])
        done = shell.run_cell(source, store_history=True)
        failed = done.error_before_exec or done.error_in_exec
        if failed or shell.user_ns.get("_exit_code"):  # of a line such as %pip
            print(f"cell {number} of {len(wanted)} failed:\n{source}")
            return 1
    print(f"{len(wanted)} cells ran, {len(code) - len(wanted)} left out")
    return 0


def play(
    order: dict,  # as above
):  # does not return
    "Do what an order says, in a copy of the process, and end it."
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(order["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    printed = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(printed, stream)
    status = 1
    try:
        status = main(Path(order["notebook"]), *order["left_out"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        Path(order["status"]).write_text(str(status), encoding="utf-8")
        os._exit(status)


def take_orders() -> None:
    "Start a copy of the process for each order, until there are no more."
    for name in SLOW:
        with suppress(ImportError):  # as it would be said in the notebook
            import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies
    for line in sys.stdin:
        copy = os.fork()
        if not copy:
            play(json.loads(line))
        print(copy, flush=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]) if sys.argv[1:] else take_orders())
