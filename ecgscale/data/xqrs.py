"""XQRS, the detector of the wfdb package, for many leads at once: the same peaks, found many times faster.

All leads are filtered together; what is decided sample by sample and beat by beat is compiled. Source of the algorithm
and its constants: wfdb.processing.xqrs_detect (MIT licence), default configuration.
"""

from functools import lru_cache

import numba
import numpy as np
import scipy

from ecgscale.data.compiling import compiled

_HR_INIT, _HR_MAX, _HR_MIN = 75, 200, 25  # beats a minute
_QRS_SECONDS, _REFRACTORY_SECONDS = 0.1, 0.2
_THRESHOLD_MV = 0.13  # if learning fails
_BAND_HZ = (5.0, 20.0)
_N_LEARNED = 8  # beats
_RESEMBLES = 0.6  # correlation with a Ricker wavelet that makes a learned beat
_SILENT = 1.66  # R-R intervals without a beat after which a smaller one is searched for
_CACHED_SAMPLES = 120_000  # leads worked on together: what a processor's cache likes


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
    b, a, steady, wavelet, gain = _filters(sampling_hz)
    band = _filtfilt(b, a, steady, leads if len(live) == len(leads) else leads[live])
    energy = np.square(_smooth(band, wavelet))
    beat = _ricker(2 * int(_QRS_SECONDS / 2 * sampling_hz))
    for lead, of_band, of_energy in zip(live, band, energy, strict=True):
        found[lead] = _beats(of_band, of_energy, beat, float(sampling_hz), gain)
    return found


