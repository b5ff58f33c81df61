"""Hybrid: labels and self-supervision train one backbone together, in a weighted sum of two objectives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ecgscale.data.batches import Batch
from ecgscale.models import Architecture, Backbone, Codebook
from ecgscale.objectives.cmsc import CMSC
from ecgscale.objectives.objective import (
    UNTRAINED,
    Contrast,
    Loss,
    Objective,
    ObjectiveInputs,
    Optimiser,
    ParamGroup,
    Pretraining,
    decayed_apart,
)
from ecgscale.objectives.supervised import Supervised

_SUPERVISED, _CMSC = Supervised(), CMSC()


@dataclass(frozen=True)
class Hybrid:
    """(1 - ``weight``) x the supervised loss + ``weight`` x that of another objective, each a mean over its own terms.

    The in-distribution loss is this sum, in whatever units its parts have; each part alone is measured beside it on
    validation recordings ("supervised_loss", "cmsc_loss" ...), and scores of label sets are those of the supervised
    head. It is optimised as the other objective is. A configuration is named after the other: "resnet-hybrid-cmsc".
    """

    supervised: Supervised = _SUPERVISED
    other: Objective = _CMSC
    weight: float = 0.5

    kind: ClassVar[str] = "hybrid"
    paradigm: ClassVar[str] = "hybrid"
    cuts_batches: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.supervised, Supervised):
            raise ValueError(f"a hybrid's first part is Supervised(...), not {self.supervised}")
        if self.other.needs_labels or not self.other.cuts_batches:
            raise ValueError(
                f"a hybrid's other part needs no labels and can be computed in micro-batches, as cmsc, cpc, jepa and "
                f"masked can; {self.other.kind} is none"
            )
        if not 0 < self.weight < 1:
            raise ValueError(f"weight={self.weight}: the share of the other objective is above 0 and below 1")

    @property
    def called(self) -> str:
        return f"{self.kind}-{self.other.kind}"

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(one for one in self.other.inputs if one in self.supervised.inputs)

    @property
    def codebook(self) -> Codebook | None:
        return self.other.codebook

    @property
    def optimiser(self) -> Optimiser:
        return self.other.optimiser

    def misfit(self, architecture: Architecture) -> str:
        """What is wrong with an architecture in one sentence, or ""."""
        asked = getattr(self.other, "misfit", None)
        return str(asked(architecture)) if asked else ""

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> Pretraining:
        return HybridModule(
            backbone, self, self.supervised.build(backbone, n_labels, inputs), self.other.build(backbone, 0, inputs)
        )


class HybridModule(Contrast):
    """Two objectives on one backbone.

    Also where a batch is cut into micro-batches or shared, each part is a mean over the whole of it: so both are
    compared together, as contrasts are, and a part that is no contrast gives its terms and their number.
    """

    def __init__(self, backbone: Backbone, description: Hybrid, supervised: Pretraining, other: Pretraining) -> None:
        super().__init__()
        self.description = description
        self.supervised, self.other = supervised, other
        self.fixed_batches = other.fixed_batches
        self._shape = torch.Size()  # of what the other part embeds of a recording
        # The other part owns the backbone, and the supervised one the head, so that each is in a checkpoint once.
        del supervised._modules["backbone"]
        for owner, name, part in ((supervised, "backbone", backbone), (self, "backbone", backbone)):
            object.__setattr__(owner, name, part)
        object.__setattr__(self, "head", supervised.head)

    def passes(self, batch: Batch) -> Sequence[tuple[int, Sequence[torch.Tensor]]]:
        return [*self.supervised.passes(batch), *self.other.passes(batch)]

    def heads(self, batch: Batch) -> Sequence[tuple[int, nn.Module, Sequence[torch.Tensor]]]:
        return [*self.supervised.heads(batch), *self.other.heads(batch)]

    @property
    def probed(self) -> Backbone:
        return self.other.probed

    def groups(self) -> list[ParamGroup]:
        return [*self.other.groups(), *decayed_apart(self.head)]

    def begin(self, step: int, steps: int) -> None:
        self.other.begin(step, steps)

    def end(self) -> None:
        self.other.end()

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """The other part's, and the mean loss of each part."""
        found = self.other.health(batch)
        for part, kind in ((self.supervised, "supervised"), (self.other, self.description.other.kind)):
            found[f"{kind}_loss"] = float(part(batch, torch.Generator().manual_seed(0)).mean)
        return found

    def embed(self, batch: Batch, draw: torch.Generator) -> torch.Tensor:
        """What both parts give of each recording, one behind the other: [n, n_numbers]."""
        supervised, other = (_given(part, batch, draw) for part in (self.supervised, self.other))
        self._shape = other.shape[1:]
        return torch.cat([supervised, other.flatten(1)], 1)

    def contrast(self, embedded: torch.Tensor, patient: torch.Tensor) -> Loss:
        """The weighted sum, counted as one term a recording."""
        n, weight = len(embedded), self.description.weight
        supervised, other = embedded[:, :2], embedded[:, 2:]
        if isinstance(self.other, Contrast):
            compared = self.other.contrast(other.unflatten(1, self._shape), patient)
        else:
            compared = _added(other)
        loss = (1 - weight) * _added(supervised).mean + weight * compared.mean
        return Loss(loss * n, torch.tensor(n))


def _given(part: Pretraining, batch: Batch, draw: torch.Generator) -> torch.Tensor:
    """What a part gives of each recording: what it embeds to be compared, or an equal share of its terms and number."""
    if isinstance(part, Contrast):
        return part.embed(batch, draw).float()
    loss, n = part(batch, draw), max(1, len(batch.signal))
    return torch.stack([loss.total, loss.n_terms.to(loss.total)]).expand(len(batch.signal), 2) / n


def _added(given: torch.Tensor) -> Loss:
    return Loss(given[:, 0].sum(), given[:, 1].sum().detach())
