"""Mamba: selective state spaces (Gu and Dao 2023) in plain torch; what a state keeps is chosen by the input itself."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.precision import autocast_of

_EXPANSION = 2  # features inside a layer by those outside
_TAPS = 4  # of the causal convolution in front of a scan
_SHORTEST, _LONGEST = 1e-3, 1e-1  # steps of a state at the start


@dataclass(frozen=True)
class Mamba(Architecture):
    """Layers and width; a token is ``patch`` samples of all leads; ``state`` numbers are kept of each inner feature.

    ``bidirectional``: every second layer reads a recording from its end.
    """

    layers: int
    width: int
    state: int = 16
    patch: int = 4
    bidirectional: bool = True

    kind: ClassVar[str] = "mamba"

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.state, self.patch) < 1:
            raise ValueError(f"{self}: layers, width, state and patch are at least 1")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    @property
    def inner(self) -> int:
        """Features inside a layer."""
        return _EXPANSION * self.width

    @property
    def rank(self) -> int:
        """Numbers that the steps of all inner features are made of."""
        return -(-self.width // 16)

    @property
    def causal(self) -> bool:
        return not self.bidirectional

    def macs(self, n_samples: int) -> int:
        """Products with weights, and of every state two more a token: what it keeps, and what is read of it."""
        n_tokens = n_samples // self.patch
        weights = 3 * self.width + _TAPS + 2 * self.rank + 2 * self.state  # of one inner feature
        layer = self.inner * (weights + 2 * self.state)
        return n_tokens * (self.layers * layer + 12 * self.patch * self.width)

    def build(self) -> Backbone:
        return MambaBackbone(self)


class MambaBackbone(Backbone):
    """Signals [n, 12, n_samples] to features: the mean over tokens, normalised; samples of no whole token are left."""

    def __init__(self, description: Mamba) -> None:
        super().__init__()
        width = self.width = description.width
        self.samples_per_token = description.patch
        self.embed = nn.Conv1d(12, width, description.patch, description.patch)
        self.layers = nn.ModuleList(
            SelectiveLayer(description, backwards=description.bidirectional and i % 2 == 1)
            for i in range(description.layers)
        )
        self.norm = nn.LayerNorm(width)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        return (batch.signal,)

    def token_embeddings(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.embed(inputs[0]).transpose(1, 2)  # type: ignore[no-any-return]

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = self.token_embeddings(*inputs)
        for layer in self.layers:
            x = layer(x)
        local = self.norm(x)
        return Features(local.mean(1), local)


class SelectiveLayer(nn.Module):
    """[n, n_tokens, width]: a causal convolution and a selective scan of inner features, gated, beside a skip."""

    def __init__(self, description: Mamba, *, backwards: bool) -> None:
        super().__init__()
        width, inner, state, rank = description.width, description.inner, description.state, description.rank
        self.backwards, self.parts = backwards, (rank, state, state)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * inner, bias=False)
        self.convolution = nn.Conv1d(inner, inner, _TAPS, groups=inner)
        self.select = nn.Linear(inner, sum(self.parts), bias=False)
        self.step = nn.Linear(rank, inner)
        self.log_decay = nn.Parameter(torch.arange(1, state + 1).float().log().repeat(inner, 1))
        self.passed = nn.Parameter(torch.ones(inner))
        self.contract = nn.Linear(inner, width, bias=False)
        span = math.log(_LONGEST) - math.log(_SHORTEST)
        steps = (torch.rand(inner) * span + math.log(_SHORTEST)).exp()
        with torch.no_grad():
            self.step.bias.copy_(steps + (-torch.expm1(-steps)).log())  # what softplus makes these steps of

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(x)
        if self.backwards:
            y = y.flip(1)
        y, gate = self.expand(y).transpose(1, 2).chunk(2, 1)  # each [n, inner, n_tokens]
        y = F.silu(self.convolution(F.pad(y, (_TAPS - 1, 0))))
        rank, *read = self.select(y.transpose(1, 2)).split(self.parts, -1)
        with torch.autocast(autocast_of(x), enabled=False):
            step = F.softplus(F.linear(rank.float(), self.step.weight, self.step.bias)).transpose(1, 2)
            decay = -self.log_decay.exp()
            read_in, read_out = (part.float().transpose(1, 2) for part in read)
            scan = selective_scan(y.float(), step, decay, read_in, read_out)
            y = (scan + y.float() * self.passed[:, None]) * F.silu(gate.float())
        y = self.contract(y.to(x.dtype).transpose(1, 2))
        return x + (y.flip(1) if self.backwards else y)


def selective_scan(
    x: torch.Tensor, step: torch.Tensor, decay: torch.Tensor, read_in: torch.Tensor, read_out: torch.Tensor
) -> torch.Tensor:
    """What states say of ``x`` [n, inner, n_tokens] that are kept by exp(step x decay) a token (Algorithm 2).

    ``step`` [n, inner, n_tokens] above 0, ``decay`` [inner, state] below 0, ``read_in`` and ``read_out`` [n, state,
    n_tokens].
    """
    kept = (step[:, :, None] * decay[:, :, None]).exp()  # [n, inner, state, n_tokens]
    added = (step * x)[:, :, None] * read_in[:, None]
    return (recurrence(kept, added) * read_out[:, None]).sum(2)


def recurrence(kept: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """States h[t] = kept[t] h[t - 1] + added[t] along the last axis, from 0."""
    return _Recurrence.apply(kept, added)  # type: ignore[no-any-return,no-untyped-call]


class _Recurrence(torch.autograd.Function):
    """All tokens at once, and of what is computed on the way nothing is kept for the gradient but the states."""

    @staticmethod
    def forward(ctx: Any, kept: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
        states = _doubled(kept, added)
        ctx.save_for_backward(kept, states)
        return states

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        kept, states = ctx.saved_tensors
        following = F.pad(kept[..., 1:], (0, 1))
        reached = _doubled(following.flip(-1), gradient.flip(-1)).flip(-1)  # the same recurrence, from the end
        return reached * F.pad(states[..., :-1], (1, 0)), reached


def _doubled(kept: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
    """The recurrence by doubling how far back each token has looked (Hillis and Steele 1986)."""
    n_tokens, reach = added.shape[-1], 1
    while reach < n_tokens:
        added = added + kept * F.pad(added[..., :-reach], (reach, 0))
        kept = kept * F.pad(kept[..., :-reach], (reach, 0), value=1.0)
        reach *= 2
    return added


# A ladder of our own over the sizes that the others are swept in.
MAMBAS = tuple(
    Mamba(*row)
    for row in (
        *((2, 32), (2, 56), (4, 64), (4, 104)),
        *((6, 160), (6, 272)),
        *((8, 416), (8, 640)),
        *((16, 704), (24, 1152)),
    )
)