@numba.njit
def _maxima(curve: np.ndarray, radius: int) -> np.ndarray:
    """Samples that are the largest from ``radius`` before to ``radius`` (exclusive) after them.

    After each of them the search goes on a radius later.
    """
    n_samples = len(curve)
    maxima = np.empty(n_samples // radius + 1, dtype=np.int64)
    n_found = at = 0
    while at < n_samples:
        largest = curve[at] == curve[at]
        for far in range(1, radius + 1):  # from near to far: most samples have a larger neighbour
            before, after = at - far, at + far
            if (before >= 0 and not curve[before] <= curve[at]) or (
                far < radius and after < n_samples and not curve[after] <= curve[at]
            ):
                largest = False
                break
        if largest:
            maxima[n_found] = at
            n_found += 1
        at += radius if largest else 1
    return maxima[:n_found]


@numba.njit
def _learned(
    band: np.ndarray, energy: np.ndarray, beat: np.ndarray, sampling_hz: float, gain: float
) -> tuple[float, float, float, float]:
    """Where a lead's QRS amplitude, noise amplitude, R-R interval and last beat start.

    From its first eight beats that look like a Ricker wavelet, if there are so many.
    """
    rr_init, rr_max, rr_min = 60 * sampling_hz / _HR_INIT, 60 * sampling_hz / _HR_MIN, 60 * sampling_hz / _HR_MAX
    width, radius = int(_QRS_SECONDS * sampling_hz), len(beat) // 2
    maxima = _maxima(band, radius)
    last, first = -rr_max, 0
    n_beats = n_noise = n_intervals = 0
    tall = low = intervals = 0.0
    # The ends are left out, and the last maximum before the end.
    for at in maxima[:-1][(maxima[:-1] > width) & (maxima[1:] <= len(band) - width)]:
        likeness = size = 0.0
        for sample in range(2 * radius):
            value = band[at - radius + sample]
            likeness += value * beat[sample]
            size += value * value
        if likeness > _RESEMBLES * np.sqrt(size) and at - last > rr_min:
            if n_beats == 0:
                first = at
            elif at - last < rr_max:
                intervals += at - last
                n_intervals += 1
            last = at
            n_beats += 1
            tall += energy[at]
        else:
            n_noise += 1
            low += energy[at]
        if n_beats == _N_LEARNED:
            break
    if n_beats < _N_LEARNED:
        threshold = _THRESHOLD_MV * gain
        return 27 / 40 * threshold, 27 / 400 * threshold, rr_init, 0.0
    qrs = tall / _N_LEARNED
    noise = low / n_noise if n_noise else qrs / 10
    rr = intervals / n_intervals if n_intervals else rr_init
    return qrs, noise, rr, min(0.0, first - rr_min - 1)


@compiled("int64[::1](float64[::1], float64[::1], float64[::1], float64, float64)")
def _beats(band: np.ndarray, energy: np.ndarray, beat: np.ndarray, sampling_hz: float, gain: float) -> np.ndarray:
    """Beats among the maxima of a lead: above a running threshold, or half of it after a long silence."""
    qrs, noise, rr, last = _learned(band, energy, beat, sampling_hz, gain)
    rr_max, refractory = 60 * sampling_hz / _HR_MIN, int(_REFRACTORY_SECONDS * sampling_hz)
    threshold = 0.25 * qrs + 0.75 * noise
    maxima = _maxima(energy, len(beat) // 2)
    beats = np.empty(len(maxima), dtype=np.int64)
    n_found = searched = 0  # maxima before ``searched`` were weighed against the threshold that holds
    for number, newest in enumerate(maxima):
        if energy[newest] > threshold and newest - last > refractory:
            if newest - last < rr_max:
                rr = 0.875 * rr + 0.125 * (newest - last)
            last, searched = float(newest), number + 1
            beats[n_found] = newest
            n_found += 1
            qrs = 0.875 * qrs + 0.125 * energy[newest]
            threshold = 0.25 * qrs + 0.75 * noise
        else:
            noise = 0.875 * noise + 0.125 * energy[newest]
        if n_found and number + 1 < len(maxima) and maxima[number + 1] - last > rr * _SILENT:
            for earlier in maxima[searched : number + 1]:
                if energy[earlier] > threshold / 2 and earlier - last > refractory:
                    if earlier - last < rr_max:
                        rr = 0.875 * rr + 0.125 * (earlier - last)
                    last = float(earlier)
                    beats[n_found] = earlier
                    n_found += 1
                    qrs = 0.75 * qrs + 0.25 * energy[earlier]
                    threshold = 0.25 * qrs + 0.75 * noise
            searched = number + 1
    return beats[:n_found]


def _filtfilt(b: np.ndarray, a: np.ndarray, steady: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """scipy.signal.filtfilt along the last axis, without working out the filter's steady state at each call."""
    reach = 3 * max(len(a), len(b))
    forth = _continued(curves, reach)
    forth, _ = scipy.signal.lfilter(b, a, forth, zi=steady * forth[:, :1])
    back, _ = scipy.signal.lfilter(b, a, forth[:, ::-1], zi=steady * forth[:, -1:])
    return np.ascontiguousarray(back[:, -reach - 1 : reach - 1 : -1])


def _smooth(curves: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """filtfilt with a symmetric FIR filter in one pass: convolution with its autocorrelation."""
    kernel = np.convolve(taps, taps[::-1])
    reach = len(taps)
    continued = _continued(curves, reach)
    if len(kernel) <= 32:
        smooth = scipy.ndimage.correlate1d(continued, kernel, axis=-1, mode="nearest")
    else:
        smooth = scipy.signal.oaconvolve(continued, kernel[None], mode="same", axes=-1)
    return smooth[:, reach : reach + curves.shape[1]]


def _continued(curves: np.ndarray, reach: int) -> np.ndarray:
    """Curves with ``reach`` samples more at both ends, turned about the end point as filtfilt does it."""
    before = 2 * curves[:, :1] - curves[:, reach:0:-1]
    after = 2 * curves[:, -1:] - curves[:, -2 : -reach - 2 : -1]
    return np.concatenate([before, curves, after], axis=1)


@lru_cache(maxsize=8)
def _filters(sampling_hz: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, float]:
    """The band-pass (b, a, its steady state), the wavelet that beats resemble, and what both do to a beat's size."""
    b, a = scipy.signal.butter(2, [2 * hz / sampling_hz for hz in _BAND_HZ], "pass")
    wavelet = _ricker(int(_QRS_SECONDS * sampling_hz))
    gain = _gain(b, a, sampling_hz) * 2 * _gain(wavelet, np.ones(1), sampling_hz) * 2
    return b, a, scipy.signal.lfilter_zi(b, a), wavelet, gain


def _ricker(n: int) -> np.ndarray:
    x = (np.arange(n) - (n - 1) / 2) / 4
    return 2 / (np.sqrt(12) * np.pi**0.25) * (1 - x**2) * np.exp(-0.5 * x**2)


def _gain(b: np.ndarray, a: np.ndarray, sampling_hz: float) -> float:
    w, h = scipy.signal.freqz(b, a)
    return float(abs(h[np.flatnonzero(w >= np.mean(_BAND_HZ) * 2 * np.pi / sampling_hz)[0]]))
