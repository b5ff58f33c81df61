"""A trained model as it is used: from recordings in millivolts to features, and to what it says of its labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from ecgscale.data.alike import Preprocessing, prepared
from ecgscale.data.batches import Store
from ecgscale.data.corpus import Corpus
from ecgscale.data.label_sets import Number
from ecgscale.data.recording import LEADS, Recording
from ecgscale.models import Backbone
from ecgscale.probing.probe import features


@dataclass(frozen=True)
class Model:
    """A backbone with what it needs to be asked: how recordings are prepared for it, and its head, if it has one.

    ``card`` is what the folder says of it (see ``export.folder``).
    """

    backbone: Backbone
    head: nn.Linear | None
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    card: Mapping[str, Any]
    numbers: Mapping[str, Number] = field(default_factory=dict)  # those of the labels that are, with their units

    def features(
        self, signals: np.ndarray | Sequence[np.ndarray], sampling_hz: float, leads: Sequence[str] = LEADS
    ) -> np.ndarray:
        """Pooled features float32 [n, width] of recordings in millivolts, each [n_leads, n_samples].

        Filters, resampling, window and scale are those of the corpus that the model was trained on. Raises ValueError
        that says which recording cannot be used, and why.
        """
        return self.features_of([Recording(np.asarray(one, np.float32), sampling_hz, tuple(leads)) for one in signals])

    def probabilities(
        self, signals: np.ndarray | Sequence[np.ndarray], sampling_hz: float, leads: Sequence[str] = LEADS
    ) -> np.ndarray:
        """Probability float32 [n, n_labels] of each of ``labels``; what it expects of one of ``numbers``, in its unit.

        Raises as ``features``, and without a head.
        """
        return self.answers(self.features(signals, sampling_hz, leads))

    def features_of(self, recordings: Sequence[Recording]) -> np.ndarray:
        """As ``features``, of recordings as readers give them."""
        corpus, reasons = prepared(recordings, self.preprocessing)
        if reasons:
            first, why = min(reasons.items())
            others = f", and {len(reasons) - 1} others" if len(reasons) > 1 else ""
            raise ValueError(f"recording {first} cannot be used{others}: {why}")
        return self.features_in(corpus)

    def features_in(self, corpus: Corpus, rows: np.ndarray | None = None) -> np.ndarray:
        """Features of a prepared corpus' recordings, or of some rows. Raises ValueError for one at another rate."""
        stored, read = corpus.manifest.sampling_hz, self.preprocessing.sampling_hz
        if stored != read:
            raise ValueError(f"corpus {corpus.name} is at {stored} Hz; this model reads {read} Hz")
        at = np.arange(len(corpus.split)) if rows is None else rows
        device = str(next(self.backbone.parameters()).device)
        store = Store(corpus, at, device=device, any_leads=self.backbone.any_leads)
        return features(self.backbone, store).numpy()

    def answers(self, found: np.ndarray) -> np.ndarray:
        """As ``probabilities``, from features [n, width]. Raises ValueError without a head."""
        if self.head is None:
            raise ValueError("this model has no head that names labels; it was trained without labels")
        weight, bias = self.head.weight.detach().cpu(), self.head.bias.detach().cpu()
        said = torch.from_numpy(found) @ weight.T + bias
        answers = torch.sigmoid(said).numpy()
        for at, label in enumerate(self.labels):
            if label in self.numbers:
                answers[:, at] = self.numbers[label].in_unit(said[:, at].numpy())
        return answers
