"""The one way a table of a raw folder is read: as text, whoever saved it, with every row read or set aside and counted.

A table may be UTF-8 (with a mark or without), UTF-16 or Latin-1, separated by comma, semicolon, tab or bar, packed or
not; its header may be quoted or in another case. What its cells mean is said in ``columns``.
"""

import csv
import gzip
import io
import re
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain, islice
from operator import itemgetter
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ecgscale.data.folders import Place

_DELIMITERS = (",", ";", "\t", "|")
_ROWS = 50_000  # brought into columns at a time
_BLOCK_ROWS = 20_000  # looked at together
_MOST_LINES = 100  # that a quoted cell may go over
_BLOCK = 1 << 20  # bytes
# What a file begins with that is no table, and what to do.
_NO_TABLES = {
    b"PK\x03\x04": "is a spreadsheet or an archive, not text: save it as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "is a spreadsheet, not text: save it as CSV",
    b"<!doctype html": "is a web page, perhaps that of a login: download the file again",
    b"<html": "is a web page, perhaps that of a login: download the file again",
    b"version https://git-lfs": "is a pointer of Git LFS: fetch the file itself (git lfs pull)",
    b"/annex/objects": "is a pointer of git-annex: fetch the file itself (git annex get)",
}


class UnreadableTable(ValueError):
    """A table, or a column of it, that cannot be used; the message names file, row or column, and what to do."""


@dataclass(frozen=True)
class Table:
    """Rows of a file as text without blanks around it, "" where a cell is blank; the index is the line in the file.

    Column "row" holds each row's number, from 0, blank lines not counted: what other files of a dataset refer to.
    """

    name: str  # as sentences call it: relative to the raw folder
    rows: pd.DataFrame
    n_rows: int  # of the file: those in ``rows`` and those set aside
    aside: Mapping[str, int] = field(default_factory=dict)  # reason -> rows
    first: Mapping[str, int] = field(default_factory=dict)  # reason -> line of the first of them
    notes: Mapping[str, int] = field(default_factory=dict)  # what is read otherwise than it stands there -> how often

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def refused(self) -> dict[str, int]:
        """Rows set aside, by reason and the line of the first."""
        return {f"{reason} (first: line {self.first[reason]})": count for reason, count in self.aside.items()}

    def keep(self, kept: np.ndarray | pd.Series, reason: str) -> "Table":
        """The rows where ``kept`` (bool [n]); the others are set aside for ``reason``."""
        chosen = np.asarray(kept, dtype=bool)
        n_left = len(chosen) - int(chosen.sum())
        if not n_left:
            return self
        line = int(self.rows.index[~chosen].min())
        return replace(
            self,
            rows=self.rows[chosen],
            aside={**self.aside, reason: self.aside.get(reason, 0) + n_left},
            first={**self.first, reason: min(line, self.first.get(reason, line))},
        )

    def noting(self, notes: Mapping[str, int]) -> "Table":
        """The same rows with more notes; those counted 0 times are left out."""
        return replace(self, notes=dict(Counter(self.notes) + Counter(notes))) if any(notes.values()) else self

    def having(self, **columns: object) -> "Table":
        """The same rows with columns added or changed."""
        return replace(self, rows=self.rows.assign(**columns))  # type: ignore[arg-type]

    def of(self, *columns: str) -> "Table":
        """The same rows with fewer columns."""
        return replace(self, rows=self.rows[[*columns, "row"]])

    def sorted_by(self, column: str, *, number: bool = False) -> "Table":
        """The same rows in the order of a column, as text or as whole numbers; rows that are alike in their own."""
        values = self.rows[column]
        key = pd.to_numeric(values, errors="coerce") if number else values
        return replace(self, rows=self.rows.iloc[key.argsort(kind="stable").to_numpy()])

    def once(self, key: str) -> "Table":
        """One row a value of column ``key``: a row that stands twice is used once.

        Rows of one key that contradict each other are all set aside, by the columns that they differ in.
        """
        if _all_differ(self.rows[key]):
            return self
        again = self.rows[key].duplicated(keep=False).to_numpy()
        some = self.rows[again]
        alike = pd.DataFrame({name: _by_meaning(some[name]) for name in some if name != "row"}, index=some.index)
        differs = alike.groupby(some[key].to_numpy()).nunique()
        differing = differs.gt(1).any(axis=1)
        torn = some[key].isin(differing.index[differing]).to_numpy()
        bad = np.zeros(len(self.rows), dtype=bool)
        bad[np.flatnonzero(again)[torn]] = True
        columns = [str(name) for name in differs.columns[differs.gt(1).any()]][:4]
        kept = self.keep(~bad, f"row of {self.name} that contradicts another of the same {key} in {', '.join(columns)}")
        return kept.keep(~kept.rows[key].duplicated().to_numpy(), f"row of {self.name} that stands there twice")


