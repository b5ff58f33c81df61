"""A prepared dataset on disk: memory-mapped signals and R peaks, labels, patients and splits, one manifest last."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data import split as splitting
from ecgscale.data.quality import counted
from ecgscale.data.recording import INDEPENDENT_LEADS

MISSING = 255  # in labels: unknown, masked out of every loss
ARRAYS = ("signal", "peaks", "labels", "patient", "split", "quality")
BEAT_CLASSES = "beat_classes"  # the one array that only datasets with annotated beats have
_ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Slice:
    """Which part of a corpus a run sees, or of several: then the fraction is of the patients of each."""

    corpus: str
    fraction: float = 1.0  # of the training patients; fractions nest
    label_set: str = ""  # empty: the objective needs no labels
    mix: tuple[tuple[str, float], ...] = ()  # other corpora, and how many of their recordings to one of the first

    def __post_init__(self) -> None:
        object.__setattr__(self, "mix", tuple((str(name), float(share)) for name, share in self.mix))
        if len(set(self.corpora)) < len(self.corpora) or not all(0 < share < float("inf") for _, share in self.mix):
            raise ValueError(f"mix={self.mix}: other corpora than {self.corpus}, each once with a share above 0")
        if self.mix and self.label_set:
            raise ValueError(f"a mix of corpora has no labels in common: leave out label_set={self.label_set!r}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction={self.fraction}: a fraction of patients is above 0 and at most 1")

    @property
    def corpora(self) -> tuple[str, ...]:
        return (self.corpus, *(name for name, _ in self.mix))

    @property
    def name(self) -> str:
        """The corpus, and those mixed into it with their shares: "code", "code+heedb", "code+0.5*icentia11k"."""
        return "+".join([self.corpus, *(name if share == 1 else f"{share:g}*{name}" for name, share in self.mix)])


@dataclass(frozen=True)
class Manifest:
    """What a corpus says of itself; written last, so that a corpus without one is not there."""

    name: str
    sampling_hz: int
    mv_per_unit: float  # int16 sample -> mV (or what ``units`` says)
    scale_mv: float  # one global standard deviation of the training signals; models see mV / scale_mv
    label_sets: Mapping[str, Sequence[str]]
    preparation: str  # what was done to the signals, in words
    digest: str  # SHA-256 over all arrays
    leads: Sequence[str] = INDEPENDENT_LEADS  # rows of a signal
    units: str = "mV"
    label_subsets: Mapping[str, Sequence[str]] = field(default_factory=dict)  # "set/subset" -> some classes of "set"
    beat_classes: Sequence[str] = ()
    flaws: Mapping[str, int] = field(default_factory=dict)  # recordings with each quality flag
    refused: Mapping[str, int] = field(default_factory=dict)  # reason -> records that are in no split for it
    missing: Sequence[str] = ()  # what the raw folder lacked
    notes: Mapping[str, int] = field(default_factory=dict)  # of the tables: what is unknown, or was read in another way
    accounts: Mapping[str, int] = field(default_factory=dict)  # rows of the table (the first), and where each went
    files: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each array
    native_hz: Mapping[str, int] = field(default_factory=dict)  # rate of the files -> recordings
    n_upsampled: int = 0  # recordings stored at a higher rate than their files have
    amplitude: Mapping[str, float] = field(default_factory=dict)  # of the raw files: amplitude.Measured.said


@dataclass(frozen=True)
class Corpus:
    """A prepared dataset; arrays are memory maps with one row a recording.

    ``signal`` int16 [n, n_leads, n_samples], the independent leads wherever the other four follow from them;
    ``peaks`` int16 [n, MAX_BEATS]; ``labels`` uint8 [n, n_labels] with 0, 1 or MISSING, columns in the order of the
    label sets; ``patient`` int32 codes; ``split`` 0 train, 1 val, 2 test, 3 none; ``quality`` flags
    (quality.FLAWS) in uint8 or uint16; ``beat_classes`` uint8 [n, MAX_BEATS], the class of each peak or MISSING, if
    beats are annotated.
    """

    manifest: Manifest
    signal: np.ndarray
    peaks: np.ndarray
    labels: np.ndarray
    patient: np.ndarray
    split: np.ndarray
    quality: np.ndarray
    beat_classes: np.ndarray | None = None

    @property
    def name(self) -> str:
        return self.manifest.name

    def rows(self, split: str, fraction: float = 1.0, label_set: str = "") -> np.ndarray:
        """Indices of a split's recordings; of the patients in a fraction of it, nested.

        With a label set those of which no label is known are left out: they would teach and test nothing.
        """
        rows = np.flatnonzero(self.split == splitting.SPLITS.index(split))
        if fraction < 1:
            rows = rows[splitting.within_fraction(self.patient[rows], fraction, salt=f"{self.name}/{split}")]
        return rows[np.isfinite(self.targets(label_set, rows)).any(axis=1)] if label_set else rows

    def label_names(self, label_set: str) -> tuple[str, ...]:
        """Names of a label set's classes; none for the empty set. Raises ValueError for one that is not there."""
        if not label_set:
            return ()
        known = {**self.manifest.label_sets, **self.manifest.label_subsets}
        if label_set not in known:
            raise ValueError(f"corpus {self.name} has no label set {label_set!r}; it has {', '.join(known)}")
        return tuple(known[label_set])

    def label_columns(self, label_set: str) -> list[int]:
        """Columns of ``labels`` that hold a label set, or a subset of one. Raises as ``label_names``."""
        names = self.label_names(label_set)
        full_set = label_set if label_set in self.manifest.label_sets else label_set.rpartition("/")[0]
        first = 0
        for name, classes in self.manifest.label_sets.items():
            if name == full_set:
                break
            first += len(classes)
        place = {name: first + i for i, name in enumerate(self.manifest.label_sets[full_set])}
        return [place[name] for name in names]

    def targets(self, label_set: str, rows: np.ndarray) -> np.ndarray:
        """Labels float32 [n_rows, n_classes]: 1, 0, or NaN where missing."""
        names = self.label_names(label_set)
        if not names:
            return np.zeros((len(rows), 0), dtype=np.float32)
        values = self.labels[rows][:, self.label_columns(label_set)].astype(np.float32)
        values[values == MISSING] = np.nan
        return values


