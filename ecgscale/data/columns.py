"""What the cells of a raw table mean: identities, labels, sexes, codes, numbers and paths, as people write them.

Unknown is missing, never negative; an identity is text, never a number; a word that no table of words has is counted
by name, and a column of which nothing is known stops the preparation.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ecgscale.data.corpus import MISSING
from ecgscale.data.folders import Place, dangling, found, plain
from ecgscale.data.tables import Table, UnreadableTable

# What stands in a cell of which nothing is known, without case and accents.
BLANK = frozenset(
    ("", "nan", "na", "n/a", "<na>", "nat", "none", "null", "nil", "-", "--", "---", ".", "?", "??", "#n/a", "missing")
    + ("unknown", "unk", "not known", "undefined", "unspecified", "not specified", "desconhecido", "ignorado", "-999")
    + ("-1", "-9", "-99", "unbekannt", "inconnu", "not available", "#value!", "#ref!", "[]nan")
)
_YES = ("true", "t", "yes", "y", "sim", "s", "verdadeiro", "v", "positive", "positivo", "pos", "present", "ja", "si")
_NO = ("false", "f", "no", "n", "nao", "falso", "negative", "negativo", "neg", "absent", "nein", "non")
LABELS: Mapping[str, int] = dict.fromkeys(_YES, 1) | dict.fromkeys(_NO, 0) | {"oui": 1, "wahr": 1, "vrai": 1, "faux": 0}
_MEN = ("m", "male", "man", "masculino", "masc", "mas", "homem", "hombre", "h", "mann", "mannlich", "homme")
_WOMEN = ("f", "female", "woman", "feminino", "fem", "mulher", "mujer", "femenino", "w", "frau", "weiblich", "femme")
MALE: Mapping[str, int] = dict.fromkeys(_MEN, 1) | dict.fromkeys(_WOMEN, 0)
FEMALE: Mapping[str, int] = {word: 1 - male for word, male in MALE.items()}
# What stands for no identity.
_NOBODY = frozenset(
    ("", "nan", "na", "n/a", "<na>", "nat", "none", "null", "nil", "-", "--", ".", "?", "unknown", "missing")
)
_ROWS = 50_000  # looked for at a time
_OLDEST = 120.0  # years
_ROUNDED = r"\d+(?:[.,]\d+)?[Ee]\+\d+"  # how a spreadsheet shows a long number, whose last digits it has forgotten
_NUMERIC = r"\+?\d+(?:[.,]0*)?"


def bare(cell: str) -> str:
    """A cell as words are compared: without quotes, blanks, case and accents."""
    text = unicodedata.normalize("NFKD", cell).strip().strip("'\"`\u2018\u2019\u201c\u201d").strip().casefold()
    return "".join(letter for letter in text if not unicodedata.combining(letter))


def meant(cell: str, words: Mapping[str, int], numbers: bool = True) -> int | None:
    """1 or 0 as a cell says it, in words or as a number; MISSING where it is blank; None for a word nobody knows."""
    word = bare(cell)
    if word in words:
        return words[word]
    if word in BLANK:
        return MISSING
    number = re.fullmatch(r"([+-]?\d+(?:[.,]\d*)?|[.,]\d+)", word) if numbers else None
    value = float(number[1].replace(",", ".")) if number else None
    return int(value) if value in (0, 1) else None


def labels(
    table: Table, columns: Sequence[str], words: Mapping[str, int] = LABELS, *, numbers: bool = True
) -> tuple[np.ndarray, dict[str, int]]:
    """Labels uint8 [n_rows, n_columns] (0, 1 or MISSING), and unknown words of each column -> how often.

    ``numbers``: 1 and 0 mean what they say. Raises UnreadableTable for a column of which no row says anything known.
    """
    values = np.full((len(table), len(columns)), MISSING, dtype=np.uint8)
    notes: Counter[str] = Counter()
    for at, column in enumerate(columns):
        codes, distinct = pd.factorize(table.rows[column])
        said = [meant(str(cell), words, numbers) for cell in distinct]
        meanings = np.array([MISSING if value is None else value for value in said], dtype=np.uint8)
        values[:, at] = meanings[codes] if len(distinct) else MISSING
        counts = np.bincount(codes, minlength=len(distinct))
        unknown = {shown(str(distinct[k])): int(counts[k]) for k, value in enumerate(said) if value is None}
        _stop_if_nothing_is_known(table, column, values[:, at] != MISSING, unknown)
        notes[f"blank {column} of {table.name}: missing"] = int((values[:, at] == MISSING).sum()) - sum(
            unknown.values()
        )
        if unknown:
            notes[f"{column} of {table.name} in words that are not known ({named(unknown)}): missing"] = sum(
                unknown.values()
            )
    return values, dict(notes)


def one_of(table: Table, column: str, classes: Mapping[str, int], n_classes: int) -> tuple[np.ndarray, dict[str, int]]:
    """Labels uint8 [n_rows, n_classes] of a column that names one class a row, by bare word; else missing.

    Returns them with what was not known. Raises as ``labels``.
    """
    codes, distinct = pd.factorize(table.rows[column])
    place = np.array([classes.get(bare(str(cell)), -1) for cell in distinct], dtype=np.int64)
    at = place[codes] if len(distinct) else np.zeros(0, dtype=np.int64)
    values = np.where(at[:, None] < 0, MISSING, at[:, None] == np.arange(n_classes)).astype(np.uint8)
    counts = np.bincount(codes, minlength=len(distinct))
    blank = [bare(str(cell)) in BLANK for cell in distinct]
    unknown = {shown(str(distinct[k])): int(counts[k]) for k in np.flatnonzero(place < 0).tolist() if not blank[k]}
    _stop_if_nothing_is_known(table, column, at >= 0, unknown)
    notes = {f"blank {column} of {table.name}: missing": int((at < 0).sum()) - sum(unknown.values())}
    if unknown:
        notes[f"{column} of {table.name} in words that are not known ({named(unknown)}): missing"] = sum(
            unknown.values()
        )
    return values, notes


def _stop_if_nothing_is_known(table: Table, column: str, known: np.ndarray, unknown: Mapping[str, int]) -> None:
    if len(known) and not known.any():
        said = f"its words are {named(unknown)}" if unknown else "all its cells are blank"
        raise UnreadableTable(f"no row of {table.name} says anything known in column {column!r}: {said}; correct them")


def shown(word: str) -> str:
    """A word of a table as it may be said: short, and no number, which may be an identity."""
    text = "".join(letter if letter.isprintable() else "?" for letter in word.strip())
    return "a number" if re.search(r"\d{3}", text) else repr(text[:20])


def named(words: Mapping[str, int]) -> str:
    """The most frequent of some words."""
    ordered = sorted(words, key=lambda word: (-words[word], word))
    return ", ".join(ordered[:4]) + (" and others" if len(ordered) > 4 else "")


def identities(table: Table, column: str) -> Table:
    """The table with identities of ``column`` in one spelling each, "" where blank.

    9001, "9001.0" and " 9001" are one; where all of a column are numbers, so are 0077 and 77. A number that a
    spreadsheet has rounded (1.2E+10) is nobody's: its row is set aside. Raises UnreadableTable where two spellings may
    or may not be one: letters that differ in case alone, or zeros before a number among identities that are none.
    """
    cells = table.rows[column]
    if not cells.str.isascii().all():
        cells = cells.map(lambda cell: unicodedata.normalize("NFKC", cell).strip()).astype("str")
    cells = cells.str.strip("'\"` ")
    cells = cells.mask(cells.str.casefold().isin(_NOBODY), "")
    blank = cells == ""
    numeric, rounded = cells.str.fullmatch(_NUMERIC), cells.str.fullmatch(_ROUNDED)
    all_numbers = bool((numeric | rounded | blank).all())
    table = table.having(**{column: cells}).keep(~rounded, f"{column} of {table.name} rounded by a spreadsheet")
    cells = table.rows[column]
    if all_numbers:
        plain_cells = cells.str.replace(r"^\+?0*(\d+)(?:[.,]0*)?$", r"\1", regex=True)
    else:
        plain_cells = cells.str.replace(r"^(\d+)[.,]0*$", r"\1", regex=True)
        _stop_if_spelled_twice(table, column, plain_cells)
    n_changed = cells.nunique() - plain_cells.nunique()
    notes = {f"{column} of {table.name} spelled in several ways (9001 and 9001.0): taken as one": n_changed}
    return table.having(**{column: plain_cells}).noting(notes)


def _stop_if_spelled_twice(table: Table, column: str, cells: pd.Series) -> None:
    distinct = pd.Series(cells.unique(), dtype="str")
    alike = distinct.str.casefold().str.replace(r"^0+(?=\d+$)", "", regex=True)
    twice = alike.duplicated()
    if twice.any():
        pair = distinct[alike == alike[twice].iloc[0]]
        lines = [int(table.rows.index[int(np.flatnonzero(cells == one)[0])]) for one in pair[:2]]
        raise UnreadableTable(
            f"column {column!r} of {table.name} spells what may be one {column} in two ways (lines {lines[0]} and "
            f"{lines[1]} differ in case, or in zeros before a number): write them alike, or apart"
        )


def keyed(table: Table, column: str) -> Table:
    """One row a value of ``column``, in one spelling: blank ones set aside, rows that stand twice used once."""
    spelled = identities(table, column)
    return spelled.keep(spelled.rows[column] != "", f"blank {column} in {table.name}").once(column)


def people(table: Table, column: str) -> Table:
    """The table with one spelling a patient; blank ones stay "", and each is taken as a person of its own."""
    return identities(table, column)


def codes(cell: str) -> list[str]:
    """Codes of a cell that lists them, whatever stands between: "['I25.10', 'I10']", "I2510;I10", "22 ; 23"."""
    return [code for code in (bare_code(part) for part in re.split(r"[;,|\[\]{}()]+|\s+", cell)) if code]


def bare_code(code: str) -> str:
    """A code without quotes, dots and blanks, in capitals: I25.10 is I2510."""
    return re.sub(r"[\s.'\"`]", "", code).upper()


def numbers(table: Table, column: str) -> np.ndarray:
    """Numbers float64 [n_rows] with decimal points or commas; NaN for what is none."""
    said = table.rows[column].str.strip("'\" ").str.replace(r"^([+-]?\d+),(\d*)$", r"\1.\2", regex=True)
    return pd.to_numeric(said, errors="coerce").to_numpy(dtype=np.float64)


def ages(said: np.ndarray, of: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The fields of an Index that hold ages in years (none, if nobody's is known); and how many are not known.

    Ages above 89 are written as 300 or so where laws protect them, and then nobody knows them.
    """
    can_be = (said >= 0) & (said <= _OLDEST)
    if not can_be.any():
        return {}, {}
    notes = {f"blank age of {of}: missing": int(np.isnan(said).sum())}
    notes |= {f"age of {of} that none can be, as 300 for above 89: missing": int((~can_be & ~np.isnan(said)).sum())}
    fields = {"number_units": {"age": {"age": "years"}}, "numbers": np.where(can_be, said, np.nan)[:, None]}
    return fields, {what: n for what, n in notes.items() if n}


