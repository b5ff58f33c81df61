"""Simulated 12-lead ECGs of any number: a moving heart dipole seen by the leads, with CODE's six abnormalities.

Every beat is a sum of Gaussian dipoles (McSharry et al. 2003, in three dimensions as Sameni et al. 2007) projected by
Dower's matrix; each patient has a morphology, an axis and a rate of their own. A record depends on nothing but the
seed and its number, so a smaller corpus is the beginning of a larger one. It is a tool to try a sweep without
credentialed data; its results say nothing of patients, and "simulated" is part of every name.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ecgscale.data import corpus, split
from ecgscale.data.corpus import Corpus
from ecgscale.data.dataset import Card
from ecgscale.data.peaks import MAX_BEATS, NO_PEAK

NAME = "simulated"
LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
SAMPLING_HZ, SECONDS = 100, 10
_UNIT = 0.001  # mV
_CHUNK = 512
_SPLIT = (0.81, 0.09, 0.1)  # of the patients

# Dower, Machado and Osborne (1980): leads I, II, V1-V6 from a dipole (x to the left, y down, z to the back).
_DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
# Chances a patient (conduction, AF) or a record (rate); richer than primary care, so that small corpora have each.
_CHANCE = {"1dAVb": 0.08, "RBBB": 0.08, "LBBB": 0.06, "AF": 0.08, "SB": 0.10, "ST": 0.10}
_N_WAVES = 7  # P, septum, main, second main (LBBB), base, terminal (RBBB), T
_REACH = 50  # samples on each side of a wave's middle that are drawn


class _Heart(NamedTuple):
    """One recording before it is drawn: beats with their waves, and everything that is not a beat."""

    middles: np.ndarray  # [n_beats, 7] seconds
    widths: np.ndarray  # [n_beats, 7] seconds
    dipoles: np.ndarray  # [n_beats, 7, 3] mV
    r_peaks: np.ndarray  # [n_beats] seconds
    background: np.ndarray  # float32 [8, n_samples] mV: fibrillation, wander, muscle
    labels: tuple[bool, ...]
    male: bool


def patient_of(record: int) -> int:
    """Seven records are of five patients (CODE: 1.4 records a patient)."""
    return record * 5 // 7


def records(first: int, last: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Records number ``first`` to ``last`` (exclusive) of a seed.

    Returns signals int16 [n, 8, 1000] in microvolts at 100 Hz (leads I, II, V1-V6), peaks int16 [n, MAX_BEATS] and
    labels uint8 [n, 7]: CODE's six, then male.
    """
    hearts = [_heart(record, seed) for record in range(first, last)]
    signals = _drawn(hearts)
    peaks = np.full((len(hearts), MAX_BEATS), NO_PEAK, dtype=np.int16)
    for row, heart in zip(peaks, hearts, strict=True):
        at = np.rint(heart.r_peaks * SAMPLING_HZ).astype(int)
        at = at[(at >= 0) & (at < SECONDS * SAMPLING_HZ)][:MAX_BEATS]
        row[: len(at)] = at
    labels = np.array([(*heart.labels, heart.male) for heart in hearts], dtype=np.uint8)
    return np.rint(signals / _UNIT).astype(np.int16), peaks, labels


def simulated(home: Path, n_records: int, seed: int = 0, *, workers: int | None = None) -> Corpus:
    """The corpus "simulated-N" (of another seed: "simulated-N-seed"), made on first use; split by patient.

    Raises ValueError for less than ten records.
    """
    if n_records < 10:
        raise ValueError(f"a simulated corpus of {n_records} records cannot be split; ask for at least 10")
    name = f"{NAME}-{n_records}" + (f"-{seed}" if seed else "")
    if corpus.is_prepared(home, name):
        return corpus.read(home, name)
    with corpus.made_elsewhere(home, name) as partial_folder:
        return _made(partial_folder, home, name, n_records, seed, workers)


