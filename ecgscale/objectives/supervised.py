"""Supervised: binary cross-entropy on diagnostic labels (Eq. 7), or focal loss; squared error on numbers.

The head of a number is Gaussian: it says the mean of a normal distribution whose variance is fixed. The negative log
likelihood of a standardised target y under mean z and variance s^2 is (y - z)^2 / (2 s^2) + log(s) + log(2 pi) / 2;
the loss here is (y - z)^2, which differs from it by a factor and a constant (s^2 = 1/2 makes the factor 1). So a law's
exponents are those of the likelihood, and whoever always says the training recordings' mean has a loss of about 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models import Backbone, Codebook
from ecgscale.objectives.objective import UNTRAINED, Loss, ObjectiveInputs, Optimiser, Pretraining


@dataclass(frozen=True)
class Supervised:
    """Multi-label classification and regression by a linear layer on the pooled features, optimised by Adam.

    The loss is the mean over all labels that are known, each in its own unit: nats where a finding is there or not,
    squared standard deviations where it is a number. A label set of both is their sum by how often each is known.
    ``focal_gamma`` above 0 weighs every term by (1 - p)^gamma, p the probability of the true answer (Lin et al. 2017,
    without their alpha): what is answered well already counts less. The label-scaling study's gamma is 2.
    """

    focal_gamma: float = 0.0

    kind: ClassVar[str] = "supervised"
    paradigm: ClassVar[str] = "sl"
    inputs: ClassVar[tuple[str, ...]] = ("signal", "beats", "patches")
    cuts_batches: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True
    codebook: ClassVar[Codebook | None] = None
    optimiser: ClassVar[Optimiser] = Optimiser()

    def __post_init__(self) -> None:
        if self.focal_gamma < 0:
            raise ValueError(f"{self}: focal_gamma is 0 (cross-entropy) or above")

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> Pretraining:
        return SupervisedModule(backbone, n_labels, self.focal_gamma, inputs.numbers)


class SupervisedModule(Pretraining):
    """A linear head on pooled features; one logit a label, or what it expects of a standardised number."""

    is_number: torch.Tensor | None

    def __init__(
        self, backbone: Backbone, n_labels: int, focal_gamma: float = 0.0, numbers: Sequence[bool] = ()
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.focal_gamma = focal_gamma
        self.head = nn.Linear(backbone.width, n_labels)
        self.register_buffer("is_number", torch.tensor(numbers) if any(numbers) else None, persistent=False)

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        said = self.head(self.backbone(batch).pooled).float()
        known = ~batch.labels.isnan()
        return label_loss(said, batch.labels.nan_to_num(), known, self.focal_gamma, self.is_number)


def label_loss(
    said: torch.Tensor,
    labels: torch.Tensor,
    known: torch.Tensor,
    focal_gamma: float = 0.0,
    is_number: torch.Tensor | None = None,
) -> Loss:
    """Loss of what a head says [n, n_labels] on the labels that are ``known``, summed over them.

    Binary cross-entropy (or its focal form) of logits on 0 and 1; squared error where ``is_number`` (bool [n_labels]).
    """
    terms = F.binary_cross_entropy_with_logits(said, labels, reduction="none")
    if focal_gamma:
        wrong = F.logsigmoid(said * (1 - 2 * labels))  # log(1 - p)
        terms = terms * (focal_gamma * wrong).exp()
    if is_number is not None:
        terms = torch.where(is_number, F.mse_loss(said, labels, reduction="none"), terms)
    return Loss((terms * known).sum(), known.sum())
