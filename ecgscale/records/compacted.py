"""All rows of a sweep's ended runs in one file: a cache, quick to read, that is believed only run by run.

The files of the runs are the truth. Each run's rows are taken from here only while the seal of its own file is the one
that they were copied from.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ecgscale.records.files import BadResults, facts_of, read_table, sealed, write_whole
from ecgscale.records.journal import running
from ecgscale.records.schema import SCHEMA
from ecgscale.records.seals import intact, seal


@dataclass(frozen=True)
class Compacted:
    """Rows of runs, one run after another, and for each run where it ends, its seal, description and facts."""

    table: pa.Table
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)


def compact(results: Path, sweep: str) -> None:
    """Write the rows of all ended runs of a sweep into one file, atomically. What cannot be believed is left out."""
    folder = results / "runs" / sweep
    open_runs = running(folder)
    tables, runs, n = [SCHEMA.empty_table()], {}, 0
    for path in sorted(folder.glob("*.parquet")):
        if path.stem in open_runs:
            continue
        try:
            before = seal(path)
            table = read_table(path)
        except (BadResults, FileNotFoundError, ValueError):
            continue
        description, facts = facts_of(path, table.schema.metadata)
        tables.append(table.replace_schema_metadata(None))
        n += len(table)
        runs[path.stem] = {"end": n, "seal": before, "run": description, "facts": facts}
    whole = pa.concat_tables(tables)
    write_whole(_path(results, sweep), sealed(whole, {"runs": json.dumps(runs)}, "lz4"))


def read_compacted(results: Path, sweep: str, columns: Sequence[str] | None = None) -> Compacted:
    """What is in a sweep's compacted file, or nothing if there is none that is intact. Text comes as dictionaries."""
    names = [f.name for f in SCHEMA if columns is None or f.name in columns]
    texts = [f.name for f in SCHEMA if pa.types.is_string(f.type)]
    try:
        data = pa.BufferReader(intact(_path(results, sweep)))
        table = pq.read_table(data, columns=names, read_dictionary=texts)
        return Compacted(table.select(names), json.loads(table.schema.metadata[b"runs"]))
    except (FileNotFoundError, ValueError, KeyError, pa.ArrowException):
        return Compacted(SCHEMA.empty_table().select(names))


def _path(results: Path, sweep: str) -> Path:
    return results / "compacted" / f"{sweep}.parquet"
