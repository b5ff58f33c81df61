"""Fits that share a design are done as one batch: the losses of all targets of one configuration, say.

A batch has one unit of loss; what each fit has of its own (its optimum, say) is turned into that unit and back.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ecgscale.analysis.fitting.intervals import Interval, profile
from ecgscale.analysis.fitting.laws import Law
from ecgscale.analysis.fitting.newton import Solution
from ecgscale.analysis.fitting.problem import Array, Problems
from ecgscale.analysis.fitting.quantities import Quantity
from ecgscale.analysis.fitting.starts import refit, solve_globally


def solved_together(posed: Sequence[Problems], n_starts: int) -> list[tuple[Solution, float]]:
    """The optimum of each single problem, and the share of starts that agree with it."""
    answer: dict[int, tuple[Solution, float]] = {}
    for members in _batches(posed):
        batch, shift = _stacked([posed[i] for i in members])
        found, agree = solve_globally(batch, n_starts)
        theta = _shifted(batch, found.theta, -shift)
        own = _apart(found, theta, members)
        answer |= {i: (own[i], float(agree[s])) for s, i in enumerate(members)}
    return [answer[i] for i in range(len(posed))]


def refitted_together(posed: Sequence[Problems], optima: Sequence[Array], n_starts: int) -> list[Solution]:
    """``refit`` of single problems, each from an optimum [1, p] of its own."""
    answer: dict[int, Solution] = {}
    for members in _batches(posed):
        batch, shift = _stacked([posed[i] for i in members])
        centres = _shifted(batch, np.concatenate([optima[i] for i in members]), shift)
        found = refit(batch, centres[:, None], n_starts)
        answer |= _apart(found, _shifted(batch, found.theta, -shift), members)
    return [answer[i] for i in range(len(posed))]


def profiled_together(
    laws: Sequence[Law],
    posed: Sequence[Problems],
    solutions: Sequence[Solution],
    quantities: Sequence[Sequence[Quantity]],
    level: float,
) -> list[Interval]:
    """``profile`` of single fits; those over one design have the same quantities."""
    answer: dict[int, Interval] = {}
    for members in _batches(posed):
        batch, shift = _stacked([posed[i] for i in members])
        at = [solutions[i] for i in members]
        theta = _shifted(batch, np.concatenate([s.theta for s in at]), shift)
        parts = [np.concatenate([getattr(s, k) for s in at]) for k in ("objective", "decrement", "converged")]
        first = members[0]
        found = profile(laws[first], batch, Solution(theta, *parts), quantities[first], level)
        for s, i in enumerate(members):
            one = slice(s, s + 1)
            ends = (found.low[:, one], found.high[:, one], found.low_end[:, one], found.high_end[:, one])
            answer[i] = Interval(*ends)
    return [answer[i] for i in range(len(posed))]


def _apart(found: Solution, theta: Array, members: Sequence[int]) -> dict[int, Solution]:
    """The solution of each member of a batch, at theta [S, p] in its own unit."""
    apart = {}
    for s, i in enumerate(members):
        one = slice(s, s + 1)
        apart[i] = Solution(theta[one], found.objective[one], found.decrement[one], found.converged[one])
    return apart


def _batches(posed: Sequence[Problems]) -> Iterator[list[int]]:
    """Which of the problems differ in their losses alone."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, p in enumerate(posed):
        arrays = [*p.design.features, *p.design.columns, p.weights, p.low, p.high]
        key = (p.design.names, p.delta, *(a.tobytes() for a in arrays))
        groups.setdefault(key, []).append(i)
    yield from groups.values()


def _stacked(posed: Sequence[Problems]) -> tuple[Problems, Array]:
    """One batch [S] of such problems, and ln of the unit of each in that of the batch [S]."""
    units = np.array([p.design.centre["loss"] for p in posed])
    unit = float(units.mean())
    design = replace(posed[0].design, centre={**posed[0].design.centre, "loss": unit})
    losses = np.concatenate([p.y + own - unit for p, own in zip(posed, units, strict=True)])
    return replace(posed[0], design=design, y=losses), units - unit


def _shifted(batch: Problems, theta: Array, shift: Array) -> Array:
    """Theta [S, p] in units of loss that are ``exp(-shift)`` [S] times theirs."""
    theta = theta.copy()
    for i, kind in enumerate(batch.design.kinds):
        if kind == "floor":
            theta[:, i] *= np.exp(shift)
        elif kind == "amplitude":
            theta[:, i] += shift
    return theta