def texts(values: Sequence[str] | pd.Series) -> np.ndarray:
    """Text as an array [n] of any length a cell, which a fixed width would cut and objects would store dearly."""
    array = np.empty(len(values), dtype=np.dtypes.StringDType())
    for first in range(0, len(values), _ROWS):
        piece = values[first : first + _ROWS]
        array[first : first + _ROWS] = piece.to_numpy(dtype=object) if isinstance(piece, pd.Series) else list(piece)
    return array


def _all_differ(values: pd.Series) -> bool:
    """Whether no two hashes are equal, and so no two values; a table of all values would take ten times the room."""
    pieces = (values.iloc[first : first + _ROWS] for first in range(0, len(values), _ROWS))
    hashed = [pd.util.hash_pandas_object(piece, index=False).to_numpy() for piece in pieces]
    seen = np.sort(np.concatenate([np.zeros(0, dtype=np.uint64), *hashed]))
    return not (seen[1:] == seen[:-1]).any()


def header(place: Place) -> list[str]:
    """The names of all columns of a table, as they stand there. Raises UnreadableTable for what is no table of text."""
    encoding, _ = _encoding(place)
    with _opened(place) as file, io.TextIOWrapper(file, encoding=encoding, errors="replace") as text:
        for head in text:
            if head.strip() and not re.match(r"sep=.?$", head.strip(), re.IGNORECASE):
                return [name.strip(" \u00a0\u200b\ufeff\t") for name in _header(head, [], True)[1]]
    raise UnreadableTable(f"{place.name} is empty: download it again")


def read(place: Place, columns: Sequence[str], *, optional: Sequence[str] = (), header: bool = True) -> Table:
    """Columns of a table by name; ``header=False``: the file has none, and its columns are these.

    Names match in any case and with any marks between words. Raises UnreadableTable for what is no table of text, for
    a column that is not there, with the nearest that is, and for one that is there twice.
    """
    encoding, doubtful = _encoding(place)
    with _opened(place) as file, io.TextIOWrapper(file, encoding=encoding, errors="replace") as text:
        try:
            return _read(text, place, [*columns], [*optional], header, doubtful, encoding)
        except (OSError, EOFError, zipfile.BadZipFile) as error:
            raise UnreadableTable(f"{place.name} is damaged ({type(error).__name__}): download it again") from None


