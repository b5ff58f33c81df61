"""The real recordings that ship with the package: 2,550 of PTB-XL, 200 of LUDB, and the noise of NSTDB.

Stored at 100 Hz, eight independent leads, as differences along time in 5 microvolt steps; sources, licences and the
changes made are in NOTICE.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import scipy

from ecgscale.data import columns, corpus, split
from ecgscale.data.dataset import Card
from ecgscale.data.filters import Recipe, highpass
from ecgscale.data.peaks import r_peaks
from ecgscale.data.readers import ludb, ptbxl

_FOLDER = Path(__file__).parent / "embedded"
_SHA256 = {
    "ptbxl2550_100hz_8lead_delta5uV.npz": "9ebe124d1c287003cc1a573d08abca904958f31642d5100d73a291e47f8c1c8c",
    "ludb200_100hz_8lead_delta5uV.npz": "8486c88d993ea1cbd6bf499aefc5ad1944a7a01c373d439fd857277bc0ced4df",
    "ludb200_gains.csv": "284ddd8b9ecc04cc306ef1fa6cf8aaedf673c811a5427a24e91d25e2a20a0b11",
    "nstdb_noise_100hz_int16.npz": "30b48ea39c342ee43f30436ebfce5e627c0aca55bb31144ee6fb452a1f3e30a1",
}
RECIPE = Recipe(highpass=True)  # what has been done to them, as other recordings would have it done
_SAMPLING_HZ = 100
_MV_PER_UNIT = 0.005
_PREPARATION = (
    "100 Hz, 5 uV steps; zero-phase elliptic high-pass (stop 0.2 Hz, pass 0.8 Hz) as for CODE; no 60 Hz notch, "
    "which lies above the Nyquist rate; R peaks on the slope energy of all leads"
)


def arrays_of(file: str) -> Mapping[str, np.ndarray]:
    """Arrays of one embedded .npz file. Raises as ``content_of``."""
    return np.load(BytesIO(content_of(file)), allow_pickle=False)


def content_of(file: str) -> bytes:
    """One embedded file. Raises ValueError if its digest is not the one that was shipped."""
    data = (_FOLDER / file).read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256[file]:
        raise ValueError(f"embedded file {file} is damaged: its SHA-256 is not the shipped one; reinstall ecgscale")
    return data


def ludb_units(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """LUDB's signals int16 [200, 8, 1000] in 5 uV units that obey Einthoven's law.

    The shipped signals were made with the headers' gains, which differ from lead to lead; those are taken back, as in
    the reader of the native files.
    """
    gains = np.loadtxt(BytesIO(content_of("ludb200_gains.csv")), delimiter=",", skiprows=1)[:, 1:]  # [200, 8]
    return np.rint(decoded(arrays) * (gains / ludb.UNITS_PER_MV)[:, :, None]).astype(np.int16)


def decoded(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Signals int16 [n, 8, n_samples] in 5 uV units from their differences along time."""
    return np.cumsum(arrays["d"], axis=2, dtype=np.int16)


def without_baseline(signal: np.ndarray, sampling_hz: float) -> np.ndarray:
    """Zero-phase elliptic high-pass along the last axis: CODE's baseline removal (Ribeiro et al.)."""
    return scipy.signal.sosfiltfilt(highpass(sampling_hz), signal, axis=-1, padtype="constant")


def ptbxl_sample(home: Path) -> corpus.Corpus:
    """PTB-XL sample: official patient-disjoint folds (1-8 train, 9 val, 10 test); code6, superdiagnostic, sex."""
    arrays = arrays_of("ptbxl2550_100hz_8lead_delta5uV.npz")
    codes = [json.loads(text) for text in arrays["scp_codes"]]
    code6 = np.array([[scp in c for scp in ptbxl.CODE_FROM_SCP.values()] for c in codes], dtype=np.uint8)
    order = [list(arrays["superclass_names"]).index(name) for name in ptbxl.SUPERCLASSES]
    super5 = arrays["superclass"][:, order].astype(np.uint8)
    super5[super5.sum(1) == 0] = corpus.MISSING  # the benchmark keeps records with at least one label of the task
    female = (arrays["sex"] == 1).astype(np.uint8)[:, None]
    return _write(
        home,
        "ptbxl-sample",
        decoded(arrays),
        labels=np.concatenate([code6, super5, female], axis=1),
        label_sets={"code6": tuple(ptbxl.CODE_FROM_SCP), "superdiagnostic": ptbxl.SUPERCLASSES, "sex": ("female",)},
        patient=np.unique(arrays["patient_id"], return_inverse=True)[1].astype(np.int32),
        splits=np.select([arrays["strat_fold"] == 9, arrays["strat_fold"] == 10], [split.VAL, split.TEST], split.TRAIN),
        age=_age("ptbxl-sample"),
    )


