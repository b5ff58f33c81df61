"""Convolution of sequences folded by their periods, as one operator: no compiler has to know a period.

A sequence of period p becomes a picture whose rows are p samples long, so that a kernel sees neighbours in time and the
same moment of other periods (Wu et al. 2023). How many rows there are, the data say; what goes in and what comes out
has one shape whatever they say.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import register_flop_formula


def longest(n_samples: int) -> int:
    """Samples of a sequence whose last row is filled up, at most: a period is ``n_samples`` // 1, 2, 3, ..."""
    filled, k = 0, 2
    while n_samples // k > filled:  # less than a period is missing
        filled = max(filled, -n_samples % (n_samples // k))
        k += 1
    return n_samples + filled


def folded_convolution(
    x: torch.Tensor, period: torch.Tensor, n_samples: int, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Sequences [n, longest(n_samples), n_in] through a convolution [n_out, n_in, kernel, kernel], kernel odd.

    The first rows that hold ``n_samples`` samples are convolved, with zeros around them; behind them zeros come out.
    ``period`` [n]: integers.
    """
    return torch.ops.ecgscale.folded_convolution(x, period, n_samples, weight, bias)  # type: ignore[no-any-return]


def _convolved(
    x: torch.Tensor, period: torch.Tensor, n_samples: int, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    out = x.new_zeros(*x.shape[:2], len(weight))
    for chosen, rows, taps in _pictures(period, n_samples, weight):
        n = rows[0] * rows[1]
        picture = x[chosen, :n].unflatten(1, rows).permute(0, 3, 1, 2)
        found = F.conv2d(picture, weight[taps], bias, padding=_reach(weight[taps]))
        out[chosen, :n] = found.permute(0, 2, 3, 1).flatten(1, 2)
    return out


def _slopes(
    slope: torch.Tensor, x: torch.Tensor, period: torch.Tensor, n_samples: int, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    by_x, by_weight = torch.zeros_like(x), torch.zeros_like(weight, dtype=_wide(weight))
    by_bias = by_weight.new_zeros(len(weight))
    for chosen, rows, taps in _pictures(period, n_samples, weight):
        n = rows[0] * rows[1]
        slopes, picture = (t[chosen, :n].unflatten(1, rows).permute(0, 3, 1, 2) for t in (slope, x))
        seen = weight[taps]
        found = torch.ops.aten.convolution_backward(
            slopes, picture, seen, [len(weight)], (1, 1), _reach(seen), (1, 1), False, (0, 0), 1, (True, True, True)
        )
        by_x[chosen, :n] = found[0].permute(0, 2, 3, 1).flatten(1, 2)
        by_weight[taps] += found[1]
        by_bias += found[2]
    return by_x, by_weight.to(weight.dtype), by_bias.to(weight.dtype)


def _pictures(
    period: torch.Tensor, n_samples: int, weight: torch.Tensor
) -> Iterator[tuple[Any, tuple[int, int], tuple[slice, ...]]]:
    """For every period: which sequences have it, rows and columns of its picture, taps that see more than padding."""
    of_sequence = period.tolist()
    middle = weight.shape[-1] // 2
    for p in sorted(set(of_sequence)):
        rows = (-(-n_samples // p), p)
        reach = [min(middle, n - 1) for n in rows]
        taps = (slice(None), slice(None), *(slice(middle - r, middle + r + 1) for r in reach))
        chosen = torch.tensor([i for i, one in enumerate(of_sequence) if one == p], device=period.device)
        yield slice(None) if len(chosen) == len(of_sequence) else chosen, rows, taps


def _reach(weight: torch.Tensor) -> tuple[int, int]:
    return weight.shape[2] // 2, weight.shape[3] // 2


def _wide(weight: torch.Tensor) -> torch.dtype:
    """What sums over pictures are kept in."""
    return torch.float64 if weight.dtype == torch.float64 else torch.float32


def _convolved_shape(
    x: torch.Tensor, period: torch.Tensor, n_samples: int, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    return x.new_empty(*x.shape[:2], len(weight))


def _slopes_shape(
    slope: torch.Tensor, x: torch.Tensor, period: torch.Tensor, n_samples: int, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.empty_like(x), torch.empty_like(weight), weight.new_empty(len(weight))


def _keep(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    x, period, ctx.n_samples, weight, _ = inputs
    ctx.save_for_backward(x, period, weight)


def _gradient(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
    x, period, weight = ctx.saved_tensors
    by_x, by_weight, by_bias = torch.ops.ecgscale.folded_slopes(slope, x, period, ctx.n_samples, weight)
    return by_x, None, None, by_weight, by_bias


# Not by torch.library.custom_op, which loads a compiler even where nothing is compiled: seconds.
_NAMES = ("ecgscale::folded_convolution", "ecgscale::folded_slopes")
torch.library.define(_NAMES[0], "(Tensor x, Tensor period, int n_samples, Tensor weight, Tensor bias) -> Tensor")
torch.library.define(
    _NAMES[1],
    "(Tensor slope, Tensor x, Tensor period, int n_samples, Tensor weight) -> (Tensor, Tensor, Tensor)",
)
torch.library.impl(_NAMES[0], "default", _convolved)
torch.library.impl(_NAMES[1], "default", _slopes)
torch.library.register_fake(_NAMES[0], _convolved_shape)
torch.library.register_fake(_NAMES[1], _slopes_shape)
torch.library.register_autograd(_NAMES[0], _gradient, setup_context=_keep)


@register_flop_formula(torch.ops.ecgscale.folded_convolution)  # type: ignore[untyped-decorator]
def _flops(
    x: tuple[int, ...], period: tuple[int, ...], n_samples: int, weight: tuple[int, ...], *rest: Any, **options: Any
) -> int:
    """Of periods that divide the samples, and as if no tap met padding."""
    n_out, n_in, *kernel = weight
    return 2 * x[0] * n_samples * n_out * n_in * kernel[0] * kernel[1]