def files(
    table: Table, columns: Sequence[str], place: Place, path: Callable[[str], str], *, also: Sequence[str] = ()
) -> tuple[Table, list[str]]:
    """The rows whose file is there, its path (relative to the raw folder) in column "file"; and what is missing.

    ``path`` makes a path beside the table of a cell; the first of ``columns`` whose file is there is taken.
    Backslashes, "./", quotes and another case are understood. Rows whose cells are all blank are set aside, and of two
    different rows of one file both. ``also``: the columns that are kept beside "file"; all, if none is named.
    Raises PermissionError for a path that leaves the raw folder, naming the line.
    """
    said = np.any([~blank(table.rows[column]) for column in columns], axis=0)
    table = table.keep(said, f"blank {columns[0]} in {table.name}")
    where, lacking = [], []
    for first in range(0, len(table), _ROWS):
        names, lost = _found(table, slice(first, first + _ROWS), columns, place, path)
        where.append(pa.array(names, type=pa.large_string()))
        lacking += lost
    table = table.of(*also) if also else table
    table = table.having(file=pd.array(pa.chunked_array(where, type=pa.large_string()), dtype="str"))
    there = (table.rows["file"] != "").to_numpy()
    kept = table.keep(there, ABSENT).once("file")
    n_absent = len(there) - int(there.sum())
    sentence = f"{n_absent:,} of {len(there):,} records of {table.name}{dangling(place.raw, lacking)}"
    return kept, [sentence] if n_absent else []


