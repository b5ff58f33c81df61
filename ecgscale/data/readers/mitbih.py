"""MIT-BIH Arrhythmia Database: half-hour two-lead records, every beat and rhythm annotated; DS1, DS2, AAMI classes."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecgscale.data import split, tables, waveform
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Accounts, Card, Dataset, Index
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import inside, walked
from ecgscale.data.recording import MalformedRecordError, Recording

if TYPE_CHECKING:
    import wfdb

DS1 = (101, 106, 108, 109, 112, 114, 115, 116, 118, 119, 122, 124, 201, 203, 205, 207, 208, 209, 215, 220, 223, 230)
DS2 = (100, 103, 105, 111, 113, 117, 121, 123, 200, 202, 210, 212, 213, 214, 219, 221, 222, 228, 231, 232, 233, 234)
BEAT_CLASSES = ("N", "S", "V", "F", "Q")
AAMI: Mapping[str, int] = {
    symbol: BEAT_CLASSES.index(name)
    for name, symbols in {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}.items()
    for symbol in symbols
}
# Rhythms as the annotations write them after "(": sinus rhythm, bradycardia, atrial fibrillation, flutter and bigeminy,
# supraventricular tachyarrhythmia, nodal and idioventricular rhythm, ventricular bigeminy, trigeminy, tachycardia and
# flutter, pre-excitation and second-degree block. Paced rhythm is in the records that are left out alone.
RHYTHMS = ("N", "SBR", "AFIB", "AFL", "AB", "SVTA", "NOD", "IVR", "B", "T", "VT", "VFL", "PREX", "BII")
_SECONDS = 10
_VAL = (114, 124, 207, 223)  # of DS1, for early stopping


def index(raw: Path) -> Index:
    """Ten-second windows, end to end, of the records of DS1 (train, some val) and DS2 (test), none of them paced.

    A window has a rhythm if all of it is in one; of others it is missing.
    """
    where, patients, splits, labels = [], [], [], []
    refused: Counter[str] = Counter()
    names = {str(name) for name in (*DS1, *DS2)}
    headers = [file for file in walked(raw, ".hea") if Path(file).stem in names]
    first = {Path(file).stem: file for file in reversed(headers)}
    if len(headers) > len(first):
        refused["copy of a record in another folder"] = len(headers) - len(first)
    for name in sorted((*DS1, *DS2)):
        if str(name) not in first:
            continue
        file = first[str(name)]
        path = raw / file
        try:
            n_windows = waveform.header(path).n_samples // (_SECONDS * 360)
            starts = [i * _SECONDS * 360 for i in range(n_windows)]
            said = window_rhythms(path, starts, _SECONDS * 360)
        except MalformedRecordError as reason:
            refused[str(reason)] += 1
            continue
        where += [f"{file}#{start}" for start in starts]
        labels += [[rhythm == one if rhythm else MISSING for one in RHYTHMS] for rhythm in said]
        # 201 and 202 are one subject, and the field's DS1 and DS2 part them: 201 is left out of every split.
        patients += ["202" if name == 201 else str(name)] * n_windows
        code = split.TEST if name in DS2 else split.VAL if name in _VAL else split.TRAIN
        splits += [split.NONE if name == 201 else code] * n_windows
    n_absent = len(names) - len(first)
    return Index(
        where=tables.texts(where),
        patient=tables.texts(patients),
        label_sets={"rhythm": RHYTHMS},
        labels=np.array(labels, dtype=np.uint8).reshape(-1, len(RHYTHMS)),
        split=np.array(splits, dtype=np.uint8),
        missing=[f"{n_absent} of {len(DS1) + len(DS2)} records"] if n_absent else [],
        refused=refused,
        accounts=Accounts("headers", len(headers), len(headers) - refused.total()),
    )


def load(raw: Path, where: str) -> Recording:
    recording = window(raw, where, _SECONDS, AAMI, leads=None)
    # The lead that nearly all records have comes first; its second lead differs and is kept under one name.
    signal = recording.signal if recording.leads[0] == "MLII" else recording.signal[::-1]
    if "MLII" not in recording.leads:
        raise MalformedRecordError("lead MLII missing")
    return replace(recording, signal=np.ascontiguousarray(signal), leads=("MLII", "chest"))


def window(raw: Path, where: str, seconds: int, classes: Mapping[str, int], leads: tuple[str, ...] | None) -> Recording:
    """One window of a long annotated record ("path#first sample"); beats of no class are MISSING, other marks left out.

    ``leads`` renames the leads where the files' names are arbitrary.
    """
    name, _, first = where.rpartition("#")
    start = int(first)
    whole, at, symbols = _annotated(inside(raw, name))
    stop = start + int(seconds * whole.sampling_hz)
    chosen = (at >= start) & (at < stop) & np.isin(symbols, [*_BEATS])
    return replace(
        whole,
        signal=whole.signal[:, start:stop],
        leads=leads or whole.leads,
        beats=at[chosen] - start,
        beat_classes=np.array([classes.get(symbol, MISSING) for symbol in symbols[chosen]], dtype=np.uint8),
    )


def window_rhythms(path: Path, starts: Sequence[int], n_samples: int) -> list[str]:
    """The one of RHYTHMS that each window of a record is in as a whole; empty for several, or for another.

    A rhythm holds from its mark to the next. The first is marked at one of the first beats and holds before it too.
    Raises MalformedRecordError for annotations that cannot be read.
    """
    marks = _marks(path)
    changes = np.flatnonzero(np.array(marks.symbol) == "+")
    at = np.asarray(marks.sample)[changes]
    said = [marks.aux_note[i].strip("(\0") for i in changes]
    found = []
    for start in starts:
        first = max(int(np.searchsorted(at, start, side="right")) - 1, 0)
        stop = max(int(np.searchsorted(at, start + n_samples, side="left")), first + 1)
        several = set(said[first:stop])
        found.append(several.pop() if len(several) == 1 and several <= set(RHYTHMS) else "")
    return found


_BEATS = "NLRBAaJSVrFejnE/fQ?"  # WFDB's beat symbols


@lru_cache(maxsize=2)  # windows of a record come one after another
def _annotated(path: Path) -> tuple[Recording, np.ndarray, np.ndarray]:
    whole, marks = waveform.read(path), _marks(path)
    return whole, np.asarray(marks.sample), np.asarray(marks.symbol)


# As bytes of the format: length of a note, 63 as its code, then the note.
_DEFINITION = re.compile(rb"[\xfc-\xff]## ")
_RATE = re.compile(rb"[\x15-\xff]\xfc## time resolution: \d")


def _marks(path: Path) -> "wfdb.Annotation":
    """Annotations of a record. Raises MalformedRecordError for what cannot be read.

    Of the definitions that such a file may begin with ("## ...") only one is let pass, that of its rate: any other, or
    a damaged one, can keep wfdb reading for ever.
    """
    import wfdb

    file = path.with_suffix(".atr")
    content = file.read_bytes() if file.is_file() else b""
    if len(_DEFINITION.findall(content)) > (_RATE.search(content) is not None):
        raise MalformedRecordError("annotations hold a definition that cannot be read")
    try:
        return wfdb.rdann(str(path.with_suffix("")), "atr")
    except Exception as error:  # wfdb raises many kinds for a damaged file
        raise MalformedRecordError(f"annotations are unreadable ({type(error).__name__})") from None


DATASET = Dataset(
    card=Card(
        title="MIT-BIH Arrhythmia Database 1.0.0",
        what="half-hour ambulatory records of 47 subjects, every beat and rhythm annotated",
        n_records=48,
        n_patients=47,
        splits=(3_060, 720, 3_960),  # windows
        sampling_hz=(360,),
        licence="ODC-By 1.0",
        access="open",
        url="https://physionet.org/content/mitdb/1.0.0/",
        doi="10.13026/C2F305",
        download="aws s3 sync --no-sign-request s3://physionet-open/mitdb/1.0.0/ DIR",
        gigabytes=0.11,  # 104 MiB
        units="mV by the headers' gains",
        lead_order="MLII and one chest lead that differs between records (114 has them the other way round)",
        label_sets={"rhythm": "14, of windows that are in one rhythm as a whole: " + ", ".join(RHYTHMS)},
        n_labels={"rhythm": len(RHYTHMS)},
        tested_on="44 real records (all that are not paced)",
        citation="Moody and Mark, IEEE Engineering in Medicine and Biology 20(3):45-50 (2001)",
        traps=(
            "paced records 102, 104, 107, 217 are left out",
            "201 and 202 are one subject, in DS1 and DS2: 201 is left out",
            "beats N, S, V, F, Q as AAMI groups them; Q has a dozen beats",
        ),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
    leads=("MLII", "chest"),
    einthoven=None,
    beat_classes=BEAT_CLASSES,
)
