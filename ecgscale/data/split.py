"""Which patient is in which split, and which patients a fraction holds: by salted hash, so nobody is in two."""

import hashlib
from collections.abc import Sequence

import numpy as np

SPLITS = ("train", "val", "test", "none")
TRAIN, VAL, TEST, NONE = range(4)  # NONE: refused, or left out by the dataset's own split


def shuffled_ranks(patients: np.ndarray, salt: str) -> np.ndarray:
    """Rank [n_patients] of each patient in a fixed pseudo-random order that depends on nothing but the salt."""
    digests = [int.from_bytes(hashlib.sha256(f"{salt}/{p}".encode()).digest()[:8]) for p in patients]
    ranks = np.empty(len(digests), dtype=np.int64)
    ranks[np.argsort(np.array(digests, dtype=np.uint64), kind="stable")] = np.arange(len(digests))
    return ranks


def by_hash(patients: np.ndarray, salt: str, shares: Sequence[float]) -> np.ndarray:
    """Split codes uint8 [n_records] (train, val, test by ``shares`` of the patients) for one patient code a record."""
    distinct, inverse = np.unique(patients, return_inverse=True)
    position = (shuffled_ranks(distinct, salt) + 0.5) / len(distinct)
    return np.searchsorted(np.cumsum(shares)[:-1], position, side="right").astype(np.uint8)[inverse]


def within_fraction(patients: np.ndarray, fraction: float, salt: str) -> np.ndarray:
    """Which records (bool [n_records]) belong to a fraction of the patients.

    Fractions nest: the patients of a smaller one are all in a larger one.
    """
    distinct, inverse = np.unique(patients, return_inverse=True)
    n_kept = max(1, round(fraction * len(distinct)))
    return (shuffled_ranks(distinct, salt) < n_kept)[inverse]


def assert_disjoint(patients: np.ndarray, split: np.ndarray) -> None:
    """Raise ValueError if any patient is in two of train, val and test."""
    used = split != NONE
    pairs = np.unique(np.stack([patients[used], split[used]]), axis=1)
    shared = pairs.shape[1] - len(np.unique(patients[used]))
    if shared:
        raise ValueError(f"{shared} patients are in more than one split; a corpus must be split by patient")
