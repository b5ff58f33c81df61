"""XQRS, the detector of the wfdb package, for many leads at once: the same peaks, found many times faster.

Filters, local maxima and the learning phase run over all leads together; only the decision on each maximum, which
depends on the one before, is a loop. Source of the algorithm and its constants: wfdb.processing.xqrs_detect (MIT
licence), default configuration.
"""

import itertools
from functools import lru_cache
from math import floor
from typing import NamedTuple

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
    b, a, steady, wavelet, gain = _filters(sampling_hz)
    band = _filtfilt(b, a, steady, leads if len(live) == len(leads) else leads[live])
    energy = np.square(_smooth(band, wavelet))
    starts = _learned(band, energy, sampling_hz, width, radius, gain)
    maxima = _maxima(energy, radius)
    peaks, heights = maxima.at.tolist(), energy.ravel()[maxima.place].tolist()
    for lead, start, first, end in zip(live, starts, maxima.first, maxima.first[1:], strict=False):
        found[lead] = np.array(_decided(peaks[first:end], heights[first:end], start, sampling_hz), dtype=np.int64)
    return found


_Start = tuple[float, float, float, float]  # QRS amplitude, noise amplitude, R-R interval, last beat


def _decided(peaks: list[int], heights: list[float], start: _Start, sampling_hz: float) -> list[int]:
    """Beats among the local maxima of a lead: above a running threshold, or half of it after a long silence."""
    qrs, noise, rr, last = start
    rr_max, refractory = 60 * sampling_hz / _HR_MIN, int(_REFRACTORY_SECONDS * sampling_hz)
    threshold = 0.25 * qrs + 0.75 * noise
    beats: list[int] = []
    searched = -1  # maxima up to here were weighed against the threshold that holds
    silent = float("inf")  # the sample after which a silence is long; before the first beat there is none
    for number, (at, height, following) in enumerate(zip(peaks, heights, [*peaks[1:], -1], strict=True)):
        if height > threshold and at - last > refractory:
            if at - last < rr_max:
                rr = 0.875 * rr + 0.125 * (at - last)
            beats.append(at)
            last, searched = at, number
            silent = last + floor(rr * 1.66)
            qrs = 0.875 * qrs + 0.125 * height
            threshold = 0.25 * qrs + 0.75 * noise
        else:
            noise = 0.875 * noise + 0.125 * height
        if following > silent:
            for earlier in range(searched + 1, number + 1):
                at, height = peaks[earlier], heights[earlier]
                if height > threshold / 2 and at - last > refractory:
                    if at - last < rr_max:
                        rr = 0.875 * rr + 0.125 * (at - last)
                    beats.append(at)
                    last = at
                    qrs = 0.75 * qrs + 0.25 * height
                    threshold = 0.25 * qrs + 0.75 * noise
            searched, silent = number, last + floor(rr * 1.66)
    return beats


def _learned(
    band: np.ndarray, energy: np.ndarray, sampling_hz: float, width: int, radius: int, gain: float
) -> list[_Start]:
    """Where each lead's running values start: from its first eight beats that look like a Ricker wavelet, if any."""
    n_leads, n_samples = band.shape
    rr_init, rr_max, rr_min = (60 * sampling_hz / rate for rate in (_HR_INIT, _HR_MIN, _HR_MAX))
    threshold = _THRESHOLD_MV * gain
    default = (27 / 40 * threshold, 27 / 400 * threshold, rr_init, 0.0)
    # The maxima of all leads, away from the ends, are compared with the wavelet together.
    maxima = _maxima(band, radius)
    place = maxima.place
    ends = np.arange(n_leads) * n_samples
    firsts = np.searchsorted(place, ends + width, side="right").tolist()
    lasts = (np.searchsorted(place, ends + n_samples - width, side="right") - 1).tolist()
    heights = energy.ravel()[maxima.place].tolist()
    inner = np.flatnonzero((maxima.at > width) & (maxima.at <= n_samples - width))
    windows = np.lib.stride_tricks.sliding_window_view(band.ravel(), 2 * radius)
    segments = windows[place[inner] - radius]
    likeness = segments @ _ricker(2 * radius) / np.sqrt(np.einsum("ij,ij->i", segments, segments))
    alike = inner[likeness > _RESEMBLES]
    samples = maxima.at[alike].tolist()
    borders = np.searchsorted(alike, [firsts, lasts]).T.tolist()
    alike = alike.tolist()
    starts: list[_Start] = []
    for first, (begin, end) in zip(firsts, borders, strict=True):
        beats: list[int] = []
        tall: list[float] = []
        last = -rr_max
        for number in range(begin, end):
            if samples[number] - last > rr_min:
                last = samples[number]
                beats.append(samples[number])
                tall.append(heights[alike[number]])
                if len(beats) == _N_LEARNED:
                    break
        if len(beats) < _N_LEARNED:
            starts.append(default)
            continue
        qrs = sum(tall) / _N_LEARNED
        intervals = [b - a for a, b in itertools.pairwise(beats) if b - a < rr_max]
        rr = sum(intervals) / len(intervals) if intervals else rr_init
        seen = heights[first : alike[number] + 1]
        n_low = len(seen) - _N_LEARNED
        noise = (sum(seen) - sum(tall)) / n_low if n_low else qrs / 10
        starts.append((qrs, noise, rr, min(0, beats[0] - rr_min - 1)))
    return starts


