"""Pooling over time as fastai's heads have it: maximum and mean, normalised, dropped out, behind a hidden layer or not.

What is left of such a head is one linear layer, which is the objective's.
"""

import torch
from torch import nn
from torch.nn import functional as F

_DROPOUT = 0.5  # before the last linear layer; half as much before a hidden one


class ConcatPool(nn.Module):
    """[n, n_channels, n_samples] to [n, width]: ``hidden`` features, or where that is 0 twice the channels."""

    def __init__(self, n_channels: int, hidden: int = 0) -> None:
        super().__init__()
        n_both = 2 * n_channels
        self.width = hidden or n_both
        self.norm = nn.BatchNorm1d(n_both)
        self.hidden = nn.Linear(n_both, hidden) if hidden else None
        self.hidden_norm = nn.BatchNorm1d(hidden) if hidden else None
        self.dropout, self.hidden_dropout = nn.Dropout(_DROPOUT), nn.Dropout(_DROPOUT / 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(torch.cat([x.amax(-1), x.mean(-1)], 1))
        if self.hidden is not None and self.hidden_norm is not None:
            x = self.hidden_norm(F.relu(self.hidden(self.hidden_dropout(x))))
        return self.dropout(x)  # type: ignore[no-any-return]
