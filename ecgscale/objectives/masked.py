"""Masked: predict the codebook's codes of hidden heartbeats (Eq. 6; HeartLang)."""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.data.beats import Sentence
from ecgscale.models import Backbone, Codebook, VectorQuantisedBeats
from ecgscale.models.transformer import HeartbeatEncoder
from ecgscale.objectives.objective import Loss, Optimiser, Pretraining


@dataclass(frozen=True)
class Masked:
    """Half of the heartbeats are hidden and their codes predicted, optimised by HeartLang's AdamW.

    ``mask_padding`` also hides and predicts padding; ``leak`` hides words only after the token convolution, which has
    then shown them to their neighbours. HeartLang does both; neither is the default.
    """

    codebook: Codebook
    ratio: float = 0.5
    mask_padding: bool = False
    leak: bool = False

    kind: ClassVar[str] = "masked"
    paradigm: ClassVar[str] = "ssl"
    views: ClassVar[tuple[str, ...]] = ("beats",)
    needs_labels: ClassVar[bool] = False
    optimiser: ClassVar[Optimiser] = Optimiser("adamw", (0.9, 0.98), 1e-8, 0.05, clip=3.0, min_lr=1e-5)

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"ratio={self.ratio}: the share of hidden heartbeats is above 0 and below 1")

    def build(self, backbone: Backbone, n_labels: int, codes: VectorQuantisedBeats | None = None) -> Pretraining:
        """``codes`` is the trained codebook; without it (to count or price) the module cannot be trained."""
        return MaskedHeartbeats(cast(HeartbeatEncoder, backbone), self, codes)


class MaskedHeartbeats(Pretraining):
    def __init__(self, backbone: HeartbeatEncoder, description: Masked, codes: VectorQuantisedBeats | None) -> None:
        super().__init__()
        self.backbone: HeartbeatEncoder = backbone
        self.description = description
        self.head = nn.Linear(backbone.width, description.codebook.n_codes)
        self.head_rows = round(description.ratio * backbone.n_tokens)
        # Frozen and shared: in a tuple, so that it is neither a parameter nor part of a checkpoint.
        self._codes: tuple[VectorQuantisedBeats, ...] = (codes.eval().requires_grad_(False),) if codes else ()

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        sentence = Sentence(*self.backbone.inputs(batch))
        codes = self._codes[0].label(sentence)  # [n, n_tokens]
        masked = self.draw_mask(sentence.lead > 0, draw)
        words = sentence.words if self.description.leak else sentence.words.masked_fill(masked[..., None], 0.0)
        local = self.backbone.encode(words, sentence.lead, sentence.second, masked=masked).local
        terms = F.cross_entropy(self.head(local[masked]), codes[masked], reduction="sum")
        return Loss(terms, masked.sum())

    def draw_mask(self, real: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """Which words to hide: bool [n, n_tokens], ``ratio`` of each recording's real words, rounded, at least one."""
        candidate = torch.ones_like(real) if self.description.mask_padding else real
        score = torch.rand(real.shape, generator=draw, device=draw.device).to(real.device)
        rank = score.masked_fill(~candidate, 2.0).argsort(1).argsort(1)
        n_hidden = (candidate.sum(1) * self.description.ratio).round().clamp(min=1)
        return (rank < n_hidden[:, None]) & candidate
