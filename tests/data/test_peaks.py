"""R peaks: by the default detector on recordings whose beats are known."""

import numpy as np
import pandas as pd
import pytest
from scipy.signal import resample
from wfdb import processing

from ecgscale.data import embedded, simulate
from ecgscale.data.peaks import DETECTORS, MAX_BEATS, NO_PEAK, r_peaks
from ecgscale.data.xqrs import xqrs
from tests.layouts import signals
from tests.paths import FIXTURES


def agreement(found: np.ndarray, truth: np.ndarray, tolerance: int, margin: int = 30) -> tuple[float, float]:
    """Sensitivity and positive predictive value of peaks [n, MAX_BEATS], away from the ends."""
    hits = n_truth = n_found = 0
    for a, b in zip(found, truth, strict=True):
        a, b = a[a != NO_PEAK], b[b != NO_PEAK]
        inner = b[(b >= margin) & (b < 1000 - margin)]
        hits += sum(np.abs(a - beat).min(initial=9999) <= tolerance for beat in inner)
        n_truth += len(inner)
        n_found += sum(
            np.abs(b - beat).min(initial=9999) > tolerance for beat in a[(a >= margin) & (a < 1000 - margin)]
        )
    return hits / n_truth, hits / (hits + n_found)


def test_simulated_beats_are_found_where_they_are() -> None:
    signals, truth, _ = simulate.records(0, 200)
    sensitivity, predictive = agreement(r_peaks(signals, 100), truth, 5)
    assert sensitivity > 0.995
    assert predictive > 0.995


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_detector_keeps_the_form(detector: str) -> None:
    signals, _, _ = simulate.records(0, 8)
    found = DETECTORS[detector](signals * 0.001, 100)
    assert found.shape == (8, MAX_BEATS)
    assert found.dtype == np.int16
    for row in found:
        beats = row[row != NO_PEAK]
        assert np.array_equal(beats, np.sort(beats))
        assert np.all(row[len(beats) :] == NO_PEAK)
        assert np.all((beats >= 0) & (beats < 1000))


def test_silence_has_no_beat_and_no_warning() -> None:
    with np.errstate(all="raise"):
        assert np.all(r_peaks(np.zeros((2, 8, 1000)), 100) == NO_PEAK)


def test_does_not_depend_on_units_or_on_the_company_in_the_batch() -> None:
    units = embedded.decoded(embedded.arrays_of("ptbxl2550_100hz_8lead_delta5uV.npz"))[:32]
    together = r_peaks(units, 100)
    assert np.array_equal(together, np.concatenate([r_peaks(units[i : i + 1], 100) for i in range(32)]))
    assert np.array_equal(together, r_peaks(units * 0.005, 100))


@pytest.mark.parametrize("hz", [100, 250, 360, 500])
def test_xqrs_is_wfdbs_on_every_lead(hz: int) -> None:
    leads = signals(40 if hz == 100 else 3, hz).reshape(-1, 10 * hz)
    leads[1] = 0.0  # a flat lead
    leads[2] = np.clip(leads[2], -0.1, 0.1)  # and one with flat tops
    for lead, found in zip(leads, xqrs(leads, hz), strict=True):
        assert np.array_equal(found, processing.xqrs_detect(lead, hz, verbose=False))


def test_the_published_way_is_what_it_says() -> None:
    recordings = signals(4, 500)
    lead_i_at_100 = resample(recordings[:, 0], 1000, axis=-1)
    for row, lead in zip(DETECTORS["heartlang-exact"](recordings, 500), lead_i_at_100, strict=True):
        assert (row[row != NO_PEAK] // 5).tolist() == processing.xqrs_detect(lead, 100, verbose=False).tolist()


def test_ludbs_beats_are_found_as_accurately_as_promised() -> None:
    """All 200 records at 100 Hz against cardiologists' QRS annotations of lead II (which leave out the ends)."""
    table = pd.read_csv(FIXTURES / "ludb_qrs_lead_ii.csv")
    units = embedded.ludb_units(embedded.arrays_of("ludb200_100hz_8lead_delta5uV.npz"))
    found = r_peaks(units, 100)
    for tolerance, goal in ((0.05, 0.98), (0.075, 0.99)):
        hits = n_truth = n_found = 0
        for row, samples in zip(found, table["samples"], strict=True):
            truth = np.array(samples.split(), dtype=int) / 500
            beats = row[row != NO_PEAK] / 100
            beats = beats[(beats > truth.min() - 0.3) & (beats < truth.max() + 0.3)]
            hits += sum(np.abs(beats - beat).min(initial=99) <= tolerance + 1e-9 for beat in truth)
            n_truth, n_found = n_truth + len(truth), n_found + len(beats)
        assert n_truth == 1831
        assert hits / n_truth >= goal
        assert hits / n_found >= goal
