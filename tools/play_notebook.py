"""Run the cells of a notebook one after the other, as Colab does, and stop at the first that fails.

    python tools/play_notebook.py NOTEBOOK [TAG ...]

Cells with one of these tags are left out. The last line counts the cells. Needs nothing but IPython, so that it also runs in
the environment of somebody who only installed the package; tools/online_test.py does that.
"""
import json
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell


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


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
