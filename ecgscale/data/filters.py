"""From a native signal to the stored one: every filter of the chain and the resampling in one pass through frequency.

All filters are zero-phase, so the whole chain (high-pass, notch, band-pass, anti-aliasing, decimation) is one real
frequency response: transform a batch, multiply, cut the spectrum at the new Nyquist rate, transform back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, gcd
from typing import Any

import numpy as np
import scipy

_GUARD_SECONDS = 4.0  # the high-pass has rung out by then


@dataclass(frozen=True)
class Recipe:
    """What is done to a dataset's signals, after units and lead names (table S.2 of the scaling study).

    The notch comes before resampling: 60 Hz lies above the Nyquist rate of the 100 Hz that is stored.
    """

    highpass: bool = False  # CODE's baseline removal: elliptic, stop 0.2 Hz, pass 0.8 Hz
    notch_hz: float | None = None  # power line; second-order notch of quality 30
    band_hz: tuple[float, float] | None = None  # Butterworth band-pass
    clip_mv: float | None = None  # symmetric limit of the amplitude, before any filter
    range_to: float | None = None  # min-max of each record to +- this (the stored unit is then not mV)
    band_order: int = 5  # HeartLang's
    median_seconds: float | None = None  # a median of so long is the baseline and taken away, at the stored rate

    def __str__(self) -> str:
        steps = []
        if self.clip_mv:
            steps.append(f"clipped to +-{self.clip_mv:g} mV")
        if self.range_to:
            steps.append(f"each record's range mapped to +-{self.range_to:g} (not mV)")
        if self.highpass:
            steps.append("elliptic high-pass (stop 0.2 Hz, pass 0.8 Hz)")
        if self.notch_hz:
            steps.append(f"{self.notch_hz:g} Hz notch (Q 30)")
        if self.band_hz:
            steps.append(f"Butterworth-{self.band_order} band-pass {self.band_hz[0]:g}-{self.band_hz[1]:g} Hz")
        if self.median_seconds:
            steps.append(f"minus a median of {self.median_seconds:g} s at the stored rate")
        return "; ".join(steps) or "no filter"


def recipe_of(said: Mapping[str, Any]) -> Recipe:
    """A recipe from its fields as plain JSON. Raises TypeError for fields that it has not."""
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    return Recipe(**values)


# Preparations that any dataset can be given instead of its own. ECGFounder (Li et al. 2024, released code): notch at
# 50 Hz, band-pass of fourth order, minus a median of 0.4 s; standardising is the network's own (Net1D). The released
# code takes the median at 500 Hz, before anything is resampled.
RECIPES: dict[str, Recipe] = {
    "ecgfounder": Recipe(notch_hz=50.0, band_hz=(0.67, 40.0), band_order=4, median_seconds=0.4),
}


def conditioned(signals: np.ndarray, sampling_hz: int, stored_hz: int, recipe: Recipe) -> np.ndarray:
    """Signals [n, n_leads, n_samples] at ``sampling_hz`` -> float32 [n, n_leads, n_stored] at ``stored_hz``.

    Equal to sosfiltfilt, filtfilt and resample_poly lead by lead (Ribeiro's ecg-preprocessing) on a signal whose ends
    are held for some seconds. (On the signal alone scipy holds them for milliseconds only, and its backward pass
    leaves a transient in the last two seconds.)
    """
    x = np.asarray(signals, dtype=np.float32)
    if recipe.clip_mv:
        x = np.clip(x, -recipe.clip_mv, recipe.clip_mv)
    if recipe.range_to:
        low, high = x.min(axis=(-2, -1), keepdims=True), x.max(axis=(-2, -1), keepdims=True)
        x = ((x - low) / np.maximum(high - low, 1e-9) * 2 - 1) * np.float32(recipe.range_to)
    if recipe == Recipe(clip_mv=recipe.clip_mv, range_to=recipe.range_to) and sampling_hz == stored_hz:
        return x
    n_samples = x.shape[-1]
    n_stored = round(n_samples * stored_hz / sampling_hz)
    size, stored_size = _sizes(n_samples, sampling_hz, stored_hz)
    padded = np.empty((*x.shape[:-1], size), dtype=np.float32)
    padded[..., :n_samples] = x
    # Ends held for a third of the guard, then faded into one another: no step where the transform wraps around.
    hold = (size - n_samples) // 3
    fade = np.interp(np.arange(size - n_samples), [hold, size - n_samples - hold], [0, 1]).astype(np.float32)
    fade = 0.5 - 0.5 * np.cos(np.float32(np.pi) * fade)
    padded[..., n_samples:] = x[..., -1:] + (x[..., :1] - x[..., -1:]) * fade
    spectrum = scipy.fft.rfft(padded, axis=-1)
    n_kept = min(size, stored_size) // 2 + 1
    kept = spectrum[..., :n_kept] * _response(size, sampling_hz, stored_hz, recipe)[:n_kept]
    filtered = scipy.fft.irfft(kept, n=stored_size, axis=-1)[..., :n_stored]
    return without_median(filtered, stored_hz, recipe.median_seconds) if recipe.median_seconds else filtered


def without_median(signals: np.ndarray, sampling_hz: int, seconds: float) -> np.ndarray:
    """Signals [..., n_samples] minus their running median over ``seconds``, the ends held: a baseline.

    ECGFounder's last filter. An even number of samples is made odd by one more.
    """
    length = round(seconds * sampling_hz)
    length += 1 - length % 2
    size = (1,) * (signals.ndim - 1) + (length,)
    return signals - scipy.ndimage.median_filter(signals, size=size, mode="nearest")


def _sizes(n_samples: int, sampling_hz: int, stored_hz: int) -> tuple[int, int]:
    """Transform lengths at both rates: the signal and a guard, in an exact ratio."""
    common = gcd(sampling_hz, stored_hz)
    step, stored_step = sampling_hz // common, stored_hz // common
    blocks = scipy.fft.next_fast_len(ceil((n_samples + 2 * _GUARD_SECONDS * sampling_hz) / step), real=True)
    return blocks * step, blocks * stored_step


@lru_cache(maxsize=64)
def _response(size: int, sampling_hz: int, stored_hz: int, recipe: Recipe) -> np.ndarray:
    """The chain's zero-phase response on the grid of a transform of ``size``, times the change of length."""
    hz = scipy.fft.rfftfreq(size, 1 / sampling_hz)
    response = np.ones(len(hz))
    if recipe.highpass:
        response *= np.abs(scipy.signal.sosfreqz(highpass(sampling_hz), hz, fs=sampling_hz)[1]) ** 2
    if recipe.notch_hz and recipe.notch_hz < sampling_hz / 2:
        b, a = scipy.signal.iirnotch(recipe.notch_hz, 30, fs=sampling_hz)
        response *= np.abs(scipy.signal.freqz(b, a, hz, fs=sampling_hz)[1]) ** 2
    if recipe.band_hz:
        band = scipy.signal.butter(recipe.band_order, recipe.band_hz, "bandpass", fs=sampling_hz, output="sos")
        response *= np.abs(scipy.signal.sosfreqz(band, hz, fs=sampling_hz)[1]) ** 2
    if stored_hz < sampling_hz:  # the anti-aliasing filter of scipy.signal.resample_poly
        factor = max(sampling_hz, stored_hz) // gcd(sampling_hz, stored_hz)
        up = stored_hz // gcd(sampling_hz, stored_hz)
        taps = scipy.signal.firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0))
        response *= np.abs(scipy.signal.freqz(taps, 1, hz, fs=sampling_hz * up)[1])
    return (response * (stored_hz / sampling_hz)).astype(np.float32)


def highpass(sampling_hz: float) -> np.ndarray:
    """Second-order sections of CODE's baseline removal (Ribeiro et al.: elliptic, 0.5 dB, 40 dB, 0.2 to 0.8 Hz)."""
    order, natural = scipy.signal.ellipord(0.8, 0.2, gpass=0.5, gstop=40, fs=sampling_hz)
    return scipy.signal.ellip(order, 0.5, 40, natural, "highpass", fs=sampling_hz, output="sos")
