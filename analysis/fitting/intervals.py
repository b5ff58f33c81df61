"""Intervals that are tested for coverage: profile likelihood of any quantity, and weights of a pairs bootstrap."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.fitting.laws import Law
from analysis.fitting.newton import Solution, hessian_at, minimise, solve
from analysis.fitting.problem import Array, Problems, Pull, natural

Quantity = Callable[[Mapping[str, Any]], Any]  # of natural coefficients (floats or arrays, also complex)

SEARCH = 25  # steps of the search for an end; four or five are the rule
STEP = 1e-30  # of the complex step: exact derivatives, there is no subtraction


@dataclass(frozen=True)
class Interval:
    """Ends of intervals [Q, S]; ``open_low`` and ``open_high`` where the data set no end before the law's bounds."""

    low: Array
    high: Array
    open_low: NDArray[np.bool_]
    open_high: NDArray[np.bool_]


def value_and_gradient(law: Law, centre: Mapping[str, float], quantity: Quantity, theta: Array) -> tuple[Array, Array]:
    """A quantity and its gradient in theta, at theta [S, p], by complex steps."""
    p = theta.shape[1]
    steps = theta[:, None, :] + 1j * STEP * np.eye(p)
    found = np.asarray(quantity(natural(law, centre, steps)), complex)
    found = np.broadcast_to(found, steps.shape[:2])
    return found[:, 0].real, found.imag / STEP


def profile(
    law: Law, problems: Problems, solution: Solution, quantities: Sequence[Quantity], level: float = 0.95
) -> Interval:
    """Profile-likelihood intervals of quantities for S least-squares fits: F(1, n - p) on the sums of squares.

    The end of an interval is where the least sum of squares under ``q(theta) = c`` exceeds the minimum by the factor
    ``1 + F/(n - p)`` (Bates & Watts 1988, section 6.1). The constraint is a stiff spring: whatever value it attains,
    the point found lies exactly on the profile. The signed root of the excess is nearly linear in c: secant steps.
    """
    size, n_quantities, p = len(solution.theta), len(quantities), solution.theta.shape[1]
    effective = np.broadcast_to((problems.weights > 0).sum(1), (size,))
    freedom = np.maximum(effective - p, 1)
    critical = special.stdtrit(freedom, 0.5 + level / 2)  # [S]
    variance = 2 * solution.objective / freedom

    # One problem a quantity x data set x side.
    owner = np.repeat(np.arange(n_quantities), size * 2)
    dataset = np.tile(np.repeat(np.arange(size), 2), n_quantities)
    side = np.tile([-1.0, 1.0], n_quantities * size)
    curvature, free = hessian_at(problems, solution.theta)
    best, stiffness, spread = np.empty(len(owner)), np.empty(len(owner)), np.empty(len(owner))
    for q, quantity in enumerate(quantities):
        value, gradient = value_and_gradient(law, problems.form.centre, quantity, solution.theta)
        bent, regular = solve(curvature, np.where(free, gradient, 0.0))
        inverse_information = np.where(regular, np.einsum("sp,sp->s", bent, np.where(free, gradient, 0.0)), 0.0)
        wide = np.maximum(
            inverse_information, 1e-8 * np.maximum(np.abs(value), 1e-3) ** 2 / np.maximum(variance, 1e-30)
        )
        here = owner == q
        best[here] = np.repeat(value, 2)
        stiffness[here] = np.repeat(1e4 / wide, 2)
        spread[here] = np.repeat(np.sqrt(wide * np.maximum(variance, 1e-300)), 2)

    def pull(theta: Array, which: NDArray[np.intp]) -> tuple[Array, Array]:
        value, gradient = np.empty(len(theta)), np.empty_like(theta)
        for q in np.unique(owner[which]):
            here = owner[which] == q
            value[here], gradient[here] = value_and_gradient(law, problems.form.centre, quantities[q], theta[here])
        return value, gradient

    target = critical[dataset]
    # The search leaves the tiny excesses of rounding alone.
    exact = (variance <= 1e-22)[dataset]
    goal = best + side * target * spread
    theta = solution.theta[dataset].copy()
    end = np.where(exact, best, np.nan)
    opened = np.zeros(len(owner), bool)
    reach = best.copy()
    inner_q, inner_t = best.copy(), np.zeros(len(owner))
    outer_q, outer_t = np.full(len(owner), np.nan), np.full(len(owner), np.nan)
    todo = np.flatnonzero(~exact)
    last_kind = np.zeros(len(owner))
    for _ in range(SEARCH):
        if not len(todo):
            break
        sprung = replace(
            problems,
            y=problems.y if len(problems.y) == 1 else problems.y[dataset[todo]],
            weights=problems.weights if len(problems.weights) == 1 else problems.weights[dataset[todo]],
            pull=partial(_pull_rows, pull, todo),
            goal=goal[todo],
            stiffness=stiffness[todo],
            tolerance=1e-8,
            patience=60,
        )
        found = minimise(sprung, theta[todo])
        attained, _ = pull(found.theta, todo)
        spring = 0.5 * stiffness[todo] * (attained - goal[todo]) ** 2
        excess = np.maximum(found.objective - spring - solution.objective[dataset[todo]], 0.0)
        t = np.sqrt(2 * excess / variance[dataset[todo]])
        theta[todo] = found.theta
        need = target[todo]
        reached = np.abs(t - need) <= 1e-3 * need
        # Stuck: the goal moved on and the attained value did not follow, for a bound of the law holds it.
        stuck = (t < need) & (np.abs(attained - reach[todo]) < 0.01 * np.abs(goal[todo] - reach[todo]))
        far = np.abs(attained) > 1e6 * (np.abs(best[todo]) + spread[todo])
        reach[todo] = attained
        stop = reached | stuck | far
        end[todo[stop]] = attained[stop]
        opened[todo[stop & ~reached]] = True
        below = t < need
        # Illinois' rule: an end kept twice counts half.
        for inside, qs, ts, other in ((below, inner_q, inner_t, outer_t), (~below, outer_q, outer_t, inner_t)):
            rows = todo[inside]
            again = last_kind[rows] == (1 if inside is below else 2)
            other_gap = other[rows] - target[rows]
            other[rows] = np.where(again, target[rows] + other_gap / 2, other[rows])
            last_kind[rows] = 1 if inside is below else 2
            qs[rows], ts[rows] = goal[rows], t[inside]
        todo = todo[~stop]
        bracketed = np.isfinite(outer_q[todo])
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = (outer_q[todo] - inner_q[todo]) / (outer_t[todo] - inner_t[todo])
            between = inner_q[todo] + slope * (target[todo] - inner_t[todo])
            growth = np.clip(1.05 * target[todo] / inner_t[todo], 1.2, 4.0)
        beyond = best[todo] + (inner_q[todo] - best[todo]) * growth
        beyond = np.where(inner_q[todo] == best[todo], best[todo] + 4 * (goal[todo] - best[todo]), beyond)
        goal[todo] = np.where(bracketed, between, beyond)
    open_ended = np.isnan(end)
    end[open_ended] = reach[open_ended]
    opened |= open_ended
    shape = (n_quantities, size, 2)
    end, opened = end.reshape(shape), opened.reshape(shape)
    return Interval(end[..., 0], end[..., 1], opened[..., 0], opened[..., 1])


