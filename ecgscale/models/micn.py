"""MICN (Wang et al. 2023): what is left of a signal without its trend, on several scales of time, as a classifier.

Local patterns by strided convolutions, global ones by an isometric convolution, as long as the shortened sequence. As
the Time-Series-Library (Wu et al. 2023) classifies with it, whose head reads all samples of the twelve leads.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models.decomposition import without_trend
from ecgscale.models.embedding import SampleTokens
from ecgscale.models.features import Backbone, Features
from ecgscale.models.ten_seconds import LEADS, SAMPLES, TenSeconds, TenSecondsBackbone

_EXPANSION, _LAYER_DROPOUT = 4, 0.05


@dataclass(frozen=True)
class MICN(TenSeconds):
    """Layers and width; of every scale its ``strides``, even, and moving averages over one sample more."""

    layers: int = 1
    width: int = 128
    strides: tuple[int, ...] = (12, 16)
    dropout: float = 0.1
    pooling: str = "flatten"

    kind: ClassVar[str] = "micn"

    def __post_init__(self) -> None:
        if min(self.layers, self.width) < 1 or self.width % 2 or not 0 <= self.dropout < 1:
            raise ValueError(f"{self}: layers and width are at least 1, width is even, dropout in [0, 1)")
        if not self.strides or any(stride < 2 or stride % 2 or stride > SAMPLES for stride in self.strides):
            raise ValueError(f"{self}: strides are even, from 2 to {SAMPLES}")
        if self.pooling not in ("flatten", "mean"):
            raise ValueError(f"{self}: pooling is 'flatten' or 'mean'")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    def build(self) -> Backbone:
        return MICNBackbone(self)


class MICNBackbone(TenSecondsBackbone):
    """Signals [n, 12, n_samples] to features: twelve of every sample, one behind the other or their mean."""

    def __init__(self, description: MICN) -> None:
        super().__init__(description, LEADS)
        self.strides = description.strides
        self.tokens = SampleTokens(description.width)
        self.layers = nn.ModuleList(
            MultiScaleLayer(description.width, description.strides) for _ in range(description.layers)
        )
        self.project = nn.Linear(description.width, LEADS)
        self.dropout = nn.Dropout(description.dropout)

    def encode(self, *inputs: torch.Tensor) -> Features:
        signal = inputs[0].transpose(1, 2)
        detrended = [without_trend(signal, stride + 1) for stride in self.strides]
        seasonal = torch.stack(detrended).mean(0)
        x = self.dropout(self.tokens(seasonal.transpose(1, 2)))
        for layer in self.layers:
            x = layer(x)
        local = F.gelu(self.project(x) + signal - seasonal)
        return Features(self.dropout(self.pooled(local)), local)


class MultiScaleLayer(nn.Module):
    """[n, n_samples, width] on each scale, merged, and a feed-forward layer beside a skip."""

    def __init__(self, width: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)  # one for all scales
        self.scales = nn.ModuleList(Scale(width, stride) for stride in strides)
        self.merge = nn.Conv2d(width, width, (len(strides), 1))
        self.norm1 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, _EXPANSION * width)
        self.contract = nn.Linear(_EXPANSION * width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scales = torch.stack([scale(x, self.norm) for scale in self.scales], 1)  # [n, scales, n_samples, width]
        merged = self.merge(scales.permute(0, 3, 1, 2))[:, :, 0].transpose(1, 2)
        return self.norm2(merged + self.contract(self.expand(self.norm1(merged))))  # type: ignore[no-any-return]


class Scale(nn.Module):
    """Down by a stride, over all that was shortened, and up again, beside skips; of [n, n_samples, width]."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.window = stride + 1
        self.isometric_pad = SAMPLES // stride
        self.down = nn.Conv1d(width, width, stride, stride, stride // 2)
        self.isometric = nn.Conv1d(width, width, self.isometric_pad + 1)
        self.up = nn.ConvTranspose1d(width, width, stride, stride)
        self.dropout = nn.Dropout(_LAYER_DROPOUT)

    def forward(self, x: torch.Tensor, norm: nn.LayerNorm) -> torch.Tensor:
        seasonal = without_trend(x, self.window)
        short = self.dropout(self.down(seasonal.transpose(1, 2)).tanh())
        whole = self.dropout(self.isometric(F.pad(short, (self.isometric_pad, 0))).tanh())
        short = norm((short + whole).transpose(1, 2)).transpose(1, 2)
        long = self.dropout(self.up(short).tanh())[..., : x.shape[1]]
        return norm(long.transpose(1, 2) + seasonal)  # type: ignore[no-any-return]


MICN_BASELINE = MICN()
