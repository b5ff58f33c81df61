"""TimesNet (Wu et al. 2023): a recording folded by its strongest periods, and convolved as pictures.

As the Time-Series-Library classifies with it, whose head reads all samples one behind the other.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models.embedding import SampleTokens
from ecgscale.models.features import Backbone, Features
from ecgscale.models.folded import folded_convolution, longest
from ecgscale.models.precision import autocast_of
from ecgscale.models.ten_seconds import LEADS, SAMPLES, TenSeconds, TenSecondsBackbone


@dataclass(frozen=True)
class TimesNet(TenSeconds):
    """Layers, width, and inner width ``ffn``; of each layer the ``periods`` strongest, and ``kernels`` 1, 3, 5, ...

    Periods are chosen for each recording, in training and in evaluation, so that probes and predictions do not depend
    on what else is in a batch; the original chooses one set for a batch, by its mean spectrum, and a recording's
    features depend on its neighbours. Their choice is the same where a batch's recordings have the same periods.
    """

    layers: int = 3
    width: int = 128
    ffn: int = 256
    periods: int = 3
    kernels: int = 6
    dropout: float = 0.1
    pooling: str = "flatten"

    kind: ClassVar[str] = "timesnet"

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.ffn, self.periods, self.kernels) < 1 or self.periods > SAMPLES // 2:
            raise ValueError(f"{self}: every number is at least 1, and periods at most {SAMPLES // 2}")
        if self.width % 2 or not 0 <= self.dropout < 1 or self.pooling not in ("flatten", "mean"):
            raise ValueError(f"{self}: width is even, dropout in [0, 1), pooling 'flatten' or 'mean'")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    def macs(self, n_samples: int) -> int:
        """Of periods that divide the samples: others fill their last row up. A layer's kernels are added up into one.

        Fourier transforms are 1.25 N log2(N) each of N real numbers, as ``flops`` has it.
        """
        pictures = self.periods * 2 * self.width * self.ffn * (2 * self.kernels - 1) ** 2
        transform = self.width * 1.25 * math.log2(n_samples)
        return round(n_samples * (3 * LEADS * self.width + self.layers * (pictures + transform)))

    def build(self) -> Backbone:
        return TimesNetBackbone(self)


class TimesNetBackbone(TenSecondsBackbone):
    """Signals [n, 12, n_samples] to features: all samples, one behind the other or their mean."""

    def __init__(self, description: TimesNet) -> None:
        super().__init__(description, description.width)
        self.tokens = SampleTokens(description.width)
        self.layers = nn.ModuleList(PeriodLayer(description) for _ in range(description.layers))
        self.norm = nn.LayerNorm(description.width)  # one for all layers
        self.dropout = nn.Dropout(description.dropout)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = self.dropout(self.tokens(inputs[0]))
        for layer in self.layers:
            x = self.norm(layer(x))
        local = F.gelu(x)
        return Features(self.dropout(self.pooled(local)), local)


class PeriodLayer(nn.Module):
    """[n, n_samples, width] folded by each of its strongest periods, convolved twice and added up, beside a skip."""

    def __init__(self, description: TimesNet) -> None:
        super().__init__()
        self.periods = description.periods
        self.expand = Inception(description.width, description.ffn, description.kernels)
        self.contract = Inception(description.ffn, description.width, description.kernels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, n_samples, _ = x.shape
        period, strength = strongest_periods(x, self.periods)
        padded = F.pad(x, (0, 0, 0, longest(n_samples) - n_samples))
        y = padded.repeat_interleave(self.periods, 0)
        y = F.gelu(self.expand(y, period.flatten(), n_samples))
        y = self.contract(y, period.flatten(), n_samples)[:, :n_samples]
        share = strength.softmax(-1).to(y.dtype)[..., None, None]
        return x + (y.unflatten(0, (n, self.periods)) * share).sum(1)


def strongest_periods(x: torch.Tensor, n_periods: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Periods in samples, and amplitudes, each [n, n_periods], of ``x`` [n, n_samples, width], its features' mean."""
    with torch.autocast(autocast_of(x), enabled=False):  # transforms know no half precision
        full = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        amplitude = torch.fft.rfft(full, dim=1).abs().mean(-1)[:, 1:]  # without a constant
        strength, frequency = amplitude.topk(n_periods, -1)
        return x.shape[1] // (frequency + 1), strength


class Inception(nn.Module):
    """The mean of convolutions with kernels 1, 3, 5, ...: a convolution with the mean of their kernels, as one."""

    def __init__(self, n_in: int, n_out: int, kernels: int) -> None:
        super().__init__()
        self.kernels = nn.ModuleList(nn.Conv2d(n_in, n_out, 2 * i + 1) for i in range(kernels))
        for layer in self.kernels:
            assert isinstance(layer, nn.Conv2d)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, period: torch.Tensor, n_samples: int) -> torch.Tensor:
        device = autocast_of(x)
        if torch.is_autocast_enabled(device):  # which does not know an operator of one's own
            x = x.to(torch.get_autocast_dtype(device))
        weight, bias = self.mean_kernel()
        return folded_convolution(x, period, n_samples, weight.to(x.dtype), bias.to(x.dtype))

    def mean_kernel(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights [n_out, n_in, widest, widest], every kernel in the middle, and biases [n_out]."""
        weights, biases = zip(*((layer.weight, layer.bias) for layer in self.kernels), strict=True)
        widest = len(weights) - 1
        wide = (F.pad(weight, (widest - i,) * 4) for i, weight in enumerate(weights))
        return reduce(torch.add, wide) / len(weights), reduce(torch.add, biases) / len(biases)


TIMESNET = TimesNet()
