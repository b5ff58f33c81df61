"""MIMIC-IV-ECG: 800,000 ECGs of a Boston hospital, with ICD-10 codes, ICU stays, mortality and sex.

Two datasets of the same files: ``mimic-icd10`` to pretrain on (label scaling over 927 codes that begin with I) and
``mimic`` to probe on, with other patients.
"""

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import split, waveform
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Card, Dataset, Index, inside
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import Recording

MORTALITY = tuple(f"mortality_{days}d" for days in (1, 7, 28, 90, 180, 365))
ICU = ("icu_24h", "icu_stay")
_DOMINANT, _SHARES, _EXPANSIONS = 0.10, (0.3, 0.5), 3  # section 5 of the scaling study; composition matters: several
_TAIL, _TAIL_MIN = 0.02, 10  # the rarest 2 % of the codes that at least 10 records have
# Classes of each subset of the study's 927 codes, of which about 450 have at least ten records (see label_scaling).
PUBLISHED_SUBSETS = {"icd10/dominant": 93, "icd10/tail": 9} | {
    f"icd10/{fixed}-{share:.0%}.{draw}".replace("%", ""): round(share * 927)
    for fixed in ("dominant", "tail")
    for share in _SHARES
    for draw in range(_EXPANSIONS)
}
# Of the 20 patient-disjoint folds (5 % each). Pretraining: 160K, 40K, 20K of 800K; probes: 25, 5, 10 %, others' folds.
_PRETRAIN = {**dict.fromkeys(range(4), split.TRAIN), 4: split.VAL, 5: split.TEST}
_PROBE = {**dict.fromkeys(range(6, 11), split.TRAIN), 11: split.VAL, 12: split.TEST, 13: split.TEST}


