"""Batches of a corpus' recordings, gathered as int16 and made float on the device that uses them."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from ecgscale.data.corpus import Corpus
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS, lead_ids, twelve_from

_TWELVE = torch.arange(1, len(LEADS) + 1)


class Batch(NamedTuple):
    """What a model sees of n recordings.

    ``signal`` float32 [n, n_leads, n_samples] in units of the corpus' standard deviation, all twelve leads unless the
    store was asked for those there are; ``peaks`` int64 [n, MAX_BEATS] R-peak samples; ``labels`` float32
    [n, n_labels] with NaN for missing; ``patient`` int64 [n] codes; ``leads`` int64 [n, n_leads] numbers of the leads
    (recording.lead_ids; ABSENT_LEAD where a row is none).
    """

    signal: torch.Tensor
    peaks: torch.Tensor
    labels: torch.Tensor
    patient: torch.Tensor
    leads: torch.Tensor = _TWELVE


class Store:
    """The recordings of a slice, resident on a device as int16.

    Raises ValueError for a corpus of other leads than twelve, unless ``any_leads``: then its own leads are given back.
    """

    def __init__(
        self, corpus: Corpus, rows: np.ndarray, label_set: str = "", device: str = "cpu", *, any_leads: bool = False
    ) -> None:
        self.signal = torch.from_numpy(np.ascontiguousarray(corpus.signal[rows])).to(device)  # int16 [n, 8, n_samples]
        self.peaks = torch.from_numpy(np.ascontiguousarray(corpus.peaks[rows])).to(device)
        self.labels = torch.from_numpy(corpus.targets(label_set, rows)).to(device)
        self.patient = torch.from_numpy(np.ascontiguousarray(corpus.patient[rows])).to(device)
        unit = corpus.manifest.mv_per_unit / corpus.manifest.scale_mv
        stored = tuple(corpus.manifest.leads)
        own = any_leads and stored not in (LEADS, INDEPENDENT_LEADS)
        given = np.eye(len(stored), dtype=np.float32) if own else twelve_from(stored)  # [n_leads, n_stored]
        self.given = torch.from_numpy(given * np.float32(unit)).to(device)
        self.leads = torch.from_numpy(lead_ids(stored if own else LEADS)).to(device)

    def __len__(self) -> int:
        return len(self.signal)

    def batch(self, positions: np.ndarray) -> Batch:
        """The recordings at these positions of the slice, in this order."""
        at = torch.from_numpy(positions).to(self.signal.device, non_blocking=True)  # no wait for a GPU at work
        signal = self.given @ self.signal.index_select(0, at).float()  # [n, n_leads, n_samples]
        leads = self.leads.expand(len(at), -1)
        return Batch(signal, self.peaks[at].long(), self.labels[at], self.patient[at].long(), leads)


def order(n_records: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Positions [batch_size] of a training step: step after step through one new permutation an epoch.

    A function of its arguments alone, so that a resumed run sees what an uninterrupted one would have seen.
    """
    stream = np.arange(step * batch_size, (step + 1) * batch_size)
    epoch, place = np.divmod(stream, n_records)
    positions = np.empty(batch_size, dtype=np.int64)
    for e in np.unique(epoch):
        positions[epoch == e] = _permutation(n_records, seed, int(e))[place[epoch == e]]
    return positions


@lru_cache(maxsize=2)
def _permutation(n_records: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n_records)
