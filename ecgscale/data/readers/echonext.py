"""EchoNext: 100,000 ECGs with findings of an echocardiogram within a year; arrays by split and one table."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import npy, split
from ecgscale.data.amplitude import STANDARD_DEVIATIONS
from ecgscale.data.dataset import Card, Dataset, Index, labels_of
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import LEADS, Recording

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

    Raises OSError if an array has another number of rows than the table.
    """
    tables = [path for path in sorted(raw.iterdir()) if path.name.lower() == "echonext_metadata_100k.csv"]
    if not tables:
        raise FileNotFoundError("EchoNext_metadata_100k.csv is not in the raw folder")
    table = pd.read_csv(tables[0], dtype={"patient_key": str}, low_memory=False)
    unknown = set(table["split"].astype(str)) - set(_SPLITS)
    if unknown:
        raise ValueError(f"split is one of {', '.join(_SPLITS)}; the table has {len(unknown)} others")
    found, missing = [], []
    for name, group in table.groupby("split", sort=True):
        file = f"EchoNext_{name}_waveforms.npy"
        if not (raw / file).is_file():
            missing.append(f"{file} (expected with {len(group):,} rows)")
            continue
        n = len(npy.array(raw / file, _SHAPE))
        if n != len(group):
            raise OSError(f"{file} has {n:,} rows, the table {len(group):,} of split {name}")
        found.append(group.assign(where=[f"{file}#{row}" for row in range(n)], code=_SPLITS[str(name)]))
    if not found:
        raise FileNotFoundError(f"no waveforms are there; expected {', '.join(missing)}")
    rows = pd.concat(found)
    composite = "shd_moderate_or_greater"
    columns = [f"{finding}_flag" for finding in (*FINDINGS, composite)]
    return Index(
        where=rows["where"].to_numpy(dtype=str),
        patient=rows["patient_key"].to_numpy(dtype=str),
        label_sets={"shd11": FINDINGS, "shd": (composite,)},
        labels=labels_of(rows[columns].to_numpy(dtype=object)),
        split=rows["code"].to_numpy(dtype=np.uint8),
        missing=missing,
    )


def load(raw: Path, where: str) -> Recording:
    file, _, row = where.rpartition("#")
    return Recording(np.asarray(_array(raw / file)[int(row), 0], dtype=np.float32).T, 250.0, LEADS)


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
