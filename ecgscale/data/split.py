"""Which patient is in which split, and which patients a fraction holds: by salted hash, so nobody is in two."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

SPLITS = ("train", "val", "test", "none")
TRAIN, VAL, TEST, NONE = range(4)  # NONE: refused, or left out by the dataset's own split


def distinct(patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each patient once, and which of them every record has (int [n_records]); text is hashed, not sorted."""
    if patients.dtype.kind in "iu":
        return np.unique(patients, return_inverse=True)
    inverse, names = pd.factorize(patients.astype(object))
    return names, inverse


def shuffled_ranks(patients: np.ndarray, salt: str) -> np.ndarray:
    """Rank [n_patients] of each patient in a fixed pseudo-random order that depends on nothing but the salt."""
    digests = [int.from_bytes(hashlib.sha256(f"{salt}/{p}".encode()).digest()[:8]) for p in patients]
    ranks = np.empty(len(digests), dtype=np.int64)
    ranks[np.argsort(np.array(digests, dtype=np.uint64), kind="stable")] = np.arange(len(digests))
    return ranks


def by_hash(patients: np.ndarray, salt: str, shares: Sequence[float]) -> np.ndarray:
    """Split codes uint8 [n_records] (train, val, test by ``shares`` of the patients) for one patient code a record.

    Few patients fill every split that has a share, if there are as many.
    """
    names, inverse = distinct(patients)
    n, ends = len(names), np.cumsum(shares)[:-1]
    ranks = shuffled_ranks(names, salt)
    codes = np.searchsorted(ends, (ranks + 0.5) / n, side="right").astype(np.uint8)
    if min(shares) > 0 and n >= len(shares) > len(np.unique(codes)):
        edges = [round(n * end) for end in ends]  # the first rank of each split but train
        for at in range(len(edges) - 1, -1, -1):
            edges[at] = min(max(edges[at], at + 1), (edges[at + 1] if at + 1 < len(edges) else n) - 1)
        codes = np.searchsorted(edges, ranks, side="right").astype(np.uint8)
    return codes[inverse]


def within_fraction(patients: np.ndarray, fraction: float, salt: str) -> np.ndarray:
    """Which records (bool [n_records]) belong to a fraction of the patients.

    Fractions nest: the patients of a smaller one are all in a larger one.
    """
    names, inverse = distinct(patients)
    n_kept = max(1, round(fraction * len(names)))
    return (shuffled_ranks(names, salt) < n_kept)[inverse]


def assert_disjoint(patients: np.ndarray, split: np.ndarray) -> None:
    """Raise ValueError if any patient is in two of train, val and test."""
    used = split != NONE
    pairs = np.unique(np.stack([patients[used], split[used]]), axis=1)
    shared = pairs.shape[1] - len(np.unique(patients[used]))
    if shared:
        raise ValueError(f"{shared} patients are in more than one split; a corpus must be split by patient")
