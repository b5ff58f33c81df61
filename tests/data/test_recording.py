"""Leads by name, twelve from eight, and Einthoven's law as a guard against permuted leads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgscale.data.recording import (
    INDEPENDENT_LEADS,
    LEADS,
    TWELVE_FROM_EIGHT,
    MalformedRecordError,
    canonical,
    einthoven_residuals,
    ordered,
    twelve_from,
    why_not_einthoven,
)
from tests.layouts import signals

REAL = np.diff(signals(12, 100), axis=-1)


def test_twelve_follow_from_eight_by_einthoven_and_goldberger() -> None:
    assert np.all(einthoven_residuals(REAL[:, :6])[:, 0] < 1e-6)
    assert np.allclose(TWELVE_FROM_EIGHT[6:, 2:], np.eye(6))


@pytest.mark.parametrize(
    ("said", "meant"), [("avr", "aVR"), ("DII", "II"), (" V1 ", "V1"), ("i", "I"), ("MLII", "MLII")]
)
def test_lead_names_in_the_fields_spellings(said: str, meant: str) -> None:
    assert canonical(said) == meant


@given(st.permutations(range(12)))
def test_leads_are_taken_by_name_whatever_their_order(order: list[int]) -> None:
    shuffled = REAL[0][order]
    assert np.array_equal(ordered(shuffled, [LEADS[i].lower() for i in order], LEADS), REAL[0])


def test_missing_and_doubled_leads_are_refused() -> None:
    with pytest.raises(MalformedRecordError, match="leads missing: V6"):
        ordered(REAL[0][:11], LEADS[:11], LEADS)
    with pytest.raises(MalformedRecordError, match="twice"):
        ordered(np.vstack([REAL[0], REAL[0][:1]]), (*LEADS, "I"), LEADS)
    with pytest.raises(MalformedRecordError, match="12 signals but 11"):
        ordered(REAL[0], LEADS[:11], LEADS)


@given(st.permutations(range(6)), st.integers(0, len(REAL) - 1))
def test_any_permutation_of_the_limb_leads_is_refused(order: list[int], record: int) -> None:
    reason = why_not_einthoven(REAL[record, order], 0.05)
    if order == list(range(6)):
        assert reason is None
    else:
        assert reason is not None
        assert "permuted" in reason


def test_twelve_leads_follow_from_what_a_corpus_stores() -> None:
    assert twelve_from(INDEPENDENT_LEADS) is TWELVE_FROM_EIGHT
    assert np.array_equal(twelve_from(list(LEADS)), np.eye(12))
    with pytest.raises(ValueError, match="do not follow from MLII, chest"):
        twelve_from(("MLII", "chest"))


def test_the_reason_names_the_order_that_would_hold() -> None:
    swapped = REAL[0, [0, 1, 2, 3, 5, 4]]  # as MIMIC-IV-ECG writes them
    assert why_not_einthoven(swapped, 0.05) == (
        "leads are permuted: what is called I, II, III, aVR, aVL, aVF is I, II, III, aVR, aVF, aVL"
    )
    assert "all zero" in str(why_not_einthoven(np.zeros((6, 100)), 0.05))
    scaled = REAL[0, :6] * np.arange(1, 7)[:, None]  # wrong gains
    assert "every order" in str(why_not_einthoven(scaled, 0.05))


@pytest.mark.parametrize("record", range(4))
@pytest.mark.parametrize("absent", [(0,), (1,), (2,), (5,), (0, 1), (2, 3), (3, 4, 5), (0, 1, 2, 3), tuple(range(5))])
def test_flat_leads_are_left_out_of_the_law(absent: tuple[int, ...], record: int) -> None:
    limb = REAL[record, :6].copy()
    gone = np.isin(np.arange(6), absent)
    limb[gone] = 0
    assert why_not_einthoven(limb, 0.05, gone) is None
    if len(absent) < 4:
        assert why_not_einthoven(limb, 0.05) is not None  # as if they were zeros that somebody measured


@given(st.permutations([0, 1, 2, 3, 4]), st.integers(0, len(REAL) - 1))
def test_the_others_are_still_held_to_it(order: list[int], record: int) -> None:
    limb = np.concatenate([REAL[record, :5][order], np.zeros((1, REAL.shape[-1]))])
    reason = why_not_einthoven(limb, 0.02, np.arange(6) == 5)
    if order == [0, 1, 2, 3, 4]:
        assert reason is None
    else:
        assert reason is not None
        assert "Einthoven" in reason or "permuted" in reason


def test_the_reason_names_the_leads_that_are_left_out() -> None:
    swapped = REAL[0, [0, 1, 2, 3, 5, 4]].copy()
    swapped[0] = 0
    assert why_not_einthoven(swapped, 0.02, np.arange(6) == 0) == (
        "leads are permuted: those without I (flat or missing) obey Einthoven's law in another order"
    )
    scaled = REAL[0, :6] * np.arange(1, 7)[:, None]
    scaled[3] = 0
    assert "also without aVR (flat or missing)" in str(why_not_einthoven(scaled, 0.05, np.arange(6) == 3))
