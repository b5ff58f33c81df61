"""Supervised: binary cross-entropy on diagnostic labels (Eq. 7), or focal loss; missing labels masked."""

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
    """Multi-label classification by a linear layer on the pooled features, optimised by Adam.

    ``focal_gamma`` above 0 weighs every term by (1 - p)^gamma, p the probability of the true answer (Lin et al. 2017,
    without their alpha): what is answered well already counts less. The label-scaling study's gamma is 2.
    """

    focal_gamma: float = 0.0

    kind: ClassVar[str] = "supervised"
    paradigm: ClassVar[str] = "sl"
    views: ClassVar[tuple[str, ...]] = ("signal", "beats", "patches")
    needs_labels: ClassVar[bool] = True
    optimiser: ClassVar[Optimiser] = Optimiser()

    def __post_init__(self) -> None:
        if self.focal_gamma < 0:
            raise ValueError(f"{self}: focal_gamma is 0 (cross-entropy) or above")

    def build(self, backbone: Backbone, n_labels: int) -> Pretraining:
        return SupervisedModule(backbone, n_labels, self.focal_gamma)


class SupervisedModule(Pretraining):
    def __init__(self, backbone: Backbone, n_labels: int, focal_gamma: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.focal_gamma = focal_gamma
        self.head = nn.Linear(backbone.width, n_labels)

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        logits = self.head(self.backbone(batch).pooled).float()
        known = ~batch.labels.isnan()
        return binary_loss(logits, batch.labels.nan_to_num(), known, self.focal_gamma)


def binary_loss(logits: torch.Tensor, labels: torch.Tensor, known: torch.Tensor, focal_gamma: float = 0.0) -> Loss:
    """Binary cross-entropy of logits [n, n_labels] on the labels 0 and 1 that are ``known``, or its focal form."""
    terms = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    if focal_gamma:
        wrong = F.logsigmoid(logits * (1 - 2 * labels))  # log(1 - p)
        terms = terms * (focal_gamma * wrong).exp()
    return Loss((terms * known).sum(), known.sum())
