"""Few channels of many samples, computed as many channels of few: what a CPU's kernels are made for.

In channels-last memory the samples of a recording lie one behind the other, each with all its channels, so that 5
channels of 1024 samples are, without a copy, 10 of 512 or 40 of 128. Training on a CPU, the layers here take that view;
anywhere else, under autocast and in a compiler they are PyTorch's own. Parameters, statistics and results are the same.
"""

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_LONG = 15  # taps from which oneDNN 3.12 (jit kernels end at 14) multiplies matrices instead, at a third of the speed
_NARROW, _WIDE = 12, 200  # channels up to which eight samples, and two samples, are faster together (AVX-512)
_TOGETHER = 16  # samples normalised side by side: whole vectors, whatever the channels


class Convolution(nn.Conv2d):
    """1 x ``kernel`` convolution [n, n_in, 1, n_samples] -> [n, n_out, 1, n_samples / stride], without bias."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1) -> None:
        padding = (kernel - stride + 1) // 2
        super().__init__(n_in, n_out, (1, kernel), (1, stride), (0, padding), bias=False)
        self.together = _together(max(n_in, n_out), kernel, stride)  # samples

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        stride, samples = self.stride[1], self.together
        if self.training and samples > 1 and _foldable(input) and input.shape[-1] % max(samples, stride) == 0:
            return _Convolved.apply(input, self.weight, stride, self.padding[1], samples)
        return super().forward(input)


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation of [n, n_channels, 1, n_samples], a ReLU behind it if ``rectified``, and dropout.

    A CPU trains with it in two passes over memory each way, where one thread does the work: they have no more. It then
    drops by a hash of the place, not by a number drawn for each, from a seed that torch's generator draws.
    """

    def __init__(self, n_channels: int, *, rectified: bool = True, dropout: float = 0.0) -> None:
        super().__init__(n_channels)
        self.rectified, self.dropout = rectified, dropout

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        # Whether this is a CPU's work is asked first: no compiler can ask for the number of threads.
        if self.training and _foldable(input) and self._is_alone(input):
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            floor = 0.0 if self.rectified else -math.inf
            seed = int(torch.randint(2**32, ())) if self.dropout else 0
            counted = (self.running_mean, self.running_var, self.momentum)
            behind = (floor, self.dropout, np.uint32(seed))
            return _Normalised.apply(input, self.weight, self.bias, self.eps, behind, counted)
        normal = super().forward(input)
        return F.dropout(F.relu(normal) if self.rectified else normal, self.dropout, self.training)

    def _is_alone(self, input: torch.Tensor) -> bool:
        return torch.get_num_threads() == 1 and input.dtype == torch.float32 and input.numel() > self.num_features


def _together(widest: int, kernel: int, stride: int) -> int:
    if kernel < _LONG or widest > _WIDE or (stride > 1 and stride % 2):
        return 1
    return 8 if widest <= _NARROW and stride == 1 else 2


def _foldable(x: torch.Tensor) -> bool:
    return not torch.compiler.is_compiling() and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


def _folded(x: torch.Tensor, samples: int) -> torch.Tensor:
    """[n, n_channels, 1, n_samples] with ``samples`` neighbours as channels; a view where memory is channels-last."""
    n, n_channels, _, n_samples = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, 1, n_samples // samples, samples * n_channels).permute(0, 3, 1, 2)


