"""Where the signals of a table's rows lie: a file a record, found by its path or its name, or a row of one array."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data.columns import ABSENT, blank
from ecgscale.data.folders import Place, dangling, found, inside, plain, walked
from ecgscale.data.own import signals
from ecgscale.data.own.said import ORDER, Said
from ecgscale.data.tables import Table, UnreadableTable

_BESIDE = (".dat", ".mat")  # of a header, which is what is read


def filed(table: Table, column: str, place: Place, raw: Path, said: Said) -> tuple[Table, list[str]]:
    """The rows whose signals are there, their place (path, "#" and row) in column "file"; and what is missing.

    Rows without a record are set aside, and of two that contradict each other both. Raises UnreadableTable for a
    record that may be one of several files, or is no number of a row, PermissionError for a path that leaves the raw
    folder, with the line.
    """
    name = said.signals.partition(":")[0]
    array = found(raw, plain(name)) if name else ""
    if name and not array and not inside(raw, name).is_dir():
        raise FileNotFoundError(f"--signals: the raw folder has no {name!r}")
    if array:
        table, where = _rows(table, column, raw, array, said)
    elif said.record == ORDER:
        raise ValueError(f"--record {ORDER} goes with --signals FILE, the one array whose rows are those of the table")
    else:
        table = table.keep(~blank(table.rows[column]), f"blank {column} in {table.name}")
        where = _files(table, column, place, raw, plain(name) if name else "")
    table = table.having(file=pd.array(where, dtype="str"))
    there = (table.rows["file"] != "").to_numpy()
    lacking = [cell for cell, ok in zip(table.rows[column] if column else [], there, strict=False) if not ok]
    n_absent = len(there) - int(there.sum())
    sentence = f"{n_absent:,} of {len(there):,} records of {table.name}{dangling(raw, lacking)}"
    return table.keep(there, ABSENT).once("file"), [sentence] if n_absent else []


def _rows(table: Table, column: str, raw: Path, array: str, said: Said) -> tuple[Table, list[str]]:
    n = signals.n_rows(raw / array, said.signals.partition(":")[2])
    if said.record == ORDER:
        if n != table.n_rows or table.aside:
            raise UnreadableTable(
                f"{table.name} has {len(table):,} rows that can be read and {Path(array).name} {n:,}: rows go with "
                "signals by their order, so they have to be as many; or say --record COLUMN"
            )
        return table, [f"{array}#{row}" for row in table.rows["row"]]
    table = table.keep(~blank(table.rows[column]), f"blank {column} in {table.name}")
    whole = table.rows[column].str.fullmatch(r"\d{1,15}(?:\.0*)?").to_numpy(dtype=bool)
    if not whole.all():
        line = int(table.rows.index[~whole][0])
        raise UnreadableTable(
            f"{table.name}, line {line}: with --signals FILE the column {column!r} holds the numbers of rows, from 0; "
            f"say which column does with --record COLUMN, or '--record {ORDER}'"
        )
    rows = [int(float(cell)) for cell in table.rows[column]]
    return table, [f"{array}#{row}" if row < n else "" for row in rows]


def _files(table: Table, column: str, place: Place, raw: Path, folder: str) -> list[str]:
    """Paths relative to the raw folder, "" where absent: as they stand there, or by the name of the file alone."""
    by_path: dict[str, list[str]] = {}
    by_name: dict[str, list[str]] = {}
    own = place.file.absolute()
    for path in walked(raw, *signals.SUFFIXES):
        if (raw / path).absolute() != own:
            stem = path.rpartition(".")[0].casefold()
            by_path.setdefault(stem, []).append(path)
            by_name.setdefault(stem.rpartition("/")[2], []).append(path)
    bases = dict.fromkeys((f"{folder}/" if folder else "", "", place.base if not place.base.startswith("..") else ""))
    where = []
    for line, cell in zip(table.rows.index.tolist(), table.rows[column].to_numpy(dtype=object), strict=True):
        name, mark, row = cell.strip("'\" ").partition("#")
        try:
            path = plain(name)
        except PermissionError as error:
            raise PermissionError(f"{table.name}, line {line}, column {column!r}: {error}") from None
        file = _file(path, raw, list(bases), by_path, by_name, partial(_several, table.name, line, column))
        where.append(f"{file}#{int(row)}" if file and mark and row.isdigit() else file)
    return where


def _file(
    path: str,
    raw: Path,
    bases: list[str],
    by_path: dict[str, list[str]],
    by_name: dict[str, list[str]],
    several: Callable[[], UnreadableTable],
) -> str:
    suffix = Path(path).suffix.casefold()
    stem = path[: -len(suffix)] if suffix in (*signals.SUFFIXES, *_BESIDE) else path
    if suffix in signals.SUFFIXES:
        for base in bases:
            if there := found(raw, base + path):
                return there
    kept = suffix if suffix in signals.SUFFIXES else ""
    for candidates in (
        *(by_path.get(f"{base}{stem}".casefold(), []) for base in bases),
        by_name.get(stem.casefold(), []) if "/" not in stem else [],
    ):
        some = [one for one in candidates if not kept or one.casefold().endswith(kept)]
        if len(some) > 1:
            raise several()
        if some:
            return some[0]
    return ""


def _several(table: str, line: int, column: str) -> UnreadableTable:
    return UnreadableTable(
        f"{table}, line {line}, column {column!r}: several files have that name; write its path with its suffix, or "
        "say their folder with --signals DIR"
    )


def suffixes(where: np.ndarray) -> dict[str, int]:
    """How many records are of each kind of file."""
    kinds, counts = np.unique([Path(name.partition("#")[0]).suffix.casefold() for name in where], return_counts=True)
    return {str(kind): int(count) for kind, count in zip(kinds, counts, strict=True)}
