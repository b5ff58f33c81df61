"""Transformer: HeartLang's encoder over heartbeat sentences (Jin et al. 2025)."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.data.beats import BEAT_SAMPLES, sentences
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import POOLINGS, Backbone, Features, mean_of
from ecgscale.models.native import scaled

HEAD_WIDTH = 64  # fixed in HeartLang: (420, 8 heads) could not be divided
MODEL_HZ = 100
_N_IDS = 16  # lead and second ids, 0 for padding
_NORMAL = 0.02  # deviation of the truncated normal, the start of vision transformers


@dataclass(frozen=True)
class Transformer(Architecture):
    """Layers, hidden width, heads and feed-forward width: the four numbers of Table S.4.

    ``n_tokens`` is the length that sentences are padded or cut to. ``leads`` "independent" writes sentences of the
    eight independent leads instead of all twelve: the other four are linear in them, and sentences get a third shorter.

    ``init`` "torch" starts linear layers as HeartLang does, uniform with deviation (3 x inputs) ** -0.5, biases alike;
    "truncated-normal" with deviation 0.02 and no biases: alike at width 768, six times less at width 24. ``dropout`` is
    also that of attention's weights. ``amplitude`` "mv" reads millivolts, as HeartLang does, instead of the corpus'
    standard deviations. ``pooling`` "class" is the class token, "mean" the mean over words that are no padding.
    """

    layers: int
    width: int
    heads: int
    ffn: int
    dropout: float = 0.1
    n_tokens: int = 256
    leads: str = "all"
    init: str = "torch"
    amplitude: str = "sd"
    pooling: str = "class"

    kind: ClassVar[str] = "transformer"
    revision: ClassVar[int] = 2  # 2: HeartLang's start and its dropout of attention
    any_leads: ClassVar[bool] = False
    localised: ClassVar[bool] = False
    input: ClassVar[str] = "beats"
    sampling_hz: ClassVar[int] = MODEL_HZ

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.ffn, self.n_tokens) < 1:
            raise ValueError(f"{self}: layers, width, heads, ffn and n_tokens are at least 1")
        if self.leads not in ("all", "independent"):
            raise ValueError(f"{self}: leads is 'all' or 'independent'")
        if self.init not in ("torch", "truncated-normal"):
            raise ValueError(f"{self}: init is 'torch' or 'truncated-normal'")
        if self.amplitude not in ("sd", "mv"):
            raise ValueError(f"{self}: amplitude is 'sd' or 'mv'")
        if self.pooling not in POOLINGS:
            raise ValueError(f"{self}: pooling is {' or '.join(map(repr, POOLINGS))}")

    @property
    def native_samples(self) -> int:
        return 10 * MODEL_HZ

    @property
    def length(self) -> str:
        return "sentence"

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    def build(self) -> Backbone:
        return TransformerBackbone(self)


class TransformerBackbone(Backbone):
    """Sentences to features: one pooled, one local vector a word. Attention sees padding, as in HeartLang."""

    def __init__(self, description: Transformer) -> None:
        super().__init__()
        width = self.width = description.width
        self.n_tokens, self.amplitude = description.n_tokens, description.amplitude
        self.pooling = description.pooling
        names = LEADS if description.leads == "all" else INDEPENDENT_LEADS
        self.lead_rows = tuple(LEADS.index(name) for name in names)
        self.word = nn.Conv1d(BEAT_SAMPLES, width, 3, padding=1, padding_mode="circular", bias=False)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.class_token = nn.Parameter(torch.randn(width))
        self.position = nn.Parameter(torch.randn(description.n_tokens + 1, width))
        self.lead = nn.Embedding(_N_IDS, width)
        self.second = nn.Embedding(_N_IDS, width)
        self.dropout = nn.Dropout(description.dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(width, description.heads, description.ffn, description.dropout)
            for _ in range(description.layers)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.kaiming_normal_(self.word.weight, mode="fan_in", nonlinearity="leaky_relu")
        if description.init == "truncated-normal":
            start_normal(self.layers)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = _rows(self.lead_rows, batch.signal.device)
        signal = scaled(batch.signal[:, rows], self.amplitude, batch.mv)
        return sentences(signal, batch.peaks, rows + 1, self.n_tokens, MODEL_HZ)

    def encode(self, *inputs: torch.Tensor, masked: torch.Tensor | None = None, ids: bool = True) -> Features:
        """Encode words [n, n_tokens, 96], lead and second [n, n_tokens]; where ``masked`` is true a word is hidden.

        Without ``ids`` lead and second are not told.
        """
        words, lead, second = inputs
        x = self.word(words.transpose(1, 2)).transpose(1, 2)  # [n, n_tokens, width]
        if masked is not None:
            x = torch.where(masked[..., None], self.mask_token, x)
        if ids:
            x = x + self.lead(lead) + self.second(second.clamp(max=_N_IDS - 1))
        x = torch.cat([self.class_token.expand(x.shape[0], 1, -1), x], 1) + self.position
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        local = x[:, 1:]
        return Features(x[:, 0] if self.pooling == "class" else mean_of(local, lead > 0), local)


def start_normal(module: nn.Module) -> None:
    """Draw all weights of linear layers from a truncated normal of deviation 0.02; no biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=_NORMAL)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@lru_cache(maxsize=8)
def _rows(numbers: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Numbers of leads on a device, copied there once: a GPU would be waited for at every step."""
    return torch.tensor(numbers, device=device)


class EncoderLayer(nn.Module):
    """Pre-norm attention and feed-forward, as in a Vision Transformer."""

    def __init__(self, width: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * HEAD_WIDTH * heads, bias=False)
        self.project = nn.Linear(HEAD_WIDTH * heads, width)
        self.norm2 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, ffn)
        self.contract = nn.Linear(ffn, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, n_tokens, _ = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, n_tokens, 3, self.heads, HEAD_WIDTH)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [n, heads, n_tokens, HEAD_WIDTH]
        dropped = self.dropout.p if self.dropout.training else 0.0
        attended = F.scaled_dot_product_attention(query, key, value, dropout_p=dropped).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.project(attended))
        return x + self.dropout(self.contract(self.dropout(F.gelu(self.expand(self.norm2(x))))))


# Table S.4 of the scaling study, with a rung added that reaches the 200M parameters its abstract names.
TRANSFORMERS = tuple(
    Transformer(*row)
    for row in (
        *((1, 24, 1, 96), (1, 48, 2, 192)),
        *((1, 96, 2, 384), (2, 128, 4, 512)),
        *((3, 192, 4, 768), (3, 256, 4, 1024), (4, 348, 4, 1392)),
        *((5, 420, 8, 1680), (6, 512, 8, 2048)),
        (8, 768, 8, 3072),
    )
)
TRANSFORMER_200M = Transformer(14, 1088, 16, 4352)
