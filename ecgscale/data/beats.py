"""Heartbeat sentences, cut around the R peaks of a batch of recordings: HeartLang's input."""

from typing import NamedTuple

import torch
from torch.nn import functional

from ecgscale.data.peaks import NO_PEAK

BEAT_SAMPLES = 96  # HeartLang's word: 0.96 s at 100 Hz, R peak in the middle


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

    # Sample j of a word is sample start + j - offset of its lead: one window of the recording with margins, of which
    # what lies outside the beat is zero.
    flat = functional.pad(leads, (BEAT_SAMPLES, BEAT_SAMPLES)).flatten()
    windows = flat.as_strided((flat.numel() - BEAT_SAMPLES + 1, BEAT_SAMPLES), (1, 1))  # one at every sample
    row = torch.arange(n, device=device)[:, None] * n_leads + lead
    window = row * (n_samples + 2 * BEAT_SAMPLES) + BEAT_SAMPLES + start - offset
    words = windows.index_select(0, window.flatten()).view(n, n_tokens, BEAT_SAMPLES)
    # 0 <= sample - offset < length in one comparison of bytes, which wrap around below 0; a long one is only read.
    sample = torch.arange(BEAT_SAMPLES, device=device, dtype=torch.uint8)
    length = torch.where(real, end - start, 0).to(torch.uint8)
    words.masked_fill_(sample - offset.to(torch.uint8)[..., None] >= length[..., None], 0)
    second = torch.where(real, peaks.gather(1, beat) // hz + 1, 0)
    return Sentence(words, torch.where(real, lead_numbers[lead], 0), second)
