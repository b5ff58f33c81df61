"""InceptionTime: parallel convolutions of three lengths (Ismail Fawaz et al. 2020), as it is benchmarked on PTB-XL."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.pooling import ConcatPool

_RESIDUAL = 3  # modules between two skip connections


@dataclass(frozen=True)
class InceptionTime(Architecture):
    """Modules of four times ``filters`` channels; the longest convolution has ``kernel`` taps, the others 1/2 and 1/4.

    An even length loses its last tap. ``hidden`` features leave the head's hidden layer; 0: twice the channels.
    """

    depth: int = 6
    filters: int = 32
    kernel: int = 40
    hidden: int = 128

    kind: ClassVar[str] = "inceptiontime"

    def __post_init__(self) -> None:
        if min(self.depth, self.filters) < 1 or self.kernel < 4 or self.hidden < 0:
            raise ValueError(f"{self}: depth and filters are at least 1, the kernel at least 4, hidden at least 0")

    @property
    def kernels(self) -> tuple[int, ...]:
        halves = (self.kernel, self.kernel // 2, self.kernel // 4)
        return tuple(n if n % 2 else n - 1 for n in halves)

    @property
    def size(self) -> str:
        return f"{self.depth}x{4 * self.filters}"

    def build(self) -> Backbone:
        return InceptionTimeBackbone(self)


class InceptionTimeBackbone(Backbone):
    """Signals [n, 12, n_samples] to features: maximum and mean over time, through the head's hidden layer."""

    def __init__(self, description: InceptionTime) -> None:
        super().__init__()
        n_channels = 4 * description.filters
        n_in = [12, *[n_channels] * (description.depth - 1)]
        self.blocks = nn.ModuleList(Inception(n, description.filters, description.kernels) for n in n_in)
        self.shortcuts = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(12 if i == 0 else n_channels, n_channels, 1, bias=False), nn.BatchNorm1d(n_channels)
            )
            for i in range(description.depth // _RESIDUAL)
        )
        self.pool = ConcatPool(n_channels, description.hidden)
        self.width = self.pool.width

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        return (batch.signal,)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = before = inputs[0]
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i % _RESIDUAL == _RESIDUAL - 1:
                before = x = F.relu(x + self.shortcuts[i // _RESIDUAL](before))
        return Features(self.pool(x), x.transpose(1, 2))


class Inception(nn.Module):
    """Three convolutions behind a bottleneck and a maximum over three samples, side by side; normalised, rectified."""

    def __init__(self, n_in: int, filters: int, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(n_in, filters, 1, bias=False)
        self.convolutions = nn.ModuleList(nn.Conv1d(filters, filters, k, padding=k // 2, bias=False) for k in kernels)
        self.pooled = nn.Conv1d(n_in, filters, 1, bias=False)
        self.norm = nn.BatchNorm1d(4 * filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = self.bottleneck(x)
        parts = [convolution(narrow) for convolution in self.convolutions]
        parts.append(self.pooled(F.max_pool1d(x, 3, 1, 1)))
        return F.relu(self.norm(torch.cat(parts, 1)))


INCEPTIONTIME = InceptionTime()
