"""A prepared dataset on disk: memory-mapped signals and R peaks, labels, patients and splits, one manifest last."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data import split as splitting
from ecgscale.data.label_sets import Label, Units, known_sets, labels_of, scaled
from ecgscale.data.quality import counted
from ecgscale.data.recording import INDEPENDENT_LEADS
from ecgscale.records import document, is_left, own_mark, read_document, write_whole

MISSING = 255  # in labels: unknown, masked out of every loss
ARRAYS = ("signal", "peaks", "labels", "patient", "split", "quality")
BEAT_CLASSES = "beat_classes"  # the one array that only datasets with annotated beats have
NUMBERS = "numbers"  # the one array that only datasets with numbers as labels have
NOTHING_SAID: Mapping[str, Any] = {}  # to a reader: it is one of the house's
_ROWS_AT_A_TIME = 4096


@dataclass(frozen=True)
class Slice:
    """Which part of a corpus a run sees, or of several: then the fraction is of the patients of each."""

    corpus: str
    fraction: float = 1.0  # of the training patients; fractions nest
    label_set: str = ""  # empty: the objective needs no labels; "a+b": both; in a mix, one that all corpora have
    mix: tuple[tuple[str, float], ...] = ()  # other corpora, and how many of their recordings to one of the first

    def __post_init__(self) -> None:
        object.__setattr__(self, "mix", tuple((str(name), float(share)) for name, share in self.mix))
        if len(set(self.corpora)) < len(self.corpora) or not all(0 < share < float("inf") for _, share in self.mix):
            raise ValueError(f"mix={self.mix}: other corpora than {self.corpus}, each once with a share above 0")
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
    digest: str  # SHA-256 over all arrays but the numbers, and what a reader of one's own was told
    leads: Sequence[str] = INDEPENDENT_LEADS  # rows of a signal
    units: str = "mV"
    label_subsets: Mapping[str, Sequence[str]] = field(default_factory=dict)  # "set/subset" -> some classes of "set"
    number_sets: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)  # -> label -> a Number
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
    reader: Mapping[str, Any] = field(default_factory=dict)  # of recordings of one's own: Dataset.reader

    @property
    def known_label_sets(self) -> dict[str, tuple[str, ...]]:
        """Names of the labels of every set, and of parts of one: what may be asked for, alone or as "a+b"."""
        return known_sets(self.label_sets, self.label_subsets, self.number_sets)

    def labels_of(self, label_set: str) -> tuple[Label, ...]:
        """The labels of a set, in order; none of the empty one. Raises ValueError for one that is not there."""
        if not label_set:
            return ()
        try:
            return labels_of(label_set, self.label_sets, self.label_subsets, self.number_sets)
        except KeyError as error:
            there = ", ".join(self.known_label_sets)
            raise ValueError(f"corpus {self.name} has no label set {error.args[0]!r}; it has {there}") from None


@dataclass(frozen=True)
class Corpus:
    """A prepared dataset; arrays are memory maps with one row a recording.

    ``signal`` int16 [n, n_leads, n_samples], the independent leads wherever the other four follow from them;
    ``peaks`` int16 [n, MAX_BEATS]; ``labels`` uint8 [n, n_labels] with 0, 1 or MISSING, columns in the order of the
    label sets; ``patient`` int32 codes; ``split`` 0 train, 1 val, 2 test, 3 none; ``quality`` flags
    (quality.FLAWS) in uint8 or uint16; ``beat_classes`` uint8 [n, MAX_BEATS], the class of each peak or MISSING, if
    beats are annotated; ``numbers`` float32 [n, n_numbers] in their units, NaN where missing, columns in the order of
    the number sets, if there are any.
    """

    manifest: Manifest
    signal: np.ndarray
    peaks: np.ndarray
    labels: np.ndarray
    patient: np.ndarray
    split: np.ndarray
    quality: np.ndarray
    beat_classes: np.ndarray | None = None
    numbers: np.ndarray | None = None

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
        """Names of a label set's labels; none for the empty set. Raises ValueError for one that is not there."""
        return tuple(label.name for label in self.manifest.labels_of(label_set))

    def targets(self, label_set: str, rows: np.ndarray) -> np.ndarray:
        """Labels float32 [n_rows, n_labels] as models learn them: 1 or 0, numbers standardised, NaN where missing.

        Numbers are standardised by ``label_sets.Number``: by what the training recordings are.
        """
        labels = self.manifest.labels_of(label_set)
        values = np.zeros((len(rows), len(labels)), dtype=np.float32)
        binary = [at for at, label in enumerate(labels) if label.number is None]
        if binary:
            found = self.labels[rows][:, [labels[at].column for at in binary]].astype(np.float32)
            found[found == MISSING] = np.nan
            values[:, binary] = found
        for at, label in enumerate(labels):
            if label.number is not None and self.numbers is not None:
                values[:, at] = label.number.standardised(self.numbers[rows, label.column].astype(np.float64))
        return values

    def scaled_as(self, other: "Corpus", label_set: str) -> "Corpus":
        """This corpus with the numbers of a label set standardised as another's are, so that one head says both.

        Raises ValueError if the label sets are not of the same labels, kinds and units.
        """
        mine, theirs = self.manifest.labels_of(label_set), other.manifest.labels_of(label_set)
        said = [[(one.name, one.number.unit if one.number else None) for one in labels] for labels in (mine, theirs)]
        if said[0] != said[1]:
            raise ValueError(
                f"corpora {other.name} and {self.name} do not share the label set {label_set!r}: "
                f"{_differing(said[1], said[0])}"
            )
        shared = {a.column: asdict(b.number) for a, b in zip(mine, theirs, strict=True) if b.number}
        if not shared:
            return self
        column = count()
        sets = {
            name: {label: shared.get(next(column), own) for label, own in some.items()}
            for name, some in self.manifest.number_sets.items()
        }
        return replace(self, manifest=replace(self.manifest, number_sets=sets))


