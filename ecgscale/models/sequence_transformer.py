"""Transformers over raw sequences, as the Time-Series-Library (Wu et al. 2023) classifies with them.

Three ways to make tokens of a recording: a sample of all leads (Vaswani et al. 2017), a whole lead (iTransformer, Liu
et al. 2024), a stretch of one lead (PatchTST, Nie et al. 2023). Their head reads all positions one behind the other.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models.embedding import SampleTokens, sinusoids
from ecgscale.models.features import Backbone, Features
from ecgscale.models.post_norm import PostNormLayer
from ecgscale.models.ten_seconds import LEADS, SAMPLES, TenSeconds, TenSecondsBackbone

TOKENS = ("sample", "lead", "patch")
_EPS = 1e-5


@dataclass(frozen=True)
class SequenceTransformer(TenSeconds):
    """Layers, width, heads and feed-forward width; ``token`` is a "sample", a "lead" or a "patch" of one lead.

    A patch is ``patch`` samples, one begins every ``stride``, and every lead is standardised and encoded by itself.
    A token that is a lead reads ten seconds: what is shorter is padded with zeros behind.
    """

    layers: int = 3
    width: int = 128
    heads: int = 8
    ffn: int = 256
    token: str = "sample"
    patch: int = 16
    stride: int = 8
    dropout: float = 0.1
    pooling: str = "flatten"

    kind: ClassVar[str] = "sequence-transformer"

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.ffn, self.patch, self.stride) < 1 or self.width % self.heads:
            raise ValueError(f"{self}: every number is at least 1, and width a multiple of heads")
        if self.width % 2 or not 0 <= self.dropout < 1:
            raise ValueError(f"{self}: width is even, dropout in [0, 1)")
        if self.token not in TOKENS or self.pooling not in ("flatten", "mean"):
            raise ValueError(f"{self}: token is {', '.join(TOKENS)}; pooling is 'flatten' or 'mean'")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    @property
    def n_tokens(self) -> int:
        """Of a whole recording."""
        patches = (SAMPLES + self.stride - self.patch) // self.stride + 1
        return {"sample": SAMPLES, "lead": LEADS, "patch": LEADS * patches}[self.token]

    def build(self) -> Backbone:
        return SequenceTransformerBackbone(self)


class SequenceTransformerBackbone(TenSecondsBackbone):
    """Signals [n, 12, n_samples] to features: all tokens, one behind the other or their mean."""

    def __init__(self, description: SequenceTransformer) -> None:
        width = description.width
        super().__init__(description, width, description.n_tokens)
        self.by_patches = description.token == "patch"
        kinds = {"lead": LeadTokens, "patch": PatchTokens}
        token = description.token
        self.tokens = SampleTokens(width) if token == "sample" else kinds[token](description)
        self.dropout = nn.Dropout(description.dropout)
        self.layers = nn.ModuleList(
            PostNormLayer(width, description.heads, description.ffn, description.dropout)
            for _ in range(description.layers)
        )
        self.norm = nn.BatchNorm1d(width) if description.token == "patch" else nn.LayerNorm(width)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = self.dropout(self.tokens(inputs[0]))
        for layer in self.layers:
            x = layer(x)
        if self.by_patches:  # [n x leads, n_patches, width]
            n_patches, width = x.shape[1:]
            x = self.norm(x.transpose(1, 2)).reshape(len(inputs[0]), LEADS, width, n_patches)
            local = x.transpose(2, 3).flatten(1, 2)
        else:
            x = local = F.gelu(self.norm(x))
        return Features(self.dropout(self.pooled(local, x)), local)


class LeadTokens(nn.Module):
    """A token is a whole lead; leads have no position."""

    def __init__(self, description: SequenceTransformer) -> None:
        super().__init__()
        self.embed = nn.Linear(SAMPLES, description.width)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.embed(F.pad(signal, (0, SAMPLES - signal.shape[-1])))  # type: ignore[no-any-return]


class PatchTokens(nn.Module):
    """A token is a stretch of one lead, which is standardised and ends in its last value held for one stride."""

    def __init__(self, description: SequenceTransformer) -> None:
        super().__init__()
        self.patch, self.stride = description.patch, description.stride
        self.embed = nn.Linear(description.patch, description.width, bias=False)
        n_patches = description.n_tokens // LEADS
        self.register_buffer("position", sinusoids(n_patches, description.width), persistent=False)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        signal = signal - signal.mean(-1, keepdim=True)
        signal = signal / (signal.var(-1, correction=0, keepdim=True) + _EPS).sqrt()
        x = F.pad(signal, (0, self.stride), mode="replicate").unfold(-1, self.patch, self.stride)
        x = self.embed(x.flatten(0, 1))
        return x + self.get_buffer("position")[: x.shape[1]].to(x.dtype)


SEQUENCE_TRANSFORMER = SequenceTransformer()
ITRANSFORMER = SequenceTransformer(token="lead")
PATCHTST = SequenceTransformer(token="patch")