def _read(
    text: IO[str], place: Place, columns: list[str], optional: list[str], header: bool, doubtful: bool, encoding: str
) -> Table:
    line, head = 0, ""
    while not head.strip() or re.match(r"sep=.?$", head.strip(), re.IGNORECASE):  # what Excel puts before
        line, head = line + 1, text.readline()
        if not head:
            raise UnreadableTable(f"{place.name} is empty: download it again")
    delimiter, names = _header(head, [*columns, *optional], header)
    if header:
        chosen = _chosen(place.name, names, columns, optional)
    else:
        chosen = {name: at for at, name in enumerate(columns)}
        text, line = _Pushed(head, text), 0  # type: ignore[assignment]
    aside: Counter[str] = Counter()
    first: dict[str, int] = {}

    ordinal = 0

    def refuse(reason: str, at: int) -> None:
        nonlocal ordinal
        ordinal += not reason.startswith("blank row")
        aside[reason] += 1
        first.setdefault(reason, at)

    width = len(names) if header else len(columns)
    picked = itemgetter(*chosen.values()) if len(chosen) > 1 else lambda cells: (cells[next(iter(chosen.values()))],)
    pieces: list[list[pa.Array]] = []
    rows: list[Sequence[str]] = []
    lines: list[int] = []
    ordinals: list[int] = []
    numbers: list[np.ndarray] = []

    def pour() -> None:
        pieces.append([_trimmed(cells) for cells in zip(*rows, strict=True)])
        numbers.append(np.array([lines, ordinals], dtype=np.int64))
        rows.clear()
        lines.clear()
        ordinals.clear()

    source = iter(text)
    while block := list(islice(source, _BLOCK_ROWS)):
        split = _split(block, delimiter, width, doubtful)
        if split and names[0] not in (cells[0] for cells in split):
            pieces.append([_trimmed([cells[at] for cells in split]) for at in chosen.values()])
            numbers.append(np.array([line + 1, ordinal])[:, None] + np.arange(len(split)))
            line, ordinal = line + len(split), ordinal + len(split)
            continue
        quoted = any('"' in one for one in block)  # a quoted cell may go on beyond the block
        for at, cells in _records(
            chain(block, source if quoted else ()), place.name, delimiter, width, line, doubtful, refuse
        ):
            if header and cells[0] == names[0] and cells == names:
                refuse(f"header of {place.name} again", at)
                continue
            rows.append(picked(cells))
            lines.append(at)
            ordinals.append(ordinal)
            ordinal += 1
            if len(rows) == _ROWS:
                pour()
        if rows:
            pour()
        line += len(block)
    index, order = np.concatenate(numbers, axis=1) if numbers else np.zeros((2, 0), dtype=np.int64)
    arrays = zip(*pieces, strict=True) if pieces else [[] for _ in chosen]
    frame = pd.DataFrame(
        {
            name: pd.array(pa.chunked_array(list(array), type=pa.large_string()), dtype="str")  # type: ignore[call-overload]
            for name, array in zip(chosen, arrays, strict=True)
        },
        index=index,
    )
    for name in (one for one in optional if one not in chosen):
        frame[name] = ""
    frame["row"] = order
    unusual = {
        f"{place.name} read as {encoding}": int(encoding not in ("utf-8-sig",)),
        place.said: int(bool(place.said)),
    }
    unusual[f"{place.name} read as separated by {delimiter!r}"] = int(header and delimiter not in (",", "|"))
    table = Table(place.name, frame, len(frame) + sum(aside.values()), dict(aside), first)
    return table.noting(unusual)


class _Pushed:
    """A text file with a line put back."""

    def __init__(self, line: str, rest: IO[str]) -> None:
        self._line, self._rest = line, rest

    def __iter__(self) -> Iterator[str]:
        yield self._line
        yield from self._rest


def _header(head: str, wanted: Sequence[str], header: bool) -> tuple[str, list[str]]:
    """The delimiter that yields most of the wanted columns, and the names of all columns."""
    keys = {bare_name(name) for name in wanted}

    def fit(delimiter: str) -> tuple[int, int]:
        names = _cells(head, delimiter) or []
        return len(keys & {bare_name(name) for name in names}) if header else 0, len(names)

    delimiter = max(_DELIMITERS, key=fit)
    return delimiter, _cells(head, delimiter) or [head.strip()]


