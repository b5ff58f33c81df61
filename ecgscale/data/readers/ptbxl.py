"""PTB-XL: 21,799 records of a German metrology institute, five label sets, official patient-disjoint folds."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import split, waveform
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Card, Dataset, Index, inside
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import Recording

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
# CODE's six labels by PTB-XL's statements.
CODE_FROM_SCP = {"1dAVb": "1AVB", "RBBB": "CRBBB", "LBBB": "CLBBB", "SB": "SBRAD", "AF": "AFIB", "ST": "STACH"}


def label_table(codes: list[set[str]], statements: pd.DataFrame) -> tuple[dict[str, tuple[str, ...]], np.ndarray]:
    """The benchmark's five label sets of records' statement codes (Strodthoff et al. 2021), and code6.

    ``statements`` is scp_statements.csv by code. All likelihoods count, also 0. A record without any label of a set
    is missing in that set: the benchmark trains and tests on records with at least one.
    Returns label sets and uint8 [n_records, n_labels].
    """
    diagnostic = statements[statements["diagnostic"] == 1]
    kinds = {
        "diagnostic": {code: code for code in diagnostic.index},
        "subdiagnostic": diagnostic["diagnostic_subclass"].to_dict(),
        "superdiagnostic": diagnostic["diagnostic_class"].to_dict(),
        "form": {code: code for code in statements.index[statements["form"] == 1]},
        "rhythm": {code: code for code in statements.index[statements["rhythm"] == 1]},
    }
    sets: dict[str, tuple[str, ...]] = {}
    tables = []
    for name, class_of in kinds.items():
        classes = SUPERCLASSES if name == "superdiagnostic" else tuple(sorted(set(class_of.values())))
        sets[name] = classes
        place = {label: i for i, label in enumerate(classes)}
        table = np.zeros((len(codes), len(classes)), dtype=np.uint8)
        for row, record in zip(table, codes, strict=True):
            row[[place[class_of[code]] for code in record if code in class_of]] = 1
        table[table.sum(axis=1) == 0] = MISSING
        tables.append(table)
    sets["code6"] = tuple(CODE_FROM_SCP)
    tables.append(np.array([[code in record for code in CODE_FROM_SCP.values()] for record in codes], dtype=np.uint8))
    return sets, np.concatenate(tables, axis=1)


def index(raw: Path) -> Index:
    """``ptbxl_database.csv`` and ``scp_statements.csv``; the 500 Hz files where there, else the 100 Hz ones."""
    table = pd.read_csv(raw / "ptbxl_database.csv", index_col="ecg_id", dtype={"patient_id": str})
    statements = pd.read_csv(raw / "scp_statements.csv", index_col=0)
    where = []
    for high, low in zip(table["filename_hr"], table["filename_lr"], strict=True):
        there = (f"{name}.hea" for name in (high, low) if inside(raw, f"{name}.hea").is_file())
        where.append(next(there, ""))
    table = table.assign(where=where)
    n_absent = int((table["where"] == "").sum())
    table = table[table["where"] != ""]
    sets, labels = label_table([set(ast.literal_eval(text)) for text in table["scp_codes"]], statements)
    female = np.where(table["sex"].isin([0, 1]), table["sex"] == 1, MISSING).astype(np.uint8)[:, None]
    fold = table["strat_fold"].to_numpy()
    return Index(
        where=table["where"].to_numpy(dtype=str),
        patient=table["patient_id"].to_numpy(dtype=str),
        label_sets={**sets, "sex": ("female",)},
        labels=np.concatenate([labels, female], axis=1),
        split=np.select([fold == 9, fold == 10], [split.VAL, split.TEST], split.TRAIN).astype(np.uint8),
        missing=[f"{n_absent:,} of {len(where):,} records of ptbxl_database.csv"] if n_absent else [],
    )


def load(raw: Path, where: str) -> Recording:
    return waveform.read(inside(raw, where))


DATASET = Dataset(
    card=Card(
        title="PTB-XL 1.0.3",
        what="clinical 12-lead records of 10 s, annotated by cardiologists with SCP-ECG statements",
        n_records=21_799,
        n_patients=18_869,
        splits=(17_418, 2_183, 2_198),
        sampling_hz=(100, 500),
        licence="CC BY 4.0",
        access="open",
        url="https://physionet.org/content/ptb-xl/1.0.3/",
        doi="10.13026/kfzx-aw45",
        download="wget -r -N -c -np https://physionet.org/files/ptb-xl/1.0.3/",
        units="mV by the headers' gains",
        lead_order="I, II, III, AVR, AVL, AVF, V1-V6",
        label_sets={
            "diagnostic": "44 statements",
            "subdiagnostic": "23",
            "superdiagnostic": "5",
            "form": "19",
            "rhythm": "12",
            "code6": "6, CODE's labels by statement",
            "sex": "1: female",
        },
        n_labels={
            "diagnostic": 44,
            "subdiagnostic": 23,
            "superdiagnostic": len(SUPERCLASSES),
            "form": 19,
            "rhythm": 12,
            "code6": len(CODE_FROM_SCP),
            "sex": 1,
        },
        tested_on="2,550 real rows of the table, 800 real records at 100 Hz and 40 at 500 Hz",
        citation='Wagner et al., "PTB-XL, a large publicly available electrocardiography dataset", Sci Data 7 (2020)',
        traps=(
            "statements count whatever their likelihood, also 0",
            "records without a label of a set are missing in it",
            "age 300 means over 89",
        ),
    ),
    index=index,
    load=load,
    recipe=Recipe(),  # standardised by one global deviation: Corpus.manifest.scale_mv
)
