"""Decomposition transformers: Autoformer (Wu et al. 2021) and FEDformer (Zhou et al. 2022) as classifiers.

Where a transformer normalises, they take a moving average away; where it attends, they correlate a sequence with itself
or mix its frequencies. As the Time-Series-Library has them, of which the head reads all positions.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models.decomposition import SeasonalNorm, without_trend
from ecgscale.models.embedding import sinusoids
from ecgscale.models.features import Backbone, Features
from ecgscale.models.precision import autocast_of
from ecgscale.models.ten_seconds import LEADS, SAMPLES, TenSeconds, TenSecondsBackbone


@dataclass(frozen=True)
class DecompositionTransformer(TenSeconds):
    """Layers, width, heads and feed-forward width; what is taken away is a mean over ``window`` samples.

    ``mixing`` "auto-correlation" adds up a sequence shifted by the delays at which it is most like itself (Autoformer),
    log(samples) of them, chosen for each recording, also in training, where the original chooses them for a batch;
    "fourier" mixes heads within ``modes`` frequencies, drawn when it is built and part of its state, with the same
    weights in every layer, and positions are told (FEDformer).
    """

    layers: int = 3
    width: int = 128
    heads: int = 8
    ffn: int = 256
    mixing: str = "auto-correlation"
    window: int = 25
    modes: int = 32
    dropout: float = 0.1
    pooling: str = "flatten"

    kind: ClassVar[str] = "decomposition-transformer"

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.ffn, self.modes) < 1 or self.width % self.heads:
            raise ValueError(f"{self}: every number is at least 1, and width a multiple of heads")
        if self.window % 2 == 0 or self.width % 2 or not 0 <= self.dropout < 1 or self.modes > SAMPLES // 2:
            raise ValueError(f"{self}: window is odd, width even, dropout in [0, 1), modes at most {SAMPLES // 2}")
        if self.mixing not in ("auto-correlation", "fourier") or self.pooling not in ("flatten", "mean"):
            raise ValueError(f"{self}: mixing is 'auto-correlation' or 'fourier', pooling 'flatten' or 'mean'")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    def macs(self, n_samples: int) -> int:
        """Products with weights, and Fourier transforms, 1.25 N log2(N) each of N real numbers as ``flops`` has it."""
        fourier = self.mixing == "fourier"
        weights = (2 if fourier else 4) * self.width + 2 * self.ffn  # of one feature and sample of a layer
        transforms = (2 if fourier else 3) * 1.25 * math.log2(n_samples)
        mixed = 4 * self.width * (self.width // self.heads) * self.modes if fourier else 0
        layer = n_samples * self.width * (weights + transforms) + mixed
        return round(self.layers * layer + n_samples * 3 * LEADS * self.width)

    def build(self) -> Backbone:
        return DecompositionTransformerBackbone(self)


class DecompositionTransformerBackbone(TenSecondsBackbone):
    """Signals [n, 12, n_samples] to features: all samples, one behind the other or their mean."""

    def __init__(self, description: DecompositionTransformer) -> None:
        width = description.width
        super().__init__(description, width)
        self.embed = nn.Conv1d(LEADS, width, 3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.embed.weight, mode="fan_in", nonlinearity="leaky_relu")
        fourier = description.mixing == "fourier"
        position = sinusoids(SAMPLES, width) if fourier else torch.zeros(SAMPLES, 1)
        self.register_buffer("position", position, persistent=False)
        self.frequencies = FrequencyMix(description) if fourier else None
        self.layers = nn.ModuleList(DecompositionLayer(description) for _ in range(description.layers))
        self.norm = SeasonalNorm(width)
        self.dropout = nn.Dropout(description.dropout)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = self.tokens(inputs[0])
        for layer in self.layers:
            x = layer(x, self.frequencies)
        local = F.gelu(self.norm(x))
        return Features(self.dropout(self.pooled(local)), local)

    def tokens(self, signal: torch.Tensor) -> torch.Tensor:
        x = self.embed(signal).transpose(1, 2)
        return self.dropout(x + self.get_buffer("position")[: x.shape[1]].to(x.dtype))  # type: ignore[no-any-return]


class DecompositionLayer(nn.Module):
    """Samples mixed, then features, beside skips; behind both sums the trend is taken away."""

    def __init__(self, description: DecompositionTransformer) -> None:
        super().__init__()
        width, self.heads, self.window = description.width, description.heads, description.window
        self.query = nn.Linear(width, width)
        correlates = description.mixing == "auto-correlation"
        self.key = nn.Linear(width, width) if correlates else None
        self.value = nn.Linear(width, width) if correlates else None
        self.project = nn.Linear(width, width)
        self.expand = nn.Linear(width, description.ffn, bias=False)
        self.contract = nn.Linear(description.ffn, width, bias=False)
        self.dropout = nn.Dropout(description.dropout)

    def forward(self, x: torch.Tensor, frequencies: "FrequencyMix | None") -> torch.Tensor:
        low = x.dtype
        query = self.query(x).transpose(1, 2)
        with torch.autocast(autocast_of(x), enabled=False):  # transforms know no half precision
            if frequencies is not None:
                mixed = frequencies(query.float().unflatten(1, (self.heads, -1)))
                mixed = mixed.reshape(x.shape)  # as the original does: time and features are not exchanged back
            else:
                assert self.key is not None
                assert self.value is not None
                key, value = self.key(x.float()).transpose(1, 2), self.value(x.float()).transpose(1, 2)
                mixed = correlated(query.float(), key, value).transpose(1, 2)
        x = without_trend(x + self.dropout(self.project(mixed.to(low))), self.window)
        y = self.dropout(self.contract(self.dropout(F.gelu(self.expand(x)))))
        return without_trend(x + y, self.window)


def correlated(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Values [n, width, n_samples] shifted by the delays of highest correlation, in a mean weighted by it.

    The correlation of queries with keys is one over all features; int(log(n_samples)) delays are taken.
    """
    n_samples = query.shape[-1]
    spectrum = torch.fft.rfft(query) * torch.fft.rfft(key).conj()
    correlation = torch.fft.irfft(spectrum, n=n_samples).mean(1)  # [n, n_samples]
    weight, delay = correlation.topk(int(math.log(n_samples)), -1)
    place = torch.arange(n_samples, device=query.device)
    found = torch.zeros_like(value)
    for share, shift in zip(weight.softmax(-1).unbind(-1), delay.unbind(-1), strict=True):
        at = ((place + shift[:, None]) % n_samples)[:, None].expand_as(value)
        found = found + value.gather(-1, at) * share[:, None, None]
    return found


