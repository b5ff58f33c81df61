"""PhysioNet/CinC Challenge 2017: single-lead recordings of 9 to 61 s that people made of themselves, four rhythms."""

import re
from dataclasses import replace
from pathlib import Path

from ecgscale.data import columns, tables, waveform
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import Place, inside, walked
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
    sent in several may be in several splits. Raises FileNotFoundError without a table.
    """
    listed = [name for name in walked(raw, ".csv") if Path(name).name.casefold() in (FINAL.casefold(), COPY.casefold())]
    # The copy beside the 300 records of validation holds their labels alone.
    listed.sort(key=lambda name: (Path(name).name.casefold() != FINAL.casefold(), *_of_validation(name)))
    if not listed:
        raise FileNotFoundError(f"{FINAL}, the labels of the challenge of 2017, is not in the raw folder")
    table = tables.read(Place(raw, inside(raw, listed[0])), ["record", "rhythm"], header=False)
    table = columns.keyed(table, "record")
    headers = [name for name in walked(raw, ".hea") if re.fullmatch(r"A\d{5,}", Path(name).stem)]
    headers.sort(key=_of_validation)
    by_stem: dict[str, str] = {}
    for name in headers:
        by_stem.setdefault(Path(name).stem, name)
    table = table.keep(table.rows["record"].str.fullmatch(r"A\d+"), f"row of {table.name} that names no record")
    table, missing = columns.shelved(table, "record", by_stem)
    labels, notes = columns.one_of(table, "rhythm", _CLASSES, len(RHYTHMS))
    notes["header of a record that lies there twice: its copy is left out"] = len(headers) - len(by_stem)
    if Path(listed[0]).name.casefold() != FINAL.casefold():
        missing = [*missing, f"{FINAL}, the final labels ({COPY} may hold earlier ones)"]
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["record"]),
        label_sets={"rhythm": tuple(RHYTHMS.values())},
        labels=labels,
        missing=missing,
        **accounted(table, notes),
    )


_CLASSES = {letter.casefold(): at for at, letter in enumerate(RHYTHMS)} | {
    word: at for at, word in enumerate(RHYTHMS.values())
}


def _of_validation(name: str) -> tuple[bool, str]:
    return Path(name).parent.name == "validation", name


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
        download="aws s3 sync --no-sign-request s3://physionet-open/challenge-2017/1.0.0/ DIR",
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
