"""PhysioNet/CinC Challenge 2017: single-lead recordings of 9 to 61 s that people made of themselves, four rhythms."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ecgscale.data import waveform
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Card, Dataset, Index, inside
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import Recording

# What the tables write, and what the challenge calls it.
RHYTHMS = {"N": "normal sinus rhythm", "A": "atrial fibrillation", "O": "other rhythm", "~": "too noisy"}
FINAL, COPY = "REFERENCE-v3.csv", "REFERENCE.csv"


def index(raw: Path) -> Index:
    """Records ``A00001.{hea,mat}`` ..., wherever below ``raw``, that a table of lines ``A00001,N`` names.

    The challenge corrected its labels three times. ``REFERENCE-v3.csv``, the final ones, wins wherever it lies;
    ``REFERENCE.csv`` is the same in the release and an older one in archives made before, so that it counts as a
    missing part to have it alone; other versions are never read. Files of ``validation`` are copies of training
    records: each record is taken once. Nothing says whose a recording is: one record counts as one patient, and who
    sent in several may be in several splits. Raises FileNotFoundError without a table and ValueError for one that
    names a record twice.
    """
    tables = {name: sorted(raw.rglob(name)) for name in (FINAL, COPY)}
    # The copy beside the 300 records of validation holds their labels alone.
    table = next((path for name in tables for path in sorted(tables[name], key=_of_validation)), None)
    if table is None:
        raise FileNotFoundError(f"{FINAL}, the labels of the challenge of 2017, is not in the raw folder")
    lines = [line.partition(",") for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
    names = np.array([name.strip() for name, _, _ in lines], dtype=str)
    if len(set(names)) < len(names):
        raise ValueError(f"{table.name} names {len(names) - len(set(names)):,} records more than once")
    paths = sorted(raw.rglob("A[0-9][0-9][0-9][0-9][0-9]*.hea"), key=_of_validation, reverse=True)
    header = {path.stem: path.relative_to(raw).as_posix() for path in paths if path.stem[1:].isdigit()}
    there = np.isin(names, list(header))
    labels = np.full((len(lines), len(RHYTHMS)), MISSING, dtype=np.uint8)
    for row, (_, _, said) in zip(labels, lines, strict=True):
        if said.strip() in RHYTHMS:
            row[:] = [said.strip() == letter for letter in RHYTHMS]
    missing = [] if there.all() else [f"{int((~there).sum()):,} of {len(there):,} records of {table.name}"]
    if table.name != FINAL:
        missing.append(f"{FINAL}, the final labels ({COPY} may hold earlier ones)")
    return Index(
        where=np.array([header[name] for name in names[there]], dtype=str),
        patient=names[there],
        label_sets={"rhythm": tuple(RHYTHMS.values())},
        labels=labels[there],
        missing=missing,
    )


def _of_validation(path: Path) -> tuple[bool, str]:
    return path.parent.name == "validation", path.as_posix()


def load(raw: Path, where: str) -> Recording:
    """One lead in mV at 300 Hz from a MATLAB v4 file (WFDB's format 16+24).

    A checksum of 0 stands in the headers for none.
    """
    path = inside(raw, where)
    recording = waveform.read(path)
    unsaid = not waveform.header(path).leads[0].checksum
    return replace(recording, leads=("I",), checksum=True) if unsaid else replace(recording, leads=("I",))


DATASET = Dataset(
    card=Card(
        title="PhysioNet/CinC Challenge 2017",
        what="training set of single-lead recordings of 9 to 61 s by a hand-held device (AliveCor), four rhythms",
        n_records=8_528,
        n_patients=None,
        sampling_hz=(300,),
        licence="ODC-By 1.0",
        access="open",
        url="https://physionet.org/content/challenge-2017/1.0.0/",
        doi="10.22489/CinC.2017.065-469",
        download="wget -r -N -c -np https://physionet.org/files/challenge-2017/1.0.0/",
        units="mV by the headers' gains",
        lead_order="one lead, ECG in the headers; by the challenge's paper a lead I equivalent (left hand to right)",
        label_sets={
            "rhythm": "4: "
            + ", ".join(RHYTHMS.values())
            + "; each recording has one (final labels: 5,076, 758, 2,415 and 279 recordings)"
        },
        n_labels={"rhythm": len(RHYTHMS)},
        tested_on="a copy of the layout, written from real signals; not the original files",
        citation='Clifford et al., "AF Classification from a Short Single Lead ECG Recording: The PhysioNet/Computing '
        'in Cardiology Challenge 2017", Computing in Cardiology 44 (2017)',
        traps=(
            "many recordings are upside down (right hand to left hand): the device could be held either way; no file "
            "says which, and none is turned",
            "10 s are cut from the middle of longer records; the label is that of the whole",
            "no patient is named: splits are by record, and who recorded twice may be in two of them",
            "labels came in four versions, 412 changed from the first to the final; REFERENCE-v3.csv is read",
            "the headers have no checksums (0 stands there): a damaged signal file shows in data verify alone, by the "
            "provider's own list of sums",
            "the 300 records of validation are copies of training records; the hidden test set was never published",
        ),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
    shares=(0.6, 0.15, 0.25),  # what it is there for is evaluation: some 190 recordings with atrial fibrillation
    leads=("I",),
    einthoven=None,
)
