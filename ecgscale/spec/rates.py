"""Peak learning rates by size as rules of a sweep: a power of N, or of the width in the manner of muP.

Without a rule a schedule has the paper's: one step, at 10M parameters. A rule is asked where a sweep is written, so a
run says its rate itself, and two rules that agree on it make the same run::

    rate = power_of_size(3e-3, n_params=10_000, exponent=-0.25)
    Run(ResNet(3, 24), ..., schedule=Schedule(steps=1_200, lr=rate(ResNet(3, 24))))
"""

from collections.abc import Callable
from functools import cache

import torch

from ecgscale.models import Architecture

Rule = Callable[[Architecture], float]


def power_of_size(lr: float, n_params: float, exponent: float) -> Rule:
    """``lr`` x (N / n_params) ** ``exponent``, N the parameters of the backbone.

    Raises ValueError for a rate or size that is not above 0.
    """
    if lr <= 0 or n_params <= 0:
        raise ValueError(f"power_of_size: lr={lr} and n_params={n_params} are above 0")
    return lambda architecture: _rounded(lr * (size_of(architecture) / n_params) ** exponent)


def inverse_width(lr: float, width: int) -> Rule:
    """``lr`` x ``width`` / the architecture's: what muP (Yang et al. 2022) has for hidden matrices under Adam, for all.

    Raises ValueError, when it is asked, for an architecture that has no one width.
    """
    if lr <= 0 or width <= 0:
        raise ValueError(f"inverse_width: lr={lr} and width={width} are above 0")

    def rate(architecture: Architecture) -> float:
        own = getattr(architecture, "width", None)
        if not own:
            raise ValueError(f"a {architecture.kind} has no one width that its learning rate could go by")
        return _rounded(lr * width / own)

    return rate


@cache
def size_of(architecture: Architecture) -> int:
    """N: parameters of the backbone; nothing is drawn or stored."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in architecture.build().parameters())


def _rounded(rate: float) -> float:
    """To three digits, so that a rate is what a person would write and the same on every machine."""
    return float(f"{rate:.3g}")
