"""HEEDB, the Harvard-Emory ECG database: over ten million records with statements of the 12SL program."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import waveform
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Card, Dataset, Index, inside
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import Recording

_N_CODES = 150  # most frequent statements, as many as ECGFounder was trained on


def index(raw: Path) -> Index:
    """``Metadata/demographics_ECG.csv`` (FileName, BDSPPatientID), ``ECG_Interpretations.psv``, ``duplicated.csv``.

    A record without an interpretation has missing labels; a duplicated record is left out.
    """
    metadata = raw / "Metadata"
    table = pd.read_csv(metadata / "demographics_ECG.csv", dtype={"BDSPPatientID": str}, low_memory=False)
    table["stem"] = [Path(name).stem for name in table["FileName"]]
    table = table.drop_duplicates("stem")
    twice = metadata / "duplicated.csv"
    dropped = {Path(name).stem for name in pd.read_csv(twice)["file_name"]} if twice.is_file() else set()
    n_before = len(table)
    table = table[~table["stem"].isin(dropped)]
    where = [_header(name) for name in table["FileName"]]
    there = np.array([inside(raw, name).is_file() for name in where])
    said = pd.read_csv(metadata / "ECG_Interpretations.psv", sep="|", dtype=str)
    codes = {
        Path(source).stem: {code.strip() for code in text.split(",")}
        for source, text in zip(said["file_source"], said["diagnostic_codes"].fillna(""), strict=True)
    }
    counts = Counter(code for stem in table["stem"] for code in codes.get(stem, ()) if code)
    order = tuple(sorted(counts, key=lambda code: (-counts[code], code))[:_N_CODES])
    labels = np.array(
        [
            [code in codes[stem] for code in order] if stem in codes else [MISSING] * len(order)
            for stem in table["stem"]
        ],
        dtype=np.uint8,
    ).reshape(len(table), len(order))
    return Index(
        where=np.array(where, dtype=str)[there],
        patient=table["BDSPPatientID"].to_numpy(dtype=str)[there],
        label_sets={"12sl": order},
        labels=labels[there],
        missing=[f"{int((~there).sum()):,} of {len(there):,} records of the table"] if not there.all() else [],
        refused={"listed as a duplicate": n_before - len(table)} if n_before > len(table) else {},
    )


def _header(name: str) -> str:
    """``WFDB/S0001/1987/...`` of the table lies below ECG/ in the bucket, or right in the raw folder."""
    stem = name.removesuffix(".hea").removesuffix(".mat")
    return f"{stem}.hea" if stem.startswith("ECG/") else f"ECG/{stem}.hea"


def load(raw: Path, where: str) -> Recording:
    return waveform.read(inside(raw, where))


DATASET = Dataset(
    card=Card(
        title="Harvard-Emory ECG Database",
        what="all ECGs of two hospital systems, with statements of the Marquette 12SL program",
        n_records=10_608_417,
        n_patients=1_818_247,
        sampling_hz=(240, 250, 500),
        licence="BDSP restricted health data licence",
        access="credentialed",
        url="https://bdsp.io/content/heedb/",
        download="aws s3 sync of the bucket that BDSP names after credentialing: https://bdsp.io/content/heedb/",
        units="mV by the headers' gains",
        lead_order="I, II, III, aVR, aVL, aVF, V1-V6, by name",
        label_sets={"12sl": f"the {_N_CODES} most frequent 12SL statements"},
        n_labels={"12sl": _N_CODES},
        tested_on="a copy of one description of the layout, written from real signals; not the original files",
        citation="Koscova et al., The Harvard-Emory ECG Database, BDSP",
        traps=("folder names differ between versions", "duplicated.csv lists records to leave out"),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
)
