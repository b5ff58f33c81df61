"""The rows of a raw table, or the headers of a raw folder, counted again by other means than its reader's.

Nothing here calls the reader, or what it reads tables and folders with: a mistake there is not made twice.
"""

import csv
import gzip
import io
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

Check = tuple[str, str, str, bool]

# Names of the headers that are a dataset's, where it has no table.
_HEADERS: Mapping[str, str] = {
    "cpsc2018": r"A\d+",
    "csn": r"JS\d+",
    "georgia": r"E\d+",
    "cpsc2018-extra": r"Q\d+",
    "ptb": r"S\d+",
    "ptbxl-challenge": r"HR\d+",
    "incart": r"I\d+",
    "icentia11k": r"p\d+_s\d+",
    "ludb": r"\d+",
    "mitbih": r"10[0135689]|109|11[1-9]|12[1-4]|20[0-3]|205|20[7-9]|210|21[2-5]|219|22[0-3]|228|23[0-4]",
}
_WITHOUT_HEADER = ("cinc2017",)  # tables that begin with their first row
# The column that says whose a row is.
_PATIENTS: Mapping[str, str] = {
    "code": "id_patient",
    "code15": "patient_id",
    "heedb": "BDSPPatientID",
    "ptbxl": "patient_id",
    "echonext": "patient_key",
    "sph": "Patient_ID",
}
_SPLITS = ("in train", "in val", "in test")
_MOST_LINES = 100  # of one row


def against_table(
    dataset: str, raw: Path, accounts: Mapping[str, int], arrays: Mapping[str, np.ndarray]
) -> list[Check]:
    """Rows (item, expected, found, ok): what a manifest accounts for against a count of one's own, and the sums."""
    if not accounts:
        return []
    (of, total), *parts = accounts.items()
    name = of.removeprefix("rows of ")
    try:
        counts = _headers(raw, _HEADERS[dataset]) if of == "headers" else _rows(raw / name, dataset)
    except (OSError, EOFError, KeyError, csv.Error, zipfile.BadZipFile) as error:
        return [(f"{of}, counted again", f"{total:,}", f"cannot be counted ({type(error).__name__})", False)]
    found = total if total in counts else max(counts)
    sums = " + ".join(f"{n:,} {what}" for what, n in parts)
    checks = [
        (f"{of}, counted again", f"{total:,}", f"{found:,}", total in counts),
        (f"{of}, each used, refused or absent", f"{found:,}", sums, sum(n for _, n in parts) == found),
    ]
    said = [accounts.get(what, 0) for what in _SPLITS]
    if "split" in arrays and any(what in accounts for what in _SPLITS):
        held = np.bincount(np.asarray(arrays["split"]), minlength=4)[:3].tolist()
        checks.append(("recordings in train, val and test", str(said), str(held), said == held))
    if dataset in _PATIENTS and "patient" in arrays:
        with suppress(csv.Error):  # a quote is never closed: whose its rows are, nobody can tell
            checks += _patients(raw / name, dataset, total, sum(said), len(np.unique(arrays["patient"])))
    return checks


def _patients(file: Path, dataset: str, total: int, n_used: int, n_found: int) -> list[Check]:
    """Are there as many patients as identities in the table, less at most one for every row that is not used?

    Nothing is said of a table whose quotes hide some of its rows.
    """
    seen: set[str] = set()
    n_rows = n_blank = 0
    records = _records(file)
    names = [_bare(cell) for cell in next(records, [])]
    column = names.index(_bare(_PATIENTS[dataset])) if _bare(_PATIENTS[dataset]) in names else -1
    for cells in records:
        n_rows += 1
        said = cells[column].strip(" '\"") if 0 <= column < len(cells) else ""
        if re.fullmatch(r"(nan|n/?a|null|none|-*|\.|\?|unknown|missing)?", said, re.IGNORECASE):
            n_blank += 1
        else:
            seen.add(re.sub(r"^\+?0*(?=\d)", "", re.sub(r"[.,]0*$", "", said)).casefold())
    most, least = len(seen) + n_blank, len(seen) + n_blank - (n_rows - n_used)
    if n_rows != total or column < 0:
        return []
    ok = least <= n_found <= most
    return [("patients, counted again in the table", f"{max(least, 0):,} to {most:,}", f"{n_found:,}", ok)]


def _rows(file: Path, dataset: str) -> set[int]:
    """How many rows a table has below its header: by the csv module, and by lines where a quote is never closed."""
    n_header = int(dataset not in _WITHOUT_HEADER)
    n = longest = before = 0
    reader = _records(file)
    try:
        for _ in reader:
            n, longest, before = n + 1, max(longest, reader.line_num - before), reader.line_num
    except csv.Error:  # a cell without an end
        longest = _MOST_LINES
    counts = {n - n_header}
    if longest > 1:  # perhaps a quote that was never closed: rows are lines then
        counts.add(sum(1 for _ in _lines(file)) - n_header)
    return counts


def _records(file: Path) -> Any:
    """A csv reader of a table from its header on."""
    head = next(_lines(file), "")
    return csv.reader(_lines(file), delimiter=max(",;\t|", key=head.count))


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()


def _lines(file: Path) -> Iterator[str]:
    """The lines of a table from its header on; what its bytes mean above 127 changes no count."""
    with _opened(file) as opened:
        head = opened.read(4096)
    marked = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    in_twos = "utf-16-be" if head[0::2].count(0) > head[1::2].count(0) else "utf-16-le"
    encoding = "utf-16" if marked else in_twos if head.count(0) > 0.2 * len(head) else "latin-1"
    begun = False
    with _opened(file) as opened:
        for line in io.TextIOWrapper(opened, encoding=encoding, errors="replace"):
            plain = line.removeprefix("\ufeff").removeprefix("\xef\xbb\xbf")
            begun = begun or bool(plain.strip() and not re.fullmatch(r"sep=.?", plain.strip(), re.IGNORECASE))
            if begun:
                yield plain


def _opened(file: Path) -> IO[bytes]:
    if file.suffix.casefold() == ".zip":
        packed = zipfile.ZipFile(file)
        return packed.open(next(one for one in packed.namelist() if not one.startswith("__MACOSX/")))
    return gzip.open(file) if file.suffix.casefold() == ".gz" else file.open("rb")  # type: ignore[return-value]


def _headers(raw: Path, pattern: str) -> set[int]:
    """How many headers with such a name lie below a folder, behind links too, each folder once."""
    n, seen, waiting = 0, set[tuple[int, int]](), [str(raw)]
    while waiting:
        folder = waiting.pop()
        at = os.stat(folder)
        if (at.st_dev, at.st_ino) in seen:
            continue
        seen.add((at.st_dev, at.st_ino))
        for entry in os.scandir(folder):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                waiting.append(entry.path)
            else:
                n += re.fullmatch(rf"({pattern})(?i:\.hea)", entry.name) is not None
    return {n}
