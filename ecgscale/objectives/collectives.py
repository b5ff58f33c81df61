"""What a loss has to know of the other processes that share its batch: their sums, and what they made of their part."""

from typing import Any, cast

import torch
from torch import distributed
from torch.nn import functional as F


def over_processes(value: torch.Tensor, how: distributed.ReduceOp.RedOpType = distributed.ReduceOp.SUM) -> torch.Tensor:
    """The sum (or what ``how`` says) of a value over all processes, without gradient."""
    value = value.clone()
    distributed.all_reduce(value, how)
    return value


def of_all(mine: torch.Tensor) -> torch.Tensor:
    """Rows of the whole batch in its order, from every process' share [n, ...] of it (``sharding.Group.share``).

    A gradient goes back to the process that a row came from, summed over all processes.
    """
    n_rows = int(over_processes(torch.tensor(len(mine), device=mine.device)))
    most = -(-n_rows // distributed.get_world_size())  # shares differ by one row at most, and are dealt out in turn
    padded = F.pad(mine, (0, 0) * (mine.ndim - 1) + (0, most - len(mine)))
    gathered = cast(torch.Tensor, _Gathered.apply(padded))  # [size, most, ...]
    return gathered.transpose(0, 1).flatten(0, 1)[:n_rows]


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mine: torch.Tensor) -> torch.Tensor:
        found = [torch.empty_like(mine) for _ in range(distributed.get_world_size())]
        distributed.all_gather(found, mine.contiguous())
        return torch.stack(found)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> torch.Tensor:
        return over_processes(slopes[0].contiguous())[distributed.get_rank()]