class _Maxima(NamedTuple):
    """Local maxima of several leads, one after another: ``first[i]`` to ``first[i + 1]`` are those of lead i."""

    place: np.ndarray  # in the curves laid end to end
    at: np.ndarray  # samples
    first: list[int]


def _maxima(curves: np.ndarray, radius: int) -> _Maxima:
    """Samples of each curve that are the largest from ``radius`` before to ``radius`` (exclusive) after them."""
    n_leads, n_samples = curves.shape
    place = np.flatnonzero(curves == _largest(curves, radius))
    lead = place // n_samples
    at = place - lead * n_samples
    close = np.flatnonzero((at[1:] - at[:-1] < radius) & (lead[1:] == lead[:-1]))
    if len(close):
        kept = np.ones(len(place), dtype=bool)
        for number in np.unique(lead[close]):
            first, end = np.searchsorted(lead, [number, number + 1])
            kept[first:end] = np.isin(at[first:end], _apart(at[first:end], radius))
        place, at = place[kept], at[kept]
    return _Maxima(place, at, np.searchsorted(place, np.arange(n_leads + 1) * n_samples).tolist())


def _largest(curves: np.ndarray, radius: int) -> np.ndarray:
    """Running maximum over the window of ``_maxima``, by maxima over windows of 1, 2, 4, ... samples."""
    n_samples, width = curves.shape[1], 2 * radius
    largest = np.full((len(curves), n_samples + width - 1), -np.inf)
    largest[:, radius : radius + n_samples] = curves
    other, size = np.empty_like(largest), 1
    while size < width:
        step = min(size, width - size)
        np.maximum(largest[:, :-step], largest[:, step:], out=other[:, :-step])
        largest, other, size = other, largest, size + step
    return largest[:, :n_samples]


def _apart(peaks: np.ndarray, radius: int) -> np.ndarray:
    """Of equal maxima closer than ``radius`` the first; the search goes on a radius after it."""
    kept: list[int] = []
    for peak in peaks.tolist():
        if not kept or peak - kept[-1] >= radius:
            kept.append(peak)
    return np.array(kept, dtype=np.int64)


def _filtfilt(b: np.ndarray, a: np.ndarray, steady: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """scipy.signal.filtfilt along the last axis, without working out the filter's steady state at each call."""
    reach = 3 * max(len(a), len(b))
    forth = _continued(curves, reach)
    forth, _ = signal.lfilter(b, a, forth, zi=steady * forth[:, :1])
    back, _ = signal.lfilter(b, a, forth[:, ::-1], zi=steady * forth[:, -1:])
    return np.ascontiguousarray(back[:, -reach - 1 : reach - 1 : -1])


def _smooth(curves: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """filtfilt with a symmetric FIR filter in one pass: convolution with its autocorrelation."""
    kernel = np.convolve(taps, taps[::-1])
    reach = len(taps)
    continued = _continued(curves, reach)
    if len(kernel) <= 32:
        smooth = ndimage.correlate1d(continued, kernel, axis=-1, mode="nearest")
    else:
        smooth = signal.oaconvolve(continued, kernel[None], mode="same", axes=-1)
    return smooth[:, reach : reach + curves.shape[1]]


def _continued(curves: np.ndarray, reach: int) -> np.ndarray:
    """Curves with ``reach`` samples more at both ends, turned about the end point as filtfilt does it."""
    before = 2 * curves[:, :1] - curves[:, reach:0:-1]
    after = 2 * curves[:, -1:] - curves[:, -2 : -reach - 2 : -1]
    return np.concatenate([before, curves, after], axis=1)


@lru_cache(maxsize=8)
def _filters(sampling_hz: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """The band-pass (b, a, its steady state), the wavelet that beats resemble, and what both do to a beat's size."""
    b, a = signal.butter(2, [2 * hz / sampling_hz for hz in _BAND_HZ], "pass")
    wavelet = _ricker(int(_QRS_SECONDS * sampling_hz))
    gain = _gain(b, a, sampling_hz) * 2 * _gain(wavelet, np.ones(1), sampling_hz) * 2
    return b, a, signal.lfilter_zi(b, a), wavelet, gain


def _ricker(n: int) -> np.ndarray:
    x = (np.arange(n) - (n - 1) / 2) / 4
    return 2 / (np.sqrt(12) * np.pi**0.25) * (1 - x**2) * np.exp(-0.5 * x**2)


def _gain(b: np.ndarray, a: np.ndarray, sampling_hz: float) -> float:
    w, h = signal.freqz(b, a)
    return float(abs(h[np.flatnonzero(w >= np.mean(_BAND_HZ) * 2 * np.pi / sampling_hz)[0]]))