def _differing(one: Sequence[tuple[str, str | None]], other: Sequence[tuple[str, str | None]]) -> str:
    """The first label that two label sets do not have alike, in words."""

    def said(label: tuple[str, str | None] | None) -> str:
        if label is None:
            return "nothing"
        return label[0] if label[1] is None else f"{label[0]} as a number ({label[1] or 'no unit is said'})"

    return next((f"{said(a)} and {said(b)}" for a, b in zip_longest(one, other) if a != b), "")


def folder_of(home: Path, name: str) -> Path:
    """Where a prepared corpus lives."""
    return home / "corpora" / name


def is_prepared(home: Path, name: str) -> bool:
    return (folder_of(home, name) / "manifest.json").is_file()


def command_for(name: str) -> str:
    """The command that prepares a corpus: "ptbxl@500-ecgfounder" is PTB-XL at another rate, with other filters.

    A name that no dataset has is of recordings of one's own.
    """
    from ecgscale.data.readers import DATASETS  # which hold what is defined here

    base, _, preparation = name.partition("@")
    options = [f"--sampling-hz {part}" if part.isdigit() else f"--recipe {part}" for part in preparation.split("-")]
    own = [] if base in DATASETS else ["--reader table (or your reader's file, and what you said)"]
    return " ".join(["ecgscale data prepare", base, *(options if preparation else ()), "--raw DIR", *own])


class Damaged(ValueError):
    """A file of a corpus is not what was prepared: which, how that shows, and what to do."""

    def __init__(self, name: str, files: str, how: str) -> None:
        made_here = name.endswith("-sample") or name.startswith("simulated-")  # decoded or made on its next use
        again = "it is made anew on its next use" if made_here else f"run: {command_for(name)}"
        super().__init__(
            f"corpus {name}: {files} damaged ({how}); remove corpora/{name} from the home folder, then {again}"
        )


