"""SPH: 25,770 records of Shandong Provincial Hospital, HDF5 in half precision, AHA statement codes."""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import hdf5
from ecgscale.data.dataset import Card, Dataset, Index, inside
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import LEADS, Recording


def index(raw: Path) -> Index:
    """``metadata.csv`` (ECG_ID, AHA_Code "22;23", Patient_ID, Sex) and ``records/A00001.h5`` (or beside the table).

    A class is a primary statement; modifiers ("60+310" means 60, modified) are left out.
    """
    table = pd.read_csv(raw / "metadata.csv", dtype=str)
    folder = raw / "records" if (raw / "records").is_dir() else raw
    where = [f"{(folder / name.removesuffix('.h5')).relative_to(raw).as_posix()}.h5" for name in table["ECG_ID"]]
    there = np.array([inside(raw, name).is_file() for name in where])
    codes = [[part.partition("+")[0].strip() for part in text.split(";")] for text in table["AHA_Code"].fillna("")]
    order = tuple(sorted({code for record in codes for code in record if code}, key=lambda code: (len(code), code)))
    statements = np.array([[code in record for code in order] for record in codes], dtype=np.uint8)
    male = table["Sex"].eq("M").to_numpy(dtype=np.uint8)[:, None]
    return Index(
        where=np.array(where, dtype=str)[there],
        patient=table["Patient_ID"].to_numpy(dtype=str)[there],
        label_sets={"aha": order, "sex": ("male",)},
        labels=np.concatenate([statements, male], axis=1)[there],
        missing=[f"{int((~there).sum()):,} of {len(there):,} records of metadata.csv"] if not there.all() else [],
    )


def load(raw: Path, where: str) -> Recording:
    """Dataset ``ecg`` float16 [12, n_samples] in mV at 500 Hz."""
    return Recording(hdf5.column(inside(raw, where), "ecg").astype(np.float32), 500.0, LEADS)


DATASET = Dataset(
    card=Card(
        title="SPH",
        what="12-lead records of 10 to 60 s with AHA statements",
        n_records=25_770,
        n_patients=24_666,
        sampling_hz=(500,),
        licence="CC BY 4.0",
        access="open",
        url="https://doi.org/10.6084/m9.figshare.c.5779802.v1",
        doi="10.6084/m9.figshare.c.5779802.v1",
        download="download records.tar.gz and metadata.csv from https://doi.org/10.6084/m9.figshare.c.5779802.v1",
        units="mV, half precision",
        lead_order="I, II, III, aVR, aVL, aVF, V1-V6, without names; checked with Einthoven's law",
        label_sets={"aha": "44 primary statements in the whole dataset", "sex": "1: male"},
        n_labels={"aha": 44, "sex": 1},
        tested_on="9 real records with metadata",
        citation='Liu et al., "A large-scale multi-label 12-lead electrocardiogram database", Sci Data 9:272 (2022)',
        traps=("10 s are cut from the middle of longer records",),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
)
