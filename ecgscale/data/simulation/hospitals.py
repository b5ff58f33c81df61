"""Simulated hospitals: corpora whose people, rhythms, devices and disturbances differ in a long tail of ways.

``simulated-hospital-N`` is primary care; ``simulated-hospital-b-N``, ``-c-N`` and ``-d-N`` are elsewhere: other people,
other devices, the same pools of ways. A record depends on seed, number, hospital and the tail's exponent alone, so a
smaller corpus is the beginning of a larger one. It is a laboratory: the truth is known, and its results say nothing of
patients.
"""

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ecgscale.data.corpus import Corpus
from ecgscale.data.dataset import Card
from ecgscale.data.simulation import stored
from ecgscale.data.simulation.dipole import SAMPLING_HZ, UNIT_MV, samples_of
from ecgscale.data.simulation.people import FURTHER_LABELS, HOSPITALS, RHYTHM_LABELS
from ecgscale.data.simulation.recorder import recorded

NAME = "simulated-hospital"
EXPONENT = 1.3  # of the tail: the k-th way of a pool is met in proportion to k ** -EXPONENT
LABEL_SETS = {"code6": RHYTHM_LABELS, **FURTHER_LABELS}
_NAME = re.compile(rf"{NAME}(?:-([{''.join(HOSPITALS)}]))?-(\d+)(?:-zipf(\d+(?:\.\d+)?))?(?:-seed(\d+))?")


@dataclass(frozen=True)
class Asked:
    """What the name of a corpus asks for."""

    n_records: int
    hospital: str = "a"
    exponent: float = EXPONENT
    seed: int = 0


def parsed(name: str) -> Asked | None:
    """What "simulated-hospital[-b|c|d]-N[-zipfEXPONENT][-seedSEED]" asks for; None for any other name."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    hospital, n_records, exponent, seed = found.groups()
    return Asked(int(n_records), hospital or "a", float(exponent or EXPONENT), int(seed or 0))


def records(first: int, last: int, asked: Asked) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Records number ``first`` to ``last`` (exclusive).

    Returns signals int16 [n, 8, 1000] in microvolts at 100 Hz (leads I, II, V1-V6), R peaks int16 [n, MAX_BEATS] and
    labels uint8 [n, n_labels] in the order of LABEL_SETS.
    """
    patients = stored.patients(last)[first:]
    signals, truth = recorded(range(first, last), patients.tolist(), asked.seed, asked.hospital, asked.exponent)
    labels = np.array([each.labels for each in truth], dtype=np.uint8)
    limit = np.iinfo(np.int16).max
    whole = np.clip(np.rint(signals / UNIT_MV), -limit, limit).astype(np.int16)
    return whole, samples_of([each.r_peaks for each in truth]), labels


def simulated(home: Path, name: str, *, workers: int | None = None) -> Corpus:
    """The corpus of a name that ``parsed`` knows, made on first use. Raises ValueError for less than ten records."""
    asked = parsed(name)
    assert asked is not None
    return stored.opened(
        home,
        name,
        asked.n_records,
        partial(records, asked=asked),
        salt=NAME,
        label_sets=LABEL_SETS,
        preparation=f"simulated: people, devices and disturbances from pools with a tail of exponent {asked.exponent}; "
        f"hospital {asked.hospital}, seed {asked.seed}; no filter; true R peaks",
        workers=workers,
    )


def sizes(asked: Asked) -> tuple[int, int, int]:
    """Recordings in train, val and test."""
    return stored.sizes(asked.n_records, NAME)


def card_of(name: str) -> Card | None:
    """The card of the corpus of that name; None for any other name."""
    asked = parsed(name)
    if asked is None:
        return None
    return replace(CARD, n_records=asked.n_records, n_patients=len(np.unique(stored.patients(asked.n_records))))


CARD = Card(
    title="Simulated hospitals",
    what="simulated 12-lead records of people, devices and disturbances that differ in a long tail of ways",
    n_records=100_000,
    n_patients=71_429,
    sampling_hz=(SAMPLING_HZ,),
    licence="that of this software",
    access="made here",
    url="https://doi.org/10.1109/TBME.2003.808805",
    download="none: any corpus named simulated-hospital-N (or -b-N, -c-N, -d-N) is made on first use",
    units="mV",
    lead_order="I, II, V1-V6",
    label_sets={
        "code6": "6, true by construction, richer than in life",
        "sex": "1: male",
        "age": "1: over 65",
        "hypertrophy": "1, of the left ventricle",
        "infarction": "1, old",
        "potassium": "2: above 5.2 and below 3.5 mmol/l",
        "risk": "1: death within a year, drawn from a risk that follows from the latent state",
    },
    n_labels={name: len(classes) for name, classes in LABEL_SETS.items()},
    tested_on="rates, PR, ranks of the pools; labels against what they do to the signal",
    citation='McSharry et al., "A dynamical model for generating synthetic ECG signals", IEEE TBME 50 (2003)',
    traps=("results on it say nothing of patients",),
)
