"""A million rows of embeddings: written as `mwmae_embed --timestamps --table` writes them, opened and filtered by other tools.

    python benchmarks/million_rows.py SCRATCH [--sounds 1000] [--steps 1000] [--size 256]

SCRATCH gets the arrays of 1,000 recordings with 1,000 steps each, random numbers in place of embeddings, then one table, 1 GB
each; they are removed at the end. Recordings lie in 20 folders, and those of one folder are asked for: a twentieth of the
rows, by the beginning of their names. `opening` reads the schema and counts rows, `filtering` returns names, times and
embeddings of the rows that were asked for, and `one column` the names of all rows. Each is a process of its own, with the
table in the cache of the system; medians of some. `groups` is how many row groups the statistics of the column `file` leave
to read. Memory is the most that was resident beyond what the imports take. Rows are appended to
benchmarks/results/million_rows.csv.
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
from fastcore.script import call_parse

from machine import append_values, peak_memory

RESULTS = Path(__file__).parent / "results" / "million_rows.csv"
FOLDERS, ASKED, BEHIND = 20, "folder07/", "folder070"  # `0` comes behind `/`: all names that begin so lie between


def sound_names(
    sounds: int,  # how many
) -> list[str]:
    "Names of recordings in 20 folders."
    return sorted(f"folder{i % FOLDERS:02d}/recording{i:05d}.flac" for i in range(sounds))


def write_arrays(
    folder: Path,  # where to
    sounds: int,  # how many
    steps: int,  # of each
    size: int,  # values of a step
):
    "The arrays that embedding leaves for the table."
    random = np.random.default_rng(0)
    for name in sound_names(sounds):
        path = folder / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, random.standard_normal((steps, size), np.float32))
        np.save(path.with_suffix(".times.npy"), np.arange(steps, dtype=np.float32) * 40)


def write(table, folder, sounds, size):
    "Make the table with the writer of the library."
    from mwmae.embed_files import _read_rows, _write_table
    names = sound_names(sounds)
    yield
    _write_table(Path(table), _read_rows(table, size, True), Path(folder), names)
    yield len(names)


def pandas_filter(table):
    "The rows of a folder, with pandas."
    import pandas as pd
    import pyarrow.parquet  # noqa: F401 - what pandas reads tables with
    yield
    yield len(pd.read_parquet(table, filters=[("file", ">=", ASKED), ("file", "<", BEHIND)]))


def pandas_column(table):
    "One column, with pandas."
    import pandas as pd
    import pyarrow.parquet  # noqa: F401
    yield
    yield len(pd.read_parquet(table, columns=["file"]))


def pandas_open(table):
    "Schema and number of rows, with pyarrow, which pandas has no call for."
    import pandas as pd  # noqa: F401
    import pyarrow.parquet
    yield
    yield pyarrow.parquet.ParquetFile(table).metadata.num_rows


def polars_filter(table):
    "The rows of a folder, with polars."
    import polars as pl
    yield
    file = pl.col("file")
    yield len(pl.scan_parquet(table).filter((file >= ASKED) & (file < BEHIND)).collect())


def polars_column(table):
    "One column, with polars."
    import polars as pl
    yield
    yield len(pl.scan_parquet(table).select("file").collect())


def polars_open(table):
    "Schema and number of rows, with polars."
    import polars as pl
    yield
    lazy = pl.scan_parquet(table)
    lazy.collect_schema()
    yield lazy.select(pl.len()).collect().item()


def duckdb_filter(table):
    "The rows of a folder, with DuckDB, as an Arrow table."
    import duckdb
    import pyarrow  # noqa: F401 - what DuckDB hands its answer over in
    yield
    found = duckdb.sql(f"SELECT * FROM '{table}' WHERE file >= '{ASKED}' AND file < '{BEHIND}'")
    yield len(found.to_arrow_table())


def duckdb_column(table):
    "One column, with DuckDB."
    import duckdb
    import pyarrow  # noqa: F401
    yield
    yield len(duckdb.sql(f"SELECT file FROM '{table}'").to_arrow_table())


def duckdb_open(table):
    "Schema and number of rows, with DuckDB."
    import duckdb
    yield
    duckdb.sql(f"DESCRIBE SELECT * FROM '{table}'").fetchall()
    yield duckdb.sql(f"SELECT count(*) FROM '{table}'").fetchall()[0][0]


WAYS = {"pandas, opening": pandas_open, "polars, opening": polars_open, "DuckDB, opening": duckdb_open,
        "pandas, one column": pandas_column, "polars, one column": polars_column, "DuckDB, one column": duckdb_column,
        "pandas, filtering": pandas_filter, "polars, filtering": polars_filter, "DuckDB, filtering": duckdb_filter}


def measure(
    work,  # a generator: imports, then works
) -> dict:
    "Seconds and memory of what a generator does after its imports."
    next(work)
    imported, start = peak_memory(), perf_counter()
    rows = next(work)
    return {"seconds": perf_counter() - start, "memory": peak_memory() - imported, "rows": rows}


def in_process(*words):
    "What this program prints in a process of its own."
    done = subprocess.run([sys.executable, __file__, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def groups_left(
    table: Path,  # the table
) -> str:  # such as '6 of 100'
    "How many row groups may hold what is asked for, as their statistics say."
    import pyarrow.parquet
    metadata = pyarrow.parquet.read_metadata(table)
    kept = 0
    for number in range(metadata.num_row_groups):
        known = metadata.row_group(number).column(0).statistics
        kept += known.min < BEHIND and known.max >= ASKED
    return f"{kept} of {metadata.num_row_groups}"


@call_parse
def main(
    scratch: str,  # Folder for the arrays and the table, removed at the end
    sounds: int = 1000,  # Recordings
    steps: int = 1000,  # Rows of each
    size: int = 256,  # Values of an embedding
    repeats: int = 3,  # Processes that are measured, each way
    way: str | None = None,  # Measure this way with the table SCRATCH and print it (the program calls itself so)
):
    "Measure a table of a million rows; prints what it found and appends it to benchmarks/results/million_rows.csv."
    if way:
        work = write(scratch, Path(scratch).parent / "parts", sounds, size) if way == "writing" else WAYS[way](scratch)
        print(json.dumps(measure(work)))
        return
    folder = Path(scratch) / "million_rows"
    shutil.rmtree(folder, ignore_errors=True)
    write_arrays(folder / "parts", sounds, steps, size)
    table = folder / "embeddings.parquet"
    written = in_process(table, "--way", "writing", "--sounds", sounds, "--size", size)
    shutil.rmtree(folder / "parts")
    rows = [("rows", sounds * steps, ""), ("values of a row", size, ""), ("table", table.stat().st_size / 1e6, "MB"),
            ("row groups to filter", groups_left(table), ""), ("load of the machine", round(os.getloadavg()[0], 1), ""),
            ("writing", written["seconds"], "s"), ("writing, memory", written["memory"], "MB")]
    expected = {"filtering": sounds // FOLDERS * steps}
    for name in WAYS:
        found = [in_process(table, "--way", name) for _ in range(repeats)]
        assert {one["rows"] for one in found} == {expected.get(name.rpartition(", ")[2], sounds * steps)}, (name, found)
        rows.append((name, median(one["seconds"] for one in found), "s"))
        rows.append((f"{name}, memory", median(one["memory"] for one in found), "MB"))
    shutil.rmtree(folder)
    append_values(RESULTS, rows)
