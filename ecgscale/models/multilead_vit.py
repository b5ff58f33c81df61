"""Multi-lead ViT: a vision transformer of which a token is a stretch of all twelve leads, as MERL's ViT-tiny."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone, Features
from ecgscale.models.native import AMPLITUDES, fitted, resampled, scaled

_SECONDS = 10  # of a recording, whose tokens have a position each


@dataclass(frozen=True)
class MultileadViT(Architecture):
    """Layers, width and heads; a token is ``patch`` samples of twelve leads at ``native_hz``.

    The defaults are MERL's ViT-tiny (Liu et al. 2024). Corpora are stored at ``reads_hz``.
    """

    layers: int = 12
    width: int = 192
    heads: int = 3
    patch: int = 50
    ffn: int = 0  # 0: four times the width
    native_hz: int = 500
    amplitude: str = "min-max"
    reads_hz: int = 100

    kind: ClassVar[str] = "multilead-vit"

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.patch) < 1 or self.ffn < 0 or self.width % self.heads:
            raise ValueError(f"{self}: layers, width, heads and patch are at least 1; width is a multiple of heads")
        if min(self.native_hz, self.reads_hz) < 1 or self.amplitude not in AMPLITUDES:
            raise ValueError(f"{self}: rates are at least 1, amplitude is one of {', '.join(AMPLITUDES)}")

    @property
    def sampling_hz(self) -> int:
        return self.reads_hz

    @property
    def native_samples(self) -> int:
        return _SECONDS * self.native_hz

    @property
    def length(self) -> str:
        return "longest"

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    def build(self) -> Backbone:
        return MultileadViTBackbone(self)


class MultileadViTBackbone(Backbone):
    """Signals [n, 12, n_samples] to features: the mean over tokens, normalised behind it."""

    def __init__(self, description: MultileadViT) -> None:
        super().__init__()
        self.description = description
        width = self.width = description.width
        n_tokens = _SECONDS * description.native_hz // description.patch
        self.embed = nn.Conv1d(12, width, description.patch, description.patch, bias=False)
        self.position = nn.Parameter(torch.randn(n_tokens, width))
        ffn = description.ffn or 4 * width
        self.layers = nn.ModuleList(PreNormLayer(width, description.heads, ffn) for _ in range(description.layers))
        self.norm = nn.LayerNorm(width)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        what = self.description
        signal = fitted(resampled(batch.signal, what.reads_hz, what.native_hz), what.native_samples, what.length)
        return (scaled(signal, what.amplitude, batch.mv),)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = self.embed(inputs[0]).transpose(1, 2)  # [n, n_tokens, width]
        x = x + self.position[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return Features(self.norm(x.mean(1)), x)


class PreNormLayer(nn.Module):
    """Attention and feed-forward, each behind its normalisation; no dropout."""

    def __init__(self, width: int, heads: int, ffn: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, ffn)
        self.contract = nn.Linear(ffn, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, n_tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, n_tokens, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [n, heads, n_tokens, width of a head]
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.project(attended)
        return x + self.contract(F.gelu(self.expand(self.norm2(x))))


MERL_VIT_TINY = MultileadViT()