def folder_of(home: Path, name: str) -> Path:
    """Where a prepared corpus lives."""
    return home / "corpora" / name


def is_prepared(home: Path, name: str) -> bool:
    return (folder_of(home, name) / "manifest.json").is_file()


def command_for(name: str) -> str:
    """The command that prepares a corpus: "ptbxl@500-ecgfounder" is PTB-XL at another rate, with other filters."""
    base, _, preparation = name.partition("@")
    options = [f"--sampling-hz {part}" if part.isdigit() else f"--recipe {part}" for part in preparation.split("-")]
    return " ".join(["ecgscale data prepare", base, *(options if preparation else ()), "--raw DIR"])


def manifest_of(home: Path, name: str) -> Manifest:
    """What a corpus says of itself. Raises FileNotFoundError in one sentence if it was never prepared."""
    if not is_prepared(home, name):
        raise FileNotFoundError(f"corpus {name} is not prepared; run: {command_for(name)}")
    return Manifest(**json.loads((folder_of(home, name) / "manifest.json").read_text()))


def read(home: Path, name: str) -> Corpus:
    """Open a prepared corpus. Raises as ``manifest_of``, and ValueError if a patient is in two splits."""
    corpus = Corpus(manifest_of(home, name), **_open(folder_of(home, name)))
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
    quality: np.ndarray | None = None,
    **said: Any,
) -> Corpus:
    """Write a corpus whole or not at all, and open it; ``said`` as in ``seal``.

    Raises ValueError if a patient is in two splits.
    """
    if quality is None:
        quality = np.zeros(len(signal), dtype=np.uint8)
    splitting.assert_disjoint(patient, split)
    folder = folder_of(home, name)
    partial = folder.with_name(f".{name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for array_name, values in zip(ARRAYS, (signal, peaks, labels, patient, split, quality), strict=True):
        np.save(partial / f"{array_name}.npy", values)
    return seal(partial, home, name, **said)


def seal(
    partial: Path,
    home: Path,
    name: str,
    *,
    label_sets: Mapping[str, Sequence[str]],
    sampling_hz: int,
    mv_per_unit: float,
    preparation: str,
    **further: Any,
) -> Corpus:
    """Turn a folder of complete arrays into the corpus ``name``: scale, digests, the manifest last, one rename.

    ``further`` are other fields of Manifest. Raises ValueError if a patient is in two splits.
    """
    arrays = _open(partial)
    splitting.assert_disjoint(np.asarray(arrays["patient"]), np.asarray(arrays["split"]))
    files = {array_name: sha256(values) for array_name, values in arrays.items()}
    manifest = Manifest(
        name=name,
        sampling_hz=sampling_hz,
        mv_per_unit=mv_per_unit,
        scale_mv=round(deviation(arrays["signal"], _scaled_by(np.asarray(arrays["split"]))) * mv_per_unit, 6),
        label_sets=label_sets,
        preparation=preparation,
        digest=hashlib.sha256("".join(files.values()).encode()).hexdigest(),
        flaws=counted(np.asarray(arrays["quality"])),
        files=files,
        **further,
    )
    folder = folder_of(home, name)
    (partial / "manifest.json").write_text(json.dumps(asdict(manifest), indent=1))
    for file in partial.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())
    try:
        os.rename(partial, folder)
    except OSError:  # another process finished first; its corpus is the same
        if not is_prepared(home, name):
            raise
        shutil.rmtree(partial)
    return read(home, name)


def sha256(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and values, read in pieces."""
    digest = hashlib.sha256(repr((array.dtype.str, array.shape)).encode())
    for first in range(0, len(array), _ROWS_AT_A_TIME):
        digest.update(np.ascontiguousarray(array[first : first + _ROWS_AT_A_TIME]).data)
    return digest.hexdigest()


def _open(folder: Path) -> dict[str, np.ndarray]:
    names = [*ARRAYS, BEAT_CLASSES] if (folder / f"{BEAT_CLASSES}.npy").exists() else list(ARRAYS)
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}


def _scaled_by(split: np.ndarray) -> np.ndarray:
    """The recordings whose deviation is the corpus' scale: the training ones, or of a test-only corpus all."""
    train = split == splitting.TRAIN
    return train if train.any() else split != splitting.NONE


def deviation(signal: np.ndarray, chosen: np.ndarray) -> float:
    """Standard deviation over all samples of the chosen recordings, in one pass of bounded memory."""
    n = total = squares = 0.0
    for first in range(0, len(signal), _ROWS_AT_A_TIME):
        piece = signal[first : first + _ROWS_AT_A_TIME][chosen[first : first + _ROWS_AT_A_TIME]].astype(np.float64)
        n, total, squares = n + piece.size, total + piece.sum(), squares + np.square(piece).sum()
    return float(np.sqrt(max(squares / n - (total / n) ** 2, 0))) if n else 0.0
