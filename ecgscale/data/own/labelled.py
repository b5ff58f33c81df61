"""The table of labels: which column is what, by usual names or as said, and what its cells mean."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import columns, split, tables
from ecgscale.data.columns import BLANK, LABELS, MALE, bare, meant, shown
from ecgscale.data.corpus import MISSING
from ecgscale.data.folders import Place
from ecgscale.data.own import quantities
from ecgscale.data.own.said import ORDER, Said
from ecgscale.data.tables import Table, UnreadableTable
from ecgscale.phrases import did_you_mean

NOBODY = "none"  # instead of a column of patients: every recording is of another person
LABEL_SET = "labels"
_MOST_CLASSES = 64
# Usual names of columns, the likelier first, as ``tables.bare_name`` spells them.
_USUAL: Mapping[str, tuple[str, ...]] = {
    "record": (
        *("filename", "file", "path", "filepath", "filenamehr", "wfdbfile", "signalfile", "record", "recordname"),
        *("recordid", "recording", "recordingid", "ecg", "ecgid", "examid", "studyid", "row", "index", "id"),
    ),
    "patient": ("patient", "patientid", "subject", "subjectid", "person", "personid", "participant", "participantid")
    + ("mrn", "pid", "idpatient", "patientkey"),
    "split": ("split", "subset", "partition", "fold", "set"),
}
_SPLITS = {"train": split.TRAIN, "training": split.TRAIN, "val": split.VAL, "valid": split.VAL} | {
    "validation": split.VAL,
    "dev": split.VAL,
    "test": split.TEST,
    "testing": split.TEST,
}
_SEX = ("sex", "gender")
_USUAL_TABLES = ("labels.csv", "labels.parquet", "metadata.csv", "metadata.parquet")


@dataclass(frozen=True)
class Columns:
    """Names of the columns that are used; "" for none."""

    record: str
    patient: str
    split: str


@dataclass(frozen=True)
class Labels:
    """Label sets, their values uint8 [n_rows, n_labels], numbers beside, and what each column is taken for."""

    sets: Mapping[str, tuple[str, ...]]
    values: np.ndarray
    notes: Mapping[str, int]
    taken: Mapping[str, str]  # column -> what for, in words
    units: Mapping[str, Mapping[str, str]]  # a set for each column of numbers, named as it without its unit
    numbers: np.ndarray  # float64 [n_rows, n_numbers], NaN where missing


def located(raw: Path, said: str) -> Place:
    """The table: in the raw folder, or elsewhere. Raises FileNotFoundError with what there is."""
    for name in (said,) if said else _USUAL_TABLES:
        for file in (raw / name, Path(name)):
            if file.is_file() and (said or file.parent == raw):
                return Place(raw, file) if file.absolute().is_relative_to(raw.absolute()) else Place(file.parent, file)
    there = sorted(file.name for file in raw.iterdir() if file.suffix.casefold() in (".csv", ".tsv", ".parquet"))
    if said:
        raise FileNotFoundError(f"no table {Path(said).name!r}{did_you_mean(Path(said).name, there)}")
    raise FileNotFoundError(f"say the table of labels with --labels FILE{did_you_mean('labels.csv', there)}")


def read(place: Place, said: Said) -> tuple[Table, Columns]:
    """The table and which of its columns is what. Raises UnreadableTable, with the nearest name, for one that lacks."""
    if place.file.suffix.casefold() == ".parquet":
        table = _of_parquet(place)
        names = [name for name in table.rows.columns if name != "row"]
    else:
        names = [_apart(name) for name in tables.header(place) if name]
        table = tables.read(place, names)
    chosen = Columns(
        "" if said.record == ORDER else _column("record", said.record, names, place.name),
        "" if said.patient == NOBODY else _column("patient", said.patient, names, place.name),
        _column("split", said.split, names, place.name),
    )
    return table, chosen


def _column(kind: str, said: str, names: Sequence[str], table: str) -> str:
    places = {tables.bare_name(name): name for name in names}
    if said:
        if tables.bare_name(said) not in places:
            raise UnreadableTable(f"--{kind}: {table} has no column {said!r}{did_you_mean(said, names[:40])}")
        return places[tables.bare_name(said)]
    found = next((places[usual] for usual in _USUAL[kind] if usual in places), "")
    if found or kind == "split":
        return found
    otherwise = {
        "record": f"'--record {ORDER}' if its rows are in the order of the array's",
        "patient": f"'--patient {NOBODY}' if every recording is of another person",
    }[kind]
    near = did_you_mean(kind, names[:40]).removeprefix("; ")
    raise UnreadableTable(f"{table} has no column called {kind}: say it with --{kind} COLUMN, or {otherwise}; {near}")


def _of_parquet(place: Place) -> Table:
    try:
        frame = pd.read_parquet(place.file)
    except Exception as error:
        raise UnreadableTable(f"{place.name} is no whole Parquet file ({type(error).__name__})") from None
    frame = frame.reset_index() if frame.index.name else frame.reset_index(drop=True)
    text = {
        _apart(str(name)): pd.array([_text(value) for value in frame[name].tolist()], dtype="str")
        for name in frame.columns
    }
    rows = pd.DataFrame(text, index=np.arange(1, len(frame) + 1))
    return Table(place.name, rows.assign(row=np.arange(len(rows))), len(rows))


def _apart(name: str) -> str:
    """A column's name, told from the one that a Table keeps the numbers of its rows in."""
    return "row_" if name == "row" else name


