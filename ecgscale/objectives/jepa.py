"""JEPA: the features of hidden stretches are predicted from those of what is seen (Assran et al. 2023; Kim 2024).

ECG-JEPA (arXiv 2410.08559) for recordings as patches or heartbeats: predicted are not samples, but what the moving
average of the encoder says of them.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.data.beats import Sentence
from ecgscale.data.recording import ABSENT_LEAD
from ecgscale.models import Architecture, Backbone, Codebook
from ecgscale.models.transformer import MODEL_HZ, Transformer, TransformerBackbone
from ecgscale.models.vit import Block, Patches, ViT, ViTBackbone, start
from ecgscale.objectives.distillation import average_into, rank_of, spread_of
from ecgscale.objectives.objective import (
    UNTRAINED,
    Collapsed,
    Loss,
    ObjectiveInputs,
    Optimiser,
    ParamGroup,
    Pretraining,
    decayed_apart,
)

_HEAD_WIDTH = 32  # of the predictor's attention, as in both papers
_ROPE_BASE, _SHORTEST_PERIOD = 100.0, 0.5  # as in a ViT
_START = 0.02
_COLLAPSED = 0.01  # spread of targets that is nothing


@dataclass(frozen=True)
class JEPA:
    """Stretches of time are hidden in all leads at once, and their features predicted lead by lead.

    ``blocks`` stretches, each a share of the recording uniform in ``block``, lie anywhere and may overlap (ECG-JEPA's
    multi-block masking). The context encoder is the backbone, which does not see what is hidden: a ViT's patches take
    part in nothing, a Transformer's words have its mask token in their place. The target encoder, its exponential
    moving average, sees everything; its momentum rises from ``momentum`` to 1 in a line. Its features, normalised to
    mean 0 and deviation 1, are the targets, and the loss is the smooth L1 of ECG-JEPA, a mean over features.

    The predictor is a transformer whose mask tokens are told where they are; ``predictor_width`` 0 is half the
    backbone's and ``predictor_layers`` 0 half of its: ECG-JEPA's 384 and 6, to an encoder of 768 and 12. Patches and
    words are what is trained, so backbones have to be pooled by their mean. Probed is the context encoder, as in
    ECG-JEPA. The target encoder's pass is not counted, as DINO's is not.
    """

    blocks: int = 4
    block: tuple[float, float] = (0.175, 0.225)
    predictor_width: int = 0
    predictor_layers: int = 0
    momentum: float = 0.996

    kind: ClassVar[str] = "jepa"
    paradigm: ClassVar[str] = "ssl"
    called: ClassVar[str] = "jepa"
    inputs: ClassVar[tuple[str, ...]] = ("patches", "beats")
    cuts_batches: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    codebook: ClassVar[Codebook | None] = None
    optimiser: ClassVar[Optimiser] = Optimiser("adamw", weight_decay=0.05, min_lr=1e-6)

    def __post_init__(self) -> None:
        low, high = self.block
        if self.blocks < 1 or not 0 < low <= high or self.blocks * high >= 1:
            raise ValueError(f"{self}: block is two shares above 0, and all blocks together leave something to be seen")
        if not 0 < self.momentum <= 1 or min(self.predictor_width, self.predictor_layers) < 0:
            raise ValueError(f"{self}: momentum is in (0, 1], predictor_width and predictor_layers at least 0")
        if self.predictor_width % 2:
            raise ValueError(f"{self}: predictor_width is even, for features are rotated in pairs")

    def misfit(self, architecture: Architecture) -> str:
        """What is wrong with an architecture in one sentence, or ""."""
        if not isinstance(architecture, ViT | Transformer):
            return f"jepa trains a vit or a transformer, whose tokens it can hide: this is a {architecture.kind}"
        if architecture.pooling != "mean":
            return f"jepa trains the features of tokens and no class token: give the {architecture.kind} pooling='mean'"
        return ""

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> Pretraining:
        return JEPAModule(cast("ViTBackbone | TransformerBackbone", backbone), self)


class Tokens(NamedTuple):
    """What a backbone reads and where its tokens are, each [n, n_tokens].

    ``lead`` number, 0 where there is none; ``place`` in time as the predictor is told it; ``slot`` int64, which of
    ``n_slots`` equal parts of the recording a token is in.
    """

    inputs: tuple[torch.Tensor, ...]
    lead: torch.Tensor
    place: torch.Tensor
    slot: torch.Tensor
    n_slots: int


class Predictor(nn.Module):
    """Features of hidden tokens, from those of seen ones of the same lead: a narrow transformer, rotary positions."""

    def __init__(self, width: int, narrow: int, layers: int) -> None:
        super().__init__()
        heads = next(h for h in range(max(1, narrow // _HEAD_WIDTH), 0, -1) if narrow % (2 * h) == 0)
        self.enter = nn.Linear(width, narrow)
        self.mask_token = nn.Parameter(torch.empty(narrow))
        self.layers = nn.ModuleList(Block(narrow, heads, 4 * narrow, 1.0, 0.0) for _ in range(layers))
        self.norm = nn.LayerNorm(narrow)
        self.leave = nn.Linear(narrow, width)
        n_pairs = narrow // heads // 2
        exponent = torch.arange(n_pairs, dtype=torch.float32) / n_pairs
        self.register_buffer("periods", _SHORTEST_PERIOD * _ROPE_BASE**exponent, persistent=False)
        start(self, _START)
        nn.init.trunc_normal_(self.mask_token, std=_START)

    def forward(
        self, local: torch.Tensor, hidden: torch.Tensor, lead: torch.Tensor, place: torch.Tensor
    ) -> torch.Tensor:
        """``local`` [n, n_tokens, width], of which those ``hidden`` bool [n, n_tokens] are not looked at."""
        x = self.enter(local)
        x = torch.where(hidden[..., None], self.mask_token.to(x.dtype), x)
        angles = 2 * math.pi * place.float()[..., None] / self.get_buffer("periods")
        rotation = torch.stack([angles.cos(), angles.sin()])[:, :, None].to(x.dtype)
        same_lead = (lead[:, :, None] == lead[:, None, :])[:, None]
        for layer in self.layers:
            x = layer(x, rotation, same_lead)
        return self.leave(self.norm(x))  # type: ignore[no-any-return]


class JEPAModule(Pretraining):
    """A context encoder and a predictor are trained; the target encoder is the moving average of the first (EMA)."""

    def __init__(self, backbone: ViTBackbone | TransformerBackbone, description: JEPA) -> None:
        super().__init__()
        self.description = description
        self.backbone: ViTBackbone | TransformerBackbone = backbone
        narrow = description.predictor_width or 2 * max(1, -(-backbone.width // 4))
        layers = description.predictor_layers or max(1, len(backbone.layers) // 2)
        self.head = Predictor(backbone.width, narrow, layers)
        self.teacher = copy.deepcopy(backbone).requires_grad_(False)
        self._step, self._steps = 0, 1

    def heads(self, batch: Batch) -> Sequence[tuple[int, nn.Module, Sequence[torch.Tensor]]]:
        tokens = self.tokens(batch)
        local = torch.zeros(*tokens.lead.shape, self.backbone.width)
        return [(1, self.head, [local, torch.zeros_like(tokens.lead, dtype=torch.bool), tokens.lead, tokens.place])]

    @property
    def momentum(self) -> float:
        """Share of itself that the target encoder keeps at this step: a line from the first value to 1."""
        return self.description.momentum + (1 - self.description.momentum) * self._step / self._steps

    def train(self, mode: bool = True) -> "JEPAModule":
        super().train(mode)
        self.teacher.eval()
        return self

    def begin(self, step: int, steps: int) -> None:
        self._step, self._steps = step, steps

    def end(self) -> None:
        average_into(self.teacher, self.backbone, self.momentum)

    def groups(self) -> list[ParamGroup]:
        return decayed_apart(self)

    def tokens(self, batch: Batch) -> Tokens:
        """A batch as its backbone reads it. Slots are a ViT's patches of a lead, and a Transformer's seconds."""
        inputs, n_samples = self.backbone.inputs(batch), batch.signal.shape[-1]
        if isinstance(self.backbone, ViTBackbone):
            cut, n_slots = Patches(*inputs), n_samples // self.backbone.patch
            slot = torch.arange(cut.lead.shape[1], device=cut.lead.device) % n_slots
            return Tokens(inputs, cut.lead, cut.seconds, slot.expand(len(cut.lead), -1), n_slots)
        words = Sentence(*inputs)
        n_slots = -(-n_samples // MODEL_HZ)
        place = torch.arange(words.lead.shape[1], device=words.lead.device, dtype=torch.float32)
        slot = (words.second - 1).clamp(min=0, max=n_slots - 1)
        return Tokens(inputs, words.lead, place.expand(len(words.lead), -1), slot, n_slots)

    def draw_hidden(self, tokens: Tokens, draw: torch.Generator) -> torch.Tensor:
        """Which tokens are hidden: bool [n, n_tokens], the same stretches in all leads; what is not there never is.

        Raises ValueError for recordings of so few slots that all might be hidden.
        """
        what, n_slots = self.description, tokens.n_slots
        low, high = what.block
        if what.blocks * max(1, round(high * n_slots)) >= n_slots:
            raise ValueError(f"jepa hides {what.blocks} blocks of {what.block}, too much of {n_slots} places in time")
        chance = torch.rand(len(tokens.lead), what.blocks, 2, generator=draw)
        length = ((low + (high - low) * chance[..., 0]) * n_slots).round().clamp(min=1)
        begin = (chance[..., 1] * (n_slots - length + 1)).floor()
        slot = torch.arange(n_slots)
        inside = (slot >= begin[..., None]) & (slot < (begin + length)[..., None])  # [n, blocks, n_slots]
        hidden = inside.any(1).to(tokens.lead.device, non_blocking=True)
        return hidden.gather(1, tokens.slot) & (tokens.lead != ABSENT_LEAD)

    def context(self, tokens: Tokens, hidden: torch.Tensor) -> torch.Tensor:
        """What the backbone says of tokens [n, n_tokens, width] that sees none of the hidden ones."""
        if isinstance(self.backbone, ViTBackbone):
            samples, lead, seconds = tokens.inputs
            return self.backbone.encode(samples, lead.masked_fill(hidden, ABSENT_LEAD), seconds).local
        words, lead, second = tokens.inputs
        return self.backbone.encode(words.masked_fill(hidden[..., None], 0.0), lead, second, masked=hidden).local

    @torch.no_grad()
    def targets(self, tokens: Tokens) -> torch.Tensor:
        """What the target encoder says of all tokens [n, n_tokens, width], each of mean 0 and deviation 1."""
        local = self.teacher.encode(*tokens.inputs).local.float()
        return F.layer_norm(local, local.shape[-1:])

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        tokens = self.tokens(batch)
        hidden = self.draw_hidden(tokens, draw)
        target = self.targets(tokens)
        predicted = self.head(self.context(tokens, hidden), hidden, tokens.lead, tokens.place).float()
        terms = F.smooth_l1_loss(predicted, target, reduction="none").mean(-1)
        return Loss((terms * hidden).sum(), hidden.sum())

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """Effective rank of the probed features, and how far the target encoder's features of tokens differ.

        Raises Collapsed if, in the second half of training, they do not.
        """
        tokens = self.tokens(batch)
        local = self.teacher.encode(*tokens.inputs).local.float()[tokens.lead != ABSENT_LEAD]
        found = {"feature_rank": rank_of(self.probed(batch).pooled), "target_spread": spread_of(local)}
        if self._step >= 0.5 * self._steps and found["target_spread"] < _COLLAPSED:
            raise Collapsed(
                f"features collapsed: at step {self._step} the directions of targets spread by "
                f"{found['target_spread']:.2g} (rank {found['feature_rank']:.3g})"
            )
        return found
