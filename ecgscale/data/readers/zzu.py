"""ZZU pECG: 14,190 ECGs of children in a hospital of Zhengzhou, 5 to 120 s, with diagnoses and AHA codes.

The layout is that of the data descriptor (Tan et al., Sci Data 2025, doi 10.1038/s41597-025-05225-z) and of the files
on figshare (doi 10.6084/m9.figshare.27078763): ``AttributesDictionary.csv``, ``DiseaseCode.csv``, and WFDB records in
``Child_ecg/P00/P00001/P00001_E01``.
"""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from ecgscale.data import columns, tables
from ecgscale.data.columns import MALE, MISSING
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import located
from ecgscale.data.readers.mimic import load
from ecgscale.data.tables import Table, UnreadableTable

DISEASES = ("Myocarditis", "Cardiomyopathy", "Kawasaki disease", "Congenital heart disease")
_DAYS_A_YEAR = 365.25
_CODE = re.compile(r"[A-Z]\d+")  # an AHA category and code: C21; what follows is a modifier: L145+Modifier362


def index(raw: Path) -> Index:
    """Records with twelve leads of ``AttributesDictionary.csv``; the others have nine, and are refused.

    ``AHA_code`` lists "'C21';'D31'", and in words what AHA has no code for: those are left out, counted.
    ``ICD-10 code`` lists the diagnoses of the stay, which ``DiseaseCode.csv`` gathers into four diseases. Ages are in
    days ("572d").
    """
    place = located(raw, "AttributesDictionary.csv", hint="of ZZU pECG on figshare,")
    names = ["Filename", "ECG_ID", "Patient_ID", "Age", "Gender", "Lead", "AHA_code", "ICD-10 code"]
    table = columns.keyed(columns.people(tables.read(place, names), "Patient_ID"), "ECG_ID")
    table = table.keep(columns.numbers(table, "Lead") == 12, f"record of {place.name} with other leads than twelve")
    beside = located(place.file.parent, "DiseaseCode.csv", hint="which figshare has beside AttributesDictionary.csv,")
    diseases = _diseases(tables.read(beside, ["Disease Type", "ICD-10 Code"]))
    table, missing = columns.files(
        table, ["Filename"], place, lambda name: f"Child_ecg/{name.removesuffix('.hea')}.hea"
    )
    order, statements, of_codes = _statements(table)
    male, of_sex = columns.labels(table, ["Gender"], MALE, numbers=False)
    days = table.having(Age=table.rows["Age"].str.strip("'\" ").str.replace(r"\s*d(?:ays)?$", "", regex=True))
    age, of_age = columns.ages(columns.numbers(days, "Age") / _DAYS_A_YEAR, place.name)
    ill, of_diseases = _ill(table, diseases)
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["Patient_ID"]),
        label_sets={"aha": order, "disease4": DISEASES, "sex": ("male",)},
        labels=np.concatenate([statements, ill, male], axis=1),
        **age,
        missing=missing,
        **accounted(table, of_codes, of_diseases, of_sex, of_age),
    )


def _listed(cell: str) -> list[str]:
    """The parts of "'C21';'Left ventricular high voltage'"."""
    return [part for one in re.split(r"[;|]", cell) if (part := one.strip(" '\"[]"))]


def _statements(table: Table) -> tuple[tuple[str, ...], np.ndarray, dict[str, int]]:
    """AHA codes without modifiers, uint8 [n_rows, n_codes] in the order of the codes; and what was not known."""
    words: Counter[str] = Counter()
    codes: list[set[str] | None] = []
    for cell in table.rows["AHA_code"]:
        parts = [] if columns.bare(cell) in columns.BLANK else _listed(cell)
        found = [_CODE.match(part) for part in parts]
        words.update(part for part, code in zip(parts, found, strict=True) if not code)
        codes.append({code[0] for code in found if code} if parts else None)
    order = tuple(
        sorted({code for record in codes for code in record or ()}, key=lambda code: (code[0], int(code[1:])))
    )
    if codes and not order:
        raise UnreadableTable(f"no row of {table.name} says a code in column 'AHA_code' (as 'C21'): download it again")
    labels = [[MISSING] * len(order) if record is None else [code in record for code in order] for record in codes]
    notes = {f"blank AHA_code of {table.name}: missing": sum(record is None for record in codes)}
    if words:
        shown = {columns.shown(word): n for word, n in words.items()}
        notes[f"findings of {table.name} that AHA has no code for ({columns.named(shown)}): left out"] = words.total()
    return order, np.array(labels, dtype=np.uint8).reshape(len(codes), len(order)), notes


