"""What every objective is: a module from a batch to a loss that owns its head."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from ecgscale.data.batches import Batch
from ecgscale.models import Backbone
from ecgscale.objectives.collectives import of_all


class Loss(NamedTuple):
    """A loss as the sum of its terms (nats) and how many there are, so that batches add up exactly."""

    total: torch.Tensor
    n_terms: torch.Tensor

    @property
    def mean(self) -> torch.Tensor:
        return self.total / self.n_terms.clamp(min=1)


@dataclass(frozen=True)
class Optimiser:
    """How an objective is optimised; the learning rate's peak belongs to the schedule."""

    name: str = "adam"  # adam or adamw
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip: float | None = None  # norm of the gradient
    min_lr: float = 0.0  # where the cosine ends
    final_weight_decay: float | None = None  # where a cosine takes the weight decay; None: it stays


class Collapsed(ArithmeticError):
    """A self-supervised model says the same of every recording."""


class Group(NamedTuple):
    """Parameters that are optimised alike: factors on learning rate and weight decay, and clipped by one norm."""

    parameters: list[nn.Parameter]
    lr: float = 1.0
    weight_decay: float = 1.0
    clipped_with: str = ""


class Pretraining(nn.Module, ABC):
    """A backbone and a head under a loss.

    ``views`` segments of a recording pass the backbone, each 1 / ``views`` of its length; ``head_rows`` vectors a
    recording pass the head. Both say what a forward pass costs. ``fixed_batches``: the loss depends on the batch size.
    ``shared``: each batch is this process' share of a larger one (see ``training.sharding``).
    """

    backbone: Backbone
    head: nn.Module
    views: int = 1
    head_rows: int = 1
    fixed_batches: bool = False
    shared: bool = False

    def passes(self, batch: Batch) -> Sequence[tuple[int, Sequence[torch.Tensor]]]:
        """What goes through the backbone for each recording: how often, and inputs of that form."""
        segment = batch.signal.shape[-1] // self.views
        return [(self.views, self.backbone.inputs(batch._replace(signal=batch.signal[..., :segment])))]

    @property
    def probed(self) -> Backbone:
        """The backbone whose features are measured."""
        return self.backbone

    def groups(self) -> list[Group]:
        """How parameters are optimised; all alike unless an objective says otherwise."""
        return [Group([p for p in self.parameters() if p.requires_grad])]

    def begin(self, step: int, steps: int) -> None:
        """Called before each of ``steps`` steps, counted from 0."""

    def end(self) -> None:
        """Called after the optimiser has moved the weights."""

    def health(self, batch: Batch) -> dict[str, float]:
        """Numbers that tell whether training is sound, by name; raises Collapsed if it is not."""
        return {}

    @abstractmethod
    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        """Loss of a batch; whatever is random is drawn from ``draw``."""


class Contrast(Pretraining):
    """A loss that compares all recordings of a batch with each other, in two parts: each by itself, then all together.

    So a batch can pass the network in micro-batches (see ``training.step``), or in the shares of several processes, and
    still be compared whole.
    """

    fixed_batches = True

    @abstractmethod
    def embed(self, batch: Batch, draw: torch.Generator) -> torch.Tensor:
        """What is compared of each recording: [n, ...]."""

    @abstractmethod
    def contrast(self, embedded: torch.Tensor, patient: torch.Tensor) -> Loss:
        """Loss of a whole batch, from what ``embed`` gave of its recordings in their order and whose they are: [n]."""

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        embedded, patient = self.embed(batch, draw), batch.patient
        return self.contrast(of_all(embedded), of_all(patient)) if self.shared else self.contrast(embedded, patient)
