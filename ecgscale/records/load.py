"""Reading a results folder: every run that can be believed, and the name of every file that cannot."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from ecgscale.records.compacted import read_compacted
from ecgscale.records.files import BadResults, RunFile, path_of
from ecgscale.records.journal import read, running
from ecgscale.records.schema import SCHEMA
from ecgscale.records.seals import seals


@dataclass(frozen=True)
class Results:
    """All readable rows of a results folder, one line a run, and every file that could not be believed."""

    rows: pd.DataFrame
    runs: pd.DataFrame
    bad: tuple[str, ...]


def load(results: Path, sweeps: Iterable[str] | None = None, columns: Sequence[str] | None = None) -> Results:
    """Read every run of a results folder (or of the named sweeps); of its rows all columns or the named ones.

    A file that cannot be believed is left where it is and named in ``bad``; all others are read. Rows come from a
    sweep's compacted file where that holds what the run's own file does. Text columns that are named are categories.
    """
    folder = results / "runs"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if sweeps is None and folder.is_dir() else sweeps
    kept = [f.name for f in SCHEMA if columns is None or f.name in columns]
    tables: list[pa.Table] = [SCHEMA.empty_table().select(kept)]
    runs: list[dict[str, Any]] = []
    bad: list[str] = []
    for sweep in names or ():
        journals, place = running(folder / sweep), str(folder / sweep)
        files = os.listdir(place) if os.path.isdir(place) else []
        ids = {name.removesuffix(".parquet") for name in files if name.endswith(".parquet") and name[0] != "."}
        with ThreadPoolExecutor(1) as beside:  # hashing and decoding each leave the interpreter to the other
            reading = beside.submit(read_compacted, results, sweep, columns)
            sealed = dict(zip(sorted(ids), seals(f"{place}/{run_id}.parquet" for run_id in sorted(ids)), strict=True))
            cache = reading.result()
        pieces, start = [], 0
        spans: dict[str, tuple[int, int]] = {}
        for run_id, cached in cache.runs.items():
            spans[run_id] = (start, cached["end"])
            start = cached["end"]
        for run_id in sorted(ids | set(journals)):
            try:
                held = cache.runs.get(run_id)
                if held is not None and run_id not in journals and sealed.get(run_id) == held["seal"]:
                    pieces.append(spans[run_id])
                    runs.append({"sweep": sweep, "run_id": run_id, **held["facts"], "run": held["run"]})
                    continue
                file: RunFile = read(path_of(results, sweep, run_id))
            except BadResults as error:
                bad.append(str(error))
                continue
            tables.append(pa.Table.from_pandas(file.rows, SCHEMA, preserve_index=False).select(kept))
            runs.append({"sweep": sweep, "run_id": run_id, **file.facts, "run": file.description})
        tables += [cache.table.slice(first, last - first) for first, last in _joined(pieces)]
    rows = _frame(tables, categories=columns is not None)
    return Results(rows, pd.DataFrame(runs, columns=None if runs else ["sweep", "run_id", "status", "run"]), tuple(bad))


def _joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of rows, with those that touch made one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if joined and joined[-1][1] == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def _frame(tables: Sequence[pa.Table], categories: bool) -> pd.DataFrame:
    """One frame of all tables, text as categories or as text."""
    schema = pa.schema(
        [
            f.with_type(pa.dictionary(pa.int32(), f.type)) if categories and pa.types.is_string(f.type) else f
            for f in tables[0].schema
        ]
    )
    whole = pa.concat_tables([table.replace_schema_metadata(None).cast(schema) for table in tables])
    whole = whole.unify_dictionaries()
    if not categories:
        return whole.to_pandas()
    return pd.DataFrame({name: _column(whole.column(name)) for name in whole.column_names}, copy=False)


def _column(column: pa.ChunkedArray) -> pd.Series | pd.Categorical:
    """Numbers as pandas has them; text as categories, their codes taken over as they are."""
    if not pa.types.is_dictionary(column.type):
        return column.to_pandas()
    coded = column.combine_chunks()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(codes, pd.Index(coded.dictionary.to_pylist(), dtype="str"))
