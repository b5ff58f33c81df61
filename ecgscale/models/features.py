"""What every backbone gives: one vector a recording, and one a position in it."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import nn

from ecgscale.data.batches import Batch

POOLINGS = ("class", "mean")  # of tokens: a token of its own, or the mean of those that are there


class Features(NamedTuple):
    """``pooled`` float [n, width] describes the recording, ``local`` float [n, n_positions, width] its parts.

    Of an architecture that reads signals and is not ``localised``, parts may have another width: none reads them.
    """

    pooled: torch.Tensor
    local: torch.Tensor


def mean_of(local: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Mean [n, width] of local features [n, n_tokens, width] that are ``present`` bool [n, n_tokens]; of none, 0."""
    weight = present[..., None].to(local.dtype)
    return (local * weight).sum(1) / weight.sum(1).clamp(min=1)


class Places(NamedTuple):
    """Where local features lie: ``begin`` and ``end`` in seconds and ``present``, each [n, n_positions]."""

    begin: torch.Tensor
    end: torch.Tensor
    present: torch.Tensor


class Backbone(nn.Module, ABC):
    """A network from recordings to features; ``width`` is the length of a feature vector.

    ``any_leads``: it reads whatever leads there are, not twelve.

    ``inputs`` prepares tensors without parameters or gradients, ``encode`` is all of the computation that is counted.
    """

    width: int
    any_leads: bool = False
    samples_per_token: int = 1  # of a causal one

    @abstractmethod
    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]: ...

    @abstractmethod
    def encode(self, *inputs: torch.Tensor) -> Features: ...

    def places(self, batch: Batch) -> Places:
        """Where the local features of a batch lie; only of an architecture that says it is ``localised``."""
        raise NotImplementedError(f"local features of {type(self).__name__} are not placed in time")

    def token_embeddings(self, *inputs: torch.Tensor) -> torch.Tensor:
        """What each position is before it knows of others: [n, n_positions, width]; only of a causal architecture."""
        raise NotImplementedError(f"{type(self).__name__} is not causal")

    def forward(self, batch: Batch) -> Features:
        return self.encode(*self.inputs(batch))