def headed(name: str) -> str:
    """A column's name as it stands in the table."""
    return "row" if name == "row_" else name


def _text(value: object) -> str:
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value).strip()


def splits(table: Table, column: str) -> np.ndarray:
    """Split codes uint8 [n_rows]. Raises UnreadableTable for a word that names none, with its line."""
    words = table.rows[column].map(bare)
    strange = ~words.isin(list(_SPLITS)).to_numpy()
    if strange.any():
        line, word = int(table.rows.index[strange][0]), words[strange].iloc[0]
        raise UnreadableTable(
            f"{table.name}, line {line}, column {column!r}: {shown(word)} is no split"
            f"{did_you_mean(word, split.SPLITS[:3])}"
        )
    return words.map(_SPLITS).to_numpy(dtype=np.uint8)


def labels(table: Table, used: Columns, said: Said, *, numbers: bool = True) -> Labels:
    """The labels of every column that holds some, or of those that are said.

    Zeros and ones, in numbers or words, are the classes of one set, "labels"; a column of men and women is one of its
    own, and so is each that ``classes`` names, and each of numbers (see ``quantities``). Other words, and what seems to
    be identifiers, are left out, which is noted; so are numbers without ``numbers``, as in corpora from before there
    were any. Raises UnreadableTable for a cell that is neither where the others of its column are labels, with its
    line, and for a column that may be codes or numbers.
    """
    names = [str(name) for name in table.rows if name not in (used.record, used.patient, used.split, "row", "file")]
    asked, of_words, left_out = _listed(said.label_columns), _listed(said.classes), _listed(said.leave_out)
    options = {"label-columns": asked, "classes": of_words, "numbers": said.named_numbers, "leave-out": left_out}
    for option, some in options.items():
        for name in some:
            if name not in names:
                raise UnreadableTable(
                    f"--{option}: {table.name} has no column {name!r}{did_you_mean(name, names[:40])}"
                )
    decided = {*of_words, *said.named_numbers, *left_out}
    looked_at = [name for name in (asked or names) if name not in decided]
    kinds = {name: _kind(table, name, name in asked, numbers) for name in looked_at}
    sets: dict[str, tuple[str, ...]] = {}
    parts: list[np.ndarray] = []
    notes: dict[str, int] = {}
    taken: dict[str, str] = {}
    binary = [name for name, kind in kinds.items() if kind == "labels"]
    if binary:
        values, of_binary = columns.labels(table, binary)
        sets[LABEL_SET], notes = tuple(binary), {**notes, **of_binary}
        taken |= dict.fromkeys(binary, f"a label (0, 1 or missing) of the set {LABEL_SET!r}")
        parts.append(values)
    for name in (name for name, kind in kinds.items() if kind == "sex"):
        values, of_sex = columns.labels(table, [name], MALE, numbers=False)
        sets[name], notes = ("male",), {**notes, **of_sex}
        taken[name] = f"men and women: the set {name!r}"
        parts.append(values)
    for name in of_words:
        words = sorted({bare(cell) for cell in table.rows[name].unique()} - BLANK)
        if not 2 <= len(words) <= _MOST_CLASSES:
            raise UnreadableTable(f"--classes: column {name!r} of {table.name} holds {len(words)} words, not 2 to 64")
        values, of_classes = columns.one_of(table, name, {word: at for at, word in enumerate(words)}, len(words))
        sets[name], notes = tuple(words), {**notes, **of_classes}
        taken[name] = f"{len(words)} classes: the set {name!r}"
        parts.append(values)
    of_numbers = [name for name in names if kinds.get(name) == "numbers"]
    measured = quantities.read(table, of_numbers if numbers else [], said.named_numbers)
    notes = {**notes, **measured.notes}
    taken |= measured.taken
    for kind, what in (
        ("identifiers", "holds whole numbers that seem to be identifiers (say --numbers if they are none)"),
        ("words", "holds words"),
        ("blank", "is blank"),
    ):
        for name in (name for name, found in kinds.items() if found == kind):
            notes[f"column {name} of {table.name} {what}: no label"] = 1
            taken[name] = f"no label: it {what}"
    taken |= dict.fromkeys((name for name in names if name not in taken), "no label: left out, as was said")
    empty = np.full((len(table), 0), MISSING, dtype=np.uint8)
    values = np.concatenate([empty, *parts], axis=1)
    in_order = {name: taken[name] for name in names}
    return Labels(sets, values, notes, in_order, measured.units, measured.values)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,;]", text) if part.strip()]


