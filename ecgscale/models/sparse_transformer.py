"""Transformers that attend sparsely: Informer (Zhou et al. 2021) and Reformer (Kitaev et al. 2020) as classifiers.

Informer lets the few queries attend that stand out, Reformer each sample only to those that hash into its bucket. As
the Time-Series-Library (Wu et al. 2023) classifies with them, whose head reads all samples one behind the other. What
they draw at random for every batch is here drawn once, when the network is built, and part of its state, so that a
recording's features depend on nothing else.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models.embedding import SampleTokens
from ecgscale.models.features import Backbone, Features
from ecgscale.models.post_norm import PostNormLayer
from ecgscale.models.ten_seconds import LEADS, SAMPLES, TenSeconds, TenSecondsBackbone


@dataclass(frozen=True)
class SparseTransformer(TenSeconds):
    """Layers, width, heads and feed-forward width of a transformer over samples whose ``attention`` is sparse.

    "prob-sparse": each query is compared with ``factor`` ceil(ln(samples)) keys, and as many queries, those whose
    largest product stands out most, attend to all; the others take the mean of the values (Informer). "lsh":
    queries are keys, and a sample attends to those of its bucket and the one before, of ``bucket`` samples each, in
    ``hashes`` rounds of locality-sensitive hashing (Reformer).
    """

    layers: int = 3
    width: int = 128
    heads: int = 8
    ffn: int = 256
    attention: str = "prob-sparse"
    factor: int = 1
    bucket: int = 4
    hashes: int = 4
    dropout: float = 0.1
    pooling: str = "flatten"

    kind: ClassVar[str] = "sparse-transformer"

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.ffn, self.factor, self.bucket, self.hashes) < 1:
            raise ValueError(f"{self}: every number is at least 1")
        if self.width % self.heads or self.width % 2 or not 0 <= self.dropout < 1 or self.bucket > SAMPLES // 2:
            raise ValueError(
                f"{self}: width is even and a multiple of heads, dropout in [0, 1), bucket at most {SAMPLES // 2}"
            )
        if self.attention not in ("prob-sparse", "lsh") or self.pooling not in ("flatten", "mean"):
            raise ValueError(f"{self}: attention is 'prob-sparse' or 'lsh', pooling 'flatten' or 'mean'")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    def macs(self, n_samples: int) -> int:
        """Products with weights, of queries with keys and weights with values, and rotations of the hashes."""
        embedding = n_samples * 3 * LEADS * self.width
        if self.attention == "prob-sparse":
            few = n_kept(n_samples, self.factor)
            layer = n_samples * self.width * (4 * self.width + 2 * self.ffn + 3 * few)
        else:
            n = -(-n_samples // (2 * self.bucket)) * 2 * self.bucket  # with zeros behind
            hashed = self.hashes * (n // self.bucket // 2 + 2 * 2 * self.bucket)
            layer = n_samples * self.width * (self.width + 2 * self.ffn) + n * self.width * (2 * self.width + hashed)
        return embedding + self.layers * layer

    def build(self) -> Backbone:
        return SparseTransformerBackbone(self)


class SparseTransformerBackbone(TenSecondsBackbone):
    """Signals [n, 12, n_samples] to features: all samples, one behind the other or their mean."""

    def __init__(self, description: SparseTransformer) -> None:
        super().__init__(description, description.width)
        self.tokens = SampleTokens(description.width)
        layer = ProbSparseLayer if description.attention == "prob-sparse" else LSHLayer
        self.layers = nn.ModuleList(layer(description) for _ in range(description.layers))
        self.norm = nn.LayerNorm(description.width)
        self.dropout = nn.Dropout(description.dropout)

    def encode(self, *inputs: torch.Tensor) -> Features:
        x = self.dropout(self.tokens(inputs[0]))
        for layer in self.layers:
            x = layer(x)
        local = F.gelu(self.norm(x))
        return Features(self.dropout(self.pooled(local)), local)


class ProbSparseLayer(PostNormLayer):
    """Queries that stand out attend to all samples; what they find is put where they are, among means of all values."""

    def __init__(self, description: SparseTransformer) -> None:
        super().__init__(description.width, description.heads, description.ffn, description.dropout)
        self.factor = description.factor
        self.register_buffer("compared", torch.randint(SAMPLES, (SAMPLES, n_kept(SAMPLES, self.factor))))

    def attended(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.by_heads(x)
        n_samples, width = query.shape[2:]
        few = n_kept(n_samples, self.factor)
        with torch.no_grad():  # a choice, which has no gradient
            keys = key[:, :, self.get_buffer("compared")[:n_samples, :few] % n_samples]
            products = (keys @ query[..., None])[..., 0].float()  # [n, heads, n_samples, few]
            standing_out = products.amax(-1) - products.sum(-1) / n_samples
            chosen = standing_out.topk(few).indices[..., None].expand(-1, -1, -1, width)
        weight = (query.gather(2, chosen) @ key.transpose(2, 3) / math.sqrt(width)).softmax(-1)
        found = (self.dropout(weight) @ value).to(value.dtype)
        mean = value.mean(2, keepdim=True).expand_as(value)
        # As the original does: samples and heads are not exchanged back.
        return mean.scatter(2, chosen, found).reshape(x.shape)


def n_kept(n_samples: int, factor: int) -> int:
    """Keys that a query is compared with, and queries that attend: ``factor`` times the logarithm of the samples."""
    return min(n_samples, factor * math.ceil(math.log(n_samples)))


class LSHLayer(PostNormLayer):
    """Samples attend within buckets of a locality-sensitive hash; heads add up the rounds by their evidence."""

    def __init__(self, description: SparseTransformer) -> None:
        width, heads = description.width, description.heads
        super().__init__(width, heads, description.ffn, description.dropout)
        self.bucket, self.hashes = description.bucket, description.hashes
        self.query, self.value = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        del self.key  # a query is its key
        n_rotated = -(-SAMPLES // self.bucket // 2)
        self.register_buffer("rotations", torch.randn(width // heads, self.hashes, n_rotated))

    def attended(self, x: torch.Tensor) -> torch.Tensor:
        n, n_given = x.shape[:2]
        padded = F.pad(x, (0, 0, 0, -n_given % (2 * self.bucket)))
        n_samples = padded.shape[1]
        query, value = (  # [n x heads, n_samples, width of a head]
            layer(padded).unflatten(-1, (self.heads, -1)).transpose(1, 2).flatten(0, 1)
            for layer in (self.query, self.value)
        )
        place = self.sorted_by_bucket(query)
        back = place.argsort(-1)
        sample = place % n_samples  # [n x heads, hashes x n_samples]

        def chunks(per_sample: torch.Tensor) -> torch.Tensor:
            index = sample[..., None].expand(-1, -1, per_sample.shape[-1])
            return per_sample.gather(1, index).unflatten(1, (-1, self.bucket))

        queries, at = chunks(query), sample.unflatten(1, (-1, self.bucket))
        keys, values, seen = (with_previous(t) for t in (F.normalize(queries, dim=-1), chunks(value), at))
        product = (queries @ keys.transpose(2, 3)).float() / math.sqrt(query.shape[-1])
        product = product.masked_fill(at[..., None] == seen[:, :, None], -5e4)  # to itself only where nothing else is
        evidence = product.logsumexp(-1, keepdim=True)
        found = (product - evidence).exp().to(values.dtype) @ values

        def rounds(per_place: torch.Tensor) -> torch.Tensor:
            flat = per_place.flatten(1, 2)
            ordered = flat.gather(1, back[..., None].expand(-1, -1, flat.shape[-1]))
            return ordered.unflatten(1, (self.hashes, n_samples))

        heads = (rounds(found) * rounds(evidence).softmax(1).to(found.dtype)).sum(1)
        return heads.unflatten(0, (n, self.heads)).transpose(1, 2).flatten(2)[:, :n_given]

    def sorted_by_bucket(self, query: torch.Tensor) -> torch.Tensor:
        """Places [n x heads, hashes x n_samples] in the order of round, bucket and time; a place is round and time."""
        n_samples = query.shape[1]
        n_buckets = n_samples // self.bucket
        with torch.no_grad():
            rotations = self.get_buffer("rotations")[..., : n_buckets // 2].to(query.dtype)
            rotated = (query @ rotations.flatten(1)).unflatten(-1, (self.hashes, -1)).transpose(1, 2)
            bucket = torch.cat([rotated, -rotated], -1).argmax(-1)  # [n x heads, hashes, n_samples]
            turn = torch.arange(self.hashes, device=query.device)[:, None] * n_buckets
            time = torch.arange(n_samples, device=query.device)
            return ((bucket + turn) * n_samples + time).flatten(1).argsort(-1)


def with_previous(chunks: torch.Tensor) -> torch.Tensor:
    """Each chunk of [n, n_chunks, bucket, ...] and behind it the one before, of the first the last."""
    return torch.cat([chunks, chunks.roll(1, 1)], 2)


INFORMER = SparseTransformer()
REFORMER = SparseTransformer(attention="lsh")
