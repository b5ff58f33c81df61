"""Is a corpus still what was prepared, and does its raw folder still say the same? One row a check."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import corpus, split
from ecgscale.data.dataset import Dataset
from ecgscale.data.folders import inside
from ecgscale.data.preparation import indexed
from ecgscale.data.recount import against_table
from ecgscale.data.reread import against_records

_COLUMNS = ["item", "expected", "found", "ok"]
_SUMS = "SHA256SUMS.txt"


def verify(name: str, home: Path, dataset: Dataset | None = None, raw: Path | None = None) -> pd.DataFrame:
    """Check the arrays of a prepared corpus against their SHA-256 and shapes, its splits, and its raw folder if given.

    Returns columns item, expected, found, ok. Raises FileNotFoundError if it was never prepared.
    """
    rows: list[tuple[str, str, str, bool]] = []
    folder = corpus.folder_of(home, name)
    manifest = corpus.manifest_of(home, name)
    arrays = {}
    for array, expected in manifest.files.items():
        path = folder / f"{array}.npy"
        if not path.is_file():
            rows.append((path.name, "a file", "missing", False))
            continue
        try:
            arrays[array] = np.load(path, mmap_mode="r", allow_pickle=False)
        except ValueError as error:
            rows.append((path.name, "a whole array", f"{path.stat().st_size:,} bytes: {str(error)[:80]}", False))
            continue
        found = corpus.sha256(arrays[array])
        rows.append((path.name, expected[:16], found[:16], found == expected))
    lengths = {array: len(values) for array, values in arrays.items()}
    rows.append(
        ("rows of every array", "one number", str(sorted(set(lengths.values()))), len(set(lengths.values())) == 1)
    )
    if {"patient", "split"} <= set(arrays):
        try:
            split.assert_disjoint(np.asarray(arrays["patient"]), np.asarray(arrays["split"]))
            rows.append(("patients", "each in one split", "each in one split", True))
        except ValueError as error:
            rows.append(("patients", "each in one split", str(error), False))
    rows += [("raw folder at preparation", "complete", text, False) for text in manifest.missing]
    base = name.partition("@")[0]
    if raw is not None and dataset is not None:
        rows += [] if _elsewhere(manifest, raw) else against_table(base, raw, manifest.accounts, arrays)
        rows += _against_raw(name, dataset, raw, arrays, manifest)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _elsewhere(manifest: corpus.Manifest, raw: Path) -> bool:
    """Whether one's own table is no text, or lies elsewhere, so that its rows cannot be counted again."""
    table = manifest.reader.get("table", "")
    return bool(manifest.reader) and (table.casefold().endswith(".parquet") or not (raw / table).is_file())


def _against_raw(
    name: str, dataset: Dataset, raw: Path, arrays: dict[str, np.ndarray], manifest: corpus.Manifest
) -> list[tuple[str, str, str, bool]]:
    """Does the raw folder have every file its tables name, and the records, labels and patients of the corpus?"""
    try:
        index = indexed(dataset, raw)
    except (OSError, ValueError, KeyError) as error:
        return [("raw folder", "readable", str(error), False)]
    rows = [("raw folder", "complete", text, False) for text in index.missing]
    rows += _against_sums(raw)
    n_expected = len(arrays.get("labels", ()))
    rows.append(
        ("records in the raw folder", f"{n_expected:,}", f"{len(index.where):,}", n_expected == len(index.where))
    )
    if "labels" in arrays and n_expected == len(index.where):
        same = np.array_equal(arrays["labels"], index.labels)
        rows.append(("labels", "those of the raw folder", "the same" if same else "others", same))
        if corpus.NUMBERS in arrays:
            found = np.zeros((0, 0)) if index.numbers is None else index.numbers
            same = np.array_equal(arrays[corpus.NUMBERS], found, equal_nan=True)
            rows.append(("numbers", "those of the raw folder", "the same" if same else "others", same))
        groups = len(np.unique(index.patient)), len(np.unique(arrays["patient"]))
        rows.append(("patients in the raw folder", f"{groups[1]:,}", f"{groups[0]:,}", groups[0] == groups[1]))
    return rows + against_records(dataset, raw, index, arrays, manifest)


def _against_sums(raw: Path) -> list[tuple[str, str, str, bool]]:
    """Are the files those of the provider's own list (PhysioNet's SHA256SUMS.txt)? Counted: file names are identities.

    Files of the list that are not there are not counted: what a dataset needs of them, its index says.
    """
    rows = []
    for listed in sorted(raw.rglob(_SUMS)):
        folder = listed.parent.relative_to(raw)
        lines = [line.split(maxsplit=1) for line in listed.read_text(errors="replace").splitlines()]
        sums = {inside(raw, str(folder / line[1].lstrip("*"))): line[0] for line in lines if len(line) == 2}
        here = {file: expected for file, expected in sums.items() if file.is_file()}
        n_other = sum(_sha256(file) != expected.lower() for file, expected in here.items())
        said = (
            f"{n_other:,} of {len(here):,} differ; sha256sum -c --quiet {_SUMS} names them" if n_other else "the same"
        )
        rows.append((f"files of {listed.relative_to(raw)}", "the same", said, n_other == 0))
    return rows


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
