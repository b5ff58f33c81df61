"""CODE-15%: 345,779 exams of CODE, open, as exams.csv and HDF5 parts."""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import hdf5
from ecgscale.data.dataset import Card, Dataset, Index, inside, labels_of
from ecgscale.data.readers import code
from ecgscale.data.recording import LEADS, MalformedRecordError, Recording

_HZ = 400.0
_MV_PER_VALUE = 0.5  # written with --scale 2: twice the WFDB millivolts (antonior92/ecg-preprocessing)


def index(raw: Path) -> Index:
    """Join ``exams.csv`` with the parts it names, on exam_id: rows of a part are in no fixed order.

    The last row of a part may be a dummy (exam_id 0): it is in no table, so it is left out.
    Raises OSError naming a part that is truncated.
    """
    table = pd.read_csv(raw / "exams.csv", dtype={"patient_id": str, "trace_file": str})
    table = table.drop_duplicates("exam_id")
    missing, found = [], []
    for part, exams in table.groupby("trace_file", sort=True):
        path = inside(raw, str(part))
        if not path.is_file():
            missing.append(f"{part} (expected with {len(exams):,} exams)")
            continue
        ids, tracings = hdf5.column(path, "exam_id"), hdf5.dataset(path, "tracings")
        if tracings.ndim != 3 or tracings.shape[2] != 12 or len(tracings) != len(ids):
            raise OSError(f"{part}: tracings {tracings.shape} for {len(ids):,} exam_ids; expected (n, n_samples, 12)")
        rows = pd.Series(np.arange(len(ids)), index=ids).loc[lambda s: ~s.index.duplicated() & (s.index != 0)]
        here = exams.assign(row=exams["exam_id"].map(rows)).dropna(subset=["row"])
        if len(here) < len(exams):
            missing.append(f"{len(exams) - len(here):,} of {len(exams):,} exams of {part}")
        found.append(here.assign(where=[f"{part}#{row}" for row in here["row"].astype(int)]))
    if not found:
        raise FileNotFoundError(f"no part that exams.csv names is there; expected {', '.join(missing[:3])}")
    exams = pd.concat(found)
    male = labels_of(exams[["is_male"]].to_numpy(dtype=object))
    return Index(
        where=exams["where"].to_numpy(dtype=str),
        patient=exams["patient_id"].to_numpy(dtype=str),
        label_sets={"code6": code.LABELS, "normal": ("normal_ecg",), "sex": ("male",)},
        labels=np.concatenate([labels_of(exams[[*code.LABELS, "normal_ecg"]].to_numpy(dtype=object)), male], axis=1),
        missing=missing,
    )


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
        units="twice mV: divided by two (the files were written with --scale 2 and without baseline removal)",
        lead_order="DI, DII, DIII, AVR, AVL, AVF, V1-V6, without names in the files; checked with Einthoven's law",
        label_sets={"code6": "6, of an automatic annotation reviewed at CODE", "normal": "1", "sex": "1: male"},
        n_labels={"code6": len(code.LABELS), "normal": 1, "sex": 1},
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
