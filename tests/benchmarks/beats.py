"""P8: R peaks by XQRS against wfdb lead by lead, and heartbeat words against HeartLang's way, beat by beat."""

import time
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from wfdb import processing

from ecgscale.data.beats import sentences
from ecgscale.data.peaks import NO_PEAK, r_peaks
from ecgscale.data.xqrs import xqrs
from tests.benchmarks import Measurement
from tests.layouts import signals

ROUNDS = 5


def measure() -> Iterator[Measurement]:
    """Both sides on one thread; ratios are medians over alternating rounds."""
    yield _detection(500, 4)
    yield _detection(100, 20)
    yield _words()


def _detection(hz: int, n_records: int) -> Measurement:
    """All twelve leads of some real recordings; identical peaks are part of the goal."""
    ratios, ours, theirs = [], [], []
    same = n_leads = 0
    for part in range(ROUNDS):
        leads = signals(n_records * (part + 1), hz)[-n_records:].reshape(-1, 10 * hz)
        began = time.perf_counter()
        found = xqrs(leads, hz)
        ours.append((time.perf_counter() - began) / len(leads))
        began = time.perf_counter()
        peer = [processing.xqrs_detect(lead, hz, verbose=False) for lead in leads]
        theirs.append((time.perf_counter() - began) / len(leads))
        ratios.append(theirs[-1] / ours[-1])
        same += sum(np.array_equal(a, b) for a, b in zip(found, peer, strict=True))
        n_leads += len(leads)
    if same != n_leads:
        raise AssertionError(f"XQRS differs from wfdb on {n_leads - same} of {n_leads} leads at {hz} Hz")
    return Measurement(
        f"XQRS at {hz} Hz (P8)",
        f"{1e3 * median(theirs):.2f} ms a lead",
        f"{1e3 * median(ours):.2f} ms",
        median(ratios),
        40,
        f"identical on {same} of {n_leads} leads",
    )


def _tokenised(leads: np.ndarray, peaks: list[int]) -> tuple[list, list, list]:
    """The peer: HeartLang's tokeniser as it is described, a vector of zeros for each beat and a list that grows."""
    words, lead_ids, seconds = [], [], []
    for lead in range(len(leads)):
        for i, centre in enumerate(peaks):
            start = max((peaks[i - 1] + centre) // 2 if i > 0 else centre - 48, 0)
            end = min((centre + peaks[i + 1]) // 2 if i < len(peaks) - 1 else centre + 48, leads.shape[1])
            if end - start > 96:
                start = max(centre - 48, 0)
                end = min(start + 96, leads.shape[1])
            word = np.zeros(96, dtype=np.float32)
            at = max(48 - (centre - start), 0)
            n = min(end - start, 96 - at)
            word[at : at + n] = leads[lead, start : start + n]
            words.append(word)
            lead_ids.append(lead + 1)
            seconds.append(centre // 100 + 1)
    padding = max(0, 256 - len(words))
    words += [np.zeros(96, dtype=np.float32)] * padding
    return words[:256], (lead_ids + [0] * padding)[:256], (seconds + [0] * padding)[:256]


def _words() -> Measurement:
    leads = signals(64, 100).astype(np.float32)
    peaks = r_peaks(leads, 100)
    lists = [row[row != NO_PEAK].tolist() for row in peaks]
    tensors = torch.from_numpy(leads), torch.from_numpy(peaks).long(), torch.arange(1, 13)
    ratios = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        fast = sentences(*tensors, n_tokens=256, hz=100).words
        middle = time.perf_counter()
        slow = np.array([_tokenised(recording, beats)[0] for recording, beats in zip(leads, lists, strict=True)])
        ratios.append((time.perf_counter() - middle) / (middle - began))
    if not np.array_equal(fast.numpy(), slow):
        raise AssertionError("heartbeat words differ from the tokeniser's")
    return Measurement("heartbeat words (P8)", "", "", median(ratios), 4, "64 recordings; equal words")