def _unfolded(x: torch.Tensor, samples: int) -> torch.Tensor:
    n, n_channels, _, n_groups = x.shape
    return x.permute(0, 2, 3, 1).reshape(n, 1, n_groups * samples, n_channels // samples).permute(0, 3, 1, 2)


def _diagonal(wide: torch.Tensor, front: int, kernel: int) -> torch.Tensor:
    """Of [made, n_out, n, n_in] the view [made, n_out, kernel, n_in] that begins a sample later for each one made."""
    made, n_out, n, n_in = wide.shape
    strides = (n_out * n * n_in + n_in, n * n_in, n_in, 1)
    return wide.as_strided((made, n_out, kernel, n_in), strides, front * n_in)


class _Convolved(torch.autograd.Function):
    """A convolution over groups of samples: the weights of a group's sample are the kernel, shifted by its place."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int, samples: int
    ) -> torch.Tensor:
        n_out, n_in, _, kernel = weight.shape
        made = samples if stride == 1 else 1  # samples of a group's output
        reach = -(-padding // samples)  # groups before
        front = reach * samples - padding
        n_groups = reach + 1 + max(reach, (made + kernel - 2 - padding) // samples)
        wide = weight.new_zeros(made, n_out, n_groups * samples, n_in)
        _diagonal(wide, front, kernel).copy_(weight[:, :, 0].transpose(1, 2))
        wide = wide.view(made * n_out, 1, n_groups, samples * n_in).permute(0, 3, 1, 2)
        ctx.step, ctx.padding = (1, max(1, stride // samples)), (0, reach)
        ctx.shape, ctx.front, ctx.samples, ctx.made = weight.shape, front, samples, made
        grouped = _folded(x, samples)
        ctx.save_for_backward(grouped, wide)
        return _unfolded(F.conv2d(grouped, wide, None, ctx.step, ctx.padding), made)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        grouped, wide = ctx.saved_tensors
        n_out, n_in, _, kernel = ctx.shape
        asked = [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False]
        slopes = torch.ops.aten.convolution_backward.default(
            _folded(slope, ctx.made), grouped, wide, None, ctx.step, ctx.padding, (1, 1), False, (0, 0), 1, asked
        )
        by_input = None if slopes[0] is None else _unfolded(slopes[0], ctx.samples)
        if slopes[1] is None:
            return by_input, None, None, None, None
        by_wide = slopes[1].permute(0, 2, 3, 1).contiguous().view(ctx.made, n_out, -1, n_in)
        by_weight = _diagonal(by_wide, ctx.front, kernel).sum(0)
        return by_input, by_weight.unsqueeze(1).permute(0, 3, 1, 2), None, None, None


class _Normalised(torch.autograd.Function):
    """Dropout of max(floor, weight (x - mean) / deviation + bias); x's statistics are added to the running ones."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float, behind: Any, counted: Any
    ) -> torch.Tensor:
        n, n_channels, _, n_samples = ctx.shape = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, math.gcd(n * n_samples, _TOGETHER) * n_channels)
        out = torch.empty_like(rows)
        scaled = torch.empty(2, rows.shape[1])  # slope and offset of each column's straight line
        found = torch.empty(2, n_channels, dtype=torch.float64)  # mean, 1 / deviation
        running_mean, running_var, momentum = counted
        _kernels().normalise(
            *(t.numpy() for t in (rows, weight, bias)), eps, *behind,
            running_mean.numpy(), running_var.numpy(), momentum, *(t.numpy() for t in (found, scaled, out)),
        )  # fmt: skip
        ctx.behind = behind
        ctx.save_for_backward(rows, weight, found, scaled)
        return out.view(n, 1, n_samples, n_channels).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, weight, found, scaled = ctx.saved_tensors
        n, n_channels, _, n_samples = ctx.shape
        slope = slope.permute(0, 2, 3, 1).reshape(rows.shape)
        by_input, by_parameters = torch.empty_like(rows), torch.empty(2, n_channels)
        _kernels().differentiate(
            *(t.numpy() for t in (slope, rows, weight, found, scaled)), *ctx.behind,
            *(t.numpy() for t in (by_input, by_parameters)),
        )  # fmt: skip
        return by_input.view(n, 1, n_samples, n_channels).permute(0, 3, 1, 2), *by_parameters, None, None, None


@cache
def _kernels() -> Any:
    from ecgscale.models import cpu_batchnorm  # numba takes its time to load: only who trains here needs it

    return cpu_batchnorm
