"""TCN: the temporal convolutional network of Bai et al. (2018), causal and dilated."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models.features import Backbone, Features
from ecgscale.models.ten_seconds import TenSeconds, TenSecondsBackbone

_STD = 0.01  # of weights at the start


@dataclass(frozen=True)
class TCN(TenSeconds):
    """Channels of each level; the dilation doubles from level to level.

    ``pooling`` "flatten" puts the samples of one channel behind those of the one before; "mean" is over time, "last"
    the last sample, which has seen what lies before it.
    """

    channels: tuple[int, ...] = (64, 128, 256)
    kernel: int = 3
    dropout: float = 0.2
    pooling: str = "flatten"

    kind: ClassVar[str] = "tcn"

    def __post_init__(self) -> None:
        if not self.channels or min(*self.channels, self.kernel, 1) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"{self}: channels and kernel are at least 1, dropout in [0, 1)")
        if self.pooling not in ("flatten", "mean", "last"):
            raise ValueError(f"{self}: pooling is 'flatten', 'mean' or 'last'")

    @property
    def size(self) -> str:
        return f"{len(self.channels)}x{self.channels[-1]}"

    def build(self) -> Backbone:
        return TCNBackbone(self)


class TCNBackbone(TenSecondsBackbone):
    """Signals [n, 12, n_samples] to features: the last level's, as ``pooling`` says."""

    def __init__(self, description: TCN) -> None:
        channels = description.channels
        super().__init__(description, channels[-1])
        self.last = description.pooling == "last"
        self.blocks = nn.ModuleList(
            Level(n_in, n_out, description.kernel, 2**i, description.dropout)
            for i, (n_in, n_out) in enumerate(pairwise((12, *channels)))
        )

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = inputs[0]
        for block in self.blocks:
            x = block(x)
        local = x.transpose(1, 2)
        return Features(x[..., -1] if self.last else self.pooled(local, x), local)


class Level(nn.Module):
    """Two causal convolutions beside a skip connection."""

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = CausalConvolution(n_in, n_out, kernel, dilation)
        self.conv2 = CausalConvolution(n_out, n_out, kernel, dilation)
        self.dropout = nn.Dropout(dropout)
        self.project: nn.Module = nn.Identity()
        if n_in != n_out:
            self.project = project = nn.Conv1d(n_in, n_out, 1)
            nn.init.normal_(project.weight, std=_STD)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.dropout(F.relu(self.conv1(x)))
        y = self.dropout(F.relu(self.conv2(y)))
        return F.relu(y + self.project(x))


class CausalConvolution(nn.Module):
    """A convolution that sees no later sample; of each output the weights are a direction and a length.

    Weight normalisation (Salimans and Kingma 2016).
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.dilation, self.before = dilation, (kernel - 1) * dilation
        self.direction = nn.Parameter(_STD * torch.randn(n_out, n_in, kernel))
        self.length = nn.Parameter(self.direction.detach().norm(dim=(1, 2), keepdim=True))
        bound = (n_in * kernel) ** -0.5
        self.bias = nn.Parameter(torch.empty(n_out).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        own = torch.linalg.vector_norm(self.direction, dim=(1, 2), keepdim=True)
        weight = self.direction * (self.length / own)
        return F.conv1d(F.pad(x, (self.before, 0)), weight, self.bias, dilation=self.dilation)


BAI_TCN = TCN()
