"""What every objective is: a description that says what it needs, and a module from a batch to a loss with its head."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import nn

from ecgscale.data.batches import Batch
from ecgscale.models import Backbone, Codebook, CodebookModule
from ecgscale.objectives.collectives import all_gather_rows


class Loss(NamedTuple):
    """A loss as the sum of its terms (nats, or squared errors) and how many there are, so that batches add up."""

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
    warmup: float = 0.05  # share of the steps, where the schedule does not say


@dataclass(frozen=True)
class ObjectiveInputs:
    """What an objective is built with beside its backbone. Without it (to count, or to price) it cannot be trained.

    ``codes`` is the trained codebook that the objective names; ``scale_mv`` the standard deviation of the corpus;
    ``numbers`` says of each label whether it is a (standardised) number; empty: none is.
    """

    codes: CodebookModule | None = None
    scale_mv: float = 1.0
    numbers: tuple[bool, ...] = ()


UNTRAINED = ObjectiveInputs()


class Objective(Protocol):
    """The description of an objective: a frozen dataclass, whose fields are part of a run's identity.

    A new one is a file with such a class and its module, and a line in ``OBJECTIVES``.
    """

    @property
    def kind(self) -> str:
        """Its name in the registry and in descriptions."""

    @property
    def paradigm(self) -> str:
        """ "sl" (supervised learning), "ssl" (self-supervised) or "hybrid" (both).

        Configurations are named by it, unless the objective has a name of its own there (``called``).
        """

    @property
    def inputs(self) -> tuple[str, ...]:
        """The kinds of input whose backbones it can train (``Architecture.input``).

        One that asks more of an architecture has a method ``misfit(architecture)`` beside, which says in a sentence
        what is wrong with one, or "".
        """

    @property
    def needs_labels(self) -> bool: ...

    @property
    def cuts_batches(self) -> bool:
        """Whether its loss can be computed in micro-batches (gradient accumulation)."""

    @property
    def codebook(self) -> Codebook | None:
        """The trained codebook that it reads, if any: one corpus then, and backbones of the same sentences.

        It is given to ``build``, and asked at every step; with ``reads_codewords = True`` the corpus' words
        are labelled once instead, and a batch's labels are their codes, integer [n, n_tokens].
        """

    @property
    def optimiser(self) -> Optimiser: ...

    def __hash__(self) -> int: ...

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> "Pretraining":
        """The module of this objective on a backbone; ``n_labels`` is 0 without a label set."""


class Collapsed(ArithmeticError):
    """A self-supervised model says the same of every recording."""


class ParamGroup(NamedTuple):
    """Parameters that are optimised alike: factors on learning rate and weight decay, and clipped by one norm."""

    parameters: list[nn.Parameter]
    lr: float = 1.0
    weight_decay: float = 1.0
    clipped_with: str = ""


def decayed_apart(module: nn.Module) -> list[ParamGroup]:
    """Parameters with weight decay and without, as in HeartLang: vectors and biases have none.

    The mask token, a vector here, is a matrix of one row there, and decays.
    """
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    still = {name for name, p in named if p.ndim == 1 and not name.endswith("mask_token")}
    parts = ([p for name, p in named if (name in still) == kept] for kept in (False, True))
    return [ParamGroup(part, weight_decay=factor) for part, factor in zip(parts, (1.0, 0.0), strict=True)]


class Pretraining(nn.Module, ABC):
    """A backbone and a head under a loss.

    ``n_segments`` of a recording pass the backbone, each 1 / ``n_segments`` of its length; ``head_rows`` vectors a
    recording pass the head. Both say what a forward pass costs, unless ``passes`` and ``heads`` do.
    ``fixed_batches``: the loss depends on the batch size. ``shared``: each batch is this process' share of a larger one
    (see ``training.sharding``).
    """

    backbone: Backbone
    head: nn.Module
    n_segments: int = 1
    head_rows: int = 1
    fixed_batches: bool = False
    shared: bool = False

    def passes(self, batch: Batch) -> Sequence[tuple[int, Sequence[torch.Tensor]]]:
        """What goes through the backbone for each recording: how often, and inputs of that form."""
        segment = batch.signal.shape[-1] // self.n_segments
        return [(self.n_segments, self.backbone.inputs(batch._replace(signal=batch.signal[..., :segment])))]

    def heads(self, batch: Batch) -> Sequence[tuple[int, nn.Module, Sequence[torch.Tensor]]]:
        """What passes heads for each recording: how often, which head, and inputs of that form."""
        return [(self.head_rows, self.head, [torch.zeros(1, self.backbone.width)])]

    @property
    def probed(self) -> Backbone:
        """The backbone whose features are measured."""
        return self.backbone

    def groups(self) -> list[ParamGroup]:
        """How parameters are optimised; all alike unless an objective says otherwise."""
        return [ParamGroup([p for p in self.parameters() if p.requires_grad])]

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

    def compare(self, embedded: torch.Tensor, patient: torch.Tensor) -> Loss:
        """Loss of a whole batch: of this process' share of what ``contrast`` asks for, and all others' (all-gather)."""
        if self.shared:
            embedded, patient = all_gather_rows(embedded), all_gather_rows(patient)
        return self.contrast(embedded, patient)

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        return self.compare(self.embed(batch, draw), batch.patient)
