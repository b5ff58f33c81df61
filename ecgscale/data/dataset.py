"""What a dataset is before it is a corpus: its card, the index of its records, and how one record is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ecgscale.data.amplitude import MILLIVOLTS, Plausible
from ecgscale.data.corpus import MISSING
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import LEADS, Recording


@dataclass(frozen=True)
class Card:
    """What is known of a dataset without having it."""

    title: str
    what: str  # one sentence
    n_records: int  # of the complete dataset, as its authors count
    n_patients: int | None
    sampling_hz: tuple[int, ...] | range  # native rates; a record at another rate is refused
    licence: str
    access: str  # open, on request, credentialed, or made here
    url: str
    download: str  # the provider's own line, or where to ask
    units: str  # of the files, and what is done about it
    lead_order: str  # in the files
    label_sets: Mapping[str, str]  # name -> what and how many
    n_labels: Mapping[str, int]  # classes of each label set of the complete dataset, and of each subset of one
    tested_on: str  # the real files, or a copy of the layout
    citation: str
    doi: str = ""
    traps: Sequence[str] = ()
    # Recordings in train, val and test where the authors say so or a record is cut; else n_records by Dataset.shares.
    splits: tuple[int, int, int] | None = None

    @property
    def rates(self) -> str:
        """The native rates in words: "100 or 500", "300 to 600"."""
        if isinstance(self.sampling_hz, range):
            return f"{self.sampling_hz[0]} to {self.sampling_hz[-1]}"
        *others, last = map(str, self.sampling_hz)
        return f"{', '.join(others)} or {last}" if others else last


@dataclass(frozen=True)
class Index:
    """Every usable record of a raw folder, in a fixed order; arrays have one row a record.

    ``where`` is a path inside the raw folder, with "#" and a row or first sample for a file that holds several.
    ``split`` holds split codes, or is None where the corpus is split by salted hash of the patient.
    """

    where: np.ndarray  # str [n]
    patient: np.ndarray  # str [n]
    label_sets: Mapping[str, tuple[str, ...]]
    labels: np.ndarray  # uint8 [n, n_labels]: 0, 1 or MISSING
    split: np.ndarray | None = None
    label_subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Sequence[str] = ()  # what the tables promise and the folder lacks, in words without ids
    refused: Mapping[str, int] = field(default_factory=dict)  # reason -> rows of the tables left out


@dataclass(frozen=True)
class Dataset:
    """One line of the registry: how to read a dataset and what to do with it."""

    card: Card
    index: Callable[[Path], Index]
    load: Callable[[Path, str], Recording]  # (raw, where)
    recipe: Recipe
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)  # of patients, where there is no official split
    leads: tuple[str, ...] = LEADS  # that a record must have
    einthoven: float | None = 0.05  # tolerance of the check; None: the identities do not hold in the files
    window: str = "centre"  # or "start": which 10 seconds of a longer record
    units: str = "mV"  # of the stored signal
    beat_classes: tuple[str, ...] = ()
    amplitude: Plausible = MILLIVOLTS  # of QRS complexes as ``load`` gives them

    @property
    def splits(self) -> tuple[int, int, int]:
        """Recordings in train, val and test of the complete dataset, as far as they are known before it is prepared."""
        if self.card.splits is not None:
            return self.card.splits
        n_val, n_test = (round(share * self.card.n_records) for share in self.shares[1:])
        return self.card.n_records - n_val - n_test, n_val, n_test


def labels_of(table: Sequence[Mapping[str, object]] | np.ndarray) -> np.ndarray:
    """Labels as uint8 [n, n_labels] from numbers, booleans or their words; missing or unknown values are MISSING.

    >>> labels_of(np.array([[1, 0, float("nan")]], dtype=object)).tolist()
    [[1, 0, 255]]
    """
    values = np.asarray(table, dtype=object)
    flat = [_WORDS.get(str(value).strip().lower(), MISSING) for value in values.ravel()]
    return np.array(flat, dtype=np.uint8).reshape(values.shape)


_WORDS = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}


def inside(raw: Path, relative: str) -> Path:
    """A path of a table inside the raw folder. Raises PermissionError for one that leaves it."""
    path = (raw / relative).resolve()
    if not path.is_relative_to(raw.resolve()):
        raise PermissionError("a path in the dataset's tables leaves the raw folder; the table is damaged or hostile")
    return path


def absent(raw: Path, prefix: str = "") -> list[str]:
    """Records that PhysioNet's lists (files called RECORDS) promise and that are not there, counted by list.

    ``prefix``: of the names of the records that are looked for, where several datasets lie in one folder.
    """
    said = []
    for path in sorted(raw.rglob("RECORDS")):
        names = [line.strip() for line in path.read_text(errors="replace").splitlines()]
        names = [name for name in names if Path(name).name.startswith(prefix) and name and not name.endswith("/")]
        n_absent = sum(not inside(raw, f"{(path.parent / name).relative_to(raw)}.hea").is_file() for name in names)
        if n_absent:
            said.append(f"{n_absent:,} of {len(names):,} records of {path.relative_to(raw)}")
    return said
