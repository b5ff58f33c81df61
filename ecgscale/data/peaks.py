"""Where the heart beats: R peaks of a recording, by an accurate detector or as published.

The default works on the summed slope energy of all leads at the corpus' own rate. (XQRS on lead I at 100 Hz, as
HeartLang runs it, finds fewer than half of LUDB's beats within 50 ms.)
"""

from collections.abc import Callable

import numpy as np
import scipy

MAX_BEATS = 48  # stored peaks a recording: 288 beats a minute for 10 s
NO_PEAK = -1

_BAND_HZ = (8.0, 22.0)  # where a QRS complex has its energy and P and T waves have little
_WINDOW_SECONDS = 0.09
_REFRACTORY_SECONDS = 0.25


def r_peaks(recordings: np.ndarray, sampling_hz: float) -> np.ndarray:
    """R-peak positions of recordings [n_records, n_leads, n_samples] (any unit).

    Returns int16 [n_records, MAX_BEATS] sample indices in rising order, padded with NO_PEAK.
    """
    sos = scipy.signal.butter(2, _BAND_HZ, "bandpass", fs=sampling_hz, output="sos")
    band = scipy.signal.sosfiltfilt(sos, recordings, axis=-1)
    # A lead counts by its own size, so that a large V2 does not drown the rest; a flat lead counts for nothing.
    size = (
        np.median(np.abs(band), axis=-1, keepdims=True) + 0.05 * np.abs(band).max(axis=(-2, -1), keepdims=True) + 1e-9
    )
    energy = ((np.gradient(band / size, axis=-1) ** 2) + (band / size) ** 2 * 0.25).sum(axis=1)
    width = max(3, round(_WINDOW_SECONDS * sampling_hz))
    envelope = np.sqrt(np.maximum(scipy.ndimage.uniform_filter1d(energy, width, axis=-1), 0))
    peaks = np.full((len(recordings), MAX_BEATS), NO_PEAK, dtype=np.int16)
    for row, curve in enumerate(envelope):
        found = _decide(curve, sampling_hz)[:MAX_BEATS]
        peaks[row, : len(found)] = found
    return peaks


def _decide(envelope: np.ndarray, sampling_hz: float) -> np.ndarray:
    candidates, _ = scipy.signal.find_peaks(envelope, distance=round(_REFRACTORY_SECONDS * sampling_hz))
    if not len(candidates):
        return candidates
    heights = envelope[candidates]
    floor = np.median(envelope)
    # The typical beat: the median of the highest candidate of each second and a half.
    blocks = candidates // round(1.5 * sampling_hz)
    typical = np.median([heights[blocks == b].max() for b in np.unique(blocks)])
    return candidates[heights > floor + 0.35 * (typical - floor)]


def xqrs_lead_ii(recordings: np.ndarray, sampling_hz: float) -> np.ndarray:
    """XQRS on the second lead, at 500 Hz where the recordings (in mV) come at less than 250. Returns as ``r_peaks``."""
    hz = sampling_hz if sampling_hz >= 250 else 500
    return _by_xqrs(recordings[:, min(1, recordings.shape[1] - 1)], sampling_hz, hz)


def heartlang(recordings: np.ndarray, sampling_hz: float) -> np.ndarray:
    """XQRS on the first lead at 100 Hz, as HeartLang's tokeniser finds its beats: for use with its codebook.

    On LUDB it finds 43 % of the beats within 50 ms. Returns as ``r_peaks``.
    """
    return _by_xqrs(recordings[:, 0], sampling_hz, 100)


def _by_xqrs(leads: np.ndarray, sampling_hz: float, hz: float) -> np.ndarray:
    from ecgscale.data.xqrs import xqrs  # imports a compiler

    n_samples = leads.shape[-1]
    at_hz = leads if hz == sampling_hz else scipy.signal.resample(leads, round(n_samples * hz / sampling_hz), axis=-1)
    peaks = np.full((len(leads), MAX_BEATS), NO_PEAK, dtype=np.int16)
    for row, found in zip(peaks, xqrs(at_hz, hz), strict=True):
        at = np.unique(np.minimum(np.rint(found * sampling_hz / hz), n_samples - 1))[:MAX_BEATS]
        row[: len(at)] = at
    return peaks


# Detectors by name: [n_records, n_leads, n_samples] (leads I and II first), Hz -> int16 [n_records, MAX_BEATS].
DETECTORS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "slope-energy": r_peaks,
    "xqrs": xqrs_lead_ii,
    "heartlang-exact": heartlang,
}
