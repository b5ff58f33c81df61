"""HEEDB, the Harvard-Emory ECG database: over ten million records with statements of the 12SL program."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ecgscale.data import columns, tables, waveform
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import Place, inside, located
from ecgscale.data.recording import Recording
from ecgscale.data.tables import UnreadableTable

_N_CODES = 150  # most frequent statements, as many as ECGFounder was trained on


_ROWS = 50_000  # of statements at a time


def index(raw: Path) -> Index:
    """``Metadata/demographics_ECG.csv`` (FileName, BDSPPatientID), ``ECG_Interpretations.psv``, ``duplicated.csv``.

    A record without an interpretation has missing labels; a duplicated record is left out.
    """
    place = located(raw, "Metadata/demographics_ECG.csv", "demographics_ECG.csv")
    in_metadata = place.file.parent.name.casefold() == "metadata"
    top = Place(raw, (place.file.parent.parent if in_metadata else place.file.parent) / place.file.name)
    table = columns.people(tables.read(place, ["FileName", "BDSPPatientID"]), "BDSPPatientID")
    table = table.having(record=_stems(table.rows["FileName"]))
    table = table.keep(~table.rows["record"].isin(_duplicates(place)), "listed as a duplicate")
    table, missing = columns.files(table, ["FileName"], top, _header, also=["record", "BDSPPatientID"])
    table = table.once("record")
    where, patient = tables.texts(table.rows["file"]), tables.texts(table.rows["BDSPPatientID"])
    table = table.of("record")  # millions of records are to fit in memory
    order, labels, notes = _statements(table.rows["record"], place)
    return Index(
        where=where,
        patient=patient,
        label_sets={"12sl": order},
        labels=labels,
        missing=[text.replace(place.name, "the table") for text in missing],
        **accounted(table, notes),
    )


def _stems(names: pd.Series) -> pd.Series:
    """Names of records: without folders, quotes and suffixes."""
    return names.str.replace(r"^.*[/\\]|\.(?:hea|mat)$|['\"]", "", regex=True)


def _duplicates(place: Place) -> list[str]:
    try:
        twice = tables.read(located(place.file.parent, "duplicated.csv"), ["file_name"])
    except FileNotFoundError:
        return []
    return _stems(twice.rows["file_name"]).tolist()


def _statements(records: pd.Series, place: Place) -> tuple[tuple[str, ...], np.ndarray, dict[str, int]]:
    """The most frequent statements, uint8 [n_records, n_statements] with those of each record, and what is missing.

    Statements are numbered as they come, so that millions of records fit in memory.
    """
    said = tables.read(located(place.file.parent, "ECG_Interpretations.psv"), ["file_source", "diagnostic_codes"])
    said = said.having(record=_stems(said.rows["file_source"])).of("record", "diagnostic_codes").once("record")
    known = ~columns.blank(said.rows["diagnostic_codes"])
    n_blank = int((~known).sum())
    said = said.keep(known, "blank diagnostic_codes")
    at = pc.index_in(pa.array(said.rows["record"]), value_set=pa.array(records)).fill_null(-1).to_numpy()
    numbered: dict[str, int] = {}
    pairs = [
        _numbered(said.rows["diagnostic_codes"].iloc[first : first + _ROWS], at[first : first + _ROWS], numbered)
        for first in range(0, len(said), _ROWS)
    ]
    counts = sum(
        (np.bincount(codes, minlength=len(numbered)) for _, codes in pairs), np.zeros(len(numbered), dtype=int)
    )
    set_aside, n_said = said.refused, len(said)
    del said, at, known
    words = _words(numbered, counts)
    used = [code for code, number in numbered.items() if counts[number] and code not in words]
    order = tuple(sorted(used, key=lambda code: (-counts[numbered[code]], code))[:_N_CODES])
    if n_said + n_blank and not order:
        raise UnreadableTable("ECG_Interpretations.psv has no statement of any record of demographics_ECG.csv")
    pa.default_memory_pool().release_unused()  # else what Arrow keeps for later stands beside the labels
    column = np.full(len(numbered), -1, dtype=np.int64)
    column[[numbered[code] for code in order]] = np.arange(len(order))
    labels = np.full((len(records), len(order)), MISSING, dtype=np.uint8)
    strange = np.isin(np.arange(len(numbered)), [numbered[word] for word in words])
    for rows, codes in pairs:
        labels[rows[~strange[codes]]] = 0
    for rows, codes in pairs:
        frequent = column[codes] >= 0
        labels[rows[frequent], column[codes[frequent]]] = 1
    notes = {
        "record without statements: labels missing": int((labels[:, :1] == MISSING).sum()),
        f"statements in words ({columns.named({columns.shown(word): 1 for word in words})}): left out": sum(
            words.values()
        ),
        **{f"set aside, {reason}": count for reason, count in set_aside.items()},
    }
    return order, labels, notes


def _words(numbered: dict[str, int], counts: np.ndarray) -> dict[str, int]:
    """Statements that are no number, and how often they are; none where most are none, in an edition with names."""
    words = {code: int(counts[number]) for code, number in numbered.items() if not code.isdigit() and counts[number]}
    return words if 2 * sum(words.values()) <= counts.sum() else {}


def _numbered(cells: pd.Series, at: np.ndarray, numbered: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Row of the record and number of the statement, int32 [n] each, for every statement of a used record, once."""
    lists = pc.split_pattern_regex(pa.array(cells, type=pa.large_string()), r"[,;|\s]+")
    lists = lists.combine_chunks() if isinstance(lists, pa.ChunkedArray) else lists
    words = lists.flatten().dictionary_encode()
    spelled = [columns.bare_code(word.removesuffix(".0")).strip("[]{}()") for word in words.dictionary.to_pylist()]
    numbers = np.array([numbered.setdefault(word, len(numbered)) if word else -1 for word in spelled], dtype=np.int32)
    rows = np.repeat(at.astype(np.int32), np.diff(lists.offsets.to_numpy()))
    codes = numbers[words.indices.to_numpy()] if len(numbers) else np.zeros(0, dtype=np.int32)
    kept = (rows >= 0) & (codes >= 0)
    pairs = np.sort(rows[kept].astype(np.int64) * (len(numbered) + 1) + codes[kept])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    return (pairs // (len(numbered) + 1)).astype(np.int32), (pairs % (len(numbered) + 1)).astype(np.int32)


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
