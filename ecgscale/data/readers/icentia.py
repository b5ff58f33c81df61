"""Icentia11k: eleven thousand patients, one lead, up to two weeks each; ten-second windows with their beats."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from ecgscale.data import tables, waveform
from ecgscale.data.dataset import Accounts, Card, Dataset, Index
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import unique_records, walked
from ecgscale.data.readers import mitbih
from ecgscale.data.recording import MalformedRecordError, Recording

_WINDOWS = 8  # of a segment of 70 minutes, evenly spread
_SECONDS = 10
BEAT_CLASSES = ("N", "S", "V")


def index(raw: Path) -> Index:
    """Windows of ``p00/p00000/p00000_s00.hea`` ...; the patient is the folder."""
    where: list[str] = []
    patients: list[str] = []
    headers = [name for name in walked(raw, ".hea") if re.fullmatch(r"p\d+_s\d+", Path(name).stem)]
    used, copies = unique_records(raw, headers)
    refused = Counter(copies)
    for name in used:
        try:
            n_samples = waveform.header(raw / name).n_samples
        except MalformedRecordError as reason:
            refused[str(reason)] += 1
            continue
        n_window = _SECONDS * 250
        starts = np.linspace(0, max(0, n_samples - n_window), min(_WINDOWS, max(1, n_samples // n_window)))
        where += [f"{name}#{int(start)}" for start in starts]
        patients += [Path(name).stem.partition("_")[0]] * len(starts)
    return Index(
        where=tables.texts(where),
        patient=tables.texts(patients),
        label_sets={},
        labels=np.zeros((len(where), 0), dtype=np.uint8),
        refused=refused,
        accounts=Accounts("headers", len(headers), len(headers) - refused.total()),
    )


def load(raw: Path, where: str) -> Recording:
    return mitbih.window(raw, where, _SECONDS, {"N": 0, "S": 1, "V": 2}, leads=("ECG",))


DATASET = Dataset(
    card=Card(
        title="Icentia11k 1.0",
        what="single-lead chest patch recordings of 11,000 patients, two weeks each, with beats",
        n_records=541_794,
        n_patients=11_000,
        splits=(3_467_482, 433_435, 433_435),  # windows
        sampling_hz=(250,),
        licence="CC BY-NC-SA 4.0",
        access="open",
        url="https://physionet.org/content/icentia11k-continuous-ecg/1.0/",
        doi="10.13026/kk0v-r952",
        download="aws s3 sync --no-sign-request s3://physionet-open/icentia11k-continuous-ecg/1.0/ DIR",
        gigabytes=1100.0,
        units="mV by the headers' gains",
        lead_order="one lead, called ECG",
        label_sets={},
        n_labels={},
        tested_on="a copy of the layout, written from real signals; not the original files",
        citation="Tan et al., Icentia11K, PhysioNet (2022)",
        traps=(f"{_WINDOWS} windows of 10 s are taken of each 70 minute segment",),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
    leads=("ECG",),
    einthoven=None,
    beat_classes=BEAT_CLASSES,
)
