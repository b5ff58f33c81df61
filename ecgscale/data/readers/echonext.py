"""EchoNext: 100,000 ECGs with findings of an echocardiogram within a year; arrays by split and one table."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import columns, npy, split, tables
from ecgscale.data.amplitude import STANDARD_DEVIATIONS
from ecgscale.data.columns import ABSENT
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import archives, found, inside, located
from ecgscale.data.recording import LEADS, Recording
from ecgscale.data.tables import Table, UnreadableTable

FINDINGS = (
    "lvef_lte_45",
    "lvwt_gte_13",
    "aortic_stenosis_moderate_or_greater",
    "aortic_regurgitation_moderate_or_greater",
    "mitral_regurgitation_moderate_or_greater",
    "tricuspid_regurgitation_moderate_or_greater",
    "pulmonary_regurgitation_moderate_or_greater",
    "rv_systolic_dysfunction_moderate_or_greater",
    "pericardial_effusion_moderate_large",
    "pasp_gte_45",
    "tr_max_gte_32",
)
_SHAPE = (None, 1, 2500, len(LEADS))
_SPLITS = {"train": split.TRAIN, "val": split.VAL, "test": split.TEST, "no_split": split.NONE}


def index(raw: Path) -> Index:
    """Rows of the table with ``split == s`` are, in order, the rows of ``EchoNext_{s}_waveforms.npy`` [n, 1, 2500, 12].

    A row's place among those of its split is all that says which waveform is its own: a row that cannot be read, or
    whose split is unknown, stops the index with its line. Raises OSError if an array has another number of rows.
    """
    place = located(raw, "EchoNext_metadata_100k.csv")
    composite = "shd_moderate_or_greater"
    flags = [f"{finding}_flag" for finding in (*FINDINGS, composite)]
    table = tables.read(place, ["patient_key", "split", *flags], optional=["ecg_key"])
    names = table.rows["split"].str.strip("'\"").str.casefold()
    _stop_if_order_is_lost(table, names)
    table = columns.people(table.having(split=names), "patient_key")
    if (table.rows["ecg_key"] != "").all():
        table = table.once("ecg_key")
    where, missing = pd.Series("", index=table.rows.index, dtype=object), []
    for name, group in table.rows.groupby("split", sort=True):
        file = found(raw, f"{place.base}EchoNext_{name}_waveforms.npy")
        if not file:
            packed = archives(place.file.parent, f"EchoNext_{name}")
            said = f"expected with {len(group):,} rows{'; ' if packed else ''}{packed}"
            missing.append(f"EchoNext_{name}_waveforms.npy ({said})")
            continue
        n = len(npy.array(inside(raw, file), _SHAPE))
        if n != len(group):
            raise OSError(f"{file} has {n:,} rows, the table {len(group):,} of split {name}")
        where[group.index] = np.array([f"{file}#{row}" for row in range(n)], dtype=object)
    if missing and not where.astype(bool).any():
        raise FileNotFoundError(f"no waveforms are there; expected {', '.join(missing)}")
    table = table.having(file=where).keep(where != "", ABSENT).sorted_by("split")
    labels, notes = columns.labels(table, flags)
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["patient_key"]),
        label_sets={"shd11": FINDINGS, "shd": (composite,)},
        labels=labels,
        split=table.rows["split"].map(_SPLITS).to_numpy(dtype=np.uint8),
        split_column=f"split of {place.name}",
        missing=missing,
        **accounted(table, notes),
    )


def _stop_if_order_is_lost(table: Table, names: pd.Series) -> None:
    damaged = {reason: line for reason, line in table.first.items() if not reason.startswith(("blank row", "header"))}
    strange = ~names.isin(list(_SPLITS))
    if strange.any():
        line = int(table.rows.index[strange.to_numpy()][0])
        damaged[f"split that is none of {', '.join(_SPLITS)}"] = line
    if damaged:
        reason, line = next(iter(damaged.items()))
        raise UnreadableTable(
            f"{table.name}, line {line}: {reason}; rows go with waveforms by their order, so correct that line"
        )


def load(raw: Path, where: str) -> Recording:
    file, _, row = where.rpartition("#")
    return Recording(np.asarray(_array(inside(raw, file))[int(row), 0], dtype=np.float32).T, 250.0, LEADS)


@lru_cache(maxsize=4)
def _array(path: Path) -> np.ndarray:
    return npy.array(path, _SHAPE)


DATASET = Dataset(
    card=Card(
        title="EchoNext 1.1.0",
        what="12-lead ECGs of Columbia University with structural findings of a paired echocardiogram",
        n_records=100_000,
        n_patients=36_286,
        splits=(72_475, 4_626, 5_442),
        sampling_hz=(250,),
        licence="PhysioNet restricted health data licence 1.5.0",
        access="credentialed",
        url="https://physionet.org/content/echonext/1.1.0/",
        doi="10.13026/3ykd-bf14",
        download="wget -r -N -c -np --user USER --ask-password https://physionet.org/files/echonext/1.1.0/",
        gigabytes=12.0,
        units="already filtered, clipped and z-scored by its authors: not mV",
        lead_order="I, II, III, aVR, aVL, aVF, V1-V6; all twelve are stored, as z-scoring breaks Einthoven's law",
        label_sets={"shd11": "11 findings", "shd": "1: any of them, moderate or greater"},
        n_labels={"shd11": len(FINDINGS), "shd": 1},
        tested_on="a copy of the layout, written from real signals; not the original files",
        citation="Elias and Finer, EchoNext, PhysioNet (2025)",
        traps=(
            "rows of an array are the table's rows of that split, in order",
            "no_split rows are of patients in the other splits: they are in none",
        ),
    ),
    index=index,
    load=load,
    recipe=Recipe(),
    einthoven=None,
    units="standard deviations",
    amplitude=STANDARD_DEVIATIONS,
)
