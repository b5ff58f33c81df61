"""Wave encoder: wav2vec 2.0 and HuBERT on recordings (Baevski et al. 2020; Hsu et al. 2021), as ECG-FM and HuBERT-ECG.

Strided convolutions make tokens, a grouped convolution their positions, and post-norm transformer layers the features.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.native import AMPLITUDES, resampled, scaled
from ecgscale.models.post_norm import PostNormLayer

_SECONDS = 5  # of a segment: what both models were trained on


@dataclass(frozen=True)
class Wave(Architecture):
    """Layers, width, heads and feed-forward width; channels, kernels and strides of the convolutions before them.

    ``chained`` reads the leads one behind the other as one channel, as HuBERT-ECG does, instead of side by side. A
    segment is 5 seconds, scaled by itself: of a longer recording features are the mean over its whole segments.
    Position is told by a convolution of ``position_kernel`` tokens in ``position_groups`` groups. Corpora are stored at
    ``reads_hz`` and brought to ``native_hz``. ``frozen``: the convolutions and their norm stay what they are in
    training, as HuBERT-ECG's authors fine-tune it.
    """

    layers: int
    width: int
    heads: int
    ffn: int
    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    chained: bool = False
    position_kernel: int = 128
    position_groups: int = 16
    dropout: float = 0.1
    native_hz: int = 500
    amplitude: str = "mv"
    reads_hz: int = 100
    frozen: bool = False

    kind: ClassVar[str] = "wave"

    def __post_init__(self) -> None:
        numbers = (self.layers, self.width, self.heads, self.ffn, *self.channels, *self.kernels, *self.strides)
        if min(numbers) < 1 or not len(self.channels) == len(self.kernels) == len(self.strides) > 0:
            raise ValueError(f"{self}: channels, kernels and strides name one number a convolution")
        if self.width % self.heads or self.width % self.position_groups or self.position_kernel % 2:
            raise ValueError(f"{self}: width is a multiple of heads and position_groups, position_kernel is even")
        if min(self.native_hz, self.reads_hz) < 1 or self.amplitude not in AMPLITUDES or not 0 <= self.dropout < 1:
            raise ValueError(
                f"{self}: rates are at least 1, dropout in [0, 1), amplitude is one of {', '.join(AMPLITUDES)}"
            )

    @property
    def sampling_hz(self) -> int:
        return self.reads_hz

    @property
    def native_samples(self) -> int:
        return _SECONDS * self.native_hz

    @property
    def length(self) -> str:
        return "segments"

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    def build(self) -> Backbone:
        return WaveBackbone(self)


class WaveBackbone(Backbone):
    """Segments [n, n_segments, n_channels, n_samples] to features: the mean over all tokens."""

    def __init__(self, description: Wave) -> None:
        super().__init__()
        self.description = description
        width = self.width = description.width
        n_in = (1 if description.chained else 12, *description.channels)
        convolutions = [
            nn.Conv1d(a, b, kernel, stride, bias=False)
            for a, b, kernel, stride in zip(
                n_in, description.channels, description.kernels, description.strides, strict=False
            )
        ]
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight)
        self.convolutions = nn.ModuleList(convolutions)
        self.first_norm = nn.GroupNorm(description.channels[0], description.channels[0])
        self.token_norm = nn.LayerNorm(description.channels[-1])
        self.token = nn.Linear(description.channels[-1], width)
        self.position = Position(width, description.position_kernel, description.position_groups)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(description.dropout)
        self.layers = nn.ModuleList(
            PostNormLayer(width, description.heads, description.ffn, description.dropout)
            for _ in range(description.layers)
        )
        self.convolutions.requires_grad_(not description.frozen)
        self.first_norm.requires_grad_(not description.frozen)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        what = self.description
        signal = resampled(batch.signal, what.reads_hz, what.native_hz)
        length = min(what.native_samples, signal.shape[-1])
        n_segments = signal.shape[-1] // length
        segments = signal[..., : n_segments * length].unflatten(-1, (n_segments, length)).transpose(1, 2)
        mv = batch.mv.expand(len(signal)).repeat_interleave(n_segments)
        segments = scaled(segments.flatten(0, 1), what.amplitude, mv).unflatten(0, (-1, n_segments))
        return (segments.flatten(2).unsqueeze(2) if what.chained else segments,)

    def encode(self, *inputs: torch.Tensor) -> Features:
        n, n_segments = inputs[0].shape[:2]
        x = self.tokens(inputs[0].flatten(0, 1))
        x = self.dropout(self.norm(x + self.position(x)))
        for layer in self.layers:
            x = layer(x)
        local = x.reshape(n, n_segments * x.shape[1], x.shape[2])
        return Features(local.mean(1), local)

    def tokens(self, x: torch.Tensor) -> torch.Tensor:
        """[n, n_channels, n_samples] to [n, n_tokens, width], without position."""
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            x = F.gelu(self.first_norm(x) if i == 0 else x)
        return self.token(self.token_norm(x.transpose(1, 2)))


class Position(nn.Module):
    """What a token's neighbours tell of its place: a grouped convolution, its weights as direction and length.

    One length a tap (weight normalisation over the last axis, Salimans and Kingma 2016).
    """

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.kernel, self.groups = kernel, groups
        self.direction = nn.Parameter(torch.randn(width, width // groups, kernel) * (4 / (kernel * width)) ** 0.5)
        self.length = nn.Parameter(self.direction.detach().norm(dim=(0, 1), keepdim=True))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        of_taps = torch.linalg.vector_norm(self.direction, dim=(0, 1), keepdim=True)
        weight = self.direction * (self.length / of_taps)
        y = F.conv1d(x.transpose(1, 2), weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        return F.gelu(y[..., :-1]).transpose(1, 2)  # an even kernel makes one too many


ECG_FM = Wave(12, 768, 12, 3072, (256,) * 4, (2,) * 4, (2,) * 4)
HUBERT_ECG = Wave(
    *(12, 768, 12, 3072),
    *((512,) * 5, (10, 3, 3, 2, 2), (4, 2, 2, 2, 2)),
    chained=True,
    native_hz=100,
    amplitude="min-max-lead",
)
