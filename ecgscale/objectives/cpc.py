"""CPC: contrastive predictive coding, what comes next against what does not (van den Oord et al. 2018, Eqs. 3-4).

For ECGs: Mehari and Strodthoff (2022), and Al-Masud and Strodthoff (2026) with state spaces as the context network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ecgscale.data.batches import Batch
from ecgscale.models import Architecture, Backbone, Codebook
from ecgscale.objectives.distillation import rank_of, spread_of
from ecgscale.objectives.objective import (
    UNTRAINED,
    Collapsed,
    Contrast,
    Loss,
    ObjectiveInputs,
    Optimiser,
    Pretraining,
)

NEGATIVES = ("record", "batch")
CONTEXTS = ("lstm", "gru", "backbone")
_SECONDS = 10  # of a recording
_SAME = 0.001  # spread of features below which a model says the same of all recordings


@dataclass(frozen=True)
class CPC:
    """From the latents until now, those of the next ``steps`` are told apart from others, by a linear predictor each.

    No latent may have seen what is predicted. So a recording is cut into ``windows`` that do not overlap, each passes
    the backbone by itself and its pooled features are a latent, as patches of an image are (van den Oord et al. 2018,
    section 3.3): that holds for any backbone, also one that looks both ways or at all of what it is given. What a
    causal network makes of all latents until now is the context: a recurrent one of ``context_layers`` layers,
    ``context_width`` wide (0: as the latents, as in the ECG paper). With ``context`` "backbone" there are no windows:
    a causal backbone is itself the context network, and a latent is what its token is before it knows of others (a
    sample or patch); others are refused.

    ``negatives`` "record": ``n_negatives`` latents of the same recording (all, if there are fewer), which are drawn for
    each recording, and are the same for all its predictions. "batch": the latents at the same place in all recordings
    of other patients; the loss depends on the batch size then. ``only_last`` predicts the last of the steps alone, as
    the public code of the ECG paper does. Widths of 512, two layers, 12 steps and 128 negatives are that paper's.
    """

    windows: int = 20
    steps: int = 12
    n_negatives: int = 128
    negatives: str = "record"
    context: str = "lstm"
    context_width: int = 0
    context_layers: int = 2
    only_last: bool = False

    kind: ClassVar[str] = "cpc"
    paradigm: ClassVar[str] = "ssl"
    called: ClassVar[str] = "cpc"
    inputs: ClassVar[tuple[str, ...]] = ("signal", "patches")
    cuts_batches: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    codebook: ClassVar[Codebook | None] = None
    optimiser: ClassVar[Optimiser] = Optimiser("adamw", weight_decay=1e-3)

    def __post_init__(self) -> None:
        if self.negatives not in NEGATIVES:
            raise ValueError(f"{self}: negatives is {' or '.join(map(repr, NEGATIVES))}")
        if self.context not in CONTEXTS:
            raise ValueError(f"{self}: context is {' or '.join(map(repr, CONTEXTS))}")
        if min(self.steps, self.n_negatives, self.context_layers) < 1 or self.context_width < 0:
            raise ValueError(f"{self}: steps, n_negatives and context_layers are at least 1, context_width at least 0")
        if self.context != "backbone" and self.windows <= self.steps:
            raise ValueError(
                f"{self}: of {self.windows} windows none has {self.steps} behind it; windows is above steps"
            )

    @property
    def ahead(self) -> tuple[int, ...]:
        """How many steps ahead it predicts."""
        return (self.steps,) if self.only_last else tuple(range(1, self.steps + 1))

    def misfit(self, architecture: Architecture) -> str:
        """What is wrong with an architecture in one sentence, or ""."""
        if self.context == "backbone":
            if architecture.causal:
                return ""
            return (
                f"this {architecture.kind} looks into the future that cpc is to predict: take one that is causal, such "
                "as S4D(..., bidirectional=False), or leave out context='backbone'"
            )
        samples, patch = _SECONDS * architecture.sampling_hz // self.windows, getattr(architecture, "patch", 1)
        if architecture.input == "patches" and samples < patch:
            return f"a window of {samples} samples holds no patch of {patch}: take fewer than {self.windows} windows"
        return ""

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> Pretraining:
        module = WithinRecordings if self.negatives == "record" else AcrossRecordings
        return module(backbone, self)


class Prediction(nn.Module):
    """Latents to come, told from those until now: a recurrent context network, and a linear predictor a step ahead."""

    def __init__(self, width: int, description: CPC) -> None:
        super().__init__()
        n_context, self.n_ahead = description.context_width or width, len(description.ahead)
        self.context: nn.RNNBase | None = None
        if description.context == "backbone":
            n_context = width
        else:
            network = {"lstm": nn.LSTM, "gru": nn.GRU}[description.context]
            self.context = network(width, n_context, description.context_layers, batch_first=True)
        self.predict = nn.Linear(n_context, self.n_ahead * width, bias=False)

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        """Latents or, from a causal backbone, contexts [n, n_latents, width] to [n, n_ahead, n_latents, width]."""
        if self.context is not None:
            seen, _ = self.context(seen.to(self.predict.weight.dtype))
        return self.predict(seen).unflatten(-1, (self.n_ahead, -1)).transpose(1, 2)  # type: ignore[no-any-return]


class AmongItself(nn.Module):
    """InfoNCE of predictions among the latents of their own recording, summed."""

    def __init__(self, ahead: Sequence[int]) -> None:
        super().__init__()
        self.ahead = tuple(ahead)

    def forward(self, latents: torch.Tensor, predicted: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
        """Latents [n, n_latents, width], predicted [n, n_ahead, n_latents, width], drawn int64 [n, n_negatives + 1].

        ``drawn`` are places without repetition. Where what is to be predicted is among them it is no negative, and
        elsewhere the last is none: so there are always ``n_negatives``.
        """
        n_latents = latents.shape[1]
        candidates = latents.gather(1, drawn[..., None].expand(-1, -1, latents.shape[2]))
        last = torch.arange(drawn.shape[1], device=drawn.device) == drawn.shape[1] - 1
        total = latents.new_zeros(())
        for i, ahead in enumerate(self.ahead):
            told = predicted[:, i, : n_latents - ahead]  # [n, n_anchors, width]
            right = (told * latents[:, ahead:]).sum(-1)
            place = torch.arange(ahead, n_latents, device=drawn.device)
            itself = drawn[:, None] == place[:, None]  # [n, n_anchors, n_negatives + 1]
            left_out = itself | (last & ~itself.any(-1, keepdim=True))
            wrong = (told @ candidates.transpose(1, 2)).masked_fill(left_out, -math.inf)
            total = total + (torch.logaddexp(right, wrong.logsumexp(-1)) - right).sum()
        return total


class Coding(Pretraining):
    """A backbone under CPC: what both ways of comparing have in common."""

    def __init__(self, backbone: Backbone, description: CPC) -> None:
        super().__init__()
        self.backbone = backbone
        self.description = description
        self.head = Prediction(backbone.width, description)
        self.by_windows = description.context != "backbone"
        self.n_segments = description.windows if self.by_windows else 1
        self._step, self._steps = 0, 1

    def n_latents(self, batch: Batch) -> int:
        if self.by_windows:
            return self.n_segments
        return batch.signal.shape[-1] // self.backbone.samples_per_token

    def coded(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Latents [n, n_latents, width], and what is predicted from each: [n, n_ahead, n_latents, width]."""
        if not self.by_windows:
            inputs = self.backbone.inputs(batch)
            latents, seen = self.backbone.token_embeddings(*inputs), self.backbone.encode(*inputs).local
            if latents.shape[1] <= self.description.steps:
                raise ValueError(f"cpc predicts {self.description.steps} steps, of {latents.shape[1]} tokens in all")
            return latents, self.head(seen)
        n, n_windows = len(batch.signal), self.n_segments
        each = batch.signal.shape[-1] // n_windows
        windows = batch.signal[..., : n_windows * each].unflatten(-1, (n_windows, each)).transpose(1, 2).flatten(0, 1)
        leads = batch.leads.expand(n, -1).repeat_interleave(n_windows, 0)
        mv = batch.mv.expand(n).repeat_interleave(n_windows, 0)
        pooled = self.backbone(batch._replace(signal=windows, leads=leads, mv=mv)).pooled
        latents = pooled.unflatten(0, (n, n_windows))
        with torch.autocast(latents.device.type, enabled=False):  # not every CPU has recurrent kernels in bf16
            return latents, self.head(latents)

    def begin(self, step: int, steps: int) -> None:
        self._step, self._steps = step, steps

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """Effective rank and spread of the probed features, and how often what comes next is told from all else.

        That is among the latents of the recording, of the first step that is predicted. Raises Collapsed if, in the
        second half of training, features do not differ.
        """
        latents, predicted = self.coded(batch)
        ahead, n_latents = self.description.ahead[0], latents.shape[1]
        scores = predicted[:, 0, : n_latents - ahead].float() @ latents.float().transpose(1, 2)
        right = scores.argmax(-1) == torch.arange(ahead, n_latents, device=scores.device)
        pooled = self.probed(batch).pooled
        found = {
            "feature_rank": rank_of(pooled),
            "feature_spread": spread_of(pooled),
            "next_told": float(right.float().mean()),
        }
        if self._step >= 0.5 * self._steps and found["feature_spread"] < _SAME:
            raise Collapsed(
                f"features collapsed: at step {self._step} their directions spread by {found['feature_spread']:.2g} "
                f"(rank {found['feature_rank']:.3g})"
            )
        return found


