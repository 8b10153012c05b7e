"""Write benchmarks/results/peers.csv from results of mwmae_hear, and the table of the README beside this file.

    python benchmarks/peers/write_scores.py hear/results
"""
from pathlib import Path

import pandas as pd
from fastcore.script import call_parse

from mwmae.files import atomic_file
from mwmae.compare import collect_results, score_rows, summarise
from mwmae.report import markdown_table, report_table

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
BEGIN, END = "<!-- scores -->\n", "<!-- end of scores -->"


def write(
    path: Path,  # of the file
    text: str,  # what it is to hold
):
    "Write a text file, whole or not at all."
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@call_parse
def main(
    results: str,  # folder of results of mwmae_hear with peers
    beside: str = "logmel,random,longest,longest_wide",  # rows of the recipe to show with them
    grid: str = "patient",  # grid of the probe
):
    "Write scores of all seeds, and a table of means beside those of this library."
    rows = score_rows(collect_results([results])[0])
    rows = rows[rows.grid == grid].sort_values(["model", "task", "seed"]).round({"value": 3})
    write(RESULTS / "peers.csv", rows.to_csv(index=False))
    ours = pd.read_csv(RESULTS / "real_sounds" / "scores.csv")
    ours = ours[(ours.grid == grid) & ours.model.isin(beside.split(","))]
    both = pd.concat([ours, rows[rows.task.isin(ours.task)]])
    table = report_table(summarise(both)).T  # a line for each task, a column for each model
    table.index = [task.removesuffix("-v1-full") for task in table.index]
    before, rest = (HERE / "README.md").read_text(encoding="utf-8").split(BEGIN)
    text = f"{before}{BEGIN}{markdown_table(table)}\n{END}{rest.split(END)[1]}"
    write(HERE / "README.md", text)
    print(table.to_string())
