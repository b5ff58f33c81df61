"""What a dataset is before it is a corpus: its card, the index of its records, and how one record is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data.amplitude import MILLIVOLTS, Plausible
from ecgscale.data.columns import ABSENT, ELSEWHERE
from ecgscale.data.filters import Recipe
from ecgscale.data.label_sets import Units
from ecgscale.data.recording import LEADS, Recording
from ecgscale.data.tables import Table


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
    gigabytes: float | None = None  # of the download: as the provider says, or as lengths and format give; 1e9 bytes
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
class Accounts:
    """What became of every row of a table: used, refused (by reason, in the index), absent and elsewhere add up."""

    of: str  # "rows of exams.csv", or "headers" where there is no table
    total: int
    used: int
    absent: int = 0  # whose file the raw folder lacks
    elsewhere: int = 0  # that another dataset of the same files uses


@dataclass(frozen=True)
class Index:
    """Every usable record of a raw folder, in a fixed order; arrays have one row a record.

    ``where`` is a path inside the raw folder, with "#" and a row or first sample for a file that holds several.
    ``patient`` is "" where nobody knows who it is. ``split`` holds split codes, or is None where the corpus is split by
    salted hash of the patient. Labels that are numbers stand beside ``labels``: ``number_units`` names them in sets of
    their own with the unit of each ("" where it is not known), ``numbers`` holds them in these units::

        number_units={"age": {"age": "years"}, "measurements": {"qt": "ms", "axis": "degrees"}},
        numbers=float [n, 3], columns in this order, NaN where missing (never 0 or a code for it)

    Tasks and slices ask for "age", "measurements", one of several ("measurements/qt"), or more in one ("sex+age").
    """

    where: np.ndarray  # text [n]
    patient: np.ndarray  # text [n]
    label_sets: Mapping[str, tuple[str, ...]]
    labels: np.ndarray  # uint8 [n, n_labels]: 0, 1 or MISSING
    split: np.ndarray | None = None
    label_subsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Sequence[str] = ()  # what the tables promise and the folder lacks, in words without ids
    refused: Mapping[str, int] = field(default_factory=dict)  # reason -> rows of the table left out
    notes: Mapping[str, int] = field(default_factory=dict)  # what is unknown, or read otherwise than it stands there
    accounts: Accounts | None = None
    number_units: Units = field(default_factory=dict)  # set -> label -> unit; no name of a label set
    numbers: np.ndarray | None = None  # float [n, n_numbers]
    split_column: str = ""  # that ``split`` comes from: "strat_fold of ptbxl_database.csv"

    @property
    def label_bytes(self) -> int:
        """What the labels of one record take on disk."""
        return self.labels.shape[1] + 4 * (0 if self.numbers is None else self.numbers.shape[1])


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
    # Of recordings of one's own: what a corpus keeps of how they were read, as plain JSON; empty for those listed here.
    reader: Mapping[str, Any] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[int, int, int]:
        """Recordings in train, val and test of the complete dataset, as far as they are known before it is prepared."""
        if self.card.splits is not None:
            return self.card.splits
        n_val, n_test = (round(share * self.card.n_records) for share in self.shares[1:])
        return self.card.n_records - n_val - n_test, n_val, n_test


def accounted(table: Table, *notes: Mapping[str, int], n_used: int | None = None) -> dict[str, Any]:
    """The fields of an Index that say what became of a table's rows; ``n_used``: if they are not the index' rows."""
    refused = {reason: count for reason, count in table.refused.items() if not reason.startswith((ABSENT, ELSEWHERE))}
    said = table.noting({what: count for some in notes for what, count in some.items()})
    n_used = len(table) if n_used is None else n_used
    accounts = Accounts(
        f"rows of {table.name}", table.n_rows, n_used, table.aside.get(ABSENT, 0), table.aside.get(ELSEWHERE, 0)
    )
    return {"refused": refused, "notes": said.notes, "accounts": accounts}
