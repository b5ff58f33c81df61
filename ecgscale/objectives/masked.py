"""Masked: predict the codebook's codes of hidden heartbeats (Eq. 6; HeartLang)."""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.data.beats import Sentence
from ecgscale.models import Backbone, Codebook, CodebookModule
from ecgscale.models.transformer import TransformerBackbone
from ecgscale.objectives.objective import (
    UNTRAINED,
    Loss,
    ObjectiveInputs,
    Optimiser,
    ParamGroup,
    Pretraining,
    decayed_apart,
)


@dataclass(frozen=True)
class Masked:
    """Half of the heartbeats are hidden and their codes predicted, optimised by HeartLang's AdamW.

    HeartLang's published code departs from its idea in three ways, none of them the default here. ``mask_padding``
    also hides and predicts padding; ``leak`` hides words only after the token convolution, which has then shown them to
    their neighbours; with ``ids_at_label_time`` off, codes are looked up without the lead and second of a word, which
    the codebook was trained with.
    """

    codebook: Codebook
    ratio: float = 0.5
    mask_padding: bool = False
    leak: bool = False
    ids_at_label_time: bool = True

    kind: ClassVar[str] = "masked"
    revision: ClassVar[int] = 2  # 2: vectors and biases do not decay
    paradigm: ClassVar[str] = "ssl"
    inputs: ClassVar[tuple[str, ...]] = ("beats",)
    cuts_batches: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    reads_codewords: ClassVar[bool] = True
    optimiser: ClassVar[Optimiser] = Optimiser("adamw", (0.9, 0.98), 1e-8, 0.05, clip=3.0, min_lr=1e-5)

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"ratio={self.ratio}: the share of hidden heartbeats is above 0 and below 1")

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> Pretraining:
        return MaskedModule(cast(TransformerBackbone, backbone), self, inputs)


class MaskedModule(Pretraining):
    """Masked modelling: a linear head tells the codes of hidden words, which the frozen codebook (tokenizer) gives."""

    def __init__(
        self,
        backbone: TransformerBackbone,
        description: Masked,
        inputs: ObjectiveInputs = UNTRAINED,
    ) -> None:
        super().__init__()
        self.backbone: TransformerBackbone = backbone
        self.description = description
        self.head = nn.Linear(backbone.width, description.codebook.n_codes)
        self.head_rows = round(description.ratio * backbone.n_tokens)
        units = {"sd": 1.0, "mv": inputs.scale_mv}
        self.codebook_unit = units[description.codebook.unit] / units[getattr(backbone, "amplitude", "sd")]
        # Frozen and shared: in a tuple, so that it is neither a parameter nor part of a checkpoint.
        self._codes: tuple[CodebookModule, ...] = (inputs.codes.eval().requires_grad_(False),) if inputs.codes else ()

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        sentence = Sentence(*self.backbone.inputs(batch))
        codes = self.labels(sentence) if batch.labels.is_floating_point() else batch.labels
        masked = self.draw_mask(sentence.real, draw)
        words = sentence.words if self.description.leak else sentence.words.masked_fill(masked[..., None], 0.0)
        local = self.backbone.encode(words, sentence.lead, sentence.second, masked=masked).local
        terms = self.of_hidden if local.device.type == "cpu" else self.of_as_many
        return Loss(terms(local, codes, masked), masked.sum())

    def of_hidden(self, local: torch.Tensor, codes: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """Sum of the cross-entropies of hidden words' codes [n, n_tokens], from features [n, n_tokens, width]."""
        return F.cross_entropy(self.head(local[masked]).float(), codes[masked].long(), reduction="sum")

    def of_as_many(self, local: torch.Tensor, codes: torch.Tensor, masked: torch.Tensor) -> torch.Tensor:
        """The same sum, from as many words of each recording as may be hidden: a GPU is not asked how many are."""
        most = min(local.shape[1], int(self.description.ratio * local.shape[1]) + 1)
        counted, at = masked.to(torch.uint8).topk(most, 1)  # the hidden ones first
        chosen = local.gather(1, at[..., None].expand(-1, -1, local.shape[2])).flatten(0, 1)
        terms = F.cross_entropy(self.head(chosen).float(), codes.gather(1, at).long().flatten(), reduction="none")
        return (terms * counted.flatten()).sum()

    def groups(self) -> list[ParamGroup]:
        return decayed_apart(self)

    def labels(self, sentence: Sentence) -> torch.Tensor:
        """Codes int64 [n, n_tokens] that the frozen codebook gives the words of a batch, in full precision."""
        words = sentence.words if self.codebook_unit == 1.0 else sentence.words * self.codebook_unit
        with torch.autocast(words.device.type, enabled=False):
            return self._codes[0].label(sentence._replace(words=words), self.description.ids_at_label_time)

    def draw_mask(self, real: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """Which words to hide: bool [n, n_tokens], ``ratio`` of each recording's real words, rounded, at least one."""
        candidate = torch.ones_like(real) if self.description.mask_padding else real
        score = torch.rand(real.shape, generator=draw, device=draw.device).to(real.device, non_blocking=True)
        rank = score.masked_fill(~candidate, 2.0).argsort(1).argsort(1)
        n_hidden = (candidate.sum(1) * self.description.ratio).round().clamp(min=1)
        return (rank < n_hidden[:, None]) & candidate
