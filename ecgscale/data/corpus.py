"""A prepared dataset on disk: memory-mapped signals and R peaks, labels, patients and splits, one manifest last."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ecgscale.data import split as splitting

MISSING = 255  # in labels: unknown, masked out of every loss
_ARRAYS = ("signal", "peaks", "labels", "patient", "split")


@dataclass(frozen=True)
class Slice:
    """Which part of a corpus a run sees."""

    corpus: str
    fraction: float = 1.0  # of the training patients; fractions nest
    label_set: str = ""  # empty: the objective needs no labels

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction={self.fraction}: a fraction of patients is above 0 and at most 1")


@dataclass(frozen=True)
class Manifest:
    """What a corpus says of itself; written last, so that a corpus without one is not there."""

    name: str
    sampling_hz: int
    mv_per_unit: float  # int16 sample -> mV
    scale_mv: float  # one global standard deviation of the training signals; models see mV / scale_mv
    label_sets: Mapping[str, Sequence[str]]
    preparation: str  # what was done to the signals, in words
    digest: str  # SHA-256 over all arrays


@dataclass(frozen=True)
class Corpus:
    """A prepared dataset; arrays are memory maps with one row a recording.

    ``signal`` int16 [n, 8, n_samples] of the independent leads; ``peaks`` int16 [n, MAX_BEATS]; ``labels`` uint8
    [n, n_labels] with 0, 1 or MISSING, columns in the order of the label sets; ``patient`` int32 codes; ``split``
    0 train, 1 val, 2 test.
    """

    manifest: Manifest
    signal: np.ndarray
    peaks: np.ndarray
    labels: np.ndarray
    patient: np.ndarray
    split: np.ndarray

    @property
    def name(self) -> str:
        return self.manifest.name

    def rows(self, split: str, fraction: float = 1.0) -> np.ndarray:
        """Indices of a split's recordings; of the patients in a fraction of it, nested."""
        rows = np.flatnonzero(self.split == splitting.SPLITS.index(split))
        if fraction < 1:
            rows = rows[splitting.within_fraction(self.patient[rows], fraction, salt=f"{self.name}/{split}")]
        return rows

    def label_names(self, label_set: str) -> tuple[str, ...]:
        """Names of a label set's classes; none for the empty set. Raises ValueError for one that is not there."""
        if not label_set:
            return ()
        if label_set not in self.manifest.label_sets:
            raise ValueError(
                f"corpus {self.name} has no label set {label_set!r}; it has {', '.join(self.manifest.label_sets)}"
            )
        return tuple(self.manifest.label_sets[label_set])

    def targets(self, label_set: str, rows: np.ndarray) -> np.ndarray:
        """Labels float32 [n_rows, n_classes]: 1, 0, or NaN where missing."""
        width = len(self.label_names(label_set))
        if not width:
            return np.zeros((len(rows), 0), dtype=np.float32)
        first = 0
        for name, classes in self.manifest.label_sets.items():
            if name == label_set:
                break
            first += len(classes)
        values = self.labels[rows, first : first + width].astype(np.float32)
        values[values == MISSING] = np.nan
        return values


def folder_of(home: Path, name: str) -> Path:
    """Where a prepared corpus lives."""
    return home / "corpora" / name


def is_prepared(home: Path, name: str) -> bool:
    return (folder_of(home, name) / "manifest.json").is_file()


def read(home: Path, name: str) -> Corpus:
    """Open a prepared corpus. Raises FileNotFoundError in one sentence if it was never prepared."""
    folder = folder_of(home, name)
    if not is_prepared(home, name):
        raise FileNotFoundError(f"corpus {name} is not prepared; run: ecgscale data prepare {name} --raw DIR")
    manifest = Manifest(**json.loads((folder / "manifest.json").read_text()))
    arrays = {array: np.load(folder / f"{array}.npy", mmap_mode="r") for array in _ARRAYS}
    corpus = Corpus(manifest, **arrays)
    splitting.assert_disjoint(np.asarray(corpus.patient), np.asarray(corpus.split))
    return corpus


def write(
    home: Path,
    name: str,
    *,
    signal: np.ndarray,
    peaks: np.ndarray,
    labels: np.ndarray,
    patient: np.ndarray,
    split: np.ndarray,
    label_sets: Mapping[str, Sequence[str]],
    sampling_hz: int,
    mv_per_unit: float,
    preparation: str,
) -> Corpus:
    """Write a corpus whole or not at all, and open it. Raises ValueError if a patient is in two splits."""
    splitting.assert_disjoint(patient, split)
    arrays = dict(zip(_ARRAYS, (signal, peaks, labels, patient, split), strict=True))
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).data)
    train = signal[split == splitting.TRAIN]
    manifest = Manifest(
        name=name,
        sampling_hz=sampling_hz,
        mv_per_unit=mv_per_unit,
        scale_mv=round(float(np.std(train, dtype=np.float64)) * mv_per_unit, 6),
        label_sets=label_sets,
        preparation=preparation,
        digest=digest.hexdigest(),
    )
    folder = folder_of(home, name)
    partial = folder.with_name(f".{name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for array_name, values in arrays.items():
        np.save(partial / f"{array_name}.npy", values)
    (partial / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1))
    try:
        os.rename(partial, folder)
    except OSError:  # another process finished first; its corpus is the same
        if not is_prepared(home, name):
            raise
        shutil.rmtree(partial)
    return read(home, name)
