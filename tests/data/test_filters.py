"""The one-pass chain against scipy's filters one after another, lead by lead."""

import numpy as np
import pytest
from scipy import signal as scipy_signal

from ecgscale.data.filters import RECIPES, Recipe, conditioned, highpass, without_median
from ecgscale.data.prepare_rows import Options
from tests.layouts import signals

CODE = Recipe(highpass=True, notch_hz=60.0)


def one_after_another(signals: np.ndarray, hz: int, stored_hz: int, hold_seconds: float = 6) -> np.ndarray:
    """Ribeiro's ecg-preprocessing on a signal whose ends are held, so that its filters start and end at rest."""
    hold = round(hold_seconds * hz)
    held = np.pad(signals, ((0, 0), (0, 0), (hold, hold)), mode="edge")
    b, a = scipy_signal.iirnotch(60, 30, fs=hz)
    rows = [
        scipy_signal.sosfiltfilt(highpass(hz), lead, padtype="constant") for lead in held.reshape(-1, held.shape[-1])
    ]
    rows = [scipy_signal.filtfilt(b, a, lead) for lead in rows]
    common = np.gcd(hz, stored_hz)
    rows = [scipy_signal.resample_poly(lead, stored_hz // common, hz // common) for lead in rows]
    whole = np.stack(rows).reshape(*signals.shape[:2], -1)
    n = round(signals.shape[-1] * stored_hz / hz)
    first = hold * stored_hz // hz
    return whole[..., first : first + n]


@pytest.mark.parametrize(
    ("hz", "seconds"), [(400, 7), (400, 10), (500, 10), (300, 8), (250, 10), (360, 10), (1000, 10)]
)
def test_equals_the_chain_of_scipy_filters(hz: int, seconds: float) -> None:
    native = signals(4, hz, seconds)
    native += 0.05 * np.sin(2 * np.pi * 60 * np.arange(native.shape[-1]) / hz)  # power line
    native += 0.3 * np.sin(2 * np.pi * 0.1 * np.arange(native.shape[-1]) / hz)  # breath
    expected = one_after_another(native, hz, 100)
    found = conditioned(native, hz, 100, CODE)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    assert np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)) < 0.015


def test_takes_out_wander_and_power_line_and_leaves_the_beats() -> None:
    t = np.arange(5000) / 500
    wander, line, beat = np.sin(2 * np.pi * 0.1 * t), np.sin(2 * np.pi * 60 * t), np.sin(2 * np.pi * 10 * t)
    three = conditioned(np.stack([wander, line, beat])[:, None], 500, 500, CODE)
    size = np.sqrt(np.mean(three[:, 0, 1000:-1000] ** 2, axis=-1)) / np.sqrt(0.5)
    assert size[0] < 0.01
    assert size[1] < 0.01
    assert size[2] == pytest.approx(1, abs=0.12)  # 0.5 dB of ripple, forwards and backwards


def test_without_a_recipe_the_stored_rate_is_left_alone() -> None:
    native = signals(2, 100).astype(np.float32)
    assert np.array_equal(conditioned(native, 100, 100, Recipe()), native)


def test_clipping_and_range_come_before_the_filters() -> None:
    native = signals(2, 100) * 10
    assert np.abs(conditioned(native, 100, 100, Recipe(clip_mv=3.0))).max() == pytest.approx(3)
    ranged = conditioned(native, 100, 100, Recipe(range_to=3.0))
    assert ranged.min(axis=(1, 2)) == pytest.approx([-3, -3])
    assert ranged.max(axis=(1, 2)) == pytest.approx([3, 3])


def test_a_recipe_says_itself_in_words() -> None:
    assert str(Recipe()) == "no filter"
    assert "60 Hz notch" in str(CODE)


def test_ecgfounders_recipe_is_its_chain_of_scipy_filters() -> None:
    native = signals(3, 500)
    native += 0.1 * np.sin(2 * np.pi * 50 * np.arange(native.shape[-1]) / 500)  # power line
    held = np.pad(native, ((0, 0), (0, 0), (3000, 3000)), mode="edge")
    b, a = scipy_signal.iirnotch(50, 30, fs=500)
    band = scipy_signal.butter(4, (0.67, 40), "bandpass", fs=500, output="sos")
    linear = scipy_signal.sosfiltfilt(band, scipy_signal.filtfilt(b, a, held, axis=-1), axis=-1)[..., 3000:-3000]
    baseline = np.stack([[scipy_signal.medfilt(lead, 201) for lead in record] for record in linear])
    found = conditioned(native, 500, 500, RECIPES["ecgfounder"])
    inside = slice(150, -150)  # scipy's median sees zeros beyond the ends
    error = (found - (linear - baseline))[..., inside]
    assert np.sqrt(np.mean(error**2) / np.mean((linear - baseline) ** 2)) < 0.03


def test_a_running_median_takes_a_step_away_and_leaves_a_spike() -> None:
    signal = np.zeros((1, 1, 400))
    signal[..., 200:] = 5.0
    signal[..., 100] = 1.0
    left = without_median(signal, 100, 0.4)
    assert left[0, 0, 100] == 1
    assert np.abs(np.delete(left, 100)).max() == 0


def test_a_corpus_is_called_by_its_recipe() -> None:
    assert Options("ptbxl").corpus == "ptbxl"
    assert Options("ptbxl", recipe="ecgfounder").corpus == "ptbxl@ecgfounder"
    assert Options("ptbxl", sampling_hz=500, recipe="ecgfounder").corpus == "ptbxl@500-ecgfounder"
    assert "50 Hz notch (Q 30); Butterworth-4 band-pass 0.67-40 Hz; minus a median" in str(RECIPES["ecgfounder"])
    with pytest.raises(ValueError, match="no recipe 'x'"):
        Options("ptbxl", recipe="x")
