"""Chapman-Shaoxing as its authors published it: ECGDataDenoised and Diagnostics, before the PhysioNet edition."""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import matlab
from ecgscale.data.dataset import Card, Dataset, Index, inside
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import LEADS, MalformedRecordError, Recording

RHYTHMS = ("SB", "SR", "AFIB", "ST", "AF", "SI", "SVT", "AT", "AVNRT", "AVRT", "SAAWR")


def index(raw: Path) -> Index:
    """``Diagnostics.csv`` or ``labels.csv`` (Diagnostics.xlsx saved as text) and a .csv or .mat of each FileName."""
    path = next((raw / name for name in ("Diagnostics.csv", "labels.csv") if (raw / name).is_file()), None)
    if path is None:
        raise FileNotFoundError("Diagnostics.csv is not in the raw folder; save Diagnostics.xlsx as text there")
    table = pd.read_csv(path, dtype=str)
    files = {file.stem: file.relative_to(raw).as_posix() for kind in ("mat", "csv") for file in raw.rglob(f"*.{kind}")}
    there = table["FileName"].isin(files)
    table = table[there]
    rhythm = np.array([[said.strip() == name for name in RHYTHMS] for said in table["Rhythm"]], dtype=np.uint8)
    male = table["Gender"].eq("MALE").to_numpy(dtype=np.uint8)[:, None]
    return Index(
        where=np.array([files[name] for name in table["FileName"]], dtype=str),
        patient=table["FileName"].to_numpy(dtype=str),
        label_sets={"rhythm": RHYTHMS, "sex": ("male",)},
        labels=np.concatenate([rhythm.reshape(-1, len(RHYTHMS)), male], axis=1),
        missing=[f"{int((~there).sum()):,} of {len(there):,} records of {path.name}"] if not there.all() else [],
    )


def load(raw: Path, where: str) -> Recording:
    """Microvolts [n_samples, 12] at 500 Hz, as text without names or as MATLAB array ``val``."""
    path = inside(raw, where)
    if path.suffix == ".mat":
        signal = matlab.matrix(path, len(LEADS)).astype(np.float32)
    else:
        try:
            signal = np.asarray(pd.read_csv(path, header=None).to_numpy(), dtype=np.float32).T
        except Exception as error:  # pandas raises many kinds for a damaged file
            raise MalformedRecordError(f"signal file is unreadable ({type(error).__name__})") from None
    return Recording(np.ascontiguousarray(signal) / 1000, 500.0, LEADS)


DATASET = Dataset(
    card=Card(
        title="Chapman-Shaoxing, authors' edition",
        what="records of 10 s of Shaoxing People's Hospital, denoised by the authors",
        n_records=10_646,
        n_patients=10_646,
        sampling_hz=(500,),
        licence="CC BY 4.0",
        access="open",
        url="https://figshare.com/collections/ChapmanECG/4560497/2",
        doi="10.6084/m9.figshare.c.4560497.v2",
        download="download ECGDataDenoised.zip and Diagnostics.xlsx from https://doi.org/10.6084/m9.figshare.c.4560497.v2",
        units="microvolts",
        lead_order="I, II, III, aVR, aVL, aVF, V1-V6; all twelve are stored: denoising each lead broke Einthoven's law",
        label_sets={"rhythm": "11", "sex": "1: male"},
        n_labels={"rhythm": len(RHYTHMS), "sex": 1},
        tested_on="6 real records",
        citation='Zheng et al., "A 12-lead electrocardiogram database for arrhythmia research", Sci Data 7:48 (2020)',
    ),
    index=index,
    load=load,
    recipe=Recipe(),
    einthoven=None,
)
