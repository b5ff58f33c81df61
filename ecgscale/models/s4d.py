"""S4D: diagonal state spaces (Gu et al. 2022), discretised by a zero-order hold and convolved in the Fourier domain."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.precision import autocast_of

_SHORTEST, _LONGEST = 1e-3, 1e-1  # samples that a step of a state lasts at the start


@dataclass(frozen=True)
class S4D(Architecture):
    """Layers and width; every feature has ``state`` complex numbers of its own, half of them kept (conjugate pairs).

    ``bidirectional``: the past and the future reach a sample, by a kernel each.
    """

    layers: int
    width: int
    state: int = 64
    bidirectional: bool = True
    dropout: float = 0.1

    kind: ClassVar[str] = "s4d"

    def __post_init__(self) -> None:
        if min(self.layers, self.width) < 1 or self.state < 2 or self.state % 2 or not 0 <= self.dropout < 1:
            raise ValueError(f"{self}: layers and width are at least 1, state even, dropout in [0, 1)")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    @property
    def causal(self) -> bool:
        return not self.bidirectional

    def macs(self, n_samples: int) -> int:
        """What is computed of one recording: mixing, and a convolution through two transforms of twice the samples.

        A transform of N real numbers is 1.25 N log2(N), as ``flops`` has it. Kernels are made of weights alone, once a
        batch, so that they are no recording's; products of single numbers are not counted anywhere.
        """
        double = 2 * n_samples
        convolved = 2 * 1.25 * double * math.log2(double)
        mixed = 2 * self.width * n_samples
        return round(self.width * (self.layers * (convolved + mixed) + 12 * n_samples))

    def build(self) -> Backbone:
        return S4DBackbone(self)


class S4DBackbone(Backbone):
    """Signals [n, 12, n_samples] to features: the mean over time of the last layer's, a sample each."""

    def __init__(self, description: S4D) -> None:
        super().__init__()
        width = self.width = description.width
        self.embed = nn.Conv1d(12, width, 1)
        self.layers = nn.ModuleList(ResidualStateSpace(description) for _ in range(description.layers))

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        return (batch.signal,)

    def token_embeddings(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.embed(inputs[0]).transpose(1, 2)  # type: ignore[no-any-return]

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = self.embed(inputs[0])
        for layer in self.layers:
            x = layer(x)
        return Features(x.mean(-1), x.transpose(1, 2))


class ResidualStateSpace(nn.Module):
    """A layer beside a skip connection, normalised behind their sum."""

    def __init__(self, description: S4D) -> None:
        super().__init__()
        self.layer = StateSpaceLayer(
            description.width, description.state, description.dropout, bidirectional=description.bidirectional
        )
        self.norm = nn.LayerNorm(description.width)
        self.dropout = nn.Dropout(description.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm((x + self.dropout(self.layer(x))).transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]


class StateSpaceLayer(nn.Module):
    """Every feature [n, width, n_samples] through a state space of its own, then a gated mix of all features."""

    def __init__(self, width: int, state: int, dropout: float = 0.0, *, bidirectional: bool) -> None:
        super().__init__()
        self.kernel = Kernel(width, state // 2, 2 if bidirectional else 1)
        self.passed = nn.Parameter(torch.randn(width))
        self.dropout = nn.Dropout(dropout)
        self.mix = nn.Conv1d(width, 2 * width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = x.dtype
        with torch.autocast(autocast_of(x), enabled=False):
            y = convolved(x.float(), self.kernel(x.shape[-1])) + x.float() * self.passed[:, None]
        return F.glu(self.mix(self.dropout(F.gelu(y.to(low)))), 1)


class Kernel(nn.Module):
    """What a state space answers to a single 1: [n_kernels, width, n_samples].

    A state decays by exp(A dt) a sample, A = -exp(log_decay) + i frequency; its input is held over a sample (ZOH).
    """

    def __init__(self, width: int, n_pairs: int, n_kernels: int) -> None:
        super().__init__()
        span = math.log(_LONGEST) - math.log(_SHORTEST)
        self.log_step = nn.Parameter(torch.rand(width) * span + math.log(_SHORTEST))
        self.log_decay = nn.Parameter(torch.full((width, n_pairs), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(n_pairs).repeat(width, 1).float())
        self.out = nn.Parameter(torch.randn(n_kernels, width, n_pairs, 2) * 0.5**0.5)  # real and imaginary

    def forward(self, n_samples: int) -> torch.Tensor:
        pole = torch.complex(-self.log_decay.exp(), self.frequency)
        step = pole * self.log_step.exp()[:, None]  # [width, n_pairs]
        held = (step.exp() - 1) / pole
        weight = torch.view_as_complex(self.out) * held
        powers = (step[..., None] * torch.arange(n_samples, device=step.device)).exp()  # [width, n_pairs, n_samples]
        return 2 * torch.einsum("khp,hps->khs", weight, powers).real


def convolved(x: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """[n, width, n_samples] with kernels [1 or 2, width, n_samples]: of the past, and of the future after a sample."""
    n_samples = x.shape[-1]
    whole = F.pad(kernels[0], (0, n_samples))
    if len(kernels) == 2:
        whole = whole + F.pad(kernels[1].flip(-1), (n_samples, 0))
    product = torch.fft.rfft(x, n=2 * n_samples) * torch.fft.rfft(whole)
    return torch.fft.irfft(product, n=2 * n_samples)[..., :n_samples]


# A ladder of our own over the sizes that the others are swept in.
S4DS = tuple(
    S4D(*row)
    for row in (
        *((4, 24), (4, 48), (4, 96), (4, 160)),
        *((6, 256), (6, 448)),
        *((8, 704), (8, 1088)),
        *((12, 1408), (24, 1984)),
    )
)
