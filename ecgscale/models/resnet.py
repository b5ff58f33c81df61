"""ResNet: the 1-D residual network of Ribeiro et al. (2020), scaled in depth and width together (Eq. 8).

Convolutions are 1 x k in two dimensions and channels-last, which a CPU computes faster (see ``cpu_conv``).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.cpu_conv import BatchNorm, Convolution
from ecgscale.models.features import Backbone, Features
from ecgscale.models.native import AMPLITUDES, fitted, signal_at

_SECONDS = 10  # of a recording
_RIBEIRO_CHANNELS = np.array([64, 128, 196, 256, 320]) / 320  # Ribeiro's five blocks, by the width of the last


@dataclass(frozen=True)
class ResNet(Architecture):
    """Depth in residual blocks, width in channels of the last one; the defaults of the rest are Ribeiro's.

    ``profile`` "ribeiro" interpolates Ribeiro's channels over the blocks (the ladder of Table S.4 then falls into its
    own size bins); "uniform" reads depth as stem + (depth - 1) blocks of equal width. ``dropout`` 0.2 is the rate of
    the TensorFlow original (keep probability 0.8).

    ``downsampling`` is that of all blocks together, a power of two: 64 makes 16 positions of 1024 samples (10 s at
    100 Hz, padded), whatever the depth. ``pooling`` "mean" is over them; "flatten" puts them one behind the other,
    channel by channel, as Ribeiro's head reads them, of recordings cut or padded to ten seconds. Corpora are stored at
    ``reads_hz`` and brought to ``computes_hz`` where that is not 0; ``amplitude`` is one of ``native.AMPLITUDES``.
    """

    depth: int
    width: int
    kernel: int = 17
    dropout: float = 0.2
    profile: str = "ribeiro"
    downsampling: int = 64
    pooling: str = "mean"
    reads_hz: int = 100
    amplitude: str = "sd"
    computes_hz: int = 0  # 0: as they are stored

    kind: ClassVar[str] = "resnet"
    any_leads: ClassVar[bool] = False
    localised: ClassVar[bool] = False
    input: ClassVar[str] = "signal"

    def __post_init__(self) -> None:
        if self.depth < 2 or self.width < 1 or self.kernel % 2 == 0:
            raise ValueError(f"{self}: depth is at least 2, width at least 1, and the kernel odd")
        if self.profile not in ("ribeiro", "uniform"):
            raise ValueError(f"{self}: profile is 'ribeiro' or 'uniform'")
        if self.downsampling < 1 or self.downsampling.bit_count() != 1 or self.reads_hz < 1:
            raise ValueError(f"{self}: downsampling is a power of two, reads_hz at least 1")
        if self.computes_hz < 0:
            raise ValueError(f"{self}: computes_hz is at least 0")
        if self.pooling not in ("mean", "flatten"):
            raise ValueError(f"{self}: pooling is 'mean' or 'flatten'")
        if self.amplitude not in AMPLITUDES:
            raise ValueError(f"{self}: amplitude is one of {', '.join(AMPLITUDES)}")
        if max(self.strides) > self.kernel:
            raise ValueError(
                f"{self}: so few blocks would stride {max(self.strides)} samples, past the kernel; go deeper"
            )

    @property
    def sampling_hz(self) -> int:
        return self.reads_hz

    @property
    def native_hz(self) -> int:
        return self.computes_hz or self.reads_hz

    @property
    def native_samples(self) -> int:
        """Where positions are flattened, ten seconds in whole positions: Ribeiro's 4,096 at 400 Hz."""
        return -(-_SECONDS * self.native_hz // self.downsampling) * self.downsampling if self.length == "fixed" else 0

    @property
    def length(self) -> str:
        return "fixed" if self.pooling == "flatten" else "any"

    @property
    def size(self) -> str:
        return f"{self.depth}x{self.width}"

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the stem and of each block."""
        if self.profile == "uniform":
            return (self.width,) * self.depth
        shares = np.interp(np.linspace(0, 1, self.depth), np.linspace(0, 1, 5), _RIBEIRO_CHANNELS)
        blocks = [max(1, round(self.width * share)) for share in shares]
        return (blocks[0], *blocks)

    @property
    def strides(self) -> tuple[int, ...]:
        """Downsampling of each block: powers of two, larger ones first, ``downsampling`` in all."""
        doublings, more = divmod(self.downsampling.bit_length() - 1, self.depth - 1)
        steps = tuple(2 ** (doublings + (i < more)) for i in range(self.depth - 1))
        return steps if self.profile == "uniform" else (1, *steps)

    def build(self) -> Backbone:
        return ResNetBackbone(self)


class ResNetBackbone(Backbone):
    """Signals [n, 12, n_samples] to features of width ``width``: the last block's, pooled over time or flattened."""

    def __init__(self, description: ResNet) -> None:
        super().__init__()
        channels, kernel = description.channels, description.kernel
        self.downsampling, self.flat = description.downsampling, description.pooling == "flatten"
        self.rates, self.amplitude = (description.reads_hz, description.native_hz), description.amplitude
        self.fit = (description.native_samples, description.length)
        self.width = channels[-1] * (self.fit[0] // self.downsampling if self.flat else 1)
        self.stem = Convolution(12, channels[0], kernel)
        self.stem_norm = BatchNorm(channels[0], rectified=False)
        self.blocks = nn.ModuleList(
            ResidualBlock(n_in, n_out, stride, kernel, description.dropout)
            for n_in, n_out, stride in zip(channels, channels[1:], description.strides, strict=False)
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        signal = fitted(signal_at(batch, *self.rates, self.amplitude), *self.fit)
        n, n_leads, n_samples = signal.shape
        missing = -n_samples % self.downsampling  # zero-padded on both sides: 1000 -> 1024, 500 -> 512
        padded = signal.new_zeros(n, 1, n_samples + missing, n_leads)
        padded[:, 0, missing // 2 : missing // 2 + n_samples] = signal.transpose(1, 2)
        return (padded.permute(0, 3, 1, 2),)  # [n, 12, 1, n_samples], channels-last

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = y = self.stem_norm(self.stem(inputs[0]))
        for block in self.blocks:
            x, y = block(x, y)
        local = x.squeeze(2).transpose(1, 2)  # [n, n_positions, channels]
        return Features(x.flatten(1) if self.flat else local.mean(1), local)


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip connection; the next skip takes the sum before its normalisation."""

    def __init__(self, n_in: int, n_out: int, stride: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d((1, stride), (1, stride)) if stride > 1 else nn.Identity()
        self.project = nn.Conv2d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()
        self.conv1 = Convolution(n_in, n_out, kernel)
        self.norm1 = BatchNorm(n_out, dropout=dropout)
        self.conv2 = Convolution(n_out, n_out, kernel, stride)
        self.norm2 = BatchNorm(n_out, dropout=dropout)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.project(self.pool(y))
        y = self.conv2(self.norm1(self.conv1(x))) + y  # ReLU and dropout are part of a norm
        return self.norm2(y), y


# Table S.4 of the scaling study, with a rung added that reaches the 200M parameters its abstract names.
RESNETS = tuple(
    ResNet(depth, width)
    for depth, width in (
        *((3, 24), (3, 48)),
        *((4, 64), (4, 90), (4, 128)),
        *((5, 226), (5, 320)),
        *((6, 452), (6, 640)),
        (7, 1024),
    )
)
RESNET_200M = ResNet(7, 1440)
RIBEIRO = ResNet(5, 320, downsampling=256, pooling="flatten", reads_hz=400)  # as published, but for its dropout of 0.8
