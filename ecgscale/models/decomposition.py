"""Series decomposition: parts of a sequence on one scale of time, and what is left of it without them."""

import torch
from torch import nn
from torch.nn import functional as F


def without_trend(x: torch.Tensor, window: int) -> torch.Tensor:
    """[n, n_samples, width] without its moving average over ``window`` samples, odd; its ends are held beyond them."""
    held = F.pad(x.transpose(1, 2), (window // 2, window // 2), mode="replicate")
    return x - F.avg_pool1d(held, window, 1).transpose(1, 2)


class SeasonalNorm(nn.LayerNorm):
    """Layer normalisation of which every feature's mean over time is taken away."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        normal = super().forward(input)
        return normal - normal.mean(1, keepdim=True)
