"""Columns of numbers in a table of labels: which are measurements, in what unit, and which cells cannot be any."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecgscale.data.columns import BLANK, bare, named, shown
from ecgscale.data.label_sets import PLAUSIBLE, why_absurd
from ecgscale.data.tables import Table, UnreadableTable, bare_name

_BLANK = BLANK - {"-1", "-9", "-99"}  # which an electrical axis may be
_UNITS = (
    "years",
    "ms",
    "s",
    "mv",
    "uv",
    "bpm",
    "mmol",
    "mg",
    "kg",
    "cm",
    "mmhg",
    "percent",
    "degrees",
    "hours",
    "days",
)
_IN_BRACKETS = re.compile(r"^(.*\S)\s*[(\[]\s*([^)\]]{1,20}?)\s*[)\]]$")
_MOST_CODES = 5  # different whole numbers, each of which many rows have
_ROWS_A_CODE = 4
_DIGITS = 6  # that whole numbers of which no two are alike have if they are identifiers
_CODES_FOR_MISSING = re.compile(r"-?(?:9{2,}|8{2,}|7{2,})|-[19]")


@dataclass(frozen=True)
class Quantities:
    """A set for each column: its name and unit, values float64 [n_rows, n_columns], and what is to be said of it."""

    units: Mapping[str, Mapping[str, str]]
    values: np.ndarray
    notes: Mapping[str, int]
    taken: Mapping[str, str]


def read(table: Table, found: Sequence[str], said: Mapping[str, str]) -> Quantities:
    """The columns that hold numbers, and those that are said to (column -> unit or "").

    A unit stands in the header ("Potassium (mmol/L)", "qt_ms"), is said, or is the usual one of a quantity that is
    known. Blank cells and words (">89") are missing, and counted. Raises UnreadableTable, with the line, for a number
    that cannot be one: infinite, no such quantity, or a code for "missing" far from all others.
    """
    units: dict[str, dict[str, str]] = {}
    notes: dict[str, int] = {}
    taken: dict[str, str] = {}
    parts = [np.zeros((len(table), 0))]
    for column in dict.fromkeys([*found, *said]):
        name, unit = _named(column)
        unit = said.get(column, "") or unit
        if name in units:
            name = _as_set(column)
        values, strange, n_blank = _values(table, column)
        if not np.isfinite(values).any():
            what = f"its words are {named(strange)}" if strange else "all its cells are blank"
            raise UnreadableTable(f"no row of {table.name} has a number in column {column!r}: {what}")
        _refuse_absurd(table, column, name, unit, values)
        usual = PLAUSIBLE.get(bare_name(name))
        unit = unit or (usual[0] if usual else "")
        units[name] = {name: unit}
        parts.append(values[:, None])
        notes[f"blank {column} of {table.name}: missing"] = n_blank
        if strange:
            notes[f"{column} of {table.name} that is no number ({named(strange)}): missing"] = sum(strange.values())
        taken[column] = f"a number{f' in {unit}' if unit else ', its unit not said'}: the set {name!r}"
    return Quantities(units, np.concatenate(parts, axis=1), notes, taken)


def value_of(cell: str) -> float | None:
    """The number that a cell holds, with decimal point or comma; None for a word."""
    text = bare(cell)
    if re.fullmatch(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:e[+-]?\d+)?", text):
        return float(text.replace(",", "."))
    return float(text) if text in ("inf", "-inf", "+inf", "infinity", "-infinity") else None


def are_identifiers(table: Table, column: str) -> bool:
    """Whether a column's whole numbers are all different and so long that they name something."""
    if bare_name(column) in PLAUSIBLE:
        return False
    cells = [bare(str(cell)) for cell in table.rows[column] if bare(str(cell)) not in BLANK]
    whole = [cell for cell in cells if re.fullmatch(r"\d+(?:\.0*)?", cell)]
    long = sum(len(cell.partition(".")[0]) >= _DIGITS for cell in whole)
    called = re.search(r"(?:^|[_\W]|[a-z])(?:ID|Id)$|(?:^|[_\W])id$|mrn|accession", column) is not None
    return len(whole) == len(cells) and (called or (long > len(cells) / 2 and len(set(cells)) == len(cells) > 1))


def codes_in(table: Table, column: str, *, always: bool = False) -> str:
    """The few whole numbers of a column each of which many rows have, in words: they may be codes; "" for others."""
    if bare_name(_named(column)[0]) in PLAUSIBLE:
        return ""
    cells = [value_of(str(cell)) for cell in table.rows[column] if bare(str(cell)) not in _BLANK]
    numbers = sorted({cell for cell in cells if cell is not None})
    few = len(numbers) <= _MOST_CODES and len(cells) >= _ROWS_A_CODE * len(numbers)
    if not (few or always) or any(number != int(number) for number in numbers if np.isfinite(number)):
        return ""
    many = len(numbers) > _MOST_CODES
    return f"nothing but {', '.join(f'{number:g}' for number in numbers[:_MOST_CODES])}{' and more' if many else ''}"


def _values(table: Table, column: str) -> tuple[np.ndarray, dict[str, int], int]:
    """Numbers float64 [n_rows], words that are none -> how often, and how many cells are blank."""
    codes, distinct = pd.factorize(table.rows[column])
    cells = [str(cell) for cell in distinct]
    found = [None if bare(cell) in _BLANK else value_of(cell) for cell in cells]
    counts = np.bincount(codes, minlength=len(cells)).tolist()
    meanings = np.array([np.nan if value is None else value for value in found], dtype=np.float64)
    blank = [bare(cell) in _BLANK for cell in cells]
    strange = {
        shown(cell): n
        for cell, value, is_blank, n in zip(cells, found, blank, counts, strict=True)
        if value is None and not is_blank
    }
    n_blank = sum(n for is_blank, n in zip(blank, counts, strict=True) if is_blank)
    return meanings[codes] if len(cells) else np.zeros(0), strange, n_blank


def _refuse_absurd(table: Table, column: str, name: str, unit: str, values: np.ndarray) -> None:
    distinct, first = np.unique(values, return_index=True)
    of_code = {value for value in distinct.tolist() if _stands_for_missing(value, distinct)}
    for value, row in zip(distinct.tolist(), first.tolist(), strict=True):
        why = why_absurd(name, unit, value) or ("seems to stand for missing" if value in of_code else "")
        if why:
            raise UnreadableTable(
                f"{table.name}, line {int(table.rows.index[row])}, column {column!r}: {shown(f'{value:g}')} {why}: "
                f"mend it, leave it blank if it is unknown, say its unit (--numbers {column}=UNIT), or --leave-out it"
            )


def _stands_for_missing(value: float, distinct: np.ndarray) -> bool:
    """Whether a number looks like a code (-9, 999) and lies further from all others than they from each other."""
    others = distinct[np.isfinite(distinct) & (distinct != value)]
    if len(others) < 2 or not np.isfinite(value) or not _CODES_FOR_MISSING.fullmatch(f"{value:g}"):
        return False
    return bool(np.abs(others - value).min() > 2 * (others.max() - others.min()))


def _named(column: str) -> tuple[str, str]:
    """The name of a column's label set, and the unit that its header says."""
    found = _IN_BRACKETS.match(column)
    if found:
        return _as_set(found[1]), found[2]
    last = re.split(r"[_\s]", column)[-1]
    return _as_set(column), last if last.casefold() in _UNITS and last != column else ""


def _as_set(name: str) -> str:
    """A name as label sets have it: "/" is for parts of one, "+" for several, ":" for those of a corpus."""
    return re.sub(r"[/+:]", "-", name).strip()
