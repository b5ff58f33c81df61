"""Several corpora in one mix: batches of recordings of each in exact shares, whatever leads they have.

The stream of a mix is a function of its shares alone: of any first n recordings each corpus has its share of n, to
within one for every other corpus, and goes through its own recordings in its own order. A corpus with few recordings
and a large share is seen more often.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch.nn import functional as F

from ecgscale.data.allowance import Allowance
from ecgscale.data.batches import Batch, Store, shuffled
from ecgscale.data.corpus import Corpus, Slice


def stored(
    part: Slice,
    corpora: Sequence[Corpus],
    split: str,
    device: str,
    any_leads: bool,
    allowance: Allowance | None = None,
    words: np.ndarray | None = None,
) -> "Store | Mixture":
    """The recordings of a slice in a split; ``corpora`` are those that ``part.corpora`` names.

    ``words`` are those of a single corpus (see Store). The training split is cut to the slice's fraction of the
    patients of each corpus. Labels that are numbers are standardised as those of the first. Raises ValueError as Store,
    and for corpora that do not go together, or whose label set is not the same.
    """
    corpora = [one.scaled_as(corpora[0], part.label_set) for one in corpora]
    fraction = part.fraction if split == "train" else 1.0
    rows = [corpus.rows(split, fraction, part.label_set) for corpus in corpora]
    stores = [
        Store(corpus, some, part.label_set, device, allowance, any_leads=any_leads, words=words)
        for corpus, some in zip(corpora, rows, strict=True)
    ]
    if len(stores) == 1:
        return stores[0]
    shapes = {corpus.name: (corpus.manifest.sampling_hz, corpus.signal.shape[-1]) for corpus in corpora}
    if len(set(shapes.values())) > 1:
        said = ", ".join(f"{name} of {n} samples at {hz} Hz" for name, (hz, n) in shapes.items())
        raise ValueError(f"corpora of a mix have recordings of one length and rate, not {said}")
    empty = [corpus.name for corpus, some in zip(corpora, rows, strict=True) if not len(some)]
    if empty:
        raise ValueError(f"corpus {empty[0]} of a mix has no recordings in its {split} split")
    return Mixture(stores, (1.0, *(share for _, share in part.mix)))


class Mixture:
    """Stores as one, with what a Store offers: positions count through the first, then the second, and so on."""

    def __init__(self, stores: Sequence[Store], shares: Sequence[float]) -> None:
        self.stores, self.shares = tuple(stores), tuple(shares)
        self.first = np.cumsum([0, *(len(store) for store in stores)])  # position where each store begins
        patients = [int(store.patient.max()) + 1 for store in stores]
        self.patients = np.cumsum([0, *patients])  # codes of different corpora are different people

    def __len__(self) -> int:
        return int(self.first[-1])

    @property
    def device(self) -> torch.device:
        return self.stores[0].device

    @property
    def is_resident(self) -> bool:
        """Whether the recordings of all corpora stay on the device that uses them."""
        return all(store.is_resident for store in self.stores)

    def positions(self, batch_size: int, seed: int, step: int) -> np.ndarray:
        """Positions [batch_size] of a training step; a function of its arguments alone, as ``batches.order``."""
        which, nth = interleaved(np.arange(step * batch_size, (step + 1) * batch_size), self.shares)
        return self._drawn(which, nth, seed)

    def evaluated(self) -> np.ndarray:
        """Positions that a loss is measured on, in their order: in shares until one corpus has no more."""
        which, nth = interleaved(np.arange(len(self)), self.shares)
        gone = nth >= np.diff(self.first)[which]
        n = int(gone.argmax()) if gone.any() else len(self)
        return self._drawn(which[:n], nth[:n], 0)

    def batch(self, positions: np.ndarray) -> Batch:
        """The recordings at these positions, in this order; rows of leads that one has fewer of are ABSENT_LEAD."""
        which = np.searchsorted(self.first, positions, side="right") - 1
        parts, order = [], []
        for i, store in enumerate(self.stores):
            mine = np.flatnonzero(which == i)
            if len(mine):
                part = store.batch(positions[mine] - self.first[i])
                parts.append(part._replace(patient=part.patient + int(self.patients[i])))
                order.append(mine)
        n_leads = max(part.signal.shape[1] for part in parts)
        padded = [_padded(part, n_leads) for part in parts]
        back = torch.from_numpy(np.concatenate(order).argsort()).to(padded[0].signal.device)
        return Batch(*(torch.cat(tensors)[back] for tensors in zip(*padded, strict=True)))

    def _drawn(self, which: np.ndarray, nth: np.ndarray, seed: int) -> np.ndarray:
        positions = np.empty(len(which), dtype=np.int64)
        for i, store in enumerate(self.stores):
            mine = which == i
            positions[mine] = self.first[i] + shuffled(len(store), nth[mine], seed)
        return positions


def interleaved(stream: np.ndarray, shares: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Of each place of a stream, int64 [n]: which of the shares it belongs to, and how many of that one were before.

    The last share takes every place where its whole number of recordings rises, the others share what is left; exact
    arithmetic of fractions, so that no rounding depends on the place.
    """
    parts = [Fraction(repr(float(share))) for share in shares]
    which, nth = np.zeros(len(stream), dtype=np.int64), stream.astype(np.int64)
    left = np.ones(len(stream), dtype=bool)
    for i in range(len(parts) - 1, 0, -1):
        weight = parts[i] / sum(parts[: i + 1])
        before = nth * weight.numerator // weight.denominator
        taken = left & ((nth + 1) * weight.numerator // weight.denominator > before)
        which[taken] = i
        left &= ~taken
        nth = np.where(taken, before, np.where(left, nth - before, nth))
    return which, nth


def n_evaluated(sizes: Sequence[int], shares: Sequence[float]) -> int:
    """About how many recordings of splits of these sizes ``Mixture.evaluated`` gives."""
    return round(min(size / share for size, share in zip(sizes, shares, strict=True)) * sum(shares))


def _padded(batch: Batch, n_leads: int) -> Batch:
    missing = n_leads - batch.signal.shape[1]
    leads = batch.leads.expand(len(batch.signal), -1)
    mv = batch.mv.expand(len(batch.signal))
    return batch._replace(signal=F.pad(batch.signal, (0, 0, 0, missing)), leads=F.pad(leads, (0, missing)), mv=mv)
