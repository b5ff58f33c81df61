"""CMSC: contrastive multi-segment coding, patients against patients (Kiyasseh et al. 2021; Eqs. S.1-S.2)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models import Backbone
from ecgscale.objectives.objective import Loss, Optimiser, Pretraining

EMBEDDING_WIDTH = 128


@dataclass(frozen=True)
class CMSC:
    """Two adjacent segments of a recording attract, other patients' repel, at ``temperature`` (both public codes: 0.1).

    The loss depends on the batch size (2B - 1 candidates an anchor), so a sweep keeps it fixed.
    """

    temperature: float = 0.1

    kind: ClassVar[str] = "cmsc"
    paradigm: ClassVar[str] = "ssl"
    views: ClassVar[tuple[str, ...]] = ("signal", "patches")
    needs_labels: ClassVar[bool] = False
    optimiser: ClassVar[Optimiser] = Optimiser()

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"{self}: temperature is above 0")

    def build(self, backbone: Backbone, n_labels: int) -> Pretraining:
        return SegmentContrast(backbone, self.temperature)


class SegmentContrast(Pretraining):
    views = 2
    head_rows = 2
    fixed_batches = True

    def __init__(self, backbone: Backbone, temperature: float) -> None:
        super().__init__()
        self.backbone = backbone
        self.temperature = temperature
        self.head = nn.Sequential(
            nn.Linear(backbone.width, backbone.width), nn.ReLU(), nn.Linear(backbone.width, EMBEDDING_WIDTH)
        )

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        half = batch.signal.shape[-1] // 2
        segments = torch.cat([batch.signal[..., :half], batch.signal[..., half : 2 * half]])  # [2n, 12, half]
        embedded = self.head(
            self.backbone(
                batch._replace(signal=segments, leads=batch.leads.expand(len(batch.signal), -1).repeat(2, 1))
            ).pooled
        )
        return patient_contrast(embedded, batch.patient.repeat(2), self.temperature)


def patient_contrast(embedded: torch.Tensor, patient: torch.Tensor, temperature: float) -> Loss:
    """InfoNCE over all segments [n, width]: positives are all others of the same patient (Eq. S.2).

    An anchor without a positive has no term.
    """
    unit = F.normalize(embedded.float(), dim=1)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / temperature).masked_fill(itself, -math.inf)  # [n, n]
    log_share = similarity.log_softmax(1).masked_fill(itself, 0.0)
    positive = (patient[:, None] == patient[None, :]) & ~itself
    n_positive = positive.sum(1)
    terms = -(log_share * positive).sum(1) / n_positive.clamp(min=1)
    return Loss(terms.sum(), (n_positive > 0).sum())
