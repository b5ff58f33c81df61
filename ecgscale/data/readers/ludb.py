"""LUDB: 200 records with every wave delineated by cardiologists; the truth for R peaks."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ecgscale.data import columns, tables, waveform
from ecgscale.data.columns import BLANK, MISSING
from ecgscale.data.dataset import Accounts, Card, Dataset, Index
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import absent, inside, unique_records, walked
from ecgscale.data.recording import Recording
from ecgscale.data.tables import UnreadableTable

# Rhythms as the headers write them; the last is both "Sinus arrhythmia" and "Irregular sinus rhythm".
RHYTHMS = {
    "sinus rhythm": ("Rhythm: Sinus rhythm",),
    "sinus bradycardia": ("Rhythm: Sinus bradycardia",),
    "sinus tachycardia": ("Rhythm: Sinus tachycardia",),
    "atrial fibrillation": ("Rhythm: Atrial fibrillation",),
    "atrial flutter": ("Rhythm: Atrial flutter",),
    "sinus arrhythmia": ("Rhythm: Sinus arrhythmia", "Rhythm: Irregular sinus rhythm"),
}
UNITS_PER_MV = 1000.0
_AGE = re.compile(r"<age>:\s*(\d+)")


def rhythms(comments: str) -> list[bool]:
    """Which of RHYTHMS a header's comments say."""
    return [any(text in comments for text in texts) for texts in RHYTHMS.values()]


def years(comments: Sequence[str]) -> np.ndarray:
    """Ages float [n] of headers' comments, NaN where they say none."""
    found = [_AGE.search(text) for text in comments]
    return np.array([float(one[1]) if one else np.nan for one in found])


def index(raw: Path) -> Index:
    """``data/1.hea`` to ``data/200.hea``; rhythm from the comments, missing where they say none that is known."""
    headers = [name for name in walked(raw, ".hea") if Path(name).stem.isdigit() and Path(name).parent.name == "data"]
    used, refused = unique_records(raw, headers)
    used.sort(key=lambda name: int(Path(name).stem))
    comments = [" | ".join(waveform.comments(raw / name)) for name in used]
    labels = np.array([rhythms(text) for text in comments], dtype=np.uint8).reshape(-1, len(RHYTHMS))
    unknown = labels.sum(axis=1) == 0
    labels[unknown] = MISSING
    words = {
        columns.shown(said): 1 for text, lost in zip(comments, unknown, strict=True) if lost and (said := _said(text))
    }
    if used and unknown.all():
        told = f"their words are {columns.named(words)}" if words else "they have no Rhythm line"
        raise UnreadableTable(f"none of {len(used):,} headers says a known rhythm: {told}")
    notes = {"header without a rhythm that is known: labels missing": int(unknown.sum())} if unknown.any() else {}
    age, of_age = columns.ages(years(comments), "headers")
    return Index(
        where=tables.texts(used),
        patient=tables.texts([Path(name).stem for name in used]),
        label_sets={"rhythm": tuple(RHYTHMS)},
        labels=labels,
        **age,
        missing=absent(raw),
        refused=refused,
        notes={**notes, **of_age},
        accounts=Accounts("headers", len(headers), len(used)),
    )


def _said(comments: str) -> str:
    """The rhythm in a header's own words."""
    said = comments.partition("Rhythm:")[2].partition("|")[0].strip(" .")
    return "" if said.casefold() in BLANK else said


def load(raw: Path, where: str) -> Recording:
    """A record in file units of a microvolt.

    The gains in the headers differ from lead to lead as if each lead had been scaled to its own range: with them no
    record obeys Einthoven's law; without them all 200 do, to 0.4 %.
    """
    recording = waveform.read(inside(raw, where), gains=False)
    return replace(recording, signal=recording.signal / UNITS_PER_MV)


DATASET = Dataset(
    card=Card(
        title="LUDB 1.0.1",
        what="12-lead records of 10 s of 200 subjects with delineated waves",
        n_records=200,
        n_patients=200,
        sampling_hz=(500,),
        licence="ODC-By 1.0",
        access="open",
        url="https://physionet.org/content/ludb/1.0.1/",
        doi="10.13026/eegm-h675",
        download="aws s3 sync --no-sign-request s3://physionet-open/ludb/1.0.1/ DIR",
        gigabytes=0.03,
        units="taken as microvolts: the headers' gains differ between leads and break Einthoven's law",
        lead_order="i, ii, iii, avr, avl, avf, v1-v6",
        label_sets={"rhythm": "6", "age": "a number, in years"},
        n_labels={"rhythm": len(RHYTHMS), "age": 1},
        tested_on="all 200 real records",
        citation="Kalyakulina et al., IEEE Access 8:186181-186190 (2020)",
        traps=("annotations leave out the first and last beats", "gains of the headers are not to be believed"),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
    shares=(0.6, 0.15, 0.25),
)
