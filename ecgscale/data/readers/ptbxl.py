"""PTB-XL: 21,799 records of a German metrology institute, five label sets, official patient-disjoint folds."""

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import columns, split, tables, waveform
from ecgscale.data.columns import BLANK, FEMALE
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import inside, located
from ecgscale.data.recording import Recording
from ecgscale.data.tables import Table, UnreadableTable

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
    """``ptbxl_database.csv`` and ``scp_statements.csv``; the 500 Hz files where there, else the 100 Hz ones.

    A record whose statements are blank or cannot be read has missing labels; one in none of the ten folds is refused.
    """
    place = located(raw, "ptbxl_database.csv")
    names = ["ecg_id", "patient_id", "sex", "scp_codes", "strat_fold", "filename_lr", "filename_hr"]
    table = columns.keyed(columns.people(tables.read(place, names, optional=["age"]), "patient_id"), "ecg_id")
    folds = columns.numbers(table, "strat_fold")
    table = table.having(fold=folds).keep(
        np.isin(folds, range(1, 11)), f"strat_fold of {place.name} is none of 1 to 10"
    )
    table, missing = columns.files(table, ("filename_hr", "filename_lr"), place, _header)
    statements = _statements(tables.read(located(place.file.parent, "scp_statements.csv"), _STATEMENTS))
    codes, notes = _codes(table, set(statements.index))
    sets, labels = label_table([record or set() for record in codes], statements)
    labels[[record is None for record in codes]] = MISSING
    female, of_sex = columns.labels(table, ["sex"], FEMALE)
    age, of_age = columns.ages(columns.numbers(table, "age"), place.name)
    fold = table.rows["fold"].to_numpy()
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["patient_id"]),
        label_sets={**sets, "sex": ("female",)},
        labels=np.concatenate([labels, female], axis=1),
        **age,
        split=np.select([fold == 9, fold == 10], [split.VAL, split.TEST], split.TRAIN).astype(np.uint8),
        split_column=f"strat_fold of {place.name}",
        missing=missing,
        **accounted(table, notes, of_sex, of_age),
    )


_STATEMENTS = ("", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass")


def _header(name: str) -> str:
    return f"{name.removesuffix('.hea').removesuffix('.dat')}.hea"


def _statements(table: Table) -> pd.DataFrame:
    """scp_statements.csv by code, with its marks as numbers."""
    marks = {kind: columns.numbers(table, kind) for kind in ("diagnostic", "form", "rhythm")}
    classes = {name: table.rows[name].to_numpy(dtype=object) for name in ("diagnostic_class", "diagnostic_subclass")}
    return pd.DataFrame(marks | classes, index=table.rows[""].to_numpy(dtype=object))


def _codes(table: Table, known: set[str]) -> tuple[list[set[str] | None], dict[str, int]]:
    """Statements of each record, None where they are blank or cannot be read; and what was not known."""
    codes: list[set[str] | None] = []
    strange: Counter[str] = Counter()
    n_blank = n_unreadable = 0
    for cell in table.rows["scp_codes"]:
        if cell.casefold() in BLANK:
            n_blank += 1
            codes.append(None)
            continue
        try:
            said = ast.literal_eval(cell)
            record = {str(code).strip().upper() for code in said}
        except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
            record = None
        if record is None or not isinstance(said, dict | list | set | tuple):
            n_unreadable += 1
            codes.append(None)
            continue
        strange.update(record - known)
        codes.append(record & known or (None if record else set()))
    if len(codes) and all(record is None for record in codes):
        raise UnreadableTable(
            f"no row of {table.name} says anything known in column 'scp_codes': {n_blank:,} cells are blank, "
            f"{n_unreadable:,} cannot be read; correct them"
        )
    notes = {
        f"blank scp_codes of {table.name}: missing": n_blank,
        f"scp_codes of {table.name} that cannot be read: missing": n_unreadable,
    }
    words = {columns.shown(word): count for word, count in strange.items()}
    if words:
        notes[f"statements that scp_statements.csv lacks ({columns.named(words)}): left out"] = sum(words.values())
    return codes, notes


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
        download="aws s3 sync --no-sign-request s3://physionet-open/ptb-xl/1.0.3/ DIR",
        gigabytes=3.2,  # 3.0 GiB
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
            "age": "a number, in years; over 89 missing",
        },
        n_labels={
            "diagnostic": 44,
            "subdiagnostic": 23,
            "superdiagnostic": len(SUPERCLASSES),
            "form": 19,
            "rhythm": 12,
            "code6": len(CODE_FROM_SCP),
            "sex": 1,
            "age": 1,
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