def _chosen(name: str, names: Sequence[str], columns: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    """Place of each wanted column."""
    places: dict[str, list[int]] = {}
    for at, column in enumerate(names):
        places.setdefault(bare_name(column), []).append(at)
    lacking = [column for column in columns if bare_name(column) not in places]
    if lacking:
        shown = [column.strip()[:40] for column in names if column.strip()][:30]
        near = get_close_matches(lacking[0], shown, 1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(shown[:8])}"
        raise UnreadableTable(
            f"{name} lacks {', '.join(map(repr, lacking[:4]))}; {hint} The columns are those of the edition of the card"
        )
    chosen = {column: places[bare_name(column)] for column in (*columns, *optional) if bare_name(column) in places}
    for column, found in chosen.items():
        if len(found) > 1:
            raise UnreadableTable(f"{name} has the column {column!r} {len(found)} times; leave the right one in it")
    return {column: at for column, (at,) in chosen.items()}


def _split(block: Sequence[str], delimiter: str, width: int, doubtful: bool) -> list[list[str]] | None:
    """Cells of rows none of which is out of the common: no quote, no NUL byte, nothing blank, as many as the header."""
    whole = "".join(block)
    if '"' in whole or "\0" in whole or (doubtful and "\ufffd" in whole):
        return None
    rows = [line.rstrip("\n").split(delimiter) for line in block]
    regular = all(len(cells) == width and cells[0] for cells in rows)
    return rows if regular else None


def _records(
    text: Iterable[str],
    name: str,
    delimiter: str,
    width: int,
    line: int,
    doubtful: bool,
    refuse: Callable[[str, int], None],
) -> Iterator[tuple[int, list[str]]]:
    """Line and cells of every row that has as many as the header; a quote that is never closed costs its row alone."""
    source, waiting = iter(text), deque[str]()
    at = line
    while True:
        raw = waiting.popleft() if waiting else next(source, "")
        if not raw:
            return
        at += 1
        if "\0" in raw:
            refuse(f"row of {name} with NUL bytes", at)
            continue
        if doubtful and "\ufffd" in raw:
            refuse(f"row of {name} with bytes that are no text", at)
            continue
        n_more = 0
        if '"' in raw:
            cells, n_more = _quoted(raw, source, waiting, delimiter, width)
            if not cells:
                refuse(f"row of {name} with a quote that is not closed, or too many cells or too few", at)
                continue
        else:
            cells = raw.rstrip("\n").split(delimiter)
        if len(cells) > width:
            cells = _narrowed(cells, width)
        if not cells[0].strip() and not any(cell.strip() for cell in cells):
            refuse(f"blank row of {name}", at)
        elif len(cells) == width:
            yield at, cells
        else:
            few = "fewer" if len(cells) < width else "more"
            refuse(f"row of {name} with {few} cells than its header", at)
        at += n_more


def _quoted(
    first: str, source: Iterator[str], waiting: deque[str], delimiter: str, width: int
) -> tuple[list[str] | None, int]:
    """Cells of a row whose quoted cells may go over lines, and how many more lines it took; None if it has no sense."""
    taken: list[str] = []
    text = first
    for _ in range(_MOST_LINES):
        cells = _cells(text, delimiter)
        if cells and len(_narrowed(cells, width)) == width:
            return cells, len(taken)
        more = (waiting.popleft() if waiting else next(source, "")) if cells is None else ""
        if not more:
            break
        taken.append(more)
        text += more
    waiting.extendleft(reversed(taken))
    return None, 0


def _cells(text: str, delimiter: str) -> list[str] | None:
    try:
        return next(csv.reader([text.rstrip("\n")], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _narrowed(cells: list[str], width: int) -> list[str]:
    """Without blank cells after the last column, as spreadsheets leave them."""
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def _trimmed(cells: Sequence[str]) -> pa.Array:
    return pc.utf8_trim(pc.utf8_trim_whitespace(pa.array(cells, type=pa.large_string())), " \u00a0\u200b\ufeff")


def bare_name(column: str) -> str:
    """A column's name as it is compared: without case, quotes, blanks and marks between words."""
    return re.sub(r"[\W_]+", "", column.casefold())


def _by_meaning(values: pd.Series) -> list[str]:
    """Cells in a form in which two spellings of one value are the same: case, 1 and 1.0 and True."""
    meant = []
    for value in values.str.casefold():
        number = re.fullmatch(r"0*(\d+?)(?:[.,]0*)?", value)
        meant.append({"true": "1", "false": "0"}.get(value, number[1] if number else value))
    return meant


def _opened(place: Place) -> IO[bytes]:
    if place.member:
        return zipfile.ZipFile(place.file).open(place.member)
    if place.file.name.casefold().endswith(".gz"):
        return gzip.open(place.file)  # type: ignore[return-value]
    return place.file.open("rb")


def _encoding(place: Place) -> tuple[str, bool]:
    """The encoding of a file, and whether some of its bytes are no text in it."""
    try:
        with _opened(place) as file:
            head = file.read(_BLOCK)
            for start, why in _NO_TABLES.items():
                if head[:200].lstrip().lower().startswith(start.lower()):
                    raise UnreadableTable(f"{place.name} {why}")
            if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return "utf-16", True
            for skipped, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
                if head[skipped:200:2].count(0) > 0.4 * len(head[:200:2]) > 0:
                    return encoding, True
            return _of_bytes(head, file)
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableTable(f"{place.name} is damaged ({type(error).__name__}): download it again") from None


def _of_bytes(head: bytes, file: IO[bytes]) -> tuple[str, bool]:
    """UTF-8 where the bytes are, or nearly all that are above 127; else Latin-1, in which every byte is a letter."""
    n_good = n_bad = 0
    rest = b""
    while head:
        block = rest + head
        head = file.read(_BLOCK)
        end = max(len(block) - 4, block.rfind(b"\n") + 1) if head else len(block)
        whole, rest = block[:end], block[end:]
        if whole.isascii():
            continue
        text = whole.decode("utf-8", errors="replace")
        n_bad += text.count("\ufffd")
        n_good += sum(ord(letter) > 127 for letter in text) - text.count("\ufffd")
    return ("utf-8-sig", n_bad > 0) if n_good >= n_bad else ("latin-1", False)
