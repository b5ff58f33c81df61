"""The compute-optimal size and data under any law of N and D, found numerically on the line of a budget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.laws import Law
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.result import Coefficient, Fit

DECADES = 8.0  # beyond the fitted sizes in which the optimum is looked for
PLACES = 160
STENCIL = 1e-3  # of ln N; five points: derivatives to 1e-10
AROUND = np.arange(-2, 3)[:, None]
NEWTON = 6  # steps; from the nearest of the places three are the rule


@dataclass(frozen=True)
class Compute:
    """``C = kappa N^s D^t``, in FLOP. ``scatter``: standard deviation of ln C about it."""

    kappa: float = 6.0
    s: float = 1.0
    t: float = 1.0
    scatter: float = 0.0


def log_optimum(law: Law, c: Mapping[str, Any], log_flops: float, compute: Compute, sizes: tuple[float, float]) -> Any:
    """ln N* at a budget, for coefficients that are floats or arrays (also complex: exact first derivatives).

    NaN where the loss has no minimum between ``sizes``, widened by eight decades.
    """
    shape = np.broadcast_shapes(*(np.shape(v) for v in c.values()))
    given = {name: np.broadcast_to(np.asarray(v), shape).reshape(1, -1) for name, v in c.items()}
    real = {name: np.real(v) for name, v in given.items()}

    def loss(log_n: Array, at: Mapping[str, Any]) -> Any:
        log_d = (log_flops - math.log(compute.kappa) - compute.s * log_n) / compute.t
        return law(at, N=np.exp(log_n), D=np.exp(log_d))

    low, high = (math.log(s) + sign * DECADES * math.log(10) for s, sign in zip(sizes, (-1, 1), strict=True))
    grid = np.linspace(low, high, PLACES)[:, None]
    with np.errstate(all="ignore"):
        surface = np.asarray(loss(grid, real), float)
        surface = np.broadcast_to(np.where(np.isfinite(surface), surface, np.inf), (PLACES, surface.shape[1]))
        lowest = surface.argmin(0)
        log_n = grid[lowest, 0][None, :]
        inside = (lowest > 0) & (lowest < PLACES - 1)
        for _ in range(NEWTON):
            slope, bend = _derivatives(loss, log_n, real)
            step = np.clip(np.where(bend > 0, slope / bend, 0.0), -0.25, 0.25)
            log_n = log_n - step
            if np.abs(step).max(initial=0.0) < 1e-9:
                break
        slope, bend = _derivatives(loss, log_n, given)
        answer = np.where(inside, (log_n - slope / np.real(bend))[0], np.nan)
    return answer.reshape(shape)[()]


def _derivatives(loss: Any, log_n: Array, c: Mapping[str, Any]) -> tuple[Any, Any]:
    """First and second derivative of the loss along ln N, by five points."""
    h = STENCIL
    far_left, left, middle, right, far_right = (row[None] for row in loss(log_n + h * AROUND, c))
    slope = (far_left - 8 * left + 8 * right - far_right) / (12 * h)
    bend = (-far_left + 16 * left - 30 * middle + 16 * right - far_right) / (12 * h * h)
    return slope, bend


def allocate_numerically(found: Fit, flops: float, compute: Compute, level: float = 0.95) -> dict[str, Coefficient]:
    """N, D and loss (in logs) and the shares of marginal compute at a budget, each with its interval.

    Raises BadPoints for a law of anything but N and D, and where the loss falls with one of them alone.
    """
    law = found.as_law
    if set(law.variables) != {"N", "D"}:
        raise BadPoints(f"allocation needs a law of N and D; {law.name} reads {', '.join(law.variables)}")
    gone = dict.fromkeys(law.coefficients, 0.0)
    at, sizes = math.log(flops), found.ranges["N"]

    def log_n(c: Mapping[str, Any], log_flops: float = at) -> Any:
        return log_optimum(law, {**gone, **c}, log_flops, compute, sizes)

    def log_d(c: Mapping[str, Any]) -> Any:
        return (at - math.log(compute.kappa) - compute.s * log_n(c)) / compute.t

    def log_loss(c: Mapping[str, Any]) -> Any:
        n = log_n(c)
        return np.log(
            law({**gone, **c}, N=np.exp(n), D=np.exp((at - math.log(compute.kappa) - compute.s * n) / compute.t))
        )

    def model_share(c: Mapping[str, Any]) -> Any:
        return compute.s * (log_n(c, at + 0.05) - log_n(c, at - 0.05)) / 0.1

    if not math.isfinite(float(np.real(log_n({k: float(v) for k, v in found.fitted.items()})))):
        raise BadPoints(
            f"under this law the loss has no minimum at {flops:.3g} FLOP: it falls with N or D alone"
            + (f" ({found.note})" if found.note else "")
        )
    quantities = {"N": log_n, "D": log_d, "loss": log_loss, "model_share": model_share}
    quantities["data_share"] = lambda c: 1 - model_share(c)
    return {name: found.quantity(q, level) for name, q in quantities.items()}
