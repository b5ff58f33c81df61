"""Heartbeat sentences against HeartLang's tokeniser, written out slowly beat by beat."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecgscale.data.beats import BEAT_SAMPLES, sentences
from ecgscale.data.peaks import MAX_BEATS, NO_PEAK, r_peaks
from tests.layouts import signals

N_LEADS, N_SAMPLES = 12, 1000


def slow_sentence(leads: np.ndarray, peaks: list[int], n_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """QRSTokenizer of HeartLang (Jin et al. 2025), step by step as its description has it."""
    words = np.zeros((n_tokens, BEAT_SAMPLES), dtype=np.float32)
    lead_ids, seconds = np.zeros(n_tokens, dtype=int), np.zeros(n_tokens, dtype=int)
    token = 0
    for lead, samples in enumerate(leads):
        for i, centre in enumerate(peaks):
            start = (peaks[i - 1] + centre) // 2 if i > 0 else max(centre - 48, 0)
            end = (centre + peaks[i + 1]) // 2 if i < len(peaks) - 1 else min(centre + 48, len(samples))
            start, end = max(start, 0), min(end, len(samples))
            if end - start > BEAT_SAMPLES:
                start = max(centre - 48, 0)
                end = min(start + BEAT_SAMPLES, len(samples))
            at = max(48 - (centre - start), 0)
            segment = samples[start:end][: BEAT_SAMPLES - at]
            if token == n_tokens:
                return words, lead_ids, seconds
            words[token, at : at + len(segment)] = segment
            lead_ids[token], seconds[token] = lead + 1, centre // 100 + 1
            token += 1
    return words, lead_ids, seconds


def compare(leads: np.ndarray, peaks: list[list[int]], n_tokens: int) -> None:
    padded = np.full((len(peaks), MAX_BEATS), NO_PEAK, dtype=np.int64)
    for row, found in zip(padded, peaks, strict=True):
        row[: len(found)] = found
    fast = sentences(
        torch.from_numpy(leads), torch.from_numpy(padded), torch.arange(1, N_LEADS + 1), n_tokens=n_tokens, hz=100
    )
    for i, found in enumerate(peaks):
        words, lead_ids, seconds = slow_sentence(leads[i], found, n_tokens)
        assert np.array_equal(fast.words[i].numpy(), words)
        assert np.array_equal(fast.lead[i].numpy(), lead_ids)
        assert np.array_equal(fast.second[i].numpy(), seconds)


def test_sentences_of_real_recordings() -> None:
    leads = signals(16, 100).astype(np.float32)
    found = r_peaks(leads, 100)
    compare(leads, [row[row != NO_PEAK].tolist() for row in found], 256)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, N_SAMPLES - 1), max_size=MAX_BEATS, unique=True), st.sampled_from([8, 64, 256, 600]))
def test_sentences_of_any_peaks(peaks: list[int], n_tokens: int) -> None:
    leads = np.random.default_rng(0).normal(size=(1, N_LEADS, N_SAMPLES)).astype(np.float32)
    compare(leads, [sorted(peaks)], n_tokens)


def test_a_fast_heart_loses_its_last_leads() -> None:
    peaks = list(range(20, 1000, 40))  # 150 a minute: 25 beats, 12 leads, 300 words
    leads = np.ones((1, N_LEADS, N_SAMPLES), dtype=np.float32)
    compare(leads, [peaks], 256)
    padded = torch.full((1, MAX_BEATS), NO_PEAK)
    padded[0, : len(peaks)] = torch.tensor(peaks)
    sentence = sentences(torch.from_numpy(leads), padded, torch.arange(1, 13), n_tokens=256, hz=100)
    assert sentence.lead.max() == 11


@pytest.mark.parametrize("n_tokens", [16, 256])
def test_no_peak_is_all_padding(n_tokens: int) -> None:
    leads = torch.ones(2, N_LEADS, N_SAMPLES)
    sentence = sentences(leads, torch.full((2, MAX_BEATS), NO_PEAK), torch.arange(1, 13), n_tokens=n_tokens, hz=100)
    assert not sentence.words.any()
    assert not sentence.lead.any()
    assert not sentence.second.any()
