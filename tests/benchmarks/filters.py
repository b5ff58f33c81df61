"""P9: from 400 or 500 Hz to 100 Hz: high-pass, notch and resampling in one pass, against scipy lead by lead."""

import time
from collections.abc import Iterator
from statistics import median

import numpy as np
from scipy import signal

from ecgscale.data.filters import Recipe, conditioned, highpass
from tests.benchmarks import Measurement
from tests.layouts import signals

ROUNDS, N = 5, 32
INTERIOR = 200  # samples: scipy's backward pass leaves a transient of two seconds at the end


def measure() -> Iterator[Measurement]:
    """Both sides on one thread; ratios are medians over alternating rounds."""
    yield _chain(400)
    yield _chain(500)


def peer(recording: np.ndarray, hz: int) -> np.ndarray:
    """The authors' way (Ribeiro's ecg-preprocessing): lead by lead, filter after filter."""
    b, a = signal.iirnotch(60, 30, fs=hz)
    sections, common = highpass(hz), np.gcd(hz, 100)
    rows = []
    for lead in recording:
        steady = signal.sosfiltfilt(sections, lead, padtype="constant")
        quiet = signal.filtfilt(b, a, steady)
        rows.append(signal.resample_poly(quiet, 100 // common, hz // common))
    return np.stack(rows)


def _chain(hz: int) -> Measurement:
    recipe = Recipe(highpass=True, notch_hz=60.0)
    native = signals(N, hz)
    native += 0.02 * np.sin(2 * np.pi * 60 * np.arange(native.shape[-1]) / hz)
    conditioned(native, hz, 100, recipe)
    ratios = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ours = conditioned(native, hz, 100, recipe)
        middle = time.perf_counter()
        theirs = np.stack([peer(recording, hz) for recording in native])
        ratios.append((time.perf_counter() - middle) / (middle - began))
    inner = slice(INTERIOR, -INTERIOR)
    error = float(np.sqrt(np.mean((ours - theirs)[..., inner] ** 2) / np.mean(theirs[..., inner] ** 2)))
    if error > 0.015:
        raise AssertionError(f"the chain differs from scipy's by {100 * error:.2f} % RMS in the interior")
    note = f"{N} recordings; interior differs by {100 * error:.2f} % RMS (goal 1.5 %)"
    return Measurement(f"{hz} to 100 Hz (P9)", "", "", median(ratios), 10, note)
