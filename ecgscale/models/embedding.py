"""Samples as tokens: all leads of a sample and of its two neighbours, and its position as fixed sinusoids."""

import math

import torch
from torch import nn

from ecgscale.models.ten_seconds import LEADS, SAMPLES


class SampleTokens(nn.Module):
    """[n, 12, n_samples] to [n, n_samples, width]: neighbours are those in a circle, positions are added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv1d(LEADS, width, 3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.embed.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.register_buffer("position", sinusoids(SAMPLES, width), persistent=False)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        x = self.embed(signal).transpose(1, 2)
        return x + self.get_buffer("position")[: x.shape[1]].to(x.dtype)


def sinusoids(n_positions: int, width: int) -> torch.Tensor:
    """Positions [n_positions, width] of Vaswani et al. (2017): sines in even places, cosines in odd ones."""
    place = torch.arange(n_positions, dtype=torch.float32)[:, None]
    angle = place * torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
