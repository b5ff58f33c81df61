"""A table of labels and its files as a dataset: its index, how a record is read, its card, what was said."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data import columns, tables
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import inside
from ecgscale.data.label_sets import known_sets
from ecgscale.data.own import clinical, filing, labelled, signals
from ecgscale.data.own.completed import Unsaid, completed, leads_of
from ecgscale.data.own.said import Said
from ecgscale.data.recording import LEADS, MalformedRecordError, Recording
from ecgscale.data.tables import UnreadableTable
from ecgscale.data.waveform import MAX_HZ, MIN_HZ

TABLE = "table"
N_LOOKED_AT = 10
_EINTHOVEN = 0.05  # tolerance, as of the public datasets


@dataclass(frozen=True)
class TableReader:
    """The index and the records of a table with what was said of them; it travels to other processes."""

    said: Said
    numbers: bool = True  # False: they are left out, as when there were none

    def index(self, raw: Path) -> Index:
        """Every row of the table is a record, refused, or absent. Raises UnreadableTable or OSError in one sentence."""
        place = labelled.located(raw, self.said.labels)
        table, used = labelled.read(place, self.said)
        if used.patient:
            table = columns.people(table, used.patient)
        if used.split:
            blank = columns.blank(table.rows[used.split])
            table = table.keep(~blank, f"blank {used.split} in {table.name}")
        table, missing = filing.filed(table, used.record, place, raw, self.said)
        if missing and not len(table):
            column = labelled.headed(used.record)
            raise FileNotFoundError(
                f"no file that {table.name} names in column {column!r} is in the raw folder: write paths relative to "
                f"it, or names of files ({', '.join(signals.SUFFIXES)}), or say the folder with --signals DIR"
            )
        said = labelled.labels(table, used, self.said, numbers=self.numbers)
        nobody = np.full(len(table), "", dtype=np.dtypes.StringDType())
        whole = said.sets.get(labelled.LABEL_SET, ())
        return Index(
            where=tables.texts(table.rows["file"]),
            patient=tables.texts(table.rows[used.patient]) if used.patient else nobody,
            label_sets=said.sets,
            labels=said.values,
            number_units=said.units,
            numbers=said.numbers if said.units else None,
            split=labelled.splits(table, used.split) if used.split else None,
            split_column=f"{used.split} of {table.name}" if used.split else "",
            label_subsets={
                f"{labelled.LABEL_SET}/{name}": (name,) for name in whole if len(whole) > 1 and "/" not in name
            },
            missing=missing,
            **accounted(table, said.notes),
        )

    def load(self, raw: Path, where: str) -> Recording:
        """One record in mV. Raises MalformedRecordError, or Unsaid for what neither its file nor anybody has said."""
        name, _, row = where.partition("#")
        file = inside(raw, name)
        array = self.said.signals.partition(":")[2]
        return completed(signals.read(file, int(row) if row else None, array), self.said)


def taken_for(raw: Path, said: Said) -> dict[str, str]:
    """What each column of the table is taken for, in words. Raises as ``TableReader.index``."""
    table, used = labelled.read(labelled.located(raw, said.labels), said)
    roles = {used.record: "the record", used.patient: "the patient", used.split: "the split"}
    taken = {name: role for name, role in roles.items() if name} | dict(labelled.labels(table, used, said).taken)
    return {labelled.headed(name): role for name, role in taken.items()}


def dataset(name: str, raw: Path, said: Said) -> Dataset:
    """The dataset of a table in (or beside) a raw folder; ten of its records are read to see what they are.

    Raises ValueError or OSError in one sentence for what is wrong with table, files or what is said of them.
    """
    reader = TableReader(said)
    if not raw.is_dir():
        raise NotADirectoryError(f"no raw folder {raw.name!r}; --raw is where the recordings lie")
    try:
        index = reader.index(raw)
    except UnreadableTable as error:
        raise ValueError(str(error)) from None
    if not len(index.where):
        raise ValueError(f"{name}: no record of the table is usable: {_worst(index)}")
    kinds = filing.suffixes(index.where)
    if not clinical.is_there() and (lacking := [kind for kind in kinds if kind in clinical.SUFFIXES]):
        raise ValueError(f"{', '.join(lacking)} files are read by ecgdatakit, an extra; run: {clinical.INSTALL}")
    read = _some(reader, raw, index)
    leads = leads_of(read, said)
    is_twelve = leads == LEADS
    place = labelled.located(raw, said.labels)
    what_is_read = {
        "reader": TABLE,
        "table": place.name,
        "sha256": _sha256(place.file),
        "said": said.told() | {"labels": place.name},
        "files": kinds,
    }
    checked = _EINTHOVEN if is_twelve and said.einthoven else None
    return described(name, reader, what_is_read, leads=leads, einthoven=checked, index=index)


def described(
    name: str,
    reader: Any,
    what_is_read: Mapping[str, Any],
    *,
    leads: Sequence[str],
    einthoven: float | None,
    index: Index | None = None,
    recipe: Recipe | None = None,
    window: str = "centre",
) -> Dataset:
    """A dataset of one's own from its reader (an object with ``index`` and ``load``), and what a corpus keeps of it."""
    recipe = recipe or Recipe()
    said = {**what_is_read, "leads": list(leads), "einthoven": einthoven, "window": window, "recipe": asdict(recipe)}
    return Dataset(
        card=card_of(name, said, index),
        index=reader.index,
        load=reader.load,
        recipe=recipe,
        leads=tuple(leads),
        einthoven=einthoven,
        window=window,
        reader=said,
    )


