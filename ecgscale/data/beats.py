"""Where the heart beats: R peaks of a recording, and the heartbeat sentences that are cut around them.

Detection is on the summed slope energy of all leads at the corpus' own rate. (XQRS on lead I at 100 Hz, as HeartLang
runs it, finds fewer than half of LUDB's beats within 50 ms.)
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage, signal

BEAT_SAMPLES = 96  # HeartLang's word: 0.96 s at 100 Hz, R peak in the middle
MAX_BEATS = 48  # stored peaks a recording: 288 beats a minute for 10 s
NO_PEAK = -1

_BAND_HZ = (8.0, 22.0)  # where a QRS complex has its energy and P and T waves have little
_WINDOW_SECONDS = 0.09
_REFRACTORY_SECONDS = 0.25


def r_peaks(recordings: np.ndarray, sampling_hz: float) -> np.ndarray:
    """R-peak positions of recordings [n_records, n_leads, n_samples] (any unit).

    Returns int16 [n_records, MAX_BEATS] sample indices in rising order, padded with NO_PEAK.
    """
    sos = signal.butter(2, _BAND_HZ, "bandpass", fs=sampling_hz, output="sos")
    band = signal.sosfiltfilt(sos, recordings, axis=-1)
    # A lead counts by its own size, so that a large V2 does not drown the rest; a flat lead counts for nothing.
    size = (
        np.median(np.abs(band), axis=-1, keepdims=True) + 0.05 * np.abs(band).max(axis=(-2, -1), keepdims=True) + 1e-9
    )
    energy = ((np.gradient(band / size, axis=-1) ** 2) + (band / size) ** 2 * 0.25).sum(axis=1)
    width = max(3, round(_WINDOW_SECONDS * sampling_hz))
    envelope = np.sqrt(ndimage.uniform_filter1d(energy, width, axis=-1))
    peaks = np.full((len(recordings), MAX_BEATS), NO_PEAK, dtype=np.int16)
    for row, curve in enumerate(envelope):
        found = _decide(curve, sampling_hz)[:MAX_BEATS]
        peaks[row, : len(found)] = found
    return peaks


def _decide(envelope: np.ndarray, sampling_hz: float) -> np.ndarray:
    candidates, _ = signal.find_peaks(envelope, distance=round(_REFRACTORY_SECONDS * sampling_hz))
    if not len(candidates):
        return candidates
    heights = envelope[candidates]
    floor = np.median(envelope)
    # The typical beat: the median of the highest candidate of each second and a half.
    blocks = candidates // round(1.5 * sampling_hz)
    typical = np.median([heights[blocks == b].max() for b in np.unique(blocks)])
    return candidates[heights > floor + 0.35 * (typical - floor)]


class Sentence(NamedTuple):
    """Heartbeats as words: HeartLang's input.

    ``words`` float32 [n, n_tokens, BEAT_SAMPLES], ``lead`` and ``second`` int64 [n, n_tokens]: canonical lead number
    and second of the recording, both counted from 1; 0 marks padding.
    """

    words: torch.Tensor
    lead: torch.Tensor
    second: torch.Tensor


def sentences(leads: torch.Tensor, peaks: torch.Tensor, lead_numbers: torch.Tensor, n_tokens: int, hz: int) -> Sentence:
    """Cut ``leads`` [n, n_leads, n_samples] around ``peaks`` int64 [n, n_beats] (NO_PEAK pads) into sentences.

    HeartLang's QRS tokeniser (Jin et al. 2025): a beat runs between the midpoints to its neighbours, at most
    BEAT_SAMPLES with the R peak in the middle of the word; lead after lead, cut off at ``n_tokens``.
    """
    n, n_leads, n_samples = leads.shape
    half = BEAT_SAMPLES // 2
    device = leads.device
    n_beats = (peaks != NO_PEAK).sum(1)  # [n]

    # Borders of every beat: midpoints between peaks, half a word before the first and after the last.
    before = torch.cat([peaks[:, :1], peaks[:, :-1]], 1)
    after = torch.cat([peaks[:, 1:], peaks[:, -1:]], 1)
    first = torch.arange(peaks.shape[1], device=device) == 0
    last = (after == NO_PEAK) | (torch.arange(peaks.shape[1], device=device) == peaks.shape[1] - 1)
    start = torch.where(first, (peaks - half).clamp(min=0), (before + peaks) // 2)  # [n, n_beats]
    end = torch.where(last, (peaks + half).clamp(max=n_samples), (peaks + after) // 2)
    long = end - start > BEAT_SAMPLES
    start = torch.where(long, (peaks - half).clamp(min=0), start)
    end = torch.where(long, (start + BEAT_SAMPLES).clamp(max=n_samples), end)
    offset = (half - (peaks - start)).clamp(min=0)

    # Token k of a recording is beat k % n_beats of lead k // n_beats.
    token = torch.arange(n_tokens, device=device)
    beats = n_beats.clamp(min=1)[:, None]
    lead, beat = token // beats, token % beats  # [n, n_tokens]
    real = (lead < n_leads) & (n_beats[:, None] > 0)
    lead = lead.clamp(max=n_leads - 1)
    start, end, offset = (border.gather(1, beat) for border in (start, end, offset))

    # Sample j of a word is sample start + j - offset of its lead.
    sample = start[..., None] + torch.arange(BEAT_SAMPLES, device=device) - offset[..., None]
    inside = (sample >= start[..., None]) & (sample < end[..., None]) & real[..., None]
    flat = (lead[..., None] * n_samples + sample.clamp(0, n_samples - 1)).flatten(1)
    words = leads.flatten(1).gather(1, flat).view(n, n_tokens, BEAT_SAMPLES) * inside
    second = torch.where(real, peaks.gather(1, beat) // hz + 1, 0)
    return Sentence(words, torch.where(real, lead_numbers[lead], 0), second)