def manifest_of(home: Path, name: str) -> Manifest:
    """What a corpus says of itself, against its seal.

    Raises FileNotFoundError in one sentence if it was never prepared, Damaged if it is not what was written.
    """
    return manifest_and_seal(home, name)[0]


def manifest_and_seal(home: Path, name: str) -> tuple[Manifest, bool]:
    """A manifest, and whether it is sealed: those from before there were seals are not. Raises as ``manifest_of``."""
    if not is_prepared(home, name):
        raise FileNotFoundError(f"corpus {name} is not prepared; run: {command_for(name)}")
    try:
        said, is_sealed = read_document(folder_of(home, name) / "manifest.json")
        manifest = Manifest(**said)
        if manifest.name != name or (manifest.files and manifest.digest != digest_of(manifest.files, manifest.reader)):
            raise ValueError("it contradicts itself")
    except (ValueError, TypeError, AttributeError) as error:
        raise Damaged(name, "manifest.json", str(error).partition("\n")[0][:120]) from None
    return manifest, is_sealed


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a sealed manifest into a corpus' folder, whole or not at all."""
    write_whole(folder / "manifest.json", document(asdict(manifest), lambda value: json.dumps(value, indent=1)))


def digest_of(files: Mapping[str, str], reader: Mapping[str, Any] = NOTHING_SAID) -> str:
    """The digest of a corpus: SHA-256 over those of its arrays, and over what a reader of one's own was told.

    Numbers are sealed by their own SHA-256 alone: a corpus that was prepared before there were any has the digest of
    one that holds them beside the same recordings and labels, and so have the results on both.
    """
    told = json.dumps(reader, sort_keys=True) if reader else ""
    of = [sha256 for array, sha256 in files.items() if array != NUMBERS]
    return hashlib.sha256("".join([*of, told]).encode()).hexdigest()


def read(home: Path, name: str) -> Corpus:
    """Open a prepared corpus as it lies there (see ``checked`` for one that is to be what was prepared).

    Raises as ``manifest_of``, and ValueError if a patient is in two splits.
    """
    corpus = Corpus(manifest_of(home, name), **arrays_of(home, name))
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
    numbers: np.ndarray | None = None,
    **said: Any,
) -> Corpus:
    """Write a corpus whole or not at all, and open it; ``said`` as in ``seal``.

    Raises ValueError if a patient is in two splits, OSError if the disk is full.
    """
    if quality is None:
        quality = np.zeros(len(signal), dtype=np.uint8)
    splitting.assert_disjoint(patient, split)
    with made_elsewhere(home, name) as partial:
        for array_name, values in zip(ARRAYS, (signal, peaks, labels, patient, split, quality), strict=True):
            stored(partial / f"{array_name}.npy", values)
        if numbers is not None:
            stored(partial / f"{NUMBERS}.npy", numbers.astype(np.float32))
        return seal(partial, home, name, **said)


@contextmanager
def made_elsewhere(home: Path, name: str) -> Iterator[Path]:
    """A hidden folder beside the corpora to make one in; whatever goes wrong, it does not stay.

    Those of processes that were killed are removed first: they take room.
    """
    folder = folder_of(home, name)
    for left in folder.parent.glob(f".{name}.*.partial"):
        if is_left(left):
            shutil.rmtree(left, ignore_errors=True)
    partial = folder.with_name(f".{name}.{own_mark()}.partial")
    partial.mkdir(parents=True)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def seal(
    partial: Path,
    home: Path,
    name: str,
    *,
    label_sets: Mapping[str, Sequence[str]],
    sampling_hz: int,
    mv_per_unit: float,
    preparation: str,
    number_units: Units = NOTHING_SAID,
    **further: Any,
) -> Corpus:
    """Turn a folder of complete arrays into the corpus ``name``: scale, digests, the manifest last, one rename.

    ``number_units`` names the columns of ``numbers``; ``further`` are other fields of Manifest. Raises ValueError if a
    patient is in two splits.
    """
    arrays = {array: _mapped(partial, array) for array in _names(partial)}
    splitting.assert_disjoint(np.asarray(arrays["patient"]), np.asarray(arrays["split"]))
    files = {array_name: sha256(values) for array_name, values in arrays.items()}
    scaled_by = _scaled_by(np.asarray(arrays["split"]))
    numbers = scaled(number_units, arrays[NUMBERS], scaled_by) if NUMBERS in arrays else {}
    manifest = Manifest(
        name=name,
        sampling_hz=sampling_hz,
        mv_per_unit=mv_per_unit,
        scale_mv=round(deviation(arrays["signal"], scaled_by) * mv_per_unit, 6),
        label_sets=label_sets,
        number_sets=numbers,
        preparation=preparation,
        digest=digest_of(files, further.get("reader", {})),
        flaws=counted(np.asarray(arrays["quality"])),
        files=files,
        **further,
    )
    folder = folder_of(home, name)
    write_manifest(partial, manifest)
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