class WithinRecordings(Coding):
    """CPC whose negatives are of the same recording: who it is of tells nothing."""

    def __init__(self, backbone: Backbone, description: CPC) -> None:
        super().__init__(backbone, description)
        self.compare = AmongItself(description.ahead)

    def heads(self, batch: Batch) -> Sequence[tuple[int, nn.Module, Sequence[torch.Tensor]]]:
        """Context and predictors over all latents, and the products of predictions with what they are compared with."""
        n_latents, width = self.n_latents(batch), self.backbone.width
        latents = torch.zeros(1, n_latents, width)
        predicted = torch.zeros(1, len(self.description.ahead), n_latents, width)
        drawn = self.draw_negatives(1, n_latents, torch.Generator())
        return [(1, self.head, [latents]), (1, self.compare, [latents, predicted, drawn])]

    def draw_negatives(self, n: int, n_latents: int, draw: torch.Generator) -> torch.Tensor:
        """Places int64 [n, n_negatives + 1] of each recording, without repetition; all, if there are fewer."""
        if n_latents <= self.description.n_negatives + 1:
            return torch.arange(n_latents).expand(n, -1)
        return torch.rand(n, n_latents, generator=draw).topk(self.description.n_negatives + 1, 1).indices

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        latents, predicted = self.coded(batch)
        n, n_latents = latents.shape[:2]
        drawn = self.draw_negatives(n, n_latents, draw).to(latents.device, non_blocking=True)
        with torch.autocast(latents.device.type, enabled=False):
            total = self.compare(latents.float(), predicted.float(), drawn)
        return Loss(total, torch.tensor(n * sum(n_latents - ahead for ahead in self.description.ahead)))


