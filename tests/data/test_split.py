"""Splits by salted hash of the patient: nobody in two, fractions that nest, and the same on every machine."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgscale.data import split

PINNED = [1, 0, 2, 0, 0, 1, 0, 1, 0, 0, 2, 2]
PATIENTS = st.lists(st.integers(0, 200), min_size=1, max_size=300).map(lambda ids: np.array(ids, dtype=np.int64))


@given(PATIENTS, st.text(max_size=5))
def test_nobody_is_in_two_splits(patients: np.ndarray, salt: str) -> None:
    split.assert_disjoint(patients, split.by_hash(patients, salt, (0.8, 0.1, 0.1)))


@given(PATIENTS, st.floats(0.01, 1), st.floats(0.01, 1))
def test_fractions_nest_by_patient(patients: np.ndarray, one: float, other: float) -> None:
    small, large = sorted((one, other))
    inner = split.within_fraction(patients, small, "salt")
    outer = split.within_fraction(patients, large, "salt")
    assert not np.any(inner & ~outer)
    for patient in np.unique(patients):
        assert len(set(inner[patients == patient])) == 1
    assert len(np.unique(patients[inner])) == max(1, round(small * len(np.unique(patients))))


def test_shares_are_kept() -> None:
    codes = split.by_hash(np.arange(10_000), "salt", (0.855, 0.045, 0.1))
    assert np.bincount(codes).tolist() == [8550, 450, 1000]


def test_a_split_is_the_same_everywhere_and_another_with_another_salt() -> None:
    patients = np.arange(12)
    assert split.by_hash(patients, "code", (0.5, 0.25, 0.25)).tolist() == PINNED
    assert split.by_hash(patients, "other", (0.5, 0.25, 0.25)).tolist() != PINNED


def test_a_shared_patient_is_counted_and_unused_rows_do_not_matter() -> None:
    patients = np.array([1, 1, 2, 2, 3, 3])
    with pytest.raises(ValueError, match="2 patients are in more than one split"):
        split.assert_disjoint(patients, np.array([0, 1, 0, 2, 1, 1]))
    split.assert_disjoint(patients, np.array([0, split.NONE, 0, 0, split.NONE, 1]))
