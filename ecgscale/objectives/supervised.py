"""Supervised: binary cross-entropy on diagnostic labels (Eq. 7), missing labels masked."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models import Backbone
from ecgscale.objectives.objective import Loss, Optimiser, Pretraining


@dataclass(frozen=True)
class Supervised:
    """Multi-label classification by a linear layer on the pooled features, optimised by Adam."""

    kind: ClassVar[str] = "supervised"
    paradigm: ClassVar[str] = "sl"
    views: ClassVar[tuple[str, ...]] = ("signal", "beats", "patches")
    needs_labels: ClassVar[bool] = True
    optimiser: ClassVar[Optimiser] = Optimiser()

    def build(self, backbone: Backbone, n_labels: int) -> Pretraining:
        return Classification(backbone, n_labels)


class Classification(Pretraining):
    def __init__(self, backbone: Backbone, n_labels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.width, n_labels)

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        logits = self.head(self.backbone(batch).pooled)
        known = ~batch.labels.isnan()
        terms = F.binary_cross_entropy_with_logits(logits, batch.labels.nan_to_num(), reduction="none")
        return Loss((terms * known).sum(), known.sum())
