"""Simulated 12-lead ECGs of any number: a moving heart dipole seen by the leads, with CODE's six abnormalities.

Every beat is a sum of Gaussian dipoles (McSharry et al. 2003, in three dimensions as Sameni et al. 2007) projected by
Dower's matrix; each patient has a morphology, an axis and a rate of their own. A record depends on nothing but the
seed and its number, so a smaller corpus is the beginning of a larger one. It is a tool to try a sweep without
credentialed data; its results say nothing of patients, and "simulated" is part of every name.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ecgscale.data.corpus import Corpus
from ecgscale.data.dataset import Card
from ecgscale.data.simulation import stored
from ecgscale.data.simulation.dipole import DOWER, SAMPLING_HZ, SECONDS, UNIT_MV, Waves, drawn, samples_of

NAME = "simulated"
LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
# Chances a patient (conduction, AF) or a record (rate); richer than primary care, so that small corpora have each.
_CHANCE = {"1dAVb": 0.08, "RBBB": 0.08, "LBBB": 0.06, "AF": 0.08, "SB": 0.10, "ST": 0.10}
_N_WAVES = 7  # P, septum, main, second main (LBBB), base, terminal (RBBB), T


class _Heart(NamedTuple):
    """One recording before it is drawn: beats with their waves, and everything that is not a beat."""

    waves: Waves  # [n_beats, 7]
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
    signals = drawn([heart.waves for heart in hearts]) + np.stack([heart.background for heart in hearts])
    labels = np.array([(*heart.labels, heart.male) for heart in hearts], dtype=np.uint8)
    return np.rint(signals / UNIT_MV).astype(np.int16), samples_of([heart.r_peaks for heart in hearts]), labels


def simulated(home: Path, n_records: int, seed: int = 0, *, workers: int | None = None) -> Corpus:
    """The corpus "simulated-N" (of another seed: "simulated-N-seed"), made on first use; split by patient.

    Raises ValueError for less than ten records.
    """
    return stored.opened(
        home,
        f"{NAME}-{n_records}" + (f"-{seed}" if seed else ""),
        n_records,
        partial(records, seed=seed),
        salt=NAME,
        label_sets={"code6": LABELS, "sex": ("male",)},
        preparation="simulated: a moving dipole by Dower's matrix, muscle noise and wander; no filter; true R peaks",
        workers=workers,
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
    return replace(CARD, n_records=asked[0], n_patients=len(np.unique(stored.patients(asked[0])))) if asked else None


def sizes(n_records: int) -> tuple[int, int, int]:
    """Recordings in train, val and test of a corpus of so many."""
    return stored.sizes(n_records, NAME)


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
        waves=Waves(middles, np.broadcast_to(widths, middles.shape), vectors * beat_size),
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
        total += (DOWER @ np.array([0.02, 0.05, -0.06]))[:, None].astype(np.float32) * wave.astype(np.float32)
    return total


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
