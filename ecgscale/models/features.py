"""What every backbone gives: one vector a recording, and one a position in it."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import nn

from ecgscale.data.batches import Batch


class Features(NamedTuple):
    """``pooled`` float [n, width] describes the recording, ``local`` float [n, n_positions, width] its parts."""

    pooled: torch.Tensor
    local: torch.Tensor


class Backbone(nn.Module, ABC):
    """A network from recordings to features; ``width`` is the length of a feature vector.

    ``any_leads``: it reads whatever leads there are, not twelve.

    ``inputs`` prepares tensors without parameters or gradients, ``encode`` is all of the computation that is counted.
    """

    width: int
    any_leads: bool = False

    @abstractmethod
    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]: ...

    @abstractmethod
    def encode(self, *inputs: torch.Tensor) -> Features: ...

    def forward(self, batch: Batch) -> Features:
        return self.encode(*self.inputs(batch))