def index(raw: Path, folds: dict[int, int], halve_test: bool) -> Index:
    """Records of the chosen folds of ``records_w_diag_icd10.csv``, with labels of it and of ``mds_ed.csv`` if there.

    ``all_diag_all`` holds ICD-10 codes as a Python list; a row's file is found in ``files/p1xxx/p.../s.../...``.
    With ``halve_test`` only every other patient of the test fold is tested on: 20,000 records, as in the study.
    """
    path = next((raw / name for name in _TABLES if (raw / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{_TABLES[0]} (MIMIC-IV-ECG-Ext-ICD) is not in the raw folder")
    columns = ["file_name", "study_id", "subject_id", "all_diag_all", "gender", "strat_fold"]
    table = pd.read_csv(path, usecols=columns, dtype={"subject_id": str, "study_id": str})
    codes = [_circulatory(text) for text in table["all_diag_all"].fillna("[]")]
    order, subsets = label_scaling(codes)  # of all records: the same classes for both datasets
    table = table[table["strat_fold"].isin(list(folds))]
    where = [_file(name) for name in table["file_name"]]
    there = np.array([inside(raw, name).is_file() for name in where])
    table = table.assign(where=where)[there]
    splits = table["strat_fold"].map(folds).to_numpy(dtype=np.uint8)
    patients = table["subject_id"].to_numpy(dtype=str)
    if halve_test:
        tested = splits == split.TEST
        splits[tested & ~split.within_fraction(patients, 0.5, salt="mimic/test")] = split.NONE
    acute = _acute(raw, table.index)
    labels = np.concatenate(
        [_many_hot([codes[row] for row in table.index], order), acute, _sex(table["gender"])], axis=1
    )
    return Index(
        where=table["where"].to_numpy(dtype=str),
        patient=patients,
        label_sets={"icd10": order, "mortality": MORTALITY, "icu": ICU, "sex": ("male",)},
        label_subsets=subsets,
        labels=labels,
        split=splits,
        missing=[f"{int((~there).sum()):,} of {len(there):,} records of the chosen folds"] if not there.all() else [],
    )


def label_scaling(codes: list[set[str]]) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """All classes, most frequent first, and the study's subsets of them.

    ``icd10/dominant``: the most frequent tenth. ``icd10/dominant-30.0`` ...: it and random others up to 30 % or 50 %
    of the classes, several draws. ``icd10/tail``: the rarest 2 % of the classes with at least ten records, and
    ``icd10/tail-30.0`` ... likewise.
    """
    counts = Counter(code for record in codes for code in record)
    order = tuple(sorted(counts, key=lambda code: (-counts[code], code)))
    frequent = [code for code in order if counts[code] >= _TAIL_MIN]
    fixed = {
        "dominant": order[: int(np.ceil(_DOMINANT * len(order)))],
        "tail": tuple(frequent[-int(np.ceil(_TAIL * len(frequent))) :]) if frequent else (),
    }
    subsets: dict[str, tuple[str, ...]] = {}
    for name, chosen in fixed.items():
        if not chosen:
            continue
        subsets[f"icd10/{name}"] = chosen
        for draw in range(_EXPANSIONS):
            others = np.array([code for code in order if code not in set(chosen)])
            shuffled = np.random.default_rng(draw).permutation(others)
            for share in _SHARES:
                n = max(0, round(share * len(order)) - len(chosen))
                subsets[f"icd10/{name}-{share:.0%}.{draw}".replace("%", "")] = (*chosen, *shuffled[:n].tolist())
    return order, subsets


_TABLES = ("records_w_diag_icd10.csv", "mimic-iv-ecg-ext-icd/records_w_diag_icd10.csv")


def _file(name: str) -> str:
    """``mimic-iv-ecg-.../files/p1000/p1.../s.../...`` -> ``files/....hea``"""
    return f"files/{name.rpartition('files/')[2]}.hea"


def _circulatory(text: str) -> set[str]:
    """Codes that begin with I of a Python list of strings, without evaluating it."""
    return set(re.findall(r"['\"](I[0-9A-Z]*)['\"]", text))


def _many_hot(codes: list[set[str]], order: tuple[str, ...]) -> np.ndarray:
    place = {code: i for i, code in enumerate(order)}
    labels = np.zeros((len(codes), len(order)), dtype=np.uint8)
    for row, record in zip(labels, codes, strict=True):
        row[[place[code] for code in record]] = 1
    return labels


def _acute(raw: Path, rows: pd.Index) -> np.ndarray:
    """Mortality and ICU labels of ``mds_ed.csv``, whose general_data is a row number of the ICD table; else missing."""
    labels = np.full((len(rows), len(MORTALITY) + len(ICU)), MISSING, dtype=np.uint8)
    path = raw / "mds_ed.csv"
    if not path.is_file():
        return labels
    table = pd.read_csv(path, low_memory=False)
    table = (
        table.rename(columns=str.lower)
        .set_index("general_data")
        .rename(columns=lambda c: c.removeprefix("deterioration_"))
    )
    table = table[~table.index.duplicated()].reindex(rows)[[*MORTALITY, *ICU]]
    values = table.to_numpy(dtype=np.float64)
    known = np.isin(values, (0.0, 1.0))  # -999: it happened before the ECG could have told
    labels[known] = values[known].astype(np.uint8)
    return labels


def _sex(gender: pd.Series) -> np.ndarray:
    return gender.map({"M": 1, "F": 0}).fillna(MISSING).to_numpy(dtype=np.uint8)[:, None]


def load(raw: Path, where: str) -> Recording:
    return waveform.read(inside(raw, where))


_CARD = Card(
    title="MIMIC-IV-ECG 1.0 with ICD-10 labels",
    what="diagnostic ECGs of Beth Israel Deaconess Medical Center, matched with MIMIC-IV's clinical records",
    n_records=800_035,
    n_patients=161_352,
    splits=(160_000, 40_000, 20_000),
    sampling_hz=(500,),
    licence="ECGs: ODbL 1.0; labels: PhysioNet credentialed health data licence 1.5.0",
    access="credentialed",
    url="https://physionet.org/content/mimic-iv-ecg/1.0/",
    doi="10.13026/4nqg-sb35",
    download="wget -r -N -c -np https://physionet.org/files/mimic-iv-ecg/1.0/ ; labels, after credentialing: wget -r "
    "-N -c -np --user USER --ask-password https://physionet.org/files/mimic-iv-ecg-ext-icd-labels/1.0.1/ and "
    ".../multimodal-emergency-benchmark/1.0.0/ (mds_ed.csv); put both tables beside files/",
    units="mV by the headers' gains",
    lead_order="I, II, III, aVR, aVF, aVL, V1-V6 (aVF before aVL): taken by name",
    label_sets={
        "icd10": "927 ICD-10 codes that begin with I, most frequent first; subsets dominant and tail, with expansions",
        "mortality": "6: within 1 to 365 days",
        "icu": "2: within 24 hours, ever in the stay",
        "sex": "1: male",
    },
    n_labels={"icd10": 927, **PUBLISHED_SUBSETS, "mortality": len(MORTALITY), "icu": len(ICU), "sex": 1},
    tested_on="a copy of the layout, written from real signals; not the original files",
    citation="Gow et al., MIMIC-IV-ECG, PhysioNet (2023); Strodthoff et al., MIMIC-IV-ECG-Ext-ICD (2024); "
    "Lopez Alcaraz et al., MDS-ED (2024)",
    traps=("missing samples are interpolated", "-999 in mds_ed.csv means unknown: masked"),
)
DATASET = Dataset(
    card=_CARD,
    index=partial(index, folds=_PRETRAIN, halve_test=True),
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
)
PROBE = Dataset(
    card=replace(_CARD, splits=(200_000, 40_000, 80_000)),
    index=partial(index, folds=_PROBE, halve_test=False),
    load=load,
    recipe=Recipe(clip_mv=3.0),
)
