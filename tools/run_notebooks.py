"""Run notebooks and save their outputs, which are the pictures and players of the site.

Runs the cells that `nbdev_test` runs, in the same way; a cell that it leaves alone (`#| eval: false`,
a flag of tst_flags in settings.ini that --flags does not name) keeps the output it has.
"""
import base64
import io
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from execnb.nbio import nb2str, read_nb, write_nb
from execnb.shell import CaptureShell
from fastcore.script import Param, call_parse
from nbdev.clean import nbdev_clean
from nbdev.config import get_config
from nbdev.process import NBProcessor
from PIL import Image


def left_alone(
    cell,  # a cell as NBProcessor reads it
    skipped: set,  # names of cell flags whose cells are left alone
) -> bool:  # whether nbdev_test would not run it
    "Decide as `nbdev_test` does which cells not to run."
    never = cell.directives_.get("eval:", [""])[0].lower() == "false"
    exports = "nbdev_export" + "(" in cell.source
    return cell.cell_type != "code" or never or exports or bool(skipped & set(cell.directives_))


def small_png(
    picture: str,  # a PNG file in base64
) -> str:  # the same picture in at most 256 colours, if that makes it smaller
    "Make a picture smaller; those of spectrograms shrink to half, and look the same."
    packed = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return min(picture.strip(), base64.b64encode(packed.getvalue()).decode(), key=len)


def tidy(
    outputs: list,  # outputs of one cell
) -> list:  # the same, with only the last state of every progress bar, and with small pictures
    "Drop from printed lines what a carriage return has overwritten, and make pictures smaller."
    for output in outputs:
        if output.output_type == "stream":
            text = re.sub(r"[^\n]*\r(?!\n)", "", "".join(output.text))
            output.text = text.splitlines(keepends=True)
        elif "image/png" in output.get("data", {}):
            output.data["image/png"] = small_png("".join(output.data["image/png"]))
    return outputs


def run(
    notebook: Path,  # the notebook, written in place when all its cells have run
    skipped: set,  # names of cell flags whose cells are left alone
) -> str:  # what went wrong, or nothing
    "Execute `notebook` and save its outputs; on an error the file stays as it was."
    os.environ["IN_TEST"] = "1"  # as nbdev_test: nbdev then knows that this is not Jupyter
    root = str(get_config().config_path)
    sys.path.insert(0, root)
    os.chdir(notebook.parent)
    shell = CaptureShell(notebook, mpl_format="png")
    executed, saved = NBProcessor(notebook).nb, read_nb(notebook)

    def skip(cell):
        if left_alone(cell, skipped):
            return True
        cell.outputs = []
        return False

    try:
        shell.run_all(executed, exc_stop=True, preproc=skip)
    except Exception:
        return shell.prettytb(fname=notebook.name)
    for old, new in zip(saved.cells, executed.cells):
        if not left_alone(new, skipped):
            old.outputs = tidy(new.outputs)
            for place in (root, sys.prefix, f"{Path.home()}/"):
                if place in nb2str(old.outputs):
                    return f"{notebook.name}: an output names {place}, a folder of this machine, below:\n{new.source}"
    write_nb(saved, notebook)
    nbdev_clean(str(notebook))
    return ""


@call_parse
def main(
    notebooks: Param("notebooks to run (default: all in nbs/)", nargs="*"),
    flags: str = "",  # flags of tst_flags in settings.ini whose cells run too, with spaces between
):
    "Run notebooks in order, each in a process of its own, and save their outputs."
    config = get_config()
    files = [Path(n).resolve() for n in notebooks or sorted(config.nbs_path.glob("*.ipynb"))]
    skipped = set(config.tst_flags.split()) - set(flags.split())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for file, error in zip(files, pool.map(run, files, [skipped] * len(files))):
            print(error or file.name, flush=True)
            if error:
                pool.shutdown(cancel_futures=True)
                sys.exit(1)