def _diseases(table: Table) -> dict[str, str]:
    """ICD-10 code, as the tables write it ("(FO) Q21.1") -> disease. Raises UnreadableTable for one that lacks some."""
    places = {columns.bare(name): name for name in DISEASES}
    types = [" ".join(columns.bare(cell).split()) for cell in table.rows["Disease Type"]]
    found = {
        _plain(code): places[kind]
        for kind, code in zip(types, table.rows["ICD-10 Code"], strict=True)
        if kind in places
    }
    if lacking := [name for name in DISEASES if name not in found.values()]:
        raise UnreadableTable(f"{table.name} has no code of {', '.join(lacking)}: download it again")
    return found


def _plain(code: str) -> str:
    return " ".join(code.strip(" '\"").upper().split())


def _ill(table: Table, diseases: dict[str, str]) -> tuple[np.ndarray, dict[str, int]]:
    """The four diseases by each record's stay, uint8 [n_rows, 4]; missing where no diagnosis is listed."""
    labels = np.full((len(table), len(DISEASES)), MISSING, dtype=np.uint8)
    for row, cell in zip(labels, table.rows["ICD-10 code"], strict=True):
        if columns.bare(cell) not in columns.BLANK and (listed := _listed(cell)):
            said = {diseases.get(_plain(code)) for code in listed}
            row[:] = [name in said for name in DISEASES]
    return labels, {f"blank ICD-10 code of {table.name}: missing": int((labels[:, 0] == MISSING).sum())}


DATASET = Dataset(
    card=Card(
        title="ZZU pECG",
        what="ECGs of hospitalised children up to 14 years, First Affiliated Hospital of Zhengzhou University",
        n_records=14_190,
        n_patients=11_643,
        splits=(9_868, 1_233, 1_233),
        sampling_hz=(500,),
        licence="CC BY 4.0",
        access="open",
        url="https://doi.org/10.6084/m9.figshare.27078763",
        doi="10.6084/m9.figshare.27078763",
        download="download AttributesDictionary.csv, DiseaseCode.csv, Child_ecg.z01 and Child_ecg.zip from "
        "https://doi.org/10.6084/m9.figshare.27078763, then: zip -s 0 Child_ecg.zip --out whole.zip && unzip whole.zip",
        gigabytes=4.1,  # Child_ecg.z01 and .zip
        units="mV by the headers' gains",
        lead_order="I, II, III, AVR, AVL, AVF, V1-V6; 1,856 of 14,190 lack V2, V4 and V6 and are refused",
        label_sets={
            "aha": "codes of AHA's statements without modifiers",
            "disease4": "4 by the stay's ICD-10 codes: " + ", ".join(DISEASES),
            "sex": "1: male",
            "age": "a number, in years",
        },
        n_labels={"aha": 91, "disease4": len(DISEASES), "sex": 1, "age": 1},
        tested_on="a copy of the layout, written from real signals; not the original files",
        citation='Tan et al., "A pediatric ECG database ... covering 11643 children", Sci Data (2025)',
        traps=(
            "children's ECGs: what is abnormal depends on age",
            "the records with nine leads are refused, and twice as often of ill children",
            "diagnoses are of the stay, not of the recording",
            "one record in eight reaches the recorder's limit of about 26.6 mV",
        ),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
)