def _made(partial_folder: Path, home: Path, name: str, n_records: int, seed: int, workers: int | None) -> Corpus:
    """The corpus, made in a folder of its own first."""
    shapes = {
        "signal": (n_records, 8, SECONDS * SAMPLING_HZ),
        "peaks": (n_records, MAX_BEATS),
        "labels": (n_records, 7),
    }
    types = {"signal": np.int16, "peaks": np.int16, "labels": np.uint8}
    arrays = {
        array: corpus.allocated(partial_folder / f"{array}.npy", types[array], shape) for array, shape in shapes.items()
    }
    firsts = range(0, n_records, _CHUNK)
    lasts = [min(first + _CHUNK, n_records) for first in firsts]
    n_workers = min(workers or os.cpu_count() or 1, 1 + n_records // 10_000)
    make = partial(records, seed=seed)
    if n_workers == 1:
        _store(arrays, firsts, map(make, firsts, lasts))
    else:
        with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
            _store(arrays, firsts, pool.map(make, firsts, lasts))
    patient = _patients(n_records)
    corpus.stored(partial_folder / "patient.npy", patient)
    corpus.stored(partial_folder / "split.npy", split.by_hash(patient, salt=NAME, shares=_SPLIT))
    corpus.stored(partial_folder / "quality.npy", np.zeros(n_records, dtype=np.uint8))
    return corpus.seal(
        partial_folder,
        home,
        name,
        label_sets={"code6": LABELS, "sex": ("male",)},
        sampling_hz=SAMPLING_HZ,
        mv_per_unit=_UNIT,
        preparation="simulated: a moving dipole by Dower's matrix, muscle noise and wander; no filter; true R peaks",
    )


def parsed(name: str) -> tuple[int, int] | None:
    """Number of records and seed of a corpus name "simulated-N" or "simulated-N-seed"; None for any other name."""
    parts = name.split("-")
    if parts[0] != NAME or len(parts) not in (2, 3) or not all(part.isdigit() for part in parts[1:]):
        return None
    return int(parts[1]), int(parts[2]) if len(parts) == 3 else 0


def card_of(name: str) -> Card | None:
    """The card of the simulated corpus of that name; None for any other name."""
    asked = parsed(name)
    return replace(CARD, n_records=asked[0], n_patients=len(np.unique(_patients(asked[0])))) if asked else None


def sizes(n_records: int) -> tuple[int, int, int]:
    """Recordings in train, val and test of a corpus of so many."""
    splits = split.by_hash(_patients(n_records), salt=NAME, shares=_SPLIT)
    n_train, n_val, n_test = np.bincount(splits, minlength=3)
    return int(n_train), int(n_val), int(n_test)


def _patients(n_records: int) -> np.ndarray:
    return (np.arange(n_records, dtype=np.int64) * 5 // 7).astype(np.int32)


def _store(arrays: dict[str, Any], firsts: range, made) -> None:  # type: ignore[no-untyped-def]
    for first, (signals, peaks, labels) in zip(firsts, made, strict=True):
        rows = slice(first, first + len(signals))
        arrays["signal"][rows], arrays["peaks"][rows], arrays["labels"][rows] = signals, peaks, labels
    for array in arrays.values():
        array.flush()


def _heart(record: int, seed: int) -> _Heart:
    person = np.random.default_rng((seed, 0, patient_of(record)))
    moment = np.random.default_rng((seed, 1, record))
    # The patient: conduction and rhythm last, and so do axis and size.
    chances = person.random(4)
    male = bool(person.random() < 0.45)
    slow_av, rbbb = chances[0] < _CHANCE["1dAVb"], chances[1] < _CHANCE["RBBB"]
    lbbb = not rbbb and chances[2] < _CHANCE["LBBB"]
    fibrillates = chances[3] < _CHANCE["AF"]
    slow_av = slow_av and not fibrillates
    axis = person.normal(0.75, 0.45)  # of the main vector in the frontal plane, radians below the left arm
    turn = person.normal(0.45, 0.25)  # towards the back
    size = np.exp(person.normal(0.05 if male else -0.1, 0.25))
    wave_size = np.exp(person.normal(0, 0.2, _N_WAVES))
    t_size = np.exp(person.normal(0, 0.3)) * (-1 if person.random() < 0.06 else 1)
    tilt = person.normal(0, 0.15, (_N_WAVES, 3))
    pr = person.uniform(0.215, 0.34) if slow_av else float(np.clip(person.normal(0.155, 0.02), 0.11, 0.195))

    # The moment: rate and its variation.
    which = moment.random()
    slow, fast = which < _CHANCE["SB"], which > 1 - _CHANCE["ST"]
    if fibrillates:
        slow = fast = False
    rate = moment.uniform(38, 57) if slow else moment.uniform(103, 150) if fast else moment.uniform(61, 97)
    mean_rr = 60 / rate
    n_beats = int((SECONDS + 3) / mean_rr * (1.6 if fibrillates else 1)) + 2
    if fibrillates:
        intervals = np.maximum(0.33, mean_rr * np.exp(moment.normal(0, 0.22, n_beats)))
    else:
        breath = 0.03 * np.sin(2 * np.pi * 0.25 * mean_rr * np.arange(n_beats) + moment.uniform(0, 2 * np.pi))
        intervals = mean_rr * (1 + breath + moment.normal(0, 0.012, n_beats))
    r = np.cumsum(intervals) - moment.uniform(0.8, 2.0)
    r = r[r < SECONDS + 1.0]
    before = intervals[: len(r)]

    main = np.array([np.cos(axis) * np.cos(turn), np.sin(axis) * np.cos(turn), np.sin(turn)])
    qt = 0.40 * np.sqrt(np.clip(before, 0.35, 1.6)) + (0.05 if lbbb or rbbb else 0)
    middles = r[:, None] + np.array([-pr + 0.02, -0.030, 0, 0.055, 0.034, 0.075, 0])
    middles[:, 6] = r + qt - 0.10
    widths = np.array([0.022, 0.009, 0.0125, 0.022, 0.011, 0.024, 0.048])
    vectors = np.array(
        [
            [0.06, 0.10, -0.02],  # P: down and left
            [-0.16, 0.03, -0.20],  # septum: to the right and the front
            [0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0],
            [-0.12, -0.16, 0.30],  # base: up and to the back
            [0.0, 0.0, 0.0],
            [0.16, 0.12, -0.16],  # T: like the main vector, but to the front
        ]
    )
    vectors[2] = 1.05 * main
    if fibrillates:
        vectors[0] = 0
    if rbbb:  # the right ventricle last and slowly: to the right and the front
        vectors[5] = (-0.42, 0.0, -0.45)
        vectors[6] = (0.22, 0.12, 0.04)
    if lbbb:  # no septal vector; the left ventricle slowly, in two humps; T against it
        vectors[1] = 0
        vectors[2], vectors[3] = 0.62 * main + (0.05, 0, 0.10), 0.55 * main + (0.12, -0.1, 0.12)
        widths[2] = 0.024
        vectors[6] = -0.33 * main
    vectors *= (size * wave_size)[:, None]
    vectors += tilt * np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[6] *= t_size
    beat_size = 1 + moment.normal(0, 0.02, (len(r), 1, 1))
    return _Heart(
        middles=middles,
        widths=np.broadcast_to(widths, middles.shape),
        dipoles=vectors * beat_size,
        r_peaks=r + (0.0275 if lbbb else 0.0),
        background=_background(moment, fibrillates),
        labels=(bool(slow_av), bool(rbbb), bool(lbbb), bool(slow), bool(fibrillates), bool(fast)),
        male=male,
    )


def _background(moment: np.random.Generator, fibrillates: bool) -> np.ndarray:
    n = SECONDS * SAMPLING_HZ
    t = np.arange(n, dtype=np.float32) / SAMPLING_HZ
    muscle = np.float32(np.exp(moment.normal(np.log(0.012), 0.5)))
    total = moment.standard_normal((8, n), dtype=np.float32) * muscle
    phase = moment.uniform(0, 2 * np.pi, (8, 1)).astype(np.float32)
    total += np.float32(moment.uniform(0, 0.06)) * np.sin(2 * np.pi * np.float32(moment.uniform(0.15, 0.4)) * t + phase)
    if fibrillates:
        hz, drift = moment.uniform(5, 8), moment.uniform(0.1, 0.4)
        wave = np.sin(2 * np.pi * hz * t + 2 * np.sin(2 * np.pi * drift * t)) * (
            1 + 0.4 * np.sin(2 * np.pi * drift * t)
        )
        total += (_DOWER @ np.array([0.02, 0.05, -0.06]))[:, None].astype(np.float32) * wave.astype(np.float32)
    return total


def _drawn(hearts: list[_Heart]) -> np.ndarray:
    """Signals float32 [n, 8, n_samples] in mV: every wave of every beat of all records at once."""
    n_samples = SECONDS * SAMPLING_HZ
    padded = n_samples + 2 * _REACH
    owner = np.repeat(np.arange(len(hearts)), [heart.middles.size for heart in hearts])
    middle = np.concatenate([heart.middles.ravel() for heart in hearts]) * SAMPLING_HZ
    width = np.concatenate([heart.widths.ravel() for heart in hearts]).astype(np.float32) * SAMPLING_HZ
    dipole = np.concatenate([heart.dipoles.reshape(-1, 3) for heart in hearts]).astype(np.float32)
    nearest = np.rint(middle).astype(np.int64)
    seen = (nearest > -_REACH) & (nearest < n_samples + _REACH) & np.any(dipole != 0, axis=1)
    owner, middle, width, dipole, nearest = (values[seen] for values in (owner, middle, width, dipole, nearest))
    steps = np.arange(-_REACH, _REACH, dtype=np.float32)
    bell = np.exp(-0.5 * ((steps - (middle - nearest).astype(np.float32)[:, None]) / width[:, None]) ** 2)
    vector = np.zeros((3, len(hearts), padded + _REACH), dtype=np.float32)
    # Waves of a record overlap, so they are added one rank (its n-th wave) after another, all records at once.
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    for wave in range(int(rank.max(initial=-1)) + 1):
        chosen = np.flatnonzero(rank == wave)
        at = nearest[chosen][:, None] + np.arange(2 * _REACH)
        vector[:, owner[chosen][:, None], at] += dipole[chosen].T[:, :, None] * bell[chosen]
    moving = np.einsum("ld,dnt->nlt", _DOWER.astype(np.float32), vector[:, :, _REACH : _REACH + n_samples])
    return moving + np.stack([heart.background for heart in hearts])


CARD = Card(
    title="Simulated ECGs",
    what="simulated 12-lead records of a moving dipole with CODE's six abnormalities; no patient was involved",
    n_records=100_000,
    n_patients=71_429,
    sampling_hz=(SAMPLING_HZ,),
    licence="that of this software",
    access="made here",
    url="https://doi.org/10.1109/TBME.2003.808805",
    download="none: any corpus named simulated-N is made on first use",
    units="mV",
    lead_order="I, II, V1-V6",
    label_sets={"code6": "6, true by construction, richer than in life", "sex": "1: male"},
    n_labels={"code6": 6, "sex": 1},
    tested_on="rates, PR, QRS width and irregularity measured on the signal",
    citation='McSharry et al., "A dynamical model for generating synthetic ECG signals", IEEE TBME 50 (2003)',
    traps=("results on it say nothing of patients",),
)
