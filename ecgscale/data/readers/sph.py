"""SPH: 25,770 records of Shandong Provincial Hospital, HDF5 in half precision, AHA statement codes."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from ecgscale.data import columns, hdf5, tables
from ecgscale.data.columns import BLANK, MALE, MISSING
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import inside, located
from ecgscale.data.recording import LEADS, Recording
from ecgscale.data.tables import Table, UnreadableTable


def index(raw: Path) -> Index:
    """``metadata.csv`` (ECG_ID, AHA_Code "22;23", Patient_ID, Sex) and ``records/A00001.h5`` (or beside the table).

    A class is a primary statement; modifiers ("60+310" means 60, modified) are left out. A record with a blank cell
    of statements, or a word among them, has missing ones.
    """
    place = located(raw, "metadata.csv")
    table = tables.read(place, ["ECG_ID", "AHA_Code", "Patient_ID", "Sex"], optional=["Age"])
    table = columns.keyed(columns.people(table, "Patient_ID"), "ECG_ID")
    folder = "records/" if (place.file.parent / "records").is_dir() else ""
    order, statements, notes = _statements(table)
    male, of_sex = columns.labels(table, ["Sex"], MALE, numbers=False)
    table = table.having(at=np.arange(len(table)))
    table, missing = columns.files(table, ["ECG_ID"], place, lambda name: f"{folder}{name.removesuffix('.h5')}.h5")
    age, of_age = columns.ages(columns.numbers(table, "Age"), place.name)
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["Patient_ID"]),
        label_sets={"aha": order, "sex": ("male",)},
        labels=np.concatenate([statements, male], axis=1)[table.rows["at"].to_numpy()],
        **age,
        missing=missing,
        **accounted(table, notes, of_sex, of_age),
    )


def _statements(table: Table) -> tuple[tuple[str, ...], np.ndarray, dict[str, int]]:
    """All primary statements, uint8 [n_rows, n_statements], and what was not known."""
    codes: list[set[str] | None] = []
    words: Counter[str] = Counter()
    for cell in table.rows["AHA_Code"]:
        parts = [part for part in re.split(r"[;,|]|\s+", cell.strip("'\"[] ")) if part]
        found = [re.fullmatch(r"0*(\d+)(?:\.0*)?(?:\+[\d+]*)?", part.strip("'\"")) for part in parts]
        if cell.casefold() in BLANK:
            codes.append(None)
        elif not all(found):
            words[columns.shown(next(part for part, code in zip(parts, found, strict=True) if not code))] += 1
            codes.append(None)
        else:
            codes.append({code[1] for code in found if code})
    known = [record for record in codes if record is not None]
    if codes and not known:
        said = f"its words are {columns.named(words)}" if words else "all its cells are blank"
        raise UnreadableTable(f"no row of {table.name} says anything known in column 'AHA_Code': {said}; correct them")
    order = tuple(sorted({code for record in known for code in record}, key=lambda code: (len(code), code)))
    unsaid = [MISSING] * len(order)
    rows = [unsaid if record is None else [code in record for code in order] for record in codes]
    notes = {f"blank AHA_Code of {table.name}: missing": len(codes) - len(known) - words.total()}
    if words:
        notes[f"AHA_Code of {table.name} in words that are not known ({columns.named(words)}): missing"] = words.total()
    return order, np.array(rows, dtype=np.uint8).reshape(len(codes), len(order)), notes


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
        gigabytes=2.3,  # records.tar.gz
        units="mV, half precision",
        lead_order="I, II, III, aVR, aVL, aVF, V1-V6, without names; checked with Einthoven's law",
        label_sets={"aha": "44 primary statements in the whole dataset", "sex": "1: male", "age": "years"},
        n_labels={"aha": 44, "sex": 1, "age": 1},
        tested_on="9 real records with metadata",
        citation='Liu et al., "A large-scale multi-label 12-lead electrocardiogram database", Sci Data 9:272 (2022)',
        traps=("10 s are cut from the middle of longer records",),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
)