def blank(cells: pd.Series) -> np.ndarray:
    """Which cells say nothing, bool [n_rows]; in pieces, so that millions of them take no room."""
    pieces = (cells.iloc[first : first + _ROWS] for first in range(0, len(cells), _ROWS))
    found = [piece.str.strip("'\"[] ").str.casefold().isin(BLANK).to_numpy(dtype=bool) for piece in pieces]
    return np.concatenate([np.zeros(0, dtype=bool), *found])


def _found(
    table: Table, piece: slice, columns: Sequence[str], place: Place, path: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Paths of the files of some rows, "" where absent, and the paths that were tried for those."""
    raw, base = str(place.raw), place.base
    rows = table.rows.iloc[piece]
    names, tried = [""] * len(rows), [""] * len(rows)
    for column in columns:
        for at, (line, cell) in enumerate(zip(rows.index.tolist(), rows[column].to_numpy(dtype=object), strict=True)):
            if names[at] or not cell:
                continue
            try:
                name = base + plain(path(cell.strip("'\" ").replace("\\", "/")))
            except PermissionError as error:
                raise PermissionError(f"{table.name}, line {line}, column {column!r}: {error}") from None
            names[at] = name if os.path.isfile(f"{raw}/{name}") else found(place.raw, name)
            tried[at] = tried[at] or name
    return names, [name for name, there in zip(tried, names, strict=True) if not there]


ABSENT = "record whose file is not in the raw folder"
ELSEWHERE = "row of a fold that is another dataset's"


def shelved(table: Table, column: str, files_by_stem: Mapping[str, str]) -> tuple[Table, list[str]]:
    """As ``files``, where a cell is the name of a file (with its suffix or without) wherever that lies."""
    table = table.keep(~table.rows[column].str.casefold().isin(BLANK), f"blank {column} in {table.name}")
    stems = table.rows[column].str.replace(r"^.*[/\\]|\.(?:csv|mat|h5|hea|dat)$", "", regex=True)
    where = [files_by_stem.get(stem) or files_by_stem.get(stem.casefold(), "") for stem in stems]
    there = np.array([bool(name) for name in where], dtype=bool)
    kept = table.having(file=pd.array(where, dtype="str")).keep(there, ABSENT).once("file")
    n_absent = len(there) - int(there.sum())
    return kept, [f"{n_absent:,} of {len(there):,} records of {table.name}"] if n_absent else []
