"""XQRS, the detector of the wfdb package, for many leads at once: the same peaks, found many times faster.

Filters, local maxima and the learning phase run over all leads together; only the decision on each maximum, which
depends on the one before, is a loop. Source of the algorithm and its constants: wfdb.processing.xqrs_detect (MIT
licence), default configuration.
"""

import itertools

import numpy as np
from scipy import ndimage, signal

_HR_INIT, _HR_MAX, _HR_MIN = 75, 200, 25  # beats a minute
_QRS_SECONDS, _REFRACTORY_SECONDS = 0.1, 0.2
_THRESHOLD_MV = 0.13  # if learning fails
_BAND_HZ = (5.0, 20.0)
_N_LEARNED = 8  # beats
_CACHED_SAMPLES = 120_000  # leads worked on together: what a processor's cache likes
_RESEMBLES = 0.6  # correlation with a Ricker wavelet that makes a learned beat


def xqrs(leads: np.ndarray, sampling_hz: float) -> list[np.ndarray]:
    """Beats of each lead [n_leads, n_samples] in mV: arrays of sample indices, as wfdb's xqrs_detect gives them."""
    together = max(1, _CACHED_SAMPLES // leads.shape[1])
    return [beats for i in range(0, len(leads), together) for beats in _xqrs(leads[i : i + together], sampling_hz)]


def _xqrs(leads: np.ndarray, sampling_hz: float) -> list[np.ndarray]:
    leads = np.asarray(leads, dtype=np.float64)
    found: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * len(leads)
    live = np.flatnonzero(leads.max(axis=-1) != leads.min(axis=-1))
    if not len(live):
        return found
    width, radius = int(_QRS_SECONDS * sampling_hz), int(_QRS_SECONDS / 2 * sampling_hz)
    b, a = signal.butter(2, [2 * hz / sampling_hz for hz in _BAND_HZ], "pass")
    band = signal.filtfilt(b, a, leads[live], axis=-1)
    wavelet = _ricker(width)
    energy = _forth_and_back(band, wavelet) ** 2
    gain = _gain(b, a, sampling_hz) * 2 * _gain(wavelet, np.ones(1), sampling_hz) * 2
    starts = _learned(band, energy, sampling_hz, width, radius, gain)
    for lead, peaks, amplitudes, start in zip(live, _maxima(energy, radius), energy, starts, strict=True):
        found[lead] = np.array(_decided(peaks.tolist(), amplitudes[peaks].tolist(), start, sampling_hz), dtype=np.int64)
    return found


_Start = tuple[float, float, float, float]  # QRS amplitude, noise amplitude, R-R interval, last beat


def _decided(peaks: list[int], amplitudes: list[float], start: _Start, sampling_hz: float) -> list[int]:
    """Beats among the local maxima of a lead: above a running threshold, or half of it after a long silence."""
    qrs, noise, rr, last = start
    rr_max, refractory = 60 * sampling_hz / _HR_MIN, int(_REFRACTORY_SECONDS * sampling_hz)
    threshold = max(0.25 * qrs + 0.75 * noise, 0)
    beats: list[int] = []
    last_number = None
    final = len(peaks) - 1
    for number, (at, height) in enumerate(zip(peaks, amplitudes, strict=True)):
        if at - last > refractory and height > threshold:
            if at - last < rr_max:
                rr = 0.875 * rr + 0.125 * (at - last)
            beats.append(at)
            last, last_number = at, number
            qrs = 0.875 * qrs + 0.125 * height
            threshold = max(0.25 * qrs + 0.75 * noise, 0)
        else:
            noise = 0.875 * noise + 0.125 * height
        if number < final and last_number is not None and peaks[number + 1] - last > rr * 1.66:
            for earlier in range(last_number + 1, number + 1):
                at, height = peaks[earlier], amplitudes[earlier]
                if at - last > refractory and height > threshold / 2:
                    if at - last < rr_max:
                        rr = 0.875 * rr + 0.125 * (at - last)
                    beats.append(at)
                    last, last_number = at, number
                    qrs = 0.75 * qrs + 0.25 * height
                    threshold = max(0.25 * qrs + 0.75 * noise, 0)
    return beats


def _learned(
    band: np.ndarray, energy: np.ndarray, sampling_hz: float, width: int, radius: int, gain: float
) -> list[_Start]:
    """Where each lead's running values start: from its first eight beats that look like a Ricker wavelet, if any."""
    n_samples = band.shape[1]
    rr_init, rr_max, rr_min = (60 * sampling_hz / rate for rate in (_HR_INIT, _HR_MIN, _HR_MAX))
    threshold = _THRESHOLD_MV * gain
    default = (27 / 40 * threshold, 27 / 400 * threshold, rr_init, 0.0)
    # All maxima of all leads are compared with the wavelet together.
    inspected = []
    for peaks in _maxima(band, radius):
        right, left = np.flatnonzero(peaks > width), np.flatnonzero(peaks <= n_samples - width)
        inspected.append(peaks[right[0] : left[-1]] if len(right) and len(left) else peaks[:0])
    lead = np.repeat(np.arange(len(band)), [len(peaks) for peaks in inspected])
    at = np.concatenate(inspected)
    segments = band[lead[:, None], at[:, None] + np.arange(-radius, radius)]
    likeness = segments @ _ricker(2 * radius) / np.linalg.norm(segments, axis=1)
    heights = energy[lead, at]
    starts: list[_Start] = []
    first = 0
    for peaks in inspected:
        part = slice(first, first + len(peaks))
        first += len(peaks)
        beats: list[int] = []
        tall, low = [], []
        last = -rr_max
        for sample, height, alike in zip(
            peaks.tolist(), heights[part].tolist(), (likeness[part] > _RESEMBLES).tolist(), strict=True
        ):
            if alike and sample - last > rr_min:
                last = sample
                beats.append(sample)
                tall.append(height)
                if len(beats) == _N_LEARNED:
                    break
            else:
                low.append(height)
        if len(beats) < _N_LEARNED:
            starts.append(default)
            continue
        qrs = sum(tall) / _N_LEARNED
        intervals = [b - a for a, b in itertools.pairwise(beats) if b - a < rr_max]
        rr = sum(intervals) / len(intervals) if intervals else rr_init
        starts.append((qrs, sum(low) / len(low) if low else qrs / 10, rr, min(0, beats[0] - rr_min - 1)))
    return starts


def _maxima(curves: np.ndarray, radius: int) -> list[np.ndarray]:
    """Samples of each curve that are the largest from ``radius`` before to ``radius`` (exclusive) after them."""
    largest = ndimage.maximum_filter1d(curves, 2 * radius, axis=-1, mode="constant", cval=-np.inf)
    rows, samples = np.nonzero(curves == largest)
    split = np.split(samples, np.searchsorted(rows, np.arange(1, len(curves))))
    return [_apart(peaks, radius) if np.any(np.diff(peaks) < radius) else peaks for peaks in split]


def _apart(peaks: np.ndarray, radius: int) -> np.ndarray:
    """Of equal maxima closer than ``radius`` the first; the search goes on a radius after it."""
    kept: list[int] = []
    for peak in peaks.tolist():
        if not kept or peak - kept[-1] >= radius:
            kept.append(peak)
    return np.array(kept, dtype=np.int64)


def _forth_and_back(curves: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """filtfilt with a symmetric FIR filter in one pass: convolution with its autocorrelation, ends continued oddly."""
    kernel = np.convolve(taps, taps[::-1])
    reach = len(taps)
    before = 2 * curves[:, :1] - curves[:, reach:0:-1]
    after = 2 * curves[:, -1:] - curves[:, -2 : -reach - 2 : -1]
    continued = np.concatenate([before, curves, after], axis=1)
    if len(kernel) <= 32:
        smooth = ndimage.correlate1d(continued, kernel, axis=-1, mode="nearest")
    else:
        smooth = signal.oaconvolve(continued, kernel[None], mode="same", axes=-1)
    return smooth[:, reach : reach + curves.shape[1]]


def _ricker(n: int) -> np.ndarray:
    x = (np.arange(n) - (n - 1) / 2) / 4
    return 2 / (np.sqrt(12) * np.pi**0.25) * (1 - x**2) * np.exp(-0.5 * x**2)


def _gain(b: np.ndarray, a: np.ndarray, sampling_hz: float) -> float:
    w, h = signal.freqz(b, a)
    return float(abs(h[np.flatnonzero(w >= np.mean(_BAND_HZ) * 2 * np.pi / sampling_hz)[0]]))