def add_numbers(home: Path, name: str, numbers: np.ndarray, units: Units) -> Corpus:
    """Put numbers beside the labels of a corpus that was prepared before there were any; its digest stays.

    Raises ValueError if there are others already, or not a row a recording; OSError where home cannot be written.
    """
    opened = read(home, name)
    if opened.manifest.number_sets or len(numbers) != len(opened.split) or not opened.manifest.files:
        raise ValueError(f"corpus {name} cannot be given these numbers")
    folder = folder_of(home, name)
    stored(folder / f"{NUMBERS}.npy", numbers.astype(np.float32))
    sets = scaled(units, numbers, _scaled_by(np.asarray(opened.split)))
    files = {**opened.manifest.files, NUMBERS: sha256(_mapped(folder, NUMBERS))}
    write_manifest(folder, replace(opened.manifest, number_sets=sets, files=files))
    return read(home, name)


def allocated(file: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """A new array file mapped to be written, all of whose bytes the disk has: writing into it never meets a full one.

    Raises OSError, and leaves no file, if the disk has no room for it.
    """
    try:
        array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    except OSError:
        file.unlink(missing_ok=True)
        raise
    return array


def stored(file: Path, values: np.ndarray) -> None:
    """Write an array file whole or not at all, as ``np.save`` would. Raises OSError if the disk has no room for it."""
    partial = file.with_name(f".{file.name}.{own_mark()}.partial")
    try:
        with partial.open("wb") as opened:
            header = np.lib.format.header_data_from_array_1_0(np.ascontiguousarray(values[:1]))
            np.lib.format.write_array_header_1_0(opened, {**header, "shape": values.shape})
            for first in range(0, len(values), _ROWS_AT_A_TIME):
                opened.write(np.ascontiguousarray(values[first : first + _ROWS_AT_A_TIME]).data)
        os.replace(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def sha256(array: np.ndarray) -> str:
    """SHA-256 of an array's type, shape and values, read in pieces."""
    digest = hashlib.sha256(repr((array.dtype.str, array.shape)).encode())
    for first in range(0, len(array), _ROWS_AT_A_TIME):
        digest.update(np.ascontiguousarray(array[first : first + _ROWS_AT_A_TIME]).data)
    return digest.hexdigest()


def arrays_of(home: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of a prepared corpus, mapped into memory. Raises Damaged for a file that holds none."""
    found = {}
    for array in _names(folder_of(home, name)):
        try:
            found[array] = _mapped(folder_of(home, name), array)
        except Exception as error:  # numpy evaluates the header: what it raises on a damaged one is anything
            how = "missing" if isinstance(error, FileNotFoundError) else "no whole array"
            raise Damaged(name, f"{array}.npy", how) from None
    return found


def _names(folder: Path) -> list[str]:
    return [*ARRAYS, *(array for array in (BEAT_CLASSES, NUMBERS) if (folder / f"{array}.npy").exists())]


def _mapped(folder: Path, array: str) -> np.ndarray:
    return np.load(folder / f"{array}.npy", mmap_mode="r", allow_pickle=False)


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
