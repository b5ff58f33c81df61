"""Basic ResNet: the residual network of He et al. (2016) in one dimension, of blocks of two convolutions.

MERL's ResNet18 (Liu et al. 2024) and the ResNet of Wang et al. (2017) as it is benchmarked on PTB-XL (Strodthoff et al.
2020) are two settings of it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.native import AMPLITUDES, signal_at
from ecgscale.models.pooling import ConcatPool

_SECONDS = 10  # of a recording


@dataclass(frozen=True)
class BasicResNet(Architecture):
    """Channels and blocks of each stage; every stage but the first begins with a stride of 2.

    ``kernels`` are those of a block's two convolutions. ``pooling`` "mean" is over time; "concat" is maximum and mean,
    normalised and dropped out as in fastai's heads. Corpora are stored at ``reads_hz`` and brought to ``native_hz``.
    """

    channels: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    kernels: tuple[int, int] = (3, 3)
    stem_stride: int = 2
    pooling: str = "mean"
    native_hz: int = 500
    amplitude: str = "min-max"
    reads_hz: int = 100

    kind: ClassVar[str] = "basic-resnet"

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.blocks) or min(*self.channels, *self.blocks, self.stem_stride) < 1:
            raise ValueError(f"{self}: channels and blocks name one number a stage")
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"{self}: kernels are odd")
        if self.pooling not in ("mean", "concat"):
            raise ValueError(f"{self}: pooling is 'mean' or 'concat'")
        if min(self.native_hz, self.reads_hz) < 1 or self.amplitude not in AMPLITUDES:
            raise ValueError(f"{self}: rates are at least 1, amplitude is one of {', '.join(AMPLITUDES)}")

    @property
    def sampling_hz(self) -> int:
        return self.reads_hz

    @property
    def native_samples(self) -> int:
        return _SECONDS * self.native_hz

    @property
    def size(self) -> str:
        return f"{sum(self.blocks)}x{self.channels[-1]}"

    def build(self) -> Backbone:
        return BasicResNetBackbone(self)


class BasicResNetBackbone(Backbone):
    """Signals [n, 12, n_samples] to features: the last block's, pooled over time."""

    def __init__(self, description: BasicResNet) -> None:
        super().__init__()
        self.description = description
        channels = description.channels
        self.stem = nn.Conv1d(12, channels[0], 7, description.stem_stride, 3, bias=False)
        self.stem_norm = nn.BatchNorm1d(channels[0])
        blocks, n_in = [], channels[0]
        for stage, (n_out, n_blocks) in enumerate(zip(channels, description.blocks, strict=True)):
            for i in range(n_blocks):
                blocks.append(BasicBlock(n_in, n_out, 2 if stage and i == 0 else 1, description.kernels))
                n_in = n_out
        self.blocks = nn.ModuleList(blocks)
        self.pool = ConcatPool(n_in) if description.pooling == "concat" else None
        self.width = self.pool.width if self.pool else n_in

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        what = self.description
        return (signal_at(batch, what.reads_hz, what.native_hz, what.amplitude),)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = F.relu(self.stem_norm(self.stem(inputs[0])))
        for block in self.blocks:
            x = block(x)
        return Features(self.pool(x) if self.pool else x.mean(-1), x.transpose(1, 2))


class BasicBlock(nn.Module):
    """Two convolutions beside a skip connection, which is a 1 x 1 convolution where the form changes."""

    def __init__(self, n_in: int, n_out: int, stride: int, kernels: tuple[int, int]) -> None:
        super().__init__()
        first, second = kernels
        self.conv1 = nn.Conv1d(n_in, n_out, first, stride, first // 2, bias=False)
        self.norm1 = nn.BatchNorm1d(n_out)
        self.conv2 = nn.Conv1d(n_out, n_out, second, 1, second // 2, bias=False)
        self.norm2 = nn.BatchNorm1d(n_out)
        same = stride == 1 and n_in == n_out
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv1d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm1d(n_out))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


MERL_RESNET18 = BasicResNet()
RESNET_WANG = BasicResNet(
    (128, 128, 128), (1, 1, 1), (5, 3), stem_stride=1, pooling="concat", native_hz=100, amplitude="sd"
)
