"""The dataloader: batches of a corpus' recordings, gathered as int16 and made float on the device that uses them."""

import weakref
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from ecgscale.data.allowance import Allowance, allowance_beside
from ecgscale.data.corpus import Corpus
from ecgscale.data.peaks import MAX_BEATS
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS, lead_ids, twelve_from
from ecgscale.pausing import check_pause

_COPIED = 4096  # recordings that go to a device at once
_TWELVE = torch.arange(1, len(LEADS) + 1)
_ONE = torch.ones(1)


class Batch(NamedTuple):
    """What a model sees of n recordings.

    ``signal`` float32 [n, n_leads, n_samples] in units of the corpus' standard deviation, all twelve leads unless the
    store was asked for those there are; ``peaks`` int64 [n, MAX_BEATS] R-peak samples; ``labels`` float32
    [n, n_labels] with NaN for missing, or integer [n, n_tokens], the codes of its words, where the store has those;
    ``patient`` int64 [n] codes; ``leads`` int64 [n, n_leads] numbers of the leads (recording.lead_ids; ABSENT_LEAD
    where a row is none); ``mv`` float32 [n] millivolts of one unit of the signal.
    """

    signal: torch.Tensor
    peaks: torch.Tensor
    labels: torch.Tensor
    patient: torch.Tensor
    leads: torch.Tensor = _TWELVE
    mv: torch.Tensor = _ONE


def bytes_of(n_records: int, n_leads: int, n_samples: int, label_bytes: int) -> tuple[int, int]:
    """What recordings take of a device's memory: their signals in int16, and their peaks, labels and patients."""
    return 2 * n_records * n_leads * n_samples, n_records * (2 * MAX_BEATS + label_bytes + 4)


