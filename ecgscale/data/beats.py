"""Heartbeat sentences, cut around the R peaks of a batch of recordings: HeartLang's input."""

from functools import lru_cache
from typing import NamedTuple

import torch

from ecgscale.data.peaks import NO_PEAK

BEAT_SAMPLES = 96  # HeartLang's word: 0.96 s at 100 Hz, R peak in the middle
_CACHED_RECORDINGS = 4  # cut together on a CPU: what its cache likes


class Sentence(NamedTuple):
    """Heartbeats as words: HeartLang's input.

    ``words`` float32 [n, n_tokens, BEAT_SAMPLES], ``lead`` and ``second`` int64 [n, n_tokens]: canonical lead number
    and second of the recording, both counted from 1; 0 marks padding.
    """

    words: torch.Tensor
    lead: torch.Tensor
    second: torch.Tensor

    @property
    def real(self) -> torch.Tensor:
        """Which words are no padding: bool [n, n_tokens]. A word of zeros, as of a flat lead, is, whatever its ids."""
        return (self.lead > 0) & (self.words != 0).any(-1)


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
    shape = offset * (BEAT_SAMPLES + 1) + end - start  # where in a word the beat lies, as one number

    # Token k of a recording is beat k % n_beats of lead k // n_beats.
    token = torch.arange(n_tokens, device=device)
    beats = n_beats.clamp(min=1)[:, None]
    lead = token // beats  # [n, n_tokens]
    beat = token - lead * beats
    real = (lead < n_leads) & (n_beats[:, None] > 0)
    lead = lead.clamp(max=n_leads - 1)

    code = torch.where(real, shape.gather(1, beat), 0)
    second = torch.where(real, (peaks // hz + 1).gather(1, beat), 0)

    # Sample j of a word is sample start + j - offset of its lead: one window of all leads in a row, with a margin at
    # both ends. What of a window lies outside the beat, perhaps in the next lead, is multiplied by zero.
    together = _CACHED_RECORDINGS if device.type == "cpu" else max(n, 1)
    flat = leads.new_zeros(together * n_leads * n_samples + 2 * BEAT_SAMPLES)
    inner = flat[BEAT_SAMPLES:-BEAT_SAMPLES].view(together, n_leads, n_samples)
    windows = flat.as_strided((flat.numel() - BEAT_SAMPLES + 1, BEAT_SAMPLES), (1, 1))  # one at every sample
    row = torch.arange(n, device=device)[:, None] % together * n_leads + lead
    window = row * n_samples + BEAT_SAMPLES + (start - offset).gather(1, beat)
    words = leads.new_empty(n, n_tokens, BEAT_SAMPLES)
    for begin in range(0, n, together):
        some = slice(begin, min(begin + together, n))
        inner[: some.stop - begin] = leads[some]
        part = words[some].view(-1, BEAT_SAMPLES)
        torch.index_select(windows, 0, window[some].flatten(), out=part)
        part *= _inside(device).index_select(0, code[some].flatten())
    return Sentence(words, torch.where(real, lead_numbers[lead], 0), second)


@lru_cache(maxsize=8)
def _inside(device: torch.device) -> torch.Tensor:
    """Which samples of a word belong to its beat: 1 or 0, one row for every offset and length of a beat.

    A row of a table is quicker to fetch than its comparisons are to make, sample by sample.
    """
    sample = torch.arange(BEAT_SAMPLES, device=device)
    offset = torch.arange(BEAT_SAMPLES // 2 + 1, device=device)[:, None, None]
    length = torch.arange(BEAT_SAMPLES + 1, device=device)[:, None]
    return ((sample >= offset) & (sample < offset + length)).float().flatten(0, 1)
