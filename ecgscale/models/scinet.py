"""SCINet (Liu et al. 2022): a binary tree of halves, even samples and odd ones, that tell each other what they miss.

On the leads themselves, as the Time-Series-Library has its tree; behind it all samples are read.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models.features import Backbone, Features
from ecgscale.models.ten_seconds import LEADS, SAMPLES, TenSeconds, TenSecondsBackbone

_EPS = 1e-5


@dataclass(frozen=True)
class SCINet(TenSeconds):
    """``levels`` of halving, convolutions of ``kernel`` samples on the twelve leads, each of which is standardised."""

    levels: int = 4
    kernel: int = 5
    dropout: float = 0.1
    pooling: str = "flatten"

    kind: ClassVar[str] = "scinet"

    def __post_init__(self) -> None:
        if min(self.levels, self.kernel) < 1 or 2**self.levels > SAMPLES or not 0 <= self.dropout < 1:
            raise ValueError(
                f"{self}: kernel is at least 1, levels halve {SAMPLES} samples at least once and leave one, "
                "dropout in [0, 1)"
            )
        if self.pooling not in ("flatten", "mean"):
            raise ValueError(f"{self}: pooling is 'flatten' or 'mean'")

    @property
    def size(self) -> str:
        return f"{self.levels}x{self.kernel}"

    def build(self) -> Backbone:
        return SCINetBackbone(self)


class SCINetBackbone(TenSecondsBackbone):
    """Signals [n, 12, n_samples] to features: all samples of the twelve leads, one behind the other or their mean."""

    def __init__(self, description: SCINet) -> None:
        super().__init__(description, LEADS)
        self.tree = Tree(description.levels, description.kernel, description.dropout)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = inputs[0] - inputs[0].mean(-1, keepdim=True)
        x = x / (x.var(-1, correction=0, keepdim=True) + _EPS).sqrt()
        local = (x + self.tree(x)).transpose(1, 2)
        return Features(self.pooled(local), local)


class Tree(nn.Module):
    """Halves that have interacted, each halved again to the last level, and put back in the order of time."""

    def __init__(self, levels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.halves = Interaction(kernel, dropout)
        self.even = Tree(levels - 1, kernel, dropout) if levels > 1 else None
        self.odd = Tree(levels - 1, kernel, dropout) if levels > 1 else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_samples = x.shape[-1]
        even, odd = self.halves(F.pad(x, (0, n_samples % 2), mode="replicate"))
        odd = odd[..., : n_samples // 2]
        if self.even is not None and self.odd is not None:
            even, odd = self.even(even), self.odd(odd)
        odd = F.pad(odd, (0, n_samples % 2))
        return torch.stack([even, odd], -1).flatten(-2)[..., :n_samples]


class Interaction(nn.Module):
    """Even and odd samples [n, 12, n_samples / 2]: each is scaled by the other, then what the other says is added."""

    def __init__(self, kernel: int, dropout: float) -> None:
        super().__init__()
        self.scale_even, self.scale_odd, self.shift_even, self.shift_odd = (said(kernel, dropout) for _ in range(4))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        even, odd = x[..., ::2], x[..., 1::2]
        scaled_even = even * self.scale_even(odd).exp()
        scaled_odd = odd * self.scale_odd(even).exp()
        return scaled_even + self.shift_even(scaled_odd), scaled_odd - self.shift_odd(scaled_even)


def said(kernel: int, dropout: float) -> nn.Sequential:
    """Two convolutions over time; what they put out is within one, and as long as what they read."""
    return nn.Sequential(
        nn.ReplicationPad1d(kernel - 1),
        nn.Conv1d(LEADS, LEADS, kernel),
        nn.LeakyReLU(0.01),
        nn.Dropout(dropout),
        nn.Conv1d(LEADS, LEADS, kernel),
        nn.Tanh(),
    )


SCINET = SCINet()
