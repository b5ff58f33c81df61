"""A transformer layer as Vaswani et al. (2017) have it: each sum is normalised behind it."""

import torch
from torch import nn
from torch.nn import functional as F


class PostNormLayer(nn.Module):
    """Attention and feed-forward, a normalisation behind each sum."""

    def __init__(self, width: int, heads: int, ffn: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.project = (nn.Linear(width, width) for _ in range(4))
        self.norm1 = nn.LayerNorm(width)
        self.expand = nn.Linear(width, ffn)
        self.contract = nn.Linear(ffn, width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(x + self.dropout(self.project(self.attended(x))))
        return self.norm2(x + self.dropout(self.contract(self.dropout(F.gelu(self.expand(x))))))

    def attended(self, x: torch.Tensor) -> torch.Tensor:
        """Values [n, n_tokens, width] as the tokens attend to them, heads side by side."""
        dropped = self.dropout.p if self.dropout.training else 0.0
        query, key, value = self.by_heads(x)
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropped).transpose(1, 2).flatten(2)

    def by_heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values, each [n, heads, n_tokens, width of a head]."""
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        return query, key, value