class AcrossRecordings(Coding, Contrast):
    """CPC whose negatives are at the same place in recordings of other patients."""

    def heads(self, batch: Batch) -> Sequence[tuple[int, nn.Module, Sequence[torch.Tensor]]]:
        """Context and predictors over all latents; what is compared depends on the batch, and is not counted."""
        return [(1, self.head, [torch.zeros(1, self.n_latents(batch), self.backbone.width)])]

    def embed(self, batch: Batch, draw: torch.Generator) -> torch.Tensor:
        latents, predicted = self.coded(batch)
        return torch.cat([latents[:, None], predicted], 1)  # [n, 1 + n_ahead, n_latents, width]

    def contrast(self, embedded: torch.Tensor, patient: torch.Tensor) -> Loss:
        with torch.autocast(embedded.device.type, enabled=False):
            return across(embedded[:, 0].float(), embedded[:, 1:].float(), self.description.ahead, patient)


def across(latents: torch.Tensor, predicted: torch.Tensor, ahead: Sequence[int], patient: torch.Tensor) -> Loss:
    """InfoNCE of predictions among the latents at the same place of other patients' recordings.

    ``latents`` [n, n_latents, width], ``predicted`` [n, n_ahead, n_latents, width], ``patient`` int64 [n].
    """
    n, n_latents = latents.shape[:2]
    fellows = (patient[:, None] == patient[None, :]) & ~torch.eye(n, dtype=torch.bool, device=patient.device)
    total = latents.new_zeros(())
    for i, steps in enumerate(ahead):
        told, come = predicted[:, i, : n_latents - steps], latents[:, steps:]
        scores = torch.einsum("itw,jtw->tij", told, come).masked_fill(fellows, -math.inf)
        total = total - scores.log_softmax(-1).diagonal(dim1=1, dim2=2).sum()
    return Loss(total, torch.tensor(n * sum(n_latents - steps for steps in ahead)))