class FrequencyMix(nn.Module):
    """Of every head some frequencies, their features mixed by complex weights.

    What comes out is put at the lowest frequencies, not at its own: so the original computes.
    """

    def __init__(self, description: DecompositionTransformer) -> None:
        super().__init__()
        heads, n = description.heads, description.width // description.heads
        drawn = torch.randperm(SAMPLES // 2)[: description.modes].sort().values
        self.register_buffer("modes", drawn)
        form, size = (heads, n, n, description.modes), description.width**-2
        self.real, self.imaginary = nn.Parameter(size * torch.rand(form)), nn.Parameter(size * torch.rand(form))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[n, heads, width of a head, n_samples]; frequencies that a shorter recording has not are left out."""
        n_samples, modes = x.shape[-1], self.get_buffer("modes")
        spectrum = torch.fft.rfft(x)
        n_there = spectrum.shape[-1]
        seen = spectrum[..., modes.clamp(max=n_there - 1)] * (modes < n_there)
        a, b = seen.real, seen.imag
        form = "nhim,hiom->nhom"
        real = torch.einsum(form, a, self.real) - torch.einsum(form, b, self.imaginary)
        imaginary = torch.einsum(form, a, self.imaginary) + torch.einsum(form, b, self.real)
        mixed = torch.complex(real, imaginary)[..., :n_there]
        return torch.fft.irfft(F.pad(mixed, (0, n_there - mixed.shape[-1])), n=n_samples)


AUTOFORMER = DecompositionTransformer()
FEDFORMER = DecompositionTransformer(mixing="fourier")