def card_of(name: str, said: Mapping[str, Any], index: Index | None = None) -> Card:
    """The card of a corpus of one's own: what its files and its table are, and what was said of them."""
    told = said.get("said", {})
    kinds = ", ".join(f"{count:,} {kind[1:]}" for kind, count in said.get("files", {}).items())
    of = f"{said['table']} (SHA-256 {said['sha256'][:12]})" if "table" in said else f"{said['reader']}"
    sets = {} if index is None else {key: _classes(classes) for key, classes in index.label_sets.items()}
    units = {} if index is None else index.number_units
    sets |= {key: "numbers: " + ", ".join(_with_unit(*one) for one in some.items()) for key, some in units.items()}
    known = {} if index is None else known_sets(index.label_sets, index.label_subsets, index.number_units)
    return Card(
        title=name,
        what=f"recordings of one's own ({kinds or 'by a reader of their own'}), described by {of}",
        n_records=0 if index is None else len(index.where),
        n_patients=None if index is None else len(np.unique(index.patient.astype(object))),
        sampling_hz=range(MIN_HZ, MAX_HZ + 1),
        licence="not said",
        access="one's own",
        url="",
        download="one's own files",
        units=f"mV, from {told['units']} as --units says" if told.get("units") else "mV, by what the files say",
        lead_order=", ".join(said["leads"]),
        label_sets=sets,
        n_labels={key: len(some) for key, some in known.items()},
        tested_on="ten of its records when it is prepared",
        citation="",
        traps=[f"said once: {key} {value}" for key, value in told.items()],
    )


def _classes(classes: Sequence[str]) -> str:
    return f"{len(classes)}: {', '.join(classes[:12])}{' ...' if len(classes) > 12 else ''}"


def _with_unit(label: str, unit: str) -> str:
    return f"{label} in {unit}" if unit else label


def _worst(index: Index) -> str:
    return "; ".join(f"{count:,} x {reason}" for reason, count in index.refused.items()) or "it is empty"


def looked_at(index: Index) -> np.ndarray:
    """Rows of ten records that are spread over the index."""
    return np.unique(np.linspace(0, len(index.where) - 1, N_LOOKED_AT).astype(int))


def _some(reader: TableReader, raw: Path, index: Index) -> list[Recording]:
    """Those of ten records that can be read. Raises ValueError with what nobody has said, or why none can."""
    read, why = [], ""
    for row in looked_at(index):
        try:
            read.append(reader.load(raw, str(index.where[row])))
        except MalformedRecordError as error:
            why = why or str(error)
        except Unsaid as error:
            raise ValueError(str(error)) from None
        except OSError as error:  # of an array of many: nothing can be read
            raise OSError(str(error)) from None
    if not read:
        raise ValueError(f"none of {len(looked_at(index))} records that were looked at can be read: {why}")
    return read


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def again(name: str, said: Mapping[str, Any], numbers: bool = True) -> Dataset | None:
    """The dataset of a prepared corpus, from what that keeps of its reader; None for a reader in a file of its own.

    Without ``numbers``: of one that was prepared before there were any.
    """
    if said.get("reader") != TABLE:
        return None
    known = {f.name for f in fields(Said)}
    options = Said(**{key: value for key, value in said["said"].items() if key in known})
    kept = {key: value for key, value in said.items() if key not in ("leads", "einthoven", "window", "recipe")}
    return described(name, TableReader(options, numbers), kept, leads=said["leads"], einthoven=said["einthoven"])
