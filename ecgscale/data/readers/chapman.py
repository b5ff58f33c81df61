"""Chapman-Shaoxing as its authors published it: ECGDataDenoised and Diagnostics, before the PhysioNet edition."""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import columns, matlab, tables
from ecgscale.data.columns import MALE
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import inside, located, walked
from ecgscale.data.recording import LEADS, MalformedRecordError, Recording

RHYTHMS = ("SB", "SR", "AFIB", "ST", "AF", "SI", "SVT", "AT", "AVNRT", "AVRT", "SAAWR")


# In the words of the authors' list of conditions; the released table writes SA where their paper writes SI.
_WORDS = {
    "sa": "SI",
    "sinus bradycardia": "SB",
    "sinus rhythm": "SR",
    "atrial fibrillation": "AFIB",
    "sinus tachycardia": "ST",
    "atrial flutter": "AF",
    "sinus irregularity": "SI",
    "supraventricular tachycardia": "SVT",
    "atrial tachycardia": "AT",
    "atrioventricular node reentrant tachycardia": "AVNRT",
    "atrioventricular reentrant tachycardia": "AVRT",
    "sinus atrium to atrial wandering rhythm": "SAAWR",
}
_CLASSES = {name.casefold(): at for at, name in enumerate(RHYTHMS)} | {
    word: RHYTHMS.index(name) for word, name in _WORDS.items()
}


def index(raw: Path) -> Index:
    """``Diagnostics.csv`` or ``labels.csv`` (Diagnostics.xlsx saved as text) and a .csv or .mat of each FileName."""
    place = located(raw, "Diagnostics.csv", "labels.csv", hint="save Diagnostics.xlsx as text there: it")
    table = columns.keyed(tables.read(place, ["FileName", "Rhythm", "Gender"], optional=["PatientAge"]), "FileName")
    found: dict[str, str] = {}
    n_copies = 0
    for name in sorted(walked(raw, ".csv", ".mat"), key=lambda name: (not name.endswith(".csv"), name)):
        stem = Path(name).stem
        n_copies += stem in found
        found.setdefault(stem, name)
        found.setdefault(stem.casefold(), name)
    table, missing = columns.shelved(table, "FileName", found)
    rhythm, notes = columns.one_of(table, "Rhythm", _CLASSES, len(RHYTHMS))
    male, of_sex = columns.labels(table, ["Gender"], MALE, numbers=False)
    age, of_age = columns.ages(columns.numbers(table, "PatientAge"), place.name)
    notes["recordings that lie there twice, as .csv and .mat or copied: each is used once"] = n_copies
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["FileName"]),
        label_sets={"rhythm": RHYTHMS, "sex": ("male",)},
        labels=np.concatenate([rhythm, male], axis=1),
        **age,
        missing=missing,
        **accounted(table, notes, of_sex, of_age),
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
        label_sets={"rhythm": "11", "sex": "1: male", "age": "a number, in years"},
        n_labels={"rhythm": len(RHYTHMS), "sex": 1, "age": 1},
        tested_on="6 real records",
        citation='Zheng et al., "A 12-lead electrocardiogram database for arrhythmia research", Sci Data 7:48 (2020)',
    ),
    index=index,
    load=load,
    recipe=Recipe(),
    einthoven=None,
)
