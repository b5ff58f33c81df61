"""CMSC: contrastive multi-segment coding, patients against patients (Kiyasseh et al. 2021; Eqs. S.1-S.2)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models import Backbone, Codebook
from ecgscale.objectives.objective import UNTRAINED, Contrast, Loss, ObjectiveInputs, Optimiser, Pretraining

EMBEDDING_WIDTH = 128


@dataclass(frozen=True)
class CMSC:
    """Two adjacent segments of a recording attract, other patients' repel, at ``temperature`` (both public codes: 0.1).

    ``variant`` "paper" is the scaling study's loss over all segments together; "clocs" and "fairseq" are those of the
    two public implementations, which compare first segments with second ones only (see VARIANTS). The loss depends on
    the batch size B (2B - 1 candidates an anchor, or B), so a sweep keeps it fixed.
    """

    temperature: float = 0.1
    variant: str = "paper"

    kind: ClassVar[str] = "cmsc"
    paradigm: ClassVar[str] = "ssl"
    inputs: ClassVar[tuple[str, ...]] = ("signal", "patches")
    cuts_batches: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    codebook: ClassVar[Codebook | None] = None
    optimiser: ClassVar[Optimiser] = Optimiser()

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"{self}: temperature is above 0")
        if self.variant not in VARIANTS:
            raise ValueError(f"{self}: variant is {' or '.join(map(repr, VARIANTS))}")

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> Pretraining:
        return CMSCModule(backbone, self)


class CMSCModule(Contrast):
    """A recording's two halves pass the backbone and a projection head, and are compared by a variant of InfoNCE."""

    n_segments = 2
    head_rows = 2

    def __init__(self, backbone: Backbone, description: CMSC) -> None:
        super().__init__()
        self.backbone = backbone
        self.description = description
        self.head = nn.Sequential(
            nn.Linear(backbone.width, backbone.width), nn.ReLU(), nn.Linear(backbone.width, EMBEDDING_WIDTH)
        )

    def embed(self, batch: Batch, draw: torch.Generator) -> torch.Tensor:
        half = batch.signal.shape[-1] // 2
        segments = torch.cat([batch.signal[..., :half], batch.signal[..., half : 2 * half]])  # [2n, 12, half]
        leads = batch.leads.expand(len(batch.signal), -1).repeat(2, 1)
        mv = batch.mv.expand(len(batch.signal)).repeat(2)
        embedded = self.head(self.backbone(batch._replace(signal=segments, leads=leads, mv=mv)).pooled)
        return torch.stack(embedded.chunk(2), 1)  # [n, 2, EMBEDDING_WIDTH]

    def contrast(self, embedded: torch.Tensor, patient: torch.Tensor) -> Loss:
        loss = VARIANTS[self.description.variant]
        with torch.autocast(embedded.device.type, enabled=False):
            return loss(embedded.float(), patient, self.description.temperature)


def paper(embedded: torch.Tensor, patient: torch.Tensor, temperature: float) -> Loss:
    """InfoNCE over all segments [n, 2, width]: positives are all others of the same patient (Eq. S.2).

    Every anchor is compared with the 2n - 1 other segments and has at least one positive, its twin.
    """
    unit = F.normalize(torch.cat(embedded.unbind(1)), dim=1)  # [2n, width]
    patient = patient.repeat(2)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    similarity = (unit @ unit.T / temperature).masked_fill(itself, -math.inf)  # [2n, 2n]
    log_share = similarity.log_softmax(1).masked_fill(itself, 0.0)
    positive = (patient[:, None] == patient[None, :]) & ~itself
    n_positive = positive.sum(1)
    terms = -(log_share * positive).sum(1) / n_positive.clamp(min=1)
    return Loss(terms.sum(), (n_positive > 0).sum())


def clocs(embedded: torch.Tensor, patient: torch.Tensor, temperature: float) -> Loss:
    """CLOCS as its authors published it: first segments against second ones, twins and fellows in separate means.

    Means over the twins in both directions, and, where a patient has several recordings in the batch, over those pairs:
    above the diagonal in the one direction, below it in the other. The loss is the mean of these two or four.
    """
    first, second = F.normalize(embedded, dim=2).unbind(1)
    similarity = first @ second.T / temperature  # [n, n]
    by_first, by_second = similarity.log_softmax(1), similarity.log_softmax(0)
    fellows = (patient[:, None] == patient[None, :]).triu(1)
    n_pairs = fellows.sum()
    twins = by_first.diagonal().mean() + by_second.diagonal().mean()
    others = ((by_first * fellows).sum() + (by_second * fellows.T).sum()) / n_pairs.clamp(min=1)
    mean = -(twins + others) / torch.where(n_pairs > 0, 4, 2)
    n_terms = patient.new_full((), 2 * len(patient))  # batches of the same size weigh the same
    return Loss(mean * n_terms, n_terms)


def fairseq(embedded: torch.Tensor, patient: torch.Tensor, temperature: float) -> Loss:
    """The CMSC of fairseq-signals: first segments against second ones, mean over all pairs of a patient, both ways.

    Vectors are divided by their length as by a constant: no gradient passes it.
    """
    first, second = (embedded / embedded.detach().norm(dim=2, keepdim=True).clamp(min=1e-8)).unbind(1)
    similarity = first @ second.T / temperature  # [n, n]
    same = patient[:, None] == patient[None, :]
    terms = -(similarity.log_softmax(1) + similarity.log_softmax(0)) * same
    return Loss(terms.sum(), 2 * same.sum())


VARIANTS: dict[str, Callable[[torch.Tensor, torch.Tensor, float], Loss]] = {
    "paper": paper,
    "clocs": clocs,
    "fairseq": fairseq,
}
