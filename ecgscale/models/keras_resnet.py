"""Keras ResNet: the network of Ribeiro et al. (2020) as TensorFlow computes it, and PCLR's (Diamant et al. 2022).

It differs from the PyTorch version (``resnet``) in an even kernel, padded one more behind, in a ReLU before the first
skip connection, in four blocks, and in the constants of its normalisations.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.native import AMPLITUDES, fitted, signal_at

_EPS, _MOMENTUM = 1e-3, 0.01  # Keras' defaults; its momentum is the share that is kept
_STRIDE = 4  # of every block
_SECONDS = 10  # of a recording, which is 4,096 samples


@dataclass(frozen=True)
class KerasResNet(Architecture):
    """Channels of the stem and of each block.

    ``pooling`` "mean" is over time; "flatten" puts all channels of one position behind those of the one before, of
    recordings cut or padded to ten seconds. Corpora are stored at ``reads_hz`` and brought to ``native_hz``.
    ``n_samples`` 0: they are then zero-padded on both sides to a whole number of positions; else ten seconds are
    interpolated along straight lines to so many samples, as PCLR reads them.
    """

    channels: tuple[int, ...] = (64, 128, 196, 256, 320)
    kernel: int = 16
    dropout: float = 0.2
    pooling: str = "flatten"
    native_hz: int = 400
    n_samples: int = 0
    amplitude: str = "code"
    reads_hz: int = 100

    kind: ClassVar[str] = "keras-resnet"

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or min(self.channels) < 1 or self.kernel < _STRIDE or not 0 <= self.dropout < 1:
            raise ValueError(
                f"{self}: channels are of a stem and at least one block, the kernel is at least {_STRIDE}, "
                "dropout in [0, 1)"
            )
        if self.pooling not in ("mean", "flatten"):
            raise ValueError(f"{self}: pooling is 'mean' or 'flatten'")
        if min(self.native_hz, self.reads_hz) < 1 or self.n_samples < 0 or self.amplitude not in AMPLITUDES:
            raise ValueError(
                f"{self}: rates are at least 1, n_samples at least 0, amplitude is one of {', '.join(AMPLITUDES)}"
            )

    @property
    def sampling_hz(self) -> int:
        return self.reads_hz

    @property
    def size(self) -> str:
        return f"{len(self.channels) - 1}x{self.channels[-1]}"

    @property
    def native_samples(self) -> int:
        """Ten seconds in whole positions."""
        return -(-(self.n_samples or _SECONDS * self.native_hz) // self.downsampling) * self.downsampling

    @property
    def length(self) -> str:
        return "fixed" if self.pooling == "flatten" else "any"

    @property
    def downsampling(self) -> int:
        """Samples of one position of the last block."""
        return int(_STRIDE ** (len(self.channels) - 1))

    def build(self) -> Backbone:
        return KerasResNetBackbone(self)


class KerasResNetBackbone(Backbone):
    """Signals [n, 12, n_samples] to features: the last block's, pooled over time or flattened."""

    def __init__(self, description: KerasResNet) -> None:
        super().__init__()
        self.description = description
        channels, kernel = description.channels, description.kernel
        n_positions = description.native_samples // description.downsampling
        self.flat = description.pooling == "flatten"
        self.width = channels[-1] * (n_positions if self.flat else 1)
        self.stem = TensorFlowConvolution(12, channels[0], kernel)
        self.stem_norm = _norm(channels[0])
        self.blocks = nn.ModuleList(
            PreactivatedBlock(n_in, n_out, kernel, description.dropout) for n_in, n_out in pairwise(channels)
        )

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        what = self.description
        signal = signal_at(batch, what.reads_hz, what.native_hz, what.amplitude)
        if what.n_samples:
            n = round(signal.shape[-1] * what.n_samples / (_SECONDS * what.native_hz))
            signal = F.interpolate(signal, n, mode="linear", align_corners=True)
        signal = fitted(signal, what.native_samples, what.length)
        if what.n_samples:
            return (signal,)
        missing = -signal.shape[-1] % what.downsampling
        return (F.pad(signal, (missing // 2, missing - missing // 2)),)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = y = F.relu(self.stem_norm(self.stem(inputs[0])))
        for block in self.blocks:
            x, y = block(x, y)
        local = x.transpose(1, 2)  # [n, n_positions, channels]
        return Features(local.flatten(1) if self.flat else local.mean(1), local)


class TensorFlowConvolution(nn.Conv1d):
    """A convolution without bias, padded as TensorFlow's "same": the odd sample of padding is the last one."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, bias=False)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(F.pad(input, same(input.shape[-1], self.kernel_size[0], self.stride[0])))


def same(n_samples: int, kernel: int, stride: int) -> tuple[int, int]:
    """Samples that TensorFlow's "same" puts before and behind."""
    missing = max(0, (-(-n_samples // stride) - 1) * stride + kernel - n_samples)
    return missing // 2, missing - missing // 2


def _norm(n_channels: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(n_channels, _EPS, _MOMENTUM)


class PreactivatedBlock(nn.Module):
    """Two convolutions beside a skip connection; the next skip takes the sum before its normalisation."""

    def __init__(self, n_in: int, n_out: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.project = TensorFlowConvolution(n_in, n_out, 1) if n_in != n_out else nn.Identity()
        self.conv1 = TensorFlowConvolution(n_in, n_out, kernel)
        self.norm1 = _norm(n_out)
        self.conv2 = TensorFlowConvolution(n_out, n_out, kernel, _STRIDE)
        self.norm2 = _norm(n_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.dropout(F.relu(self.norm1(self.conv1(x))))
        y = self.conv2(x) + self.project(F.max_pool1d(y, _STRIDE, ceil_mode=True))
        return self.dropout(F.relu(self.norm2(y))), y


RIBEIRO_KERAS = KerasResNet()
PCLR = KerasResNet(dropout=0.0, pooling="mean", native_hz=500, n_samples=4096, amplitude="mv")