def _kind(table: Table, name: str, asked: bool, numbers: bool) -> str:
    """What a column holds: "labels", "sex", "numbers", "identifiers", "words" or nothing ("blank").

    Raises UnreadableTable for one that holds labels, or is said to, and something else besides, and for one of few
    whole numbers, which may be codes.
    """
    distinct = [str(cell) for cell in table.rows[name].unique()]
    said = {cell: meant(cell, LABELS) for cell in distinct if bare(cell) not in BLANK}
    if not said:
        return "blank"
    if tables.bare_name(name) in _SEX and all(bare(cell) in MALE for cell in said):
        return "sex"
    unknown = [cell for cell, value in said.items() if value is None]
    if not unknown:
        return "labels"
    n_numbers = sum(quantities.value_of(cell) is not None for cell in unknown)
    has_words = any(quantities.value_of(cell) is None for cell in said if said[cell] is not None)  # "yes"
    if (
        not asked and not has_words and (n_numbers == len(unknown) or n_numbers > max(2, len(unknown) / 2))
    ):  # ">89" among ages
        if numbers and quantities.are_identifiers(table, name):
            return "identifiers"
        if numbers and (codes := quantities.codes_in(table, name, always=tables.bare_name(name) in _SEX)):
            raise UnreadableTable(
                f"{table.name}: column {name!r} holds {codes}, codes or numbers? Say --numbers {name} if they measure "
                f"something, --classes {name} if each is a class of its own, or --leave-out {name}"
            )
        return "numbers"
    if not asked and len(unknown) == len(said):
        return "words"
    cell = unknown[0]
    line = int(table.rows.index[(table.rows[name] == cell).to_numpy()][0])
    raise UnreadableTable(
        f"{table.name}, line {line}, column {name!r}: {shown(cell)} is neither 0, 1 nor blank (nor yes, no, true, "
        f"false): mend it, or name the columns that are labels with --label-columns, those of words with --classes, "
        f"of numbers with --numbers"
    )