def ludb_sample(home: Path) -> corpus.Corpus:
    """LUDB: another hospital, another device; one recording a patient, split by salted hash 60/15/25; rhythm."""
    arrays = arrays_of("ludb200_100hz_8lead_delta5uV.npz")
    comments = [" | ".join(json.loads(text)) for text in arrays["comments"]]
    rhythm = [ludb.rhythms(text) for text in comments]
    patient = np.arange(len(comments), dtype=np.int32)
    return _write(
        home,
        "ludb-sample",
        ludb_units(arrays),
        labels=np.array(rhythm, dtype=np.uint8),
        label_sets={"rhythm": tuple(ludb.RHYTHMS)},
        patient=patient,
        splits=split.by_hash(patient, salt="ludb-sample", shares=(0.6, 0.15, 0.25)),
        age=_age("ludb-sample"),
    )


def _age(name: str) -> dict[str, Any]:
    """Ages in years, as fields of an Index."""
    if name == "ptbxl-sample":
        said = arrays_of("ptbxl2550_100hz_8lead_delta5uV.npz")["age"].astype(np.float64)
    else:
        comments = arrays_of("ludb200_100hz_8lead_delta5uV.npz")["comments"]
        said = ludb.years([" | ".join(json.loads(text)) for text in comments])
    return columns.ages(said, name)[0]


def aged(home: Path, opened: corpus.Corpus) -> corpus.Corpus:
    """A sample with ages: one that was decoded before numbers were labels is given them, if home can be written."""
    if opened.manifest.number_sets or not opened.manifest.files:
        return opened
    with suppress(OSError, ValueError):  # ValueError: another process has done it meanwhile
        fields = _age(opened.name)
        corpus.add_numbers(home, opened.name, fields["numbers"], fields["number_units"])
    return corpus.read(home, opened.name)


EMBEDDED: dict[str, Callable[[Path], corpus.Corpus]] = {
    "ptbxl-sample": ptbxl_sample,
    "ludb-sample": ludb_sample,
}


CARDS: dict[str, Card] = {
    "ptbxl-sample": replace(
        ptbxl.DATASET.card,
        title="PTB-XL 1.0.3, sample",
        what="2,550 recordings of PTB-XL that ship with ecgscale, at 100 Hz in 5 uV steps",
        n_records=2_550,
        n_patients=2_496,
        sampling_hz=(100,),
        download="none: it is part of the package",
        gigabytes=None,
        label_sets={"code6": "6, CODE's labels by statement", "superdiagnostic": "5", "sex": "1: female"}
        | {"age": "a number, in years"},
        n_labels={"code6": 6, "superdiagnostic": 5, "sex": 1, "age": 1},
        splits=None,
        tested_on="the real records",
    ),
    "ludb-sample": replace(
        ludb.DATASET.card,
        title="LUDB 1.0.1, resampled",
        what="the 200 recordings of LUDB, shipped with ecgscale at 100 Hz in 5 uV steps",
        sampling_hz=(100,),
        download="none: it is part of the package",
        gigabytes=None,
        tested_on="the real records",
    ),
}


def _write(
    home: Path,
    name: str,
    units: np.ndarray,
    *,
    labels: np.ndarray,
    label_sets: Mapping[str, tuple[str, ...]],
    patient: np.ndarray,
    splits: np.ndarray,
    age: Mapping[str, Any],
) -> corpus.Corpus:
    peaks = partial(r_peaks, sampling_hz=_SAMPLING_HZ)
    return corpus.write(
        home,
        name,
        signal=np.rint(without_baseline(units, _SAMPLING_HZ)).astype(np.int16),
        peaks=np.concatenate([peaks(chunk) for chunk in np.array_split(units, max(1, len(units) // 256))]),
        labels=labels,
        patient=patient,
        split=splits.astype(np.uint8),
        label_sets=label_sets,
        sampling_hz=_SAMPLING_HZ,
        mv_per_unit=_MV_PER_UNIT,
        preparation=_PREPARATION,
        **age,
    )
