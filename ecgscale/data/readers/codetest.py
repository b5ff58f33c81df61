"""CODE-test: the 827 tracings that several cardiologists annotated."""

from functools import lru_cache
from pathlib import Path

import numpy as np

from ecgscale.data import columns, hdf5, split, tables
from ecgscale.data.columns import MALE
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.folders import found, inside, located
from ecgscale.data.readers import code, code15
from ecgscale.data.recording import LEADS, Recording, einthoven_residuals

_FILE = "ecg_tracings.hdf5"
# The authors' two descriptions of the file's order; Einthoven's law tells which holds.
_ORDERS = (LEADS, (*LEADS[:3], "aVL", "aVF", "aVR", *LEADS[6:]))


def index(raw: Path) -> Index:
    """``ecg_tracings.hdf5`` and ``annotations/gold_standard.csv``, row by row; all of it is test.

    Rows go with tracings by their order: a row that cannot be read leaves its tracing without labels. Raises OSError
    where numbers differ.
    """
    place = located(raw, "annotations/gold_standard.csv", "gold_standard.csv")
    said = tables.read(place, code.LABELS)
    of_sex = tables.read(located(place.file.parent, "attributes.csv"), ["sex"])
    file = _tracings(raw, place.base)
    n = len(hdf5.dataset(inside(raw, file), "tracings"))
    sizes = [int(table.rows["row"].max()) + 1 if len(table) else 0 for table in (said, of_sex)]
    sizes = [max(size, table.n_rows - _n_blank(table)) for size, table in zip(sizes, (said, of_sex), strict=True)]
    if sizes != [n, n]:
        raise OSError(f"{_FILE} has {n} tracings, gold_standard.csv {sizes[0]} rows and attributes.csv {sizes[1]}")
    values, notes = columns.labels(said, code.LABELS)
    sexes, notes_of_sex = columns.labels(of_sex, ["sex"], MALE, numbers=False)
    notes_of_sex |= {f"set aside, {reason}: sex missing": count for reason, count in of_sex.refused.items()}
    rows = said.rows["row"].to_numpy()
    male = np.full((n, 1), columns.MISSING, dtype=np.uint8)
    male[of_sex.rows["row"].to_numpy()] = sexes
    return Index(
        where=tables.texts([f"{file}#{row}" for row in rows]),
        patient=tables.texts([str(row) for row in rows]),
        label_sets={"code6": code.LABELS, "sex": ("male",)},
        labels=np.concatenate([values, male[rows]], axis=1),
        split=np.full(len(rows), split.TEST, dtype=np.uint8),
        **accounted(said, notes, notes_of_sex),
    )


def _tracings(raw: Path, base: str) -> str:
    """The file of tracings, beside the folder of the annotations or in it."""
    above = base.rstrip("/").rpartition("/")[0]
    for folder in (above, base.rstrip("/"), ""):
        file = found(raw, f"{folder}/{_FILE}" if folder else _FILE)
        if file:
            return file
    return _FILE


def _n_blank(table: tables.Table) -> int:
    return sum(count for reason, count in table.aside.items() if reason.startswith("blank row"))


def load(raw: Path, where: str) -> Recording:
    file, _, row = where.rpartition("#")
    return code15.tracing(hdf5.dataset(inside(raw, file), "tracings")[int(row)], _order(inside(raw, file)))


@lru_cache(maxsize=1)
def _order(path: Path) -> tuple[str, ...]:
    """The description that the first tracings obey. Raises ValueError if neither does."""
    first = np.diff(np.asarray(hdf5.dataset(path, "tracings")[:16], dtype=np.float64), axis=1)
    residuals = []
    for order in _ORDERS:
        limb = first[:, :, [order.index(lead) for lead in LEADS[:6]]].swapaxes(1, 2)
        residuals.append(np.median(einthoven_residuals(limb)[:, 0]))
    return _ORDERS[int(np.argmin(residuals))]


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
        gigabytes=0.33,
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
