"""Crossformer (Zhang and Yan 2023): segments of a lead attend in time, then leads to each other through routers.

As the Time-Series-Library (Wu et al. 2023) classifies with its encoder: from scale to scale two segments become one,
and the head reads all segments of the last.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models.embedding import sinusoids
from ecgscale.models.features import Backbone, Features
from ecgscale.models.ten_seconds import LEADS, SAMPLES, TenSeconds, TenSecondsBackbone


@dataclass(frozen=True)
class Crossformer(TenSeconds):
    """``layers`` scales, width, heads and feed-forward width; tokens of ``segment`` samples, each with ``routers``."""

    layers: int = 3
    width: int = 128
    heads: int = 8
    ffn: int = 256
    segment: int = 12
    routers: int = 1
    dropout: float = 0.1
    pooling: str = "flatten"

    kind: ClassVar[str] = "crossformer"

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.ffn, self.segment, self.routers) < 1:
            raise ValueError(f"{self}: every number is at least 1")
        if self.width % self.heads or self.width % 2 or not 0 <= self.dropout < 1 or self.segment > SAMPLES:
            raise ValueError(
                f"{self}: width is even and a multiple of heads, dropout in [0, 1), segment at most {SAMPLES}"
            )
        if self.pooling not in ("flatten", "mean"):
            raise ValueError(f"{self}: pooling is 'flatten' or 'mean'")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    @property
    def n_segments(self) -> tuple[int, ...]:
        """Of a lead of a whole recording, on every scale."""
        found = [-(-SAMPLES // self.segment)]
        for _ in range(self.layers - 1):
            found.append(-(-found[-1] // 2))
        return tuple(found)

    def build(self) -> Backbone:
        return CrossformerBackbone(self)


class CrossformerBackbone(TenSecondsBackbone):
    """Signals [n, 12, n_samples] to features: all segments of the last scale, one behind the other or their mean."""

    def __init__(self, description: Crossformer) -> None:
        width, n_segments = description.width, description.n_segments
        super().__init__(description, width, LEADS * n_segments[-1])
        self.segment = description.segment
        self.embed = nn.Linear(description.segment, width, bias=False)
        self.register_buffer("sinusoids", sinusoids(n_segments[0], width), persistent=False)
        self.position = nn.Parameter(torch.randn(LEADS, n_segments[0], width))
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(TwoStageLayer(description, n, i > 0) for i, n in enumerate(n_segments))
        self.dropout = nn.Dropout(description.dropout)

    def encode(self, *inputs: torch.Tensor) -> Features:
        held = F.pad(inputs[0], (0, -inputs[0].shape[-1] % self.segment), mode="replicate")
        x = self.embed(held.unfold(-1, self.segment, self.segment))  # [n, leads, n_segments, width]
        n_segments = x.shape[2]
        x = x + self.get_buffer("sinusoids")[:n_segments].to(x.dtype) + self.position[:, :n_segments]
        x = self.norm(x)
        for layer in self.layers:
            x = layer(x)
        local = x.flatten(1, 2)
        return Features(self.dropout(self.pooled(local, x.transpose(2, 3))), local)


class TwoStageLayer(nn.Module):
    """[n, leads, n_segments, width]: pairs of segments made one where it ``merges``, then attention in two stages."""

    def __init__(self, description: Crossformer, n_segments: int, merges: bool) -> None:
        super().__init__()
        width, heads = description.width, description.heads
        self.merge = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width)) if merges else None
        self.router = nn.Parameter(torch.randn(n_segments, description.routers, width))
        self.time = Attention(width, heads, description.dropout)
        self.send = Attention(width, heads, description.dropout)
        self.receive = Attention(width, heads, description.dropout, among=description.routers)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))
        self.mix1, self.mix2 = (
            nn.Sequential(nn.Linear(width, description.ffn), nn.GELU(), nn.Linear(description.ffn, width))
            for _ in range(2)
        )
        self.dropout = nn.Dropout(description.dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.merge is not None:
            x = torch.cat([x, x[:, :, -1:]], 2) if x.shape[2] % 2 else x
            x = self.merge(torch.cat([x[:, :, ::2], x[:, :, 1::2]], -1))
        x = self.norm1(x + self.dropout(self.time(x, x)))
        x = self.norm2(x + self.dropout(self.mix1(x)))
        x = x.transpose(1, 2)  # leads are now tokens, of each segment
        router = self.router[: x.shape[1]].expand(len(x), -1, -1, -1)
        x = self.norm3(x + self.dropout(self.receive(x, self.send(router, x))))
        x = self.norm4(x + self.dropout(self.mix2(x)))
        return x.transpose(1, 2)


class Attention(nn.Module):
    """Tokens [n, groups, n_tokens, width] attend to others of their group; to one alone, ``among`` 1, as they must."""

    def __init__(self, width: int, heads: int, dropout: float, among: int = 2) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(width, width) if among > 1 else None
        self.key = nn.Linear(width, width) if among > 1 else None
        self.value, self.project = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, tokens: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        if self.query is None or self.key is None:
            return self.project(self.value(others)).expand_as(tokens)  # type: ignore[no-any-return]
        query, key, value = (
            layer(x).flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, tokens), (self.key, others), (self.value, others))
        )
        dropped = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropped).transpose(1, 2).flatten(2)
        return self.project(attended.unflatten(0, tokens.shape[:2]))  # type: ignore[no-any-return]


CROSSFORMER = Crossformer()
