"""CODE-test: the 827 tracings that several cardiologists annotated."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import hdf5, split
from ecgscale.data.dataset import Card, Dataset, Index, labels_of
from ecgscale.data.readers import code, code15
from ecgscale.data.recording import LEADS, Recording, einthoven_residuals

_FILE = "ecg_tracings.hdf5"
# The authors' two descriptions of the file's order; Einthoven's law tells which holds.
_ORDERS = (LEADS, (*LEADS[:3], "aVL", "aVF", "aVR", *LEADS[6:]))


def index(raw: Path) -> Index:
    """``ecg_tracings.hdf5`` and ``annotations/gold_standard.csv``, row by row; all of it is test."""
    table = pd.read_csv(_annotations(raw) / "gold_standard.csv")
    sex = pd.read_csv(_annotations(raw) / "attributes.csv")["sex"]
    n = len(hdf5.dataset(raw / _FILE, "tracings"))
    if n != len(table) or n != len(sex):
        raise OSError(f"{_FILE} has {n} tracings, gold_standard.csv {len(table)} rows and attributes.csv {len(sex)}")
    male = sex.map({"M": 1, "F": 0}).to_numpy(dtype=object)[:, None]
    return Index(
        where=np.array([f"{_FILE}#{row}" for row in range(n)], dtype=str),
        patient=np.arange(n).astype(str),
        label_sets={"code6": code.LABELS, "sex": ("male",)},
        labels=np.concatenate([labels_of(table[list(code.LABELS)].to_numpy(dtype=object)), labels_of(male)], axis=1),
        split=np.full(n, split.TEST, dtype=np.uint8),
    )


def load(raw: Path, where: str) -> Recording:
    values = hdf5.dataset(raw / _FILE, "tracings")[int(where.rpartition("#")[2])]
    return code15.tracing(values, _order(raw / _FILE))


@lru_cache(maxsize=1)
def _order(path: Path) -> tuple[str, ...]:
    """The description that the first tracings obey. Raises ValueError if neither does."""
    first = np.diff(np.asarray(hdf5.dataset(path, "tracings")[:16], dtype=np.float64), axis=1)
    residuals = []
    for order in _ORDERS:
        limb = first[:, :, [order.index(lead) for lead in LEADS[:6]]].swapaxes(1, 2)
        residuals.append(np.median(einthoven_residuals(limb)[:, 0]))
    return _ORDERS[int(np.argmin(residuals))]


def _annotations(raw: Path) -> Path:
    return raw / "annotations" if (raw / "annotations").is_dir() else raw


DATASET = Dataset(
    card=Card(
        title="CODE-test",
        what="827 tracings of other patients than CODE's, annotated by consensus of cardiologists",
        n_records=827,
        n_patients=827,
        splits=(0, 0, 827),
        sampling_hz=(400,),
        licence="CC BY 4.0",
        access="open",
        url="https://zenodo.org/records/3765780",
        doi="10.5281/zenodo.3765780",
        download="zenodo_get 10.5281/zenodo.3765780",
        units="as CODE-15%: twice mV, divided by two",
        lead_order="described in two ways (aVR, aVL, aVF or aVL, aVF, aVR); Einthoven's law decides",
        label_sets={"code6": "6, gold standard", "sex": "1: male"},
        n_labels={"code6": len(code.LABELS), "sex": 1},
        tested_on="the real annotations of all 827; tracings in a copy of the layout",
        citation=code.CITATION,
        traps=("the aVL/aVF/aVR order", "the sentence on units in its README is wrong"),
    ),
    index=index,
    load=load,
    recipe=code.RECIPE,
)
