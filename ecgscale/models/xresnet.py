"""XResNet: a residual network with the tricks of He et al. (2019) in one dimension, as it is benchmarked on PTB-XL.

xresnet1d101 of Strodthoff et al. (2020): a stem of three convolutions, bottlenecks, skips that average before they
project, and a head with a hidden layer.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.pooling import ConcatPool

_EXPANSION = 4  # channels of a bottleneck's output by those inside
_STEM = (32, 32, 64)


@dataclass(frozen=True)
class XResNet(Architecture):
    """Bottlenecks of each stage, all of ``width`` channels inside; every stage but the first begins with a stride of 2.

    ``hidden`` features leave the head's hidden layer; 0: twice the channels, without one. ``zero_start``: a block adds
    nothing to its skip at first.
    """

    blocks: tuple[int, ...] = (3, 4, 23, 3)
    width: int = 64
    kernel: int = 5
    hidden: int = 128
    zero_start: bool = True

    kind: ClassVar[str] = "xresnet"

    def __post_init__(self) -> None:
        if min(*self.blocks, self.width) < 1 or self.hidden < 0 or self.kernel < 1 or self.kernel % 2 == 0:
            raise ValueError(f"{self}: blocks and width are at least 1, hidden at least 0, and the kernel odd")

    @property
    def size(self) -> str:
        return f"{3 * sum(self.blocks) + 2}x{self.width}"

    def build(self) -> Backbone:
        return XResNetBackbone(self)


class XResNetBackbone(Backbone):
    """Signals [n, 12, n_samples] to features: maximum and mean over time, through the head's hidden layer."""

    def __init__(self, description: XResNet) -> None:
        super().__init__()
        kernel, n_in = description.kernel, 12
        stem = []
        for i, n_out in enumerate(_STEM):
            stem.append(Normed(n_in, n_out, kernel, 2 if i == 0 else 1))
            n_in = n_out
        self.stem = nn.Sequential(*stem)
        blocks = []
        for stage, n_blocks in enumerate(description.blocks):
            for i in range(n_blocks):
                blocks.append(Bottleneck(n_in, description.width, kernel, 2 if stage and i == 0 else 1))
                n_in = _EXPANSION * description.width
        self.blocks = nn.ModuleList(blocks)
        self.pool = ConcatPool(n_in, description.hidden)
        self.width = self.pool.width
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for block in blocks if description.zero_start else ():
            nn.init.zeros_(block.contract.norm.weight)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        return (batch.signal,)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = F.max_pool1d(self.stem(inputs[0]), 3, 2, 1)
        for block in self.blocks:
            x = block(x)
        return Features(self.pool(x), x.transpose(1, 2))


class Normed(nn.Module):
    """A convolution without bias, batch normalisation, and a ReLU if ``rectified``."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, *, rectified: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(n_out)
        self.rectified = rectified
        nn.init.constant_(self.norm.bias, 1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        return F.relu(x) if self.rectified else x


class Bottleneck(nn.Module):
    """1 x 1, wide and 1 x 1 convolutions beside a skip that averages pairs of samples where the block strides."""

    def __init__(self, n_in: int, width: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride, n_out = stride, _EXPANSION * width
        self.expand = Normed(n_in, width, 1)
        self.conv = Normed(width, width, kernel, stride)
        self.contract = Normed(width, n_out, 1, rectified=False)
        self.project = Normed(n_in, n_out, 1, rectified=False) if n_in != n_out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.contract(self.conv(self.expand(x)))
        if self.stride > 1:
            x = F.avg_pool1d(x, self.stride, ceil_mode=True)
        return F.relu(y + self.project(x))


XRESNET1D101 = XResNet()
