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

from ecgscale.data import columns, split, tables, waveform
from ecgscale.data.columns import BLANK, ELSEWHERE, MALE
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import Place, inside, located, nearest
from ecgscale.data.recording import Recording
from ecgscale.data.tables import Table, UnreadableTable

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

    ``all_diag_all`` holds ICD-10 codes as a Python list; a row's file is found in ``files/p1xxx/p.../s.../...``. A
    blank cell says nothing of any code. With ``halve_test`` only every other patient of the test fold is tested on:
    20,000 records, as in the study.
    """
    place = located(raw, *_TABLES, hint="(MIMIC-IV-ECG-Ext-ICD)")
    names = ["file_name", "study_id", "subject_id", "all_diag_all", "gender", "strat_fold"]
    table = columns.keyed(columns.people(tables.read(place, names), "subject_id"), "study_id")
    codes, notes = _circulatory(table)
    order, subsets = label_scaling([record or set() for record in codes])  # of all: the same classes for both datasets
    fold = columns.numbers(table, "strat_fold")
    table = table.having(fold=fold, at=np.arange(len(table)))
    table = table.keep(np.isin(fold, range(20)), f"strat_fold of {place.name} is none of 0 to 19")
    table = table.keep(table.rows["fold"].isin(list(folds)), ELSEWHERE)
    records = Place(raw, nearest(raw, place, "files") / place.file.name)
    table, missing = columns.files(table, ["file_name"], records, _file)
    patients = tables.texts(table.rows["subject_id"])
    splits = table.rows["fold"].map(folds).to_numpy(dtype=np.uint8)
    if halve_test:
        tested = splits == split.TEST
        splits[tested & ~split.within_fraction(_own(table), 0.5, salt="mimic/test")] = split.NONE
    acute, of_stays = _acute(raw, place, table.rows["row"])
    male, of_sex = columns.labels(table, ["gender"], MALE, numbers=False)
    many_hot = _many_hot([codes[at] for at in table.rows["at"]], order)
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=patients,
        label_sets={"icd10": order, "mortality": MORTALITY, "icu": ICU, "sex": ("male",)},
        label_subsets=subsets,
        labels=np.concatenate([many_hot, acute, male], axis=1),
        split=splits,
        split_column=f"strat_fold of {place.name}",
        missing=[text.replace(f"records of {place.name}", "records of the chosen folds") for text in missing],
        **accounted(table, notes, of_stays, of_sex),
    )


def _own(table: Table) -> np.ndarray:
    """Patients of the rows, of blank ones each its own."""
    nobody = (table.rows["subject_id"] == "").to_numpy()
    return tables.texts(table.rows["subject_id"].mask(nobody, "of " + table.rows["study_id"]))


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


def _circulatory(table: Table) -> tuple[list[set[str] | None], dict[str, int]]:
    """Codes of each row that begin with I, without dots; None where the cell is blank or has words alone."""
    codes: list[set[str] | None] = []
    words: Counter[str] = Counter()
    n_blank = 0
    for cell in table.rows["all_diag_all"]:
        said = columns.codes(cell)
        icd = [code for code in said if _ICD.fullmatch(code)]
        blank = cell.casefold() in BLANK or (bool(said) and all(code.casefold() in BLANK for code in said))
        n_blank += blank
        words.update(columns.shown(code) for code in said if code not in icd and not blank)
        codes.append(None if blank or (said and not icd) else {code for code in icd if code.startswith("I")})
    if codes and all(record is None for record in codes):
        told = f"its words are {columns.named(words)}" if words else "all its cells are blank"
        raise UnreadableTable(
            f"no row of {table.name} says anything known in column 'all_diag_all': {told}; correct them"
        )
    notes = {f"blank all_diag_all of {table.name}: codes missing": n_blank}
    if words:
        notes[f"all_diag_all of {table.name} in words that are no ICD-10 codes ({columns.named(words)})"] = (
            words.total()
        )
    return codes, notes


_ICD = re.compile(r"[A-Z]\d[0-9A-Z]{0,6}")


def _many_hot(codes: list[set[str] | None], order: tuple[str, ...]) -> np.ndarray:
    place = {code: i for i, code in enumerate(order)}
    labels = np.zeros((len(codes), len(order)), dtype=np.uint8)
    for row, record in zip(labels, codes, strict=True):
        if record is None:
            row[:] = MISSING
        else:
            row[[place[code] for code in record]] = 1
    return labels


def _acute(raw: Path, place: Place, rows: pd.Series) -> tuple[np.ndarray, dict[str, int]]:
    """Mortality and ICU labels of ``mds_ed.csv``, whose general_data is a row number of the ICD table; else missing."""
    labels = np.full((len(rows), len(MORTALITY) + len(ICU)), MISSING, dtype=np.uint8)
    try:
        stays = located(raw, "mds_ed.csv")
    except FileNotFoundError:
        return labels, {"mds_ed.csv is not there: mortality and ICU labels missing": len(rows)}
    names = [f"deterioration_{label}" for label in (*MORTALITY, *ICU)]
    try:
        table = tables.read(stays, ["general_data", *names])
    except UnreadableTable:
        names = [*MORTALITY, *ICU]
        table = tables.read(stays, ["general_data", *names])
    table = columns.keyed(table, "general_data")
    said, notes = columns.labels(table, names)  # -999: it happened before the ECG could have told
    place_of = {int(row): at for at, row in enumerate(columns.numbers(table, "general_data")) if row >= 0}
    at = np.array([place_of.get(row, -1) for row in rows.tolist()], dtype=np.int64)
    labels[at >= 0] = said[at[at >= 0]]
    return labels, notes | {f"set aside, {reason}": count for reason, count in table.refused.items()}


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
    download="aws s3 sync --no-sign-request s3://physionet-open/mimic-iv-ecg/1.0/ DIR; labels, once credentialed: "
    "wget -r -N -c -np --user USER --ask-password https://physionet.org/files/mimic-iv-ecg-ext-icd-labels/1.0.1/ and "
    ".../multimodal-emergency-benchmark/1.0.0/ (mds_ed.csv); put both tables beside files/",
    gigabytes=97.0,  # the ECGs
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