class Store:
    """The recordings of a slice as int16: on the device that uses them where they fit, else gathered from the disk.

    What stays on the device is taken from an ``allowance``, and given back with the store; without one, that is a share
    of what is free now. ``words`` integer [n_recordings, n_tokens] of all of the corpus stand in the place of labels.
    Raises ValueError for a corpus of other leads than twelve, unless ``any_leads``: then its own
    leads are given back.
    """

    def __init__(
        self,
        corpus: Corpus,
        rows: np.ndarray,
        label_set: str = "",
        device: str = "cpu",
        allowance: Allowance | None = None,
        *,
        any_leads: bool = False,
        words: np.ndarray | None = None,
    ) -> None:
        self.rows, self.mapped = rows, corpus.signal
        self.device = torch.device(device)
        allowance = allowance_beside(device) if allowance is None else allowance
        labels = corpus.targets(label_set, rows) if words is None else words[rows]
        signal_bytes, table_bytes = bytes_of(
            len(rows), corpus.signal.shape[1], corpus.signal.shape[2], labels.itemsize * labels.shape[1]
        )
        self.signal: torch.Tensor | None = None  # int16 [n, n_leads, n_samples], if resident
        held = 0
        if allowance.take(signal_bytes):
            held += signal_bytes
            self.signal = _copied(corpus.signal, rows, self.device)
        at = self.device if allowance.take(table_bytes) else torch.device("cpu")
        held += table_bytes if at == self.device else 0
        weakref.finalize(self, allowance.give_back, held)
        self.peaks = torch.from_numpy(np.ascontiguousarray(corpus.peaks[rows])).to(at)
        self.labels = torch.from_numpy(labels).to(at)
        self.patient = torch.from_numpy(np.ascontiguousarray(corpus.patient[rows])).to(at)
        unit = corpus.manifest.mv_per_unit / corpus.manifest.scale_mv
        stored = tuple(corpus.manifest.leads)
        own = any_leads and stored not in (LEADS, INDEPENDENT_LEADS)
        given = np.eye(len(stored), dtype=np.float32) if own else twelve_from(stored)  # [n_leads, n_stored]
        self.given = torch.from_numpy(given * np.float32(unit)).to(device)
        self.leads = torch.from_numpy(lead_ids(stored if own else LEADS)).to(device)
        self.mv = torch.tensor([corpus.manifest.scale_mv], dtype=torch.float32).to(device)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_resident(self) -> bool:
        """Whether its recordings stay on the device that uses them."""
        return self.signal is not None

    def positions(self, batch_size: int, seed: int, step: int) -> np.ndarray:
        """Positions [batch_size] of a training step (see ``order``)."""
        return order(len(self), batch_size, seed, step)

    def evaluated(self) -> np.ndarray:
        """Positions that a loss is measured on, in their order: all, shuffled once and for all."""
        return np.random.default_rng(0).permutation(len(self))

    def batch(self, positions: np.ndarray) -> Batch:
        """The recordings at these positions of the slice, in this order. Raises IndexError for one beyond it."""
        on_cpu = self.device.type == "cpu"
        at = torch.from_numpy(positions).to(self.peaks.device, non_blocking=True)  # no wait for a GPU at work
        peaks, labels, patient = (self._here(table[at]) for table in (self.peaks, self.labels, self.patient))
        signal = self._gathered(positions) if on_cpu else self.given @ self._units(positions).float()
        n = len(positions)
        return Batch(signal, peaks.long(), labels, patient.long(), self.leads.expand(n, -1), self.mv.expand(n))

    def _here(self, some: torch.Tensor) -> torch.Tensor:
        """Rows of a table on the store's device."""
        if some.device.type == self.device.type:
            return some
        return some.pin_memory().to(self.device, non_blocking=True)

    def _gathered(self, positions: np.ndarray) -> torch.Tensor:
        """Float32 [n, n_leads, n_samples] on a CPU, of positions that are there."""
        from ecgscale.data.gather import gathered  # imports a compiler, of which a GPU has no need

        units, rows = (self.mapped, self.rows[positions]) if self.signal is None else (self.signal.numpy(), positions)
        return torch.from_numpy(gathered(units, rows, self.given.numpy()))

    def _units(self, positions: np.ndarray) -> torch.Tensor:
        """Int16 [n, n_stored, n_samples] on a GPU; from the memory map through pinned memory."""
        if self.signal is not None:
            return self.signal.index_select(0, torch.from_numpy(positions).to(self.device, non_blocking=True))
        units = torch.empty((len(positions), *self.mapped.shape[1:]), dtype=torch.int16, pin_memory=True)
        np.take(self.mapped, self.rows[positions], axis=0, out=units.numpy(), mode="clip")
        return units.to(self.device, non_blocking=True)


def _copied(stored: np.ndarray, rows: np.ndarray, device: torch.device) -> torch.Tensor:
    """Rows of what is stored, int16, on a device; piece by piece, so that they never lie in host memory as a whole."""
    found = torch.empty((len(rows), *stored.shape[1:]), dtype=torch.int16, device=device)
    for first in range(0, len(rows), _COPIED):
        check_pause()
        found[first : first + _COPIED] = torch.from_numpy(stored[rows[first : first + _COPIED]])
    return found


def order(n_records: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """Positions [batch_size] of a training step: step after step through one new permutation an epoch.

    A function of its arguments alone, so that a resumed run sees what an uninterrupted one would have seen.
    """
    return shuffled(n_records, np.arange(step * batch_size, (step + 1) * batch_size), seed)


def shuffled(n_records: int, stream: np.ndarray, seed: int) -> np.ndarray:
    """Positions [n] at these places of a stream that goes through one new permutation an epoch."""
    epoch, place = np.divmod(stream, n_records)
    positions = np.empty(len(stream), dtype=np.int64)
    for e in np.unique(epoch):
        positions[epoch == e] = _permutation(n_records, seed, int(e))[place[epoch == e]]
    return positions


@lru_cache(maxsize=6)  # two epochs of each corpus of a mix
def _permutation(n_records: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(n_records)
