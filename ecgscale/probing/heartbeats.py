"""Beat classification: the annotated heartbeats of recordings, and a backbone's local features around each of them.

A beat at R is described by the local features whose stretch overlaps [R - 0.25 s, R + 0.4 s], their mean over all
leads that are there. Beats near the ends of a window have fewer of them.
"""

from typing import NamedTuple

import numpy as np
import torch

from ecgscale.data.batches import Batch
from ecgscale.data.corpus import MISSING, Corpus
from ecgscale.data.peaks import NO_PEAK
from ecgscale.models import Backbone

CLASSES = ("N", "S", "V", "F")  # AAMI's, without Q
_BEFORE, _AFTER = 0.25, 0.4  # seconds around the R peak


class Beats(NamedTuple):
    """Some beats of a corpus: row of the recording and place among its peaks, int64 [n]; labels [n, len(CLASSES)]."""

    row: np.ndarray
    place: np.ndarray
    labels: torch.Tensor


def beats_of(corpus: Corpus, rows: np.ndarray) -> Beats:
    """Beats of ``CLASSES`` in these recordings, in order. Raises ValueError for a corpus without annotated beats."""
    if corpus.beat_classes is None:
        raise ValueError(f"corpus {corpus.name} has no annotated beats; mitbih has")
    known = np.full(MISSING + 1, -1)
    for code, name in enumerate(corpus.manifest.beat_classes):
        known[code] = CLASSES.index(name) if name in CLASSES else -1
    classes = known[np.asarray(corpus.beat_classes[rows])]
    at, place = np.nonzero((classes >= 0) & (np.asarray(corpus.peaks[rows]) != NO_PEAK))
    labels = torch.from_numpy(np.eye(len(CLASSES), dtype=np.float32)[classes[at, place]])
    return Beats(rows[at], place, labels)


def around_beats(backbone: Backbone, batch: Batch, hz: int) -> torch.Tensor:
    """Mean local features [n, n_peaks, width] around every peak of a batch; zeros where there is no peak."""
    local, places = backbone(batch).local, backbone.places(batch)
    peak = (batch.peaks / hz)[..., None]  # [n, n_peaks, 1], negative where there is none
    inside = (places.begin[:, None] < peak + _AFTER) & (places.end[:, None] > peak - _BEFORE)
    inside &= places.present[:, None] & (batch.peaks != NO_PEAK)[..., None]  # [n, n_peaks, n_positions]
    weight = inside.to(local.dtype)
    return weight @ local / weight.sum(-1, keepdim=True).clamp(min=1)
