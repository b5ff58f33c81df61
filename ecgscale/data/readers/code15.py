"""CODE-15%: 345,779 exams of CODE, open, as exams.csv and HDF5 parts."""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import columns, hdf5, tables
from ecgscale.data.columns import ABSENT, BLANK, LABELS, MALE
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.folders import archives, found, inside, located, plain
from ecgscale.data.readers import code
from ecgscale.data.recording import LEADS, MalformedRecordError, Recording

_HZ = 400.0
_MV_PER_VALUE = 0.5  # written with --scale 2: twice the WFDB millivolts (antonior92/ecg-preprocessing)


def index(raw: Path) -> Index:
    """Join ``exams.csv`` with the parts it names, on exam_id: rows of a part are in no fixed order.

    The last row of a part may be a dummy (exam_id 0): it is in no table, so it is left out.
    Raises OSError naming a part that is truncated.
    """
    place = located(raw, "exams.csv")
    names = ["exam_id", "is_male", *code.LABELS, "patient_id", "normal_ecg", "trace_file"]
    table = columns.keyed(columns.people(tables.read(place, names, optional=["age"]), "patient_id"), "exam_id")
    table = table.keep(~table.rows["trace_file"].str.casefold().isin(BLANK), f"blank trace_file in {place.name}")
    parts = table.rows["trace_file"]
    where, missing = pd.Series("", index=parts.index, dtype=object), []
    for part in sorted(parts.unique()):
        try:
            name = place.base + plain(part)
        except PermissionError as error:
            line = int(parts.index[parts == part][0])
            raise PermissionError(f"{place.name}, line {line}, column 'trace_file': {error}") from None
        exams = table.rows["exam_id"][parts == part]
        file = found(raw, name)
        if not file:
            packed = archives(inside(raw, name).parent, Path(name).stem) if inside(raw, name).parent.is_dir() else ""
            missing.append(f"{part} (expected with {len(exams):,} exams{'; ' if packed else ''}{packed})")
            continue
        rows = exams.map(_rows(raw, file))
        where[rows.dropna().index] = np.array([f"{file}#{int(row)}" for row in rows.dropna()], dtype=object)
        if rows.isna().any():
            missing.append(f"{int(rows.isna().sum()):,} of {len(exams):,} exams of {part}")
    if missing and not where.astype(bool).any():
        raise FileNotFoundError(f"no part that exams.csv names is there; expected {', '.join(missing[:3])}")
    table = table.having(file=where).keep(where != "", ABSENT)
    table = table.sorted_by("trace_file")
    labels, notes = columns.labels(table, [*code.LABELS, "normal_ecg"])
    male, of_sex = columns.labels(table, ["is_male"], {**MALE, **LABELS})
    age, of_age = columns.ages(columns.numbers(table, "age"), place.name)
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["patient_id"]),
        label_sets={"code6": code.LABELS, "normal": ("normal_ecg",), "sex": ("male",)},
        labels=np.concatenate([labels, male], axis=1),
        **age,
        missing=missing,
        **accounted(table, notes, of_sex, of_age),
    )


def _rows(raw: Path, part: str) -> dict[str, int]:
    """The row of each exam in a part; of one that stands there twice the first. Raises OSError."""
    ids, tracings = hdf5.column(inside(raw, part), "exam_id"), hdf5.dataset(inside(raw, part), "tracings")
    if tracings.ndim != 3 or tracings.shape[2] != 12 or ids.shape != tracings.shape[:1]:
        raise OSError(f"{part}: tracings {tracings.shape} for {len(ids):,} exam_ids; expected (n, n_samples, 12)")
    rows: dict[str, int] = {}
    for row, exam in enumerate(ids.ravel().tolist()):
        name = exam.decode(errors="replace") if isinstance(exam, bytes) else str(exam)
        rows.setdefault(name.strip().removesuffix(".0"), row)
    rows.pop("0", None)
    return rows


def load(raw: Path, where: str) -> Recording:
    """One tracing without the zeros around it, in mV. Raises MalformedRecordError for an empty one."""
    part, _, row = where.rpartition("#")
    return tracing(hdf5.dataset(inside(raw, part), "tracings")[int(row)], LEADS)


def tracing(values: np.ndarray, leads: tuple[str, ...]) -> Recording:
    """Zero-padded values [n_samples, 12] at 400 Hz -> Recording without the padding, which no filter may see."""
    real = np.flatnonzero(np.any(values != 0, axis=1))
    if not len(real):
        raise MalformedRecordError("all leads are zero or missing")
    stripped = values[real[0] : real[-1] + 1].T
    return Recording(np.ascontiguousarray(stripped, dtype=np.float32) * np.float32(_MV_PER_VALUE), _HZ, leads)


DATASET = Dataset(
    card=Card(
        title="CODE-15%",
        what="an open, patient-wise 15 % sample of CODE",
        n_records=345_779,
        n_patients=233_770,
        sampling_hz=(400,),
        licence="CC BY 4.0",
        access="open",
        url="https://zenodo.org/records/4916206",
        doi="10.5281/zenodo.4916206",
        download="zenodo_get 10.5281/zenodo.4916206 && unzip 'exams_part*.zip'",
        gigabytes=68.0,  # unpacked; the zips are smaller
        units="twice mV: divided by two (the files were written with --scale 2 and without baseline removal)",
        lead_order="DI, DII, DIII, AVR, AVL, AVF, V1-V6, without names in the files; checked with Einthoven's law",
        label_sets={
            "code6": "6, of an automatic annotation reviewed at CODE",
            "normal": "1",
            "sex": "1: male",
            "age": "years",
        },
        n_labels={"code6": len(code.LABELS), "normal": 1, "sex": 1, "age": 1},
        tested_on="real tracings of ten exams in a rebuilt container of the original layout",
        citation=code.CITATION,
        traps=(
            "zero padding on both sides is stripped before filtering",
            "ST stands before AF in some copies of exams.csv: columns are taken by name",
            "rows are joined on exam_id; a dummy row with exam_id 0 may end a part",
            "amplitudes are twice the WFDB millivolts",
        ),
    ),
    index=index,
    load=load,
    recipe=code.RECIPE,
    shares=code.DATASET.shares,
)