def _pull_rows(pull: Pull, rows: NDArray[np.intp], theta: Array, which: NDArray[np.intp]) -> tuple[Array, Array]:
    """The pull on some of the problems, as the solver counts them."""
    return pull(theta, rows[which])


def resample_counts(cells: pd.DataFrame, n_resamples: int, seed: int = 0) -> Array:
    """Weights [R, n] of a pairs bootstrap over runs: cells of the grid, then the seeds within each.

    ``cells`` holds the design, one row a run (columns N, D, ...). Resamples that lose a factor (fewer than three levels
    of N where the grid has three, say) are drawn again: they can say nothing about its exponent.
    """
    rng = np.random.default_rng(seed)
    cell = cells.groupby(list(cells.columns), sort=False).ngroup().to_numpy()
    n_cells = int(cell.max()) + 1
    replicates = np.bincount(cell, minlength=n_cells)
    levels = [cells[c].factorize()[0] for c in cells.columns]
    needed = [min(3, int(level.max()) + 1) for level in levels]

    def draw(count: int) -> Array:
        drawn = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), size=count)  # [count, cells]
        weights = drawn[:, cell].astype(float)
        for c in np.flatnonzero(replicates > 1):
            members = np.flatnonzero(cell == c)
            weights[:, members] = rng.multinomial(drawn[:, c] * len(members), np.full(len(members), 1 / len(members)))
        return weights

    weights = draw(n_resamples)
    for _ in range(100):
        lost = np.zeros(n_resamples, bool)
        for level, need in zip(levels, needed, strict=True):
            kept = np.stack([weights[:, level == v].any(1) for v in range(int(level.max()) + 1)], 1)
            lost |= kept.sum(1) < need
        if not lost.any():
            break
        weights[lost] = draw(int(lost.sum()))
    return weights


def percentile(draws: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Percentile interval over the first axis, leaving NaN draws out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
    return low, high
