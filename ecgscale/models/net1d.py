"""Net1D: the RegNet-like convolutional network of ECGFounder (Li et al. 2024), as released and in other widths.

Facts of its form are from the authors' public model file; the batch normalisations that it declares and never uses
are left out.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.native import signal_at

_SECONDS = 10  # of a recording
GROUP_WIDTH = 16  # channels of a group of the wide convolutions


@dataclass(frozen=True)
class Net1D(Architecture):
    """Channels and blocks of each stage; the defaults are the released model's.

    ``leads`` 12 or 1: lead I, or the first of a corpus that has not twelve. Corpora are stored at ``reads_hz``
    and resampled, band-limited and without shift, to the 500 Hz that the network expects: of one at 100 Hz nothing is
    missing, as above 40 Hz its preparation leaves nothing.
    Every recording is standardised over all its leads together, as in the released code.
    """

    channels: tuple[int, ...] = (64, 160, 160, 400, 400, 1024, 1024)
    blocks: tuple[int, ...] = (2, 2, 2, 3, 3, 4, 4)
    leads: int = 12
    stem: int = 64
    kernel: int = 16
    reads_hz: int = 100

    kind: ClassVar[str] = "net1d"
    revision: ClassVar[int] = 2  # 2: 100 Hz are resampled by a filter, not along straight lines
    localised: ClassVar[bool] = False
    input: ClassVar[str] = "signal"
    native_hz: ClassVar[int] = 500
    amplitude: ClassVar[str] = "z-score"

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.blocks) or not self.channels or min(*self.channels, *self.blocks, 1) < 1:
            raise ValueError(f"{self}: channels and blocks name one number a stage")
        if any(n % GROUP_WIDTH for n in self.channels):
            raise ValueError(f"{self}: channels are multiples of {GROUP_WIDTH}")
        if self.leads not in (1, 12) or self.reads_hz < 1:
            raise ValueError(f"{self}: leads is 1 or 12, reads_hz at least 1")

    @property
    def sampling_hz(self) -> int:
        return self.reads_hz

    @property
    def any_leads(self) -> bool:
        return self.leads == 1

    @property
    def native_samples(self) -> int:
        return _SECONDS * self.native_hz

    @property
    def native_leads(self) -> int:
        return self.leads

    @property
    def size(self) -> str:
        return f"{sum(self.blocks)}x{self.channels[-1]}"

    def build(self) -> Backbone:
        return Net1DBackbone(self)


class Net1DBackbone(Backbone):
    """Signals [n, leads, n_samples] to features of the last stage's channels: their mean over time."""

    def __init__(self, description: Net1D) -> None:
        super().__init__()
        self.width, self.n_leads = description.channels[-1], description.leads
        self.any_leads = description.any_leads
        self.reads_hz = description.reads_hz
        self.stem = SamePadded(description.leads, description.stem, description.kernel, 2)
        stages: list[nn.Module] = []
        n_in = description.stem
        for n_out, n_blocks in zip(description.channels, description.blocks, strict=True):
            stage = []
            for i in range(n_blocks):
                first = not stages and i == 0
                stage.append(GroupedBlock(n_in, n_out, description.kernel, 2 if i == 0 else 1, activated=not first))
                n_in = n_out
            stages.append(nn.Sequential(*stage))
        self.stages = nn.ModuleList(stages)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        cut = batch._replace(signal=batch.signal[:, : self.n_leads])
        return (signal_at(cut, self.reads_hz, Net1D.native_hz, Net1D.amplitude),)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = F.silu(self.stem(inputs[0]))
        for stage in self.stages:
            x = stage(x)
        return Features(x.mean(-1), x.transpose(1, 2))


class GroupedBlock(nn.Module):
    """1 x 1, grouped and 1 x 1 convolutions, squeeze and excitation, and a skip that pools time and pads channels."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, activated: bool) -> None:
        super().__init__()
        self.stride, self.activated, self.wider = stride, activated, n_out - n_in
        self.conv1 = nn.Conv1d(n_in, n_out, 1)
        self.conv2 = SamePadded(n_out, n_out, kernel, stride, groups=n_out // GROUP_WIDTH)
        self.conv3 = nn.Conv1d(n_out, n_out, 1)
        self.squeeze = nn.Linear(n_out, n_out // 2)
        self.excite = nn.Linear(n_out // 2, n_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv1(F.silu(x) if self.activated else x)
        y = self.conv3(F.silu(self.conv2(F.silu(y))))
        y = y * torch.sigmoid(self.excite(F.silu(self.squeeze(y.mean(-1)))))[..., None]
        if self.stride > 1:
            x = F.max_pool1d(F.pad(x, ((self.stride - 1) // 2, self.stride // 2)), self.stride)
        before = self.wider // 2
        return y + F.pad(x, (0, 0, before, self.wider - before))


class SamePadded(nn.Conv1d):
    """A convolution whose output is the input's length divided by the stride, rounded up; odd padding ends right."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int, groups: int = 1) -> None:
        super().__init__(n_in, n_out, kernel, stride, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[-1]
        missing = max(0, (-(-n // self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - n)
        return super().forward(F.pad(x, (missing // 2, missing - missing // 2)))


# The released model has 30.8M parameters with its 150 labels. The paper names 11.7M, 25.6M, 76.3M (its primary model)
# and 110M, for which no channels were published: the released ones scaled alike, as near as groups of 16 allow.
NET1D = Net1D()
NET1DS = (
    Net1D((32, 96, 96, 240, 240, 608, 608)),
    Net1D((64, 144, 144, 368, 368, 928, 928)),
    NET1D,
    Net1D((96, 256, 256, 640, 640, 1648, 1648)),
    Net1D((128, 304, 304, 768, 768, 1984, 1984)),
)
