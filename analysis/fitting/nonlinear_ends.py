"""Ends of profile-likelihood intervals for laws of any form, found as ``intervals`` finds those of sums of power laws.

The end is where the least sum of squares under ``q(theta) = c`` exceeds the minimum by the factor ``1 + F/(n - p)``
(Bates & Watts 1988, section 6.1). An entry of theta is held at c, any other quantity pulled there by a stiff spring;
the signed root of the excess is nearly linear in c, so that secant steps arrive. An end is "reached", at a "bound" of
the law, or "open" where nothing was found that ends it.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ecgscale.analysis.fitting.intervals import Interval
from ecgscale.analysis.fitting.nonlinear import (
    STEP,
    Posed,
    loss_of,
    minimise,
    natural,
    objective_of,
    residuals,
    value_and_gradient,
)
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.status import BOUND, OPEN, REACHED

Quantity = Callable[[Mapping[str, Any]], Any]

SEARCH = 40  # steps of the search for an end
CLOSE = 1e-4  # relative, of the root of the excess at an end
STIFFNESS = 1e4  # of the spring, against the curvature of the objective along the quantity
CANDIDATES = 400  # places of the landscape that may be starts
DESCENT = 40  # steps of a descent under the constraint


@dataclass(frozen=True)
class Entry:
    """A quantity that is an entry of theta: a linear coefficient's part of the loss, an exponent, a scale."""

    place: int
    quantity: Quantity

    def __call__(self, c: Mapping[str, Any]) -> Any:
        return self.quantity(c)


def information(posed: Posed, theta: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Sums of products of the derivatives of ln(loss) [p, p] at theta [p], entries at a bound decoupled, and which are
    free."""
    r, J = residuals(posed, theta[None])
    gradient = np.einsum("n,np->p", posed.weights[0] * r[0], J[0])
    free = ~((theta <= posed.low) & (gradient > 0) | (theta >= posed.high) & (gradient < 0))
    matrix = np.einsum("n,np,nq->pq", posed.weights[0], J[0], J[0])
    return np.where(free[:, None] & free, matrix, 0.0), free


def profile(
    posed: Posed, theta: Array, objective: float, places: Array, quantities: Sequence[Quantity], level: float
) -> Interval:
    """Intervals [Q, 1] of quantities for a fit by least squares at theta [p]; ``places`` [M, p] are a landscape."""
    n, p = int((posed.weights[0] > 0).sum()), len(theta)
    freedom = max(n - p, 1)
    variance = 2 * objective / freedom
    need = float(special.stdtrit(freedom, 0.5 + level / 2))
    places = places[:CANDIDATES]
    heights = objective_of(posed, np.log(np.maximum(loss_of(posed, places), 1e-300)) - posed.y, posed.weights)
    matrix, free = information(posed, theta)
    inverse = np.linalg.pinv(matrix, rcond=1e-12, hermitian=True)
    low, high = np.empty((len(quantities), 1)), np.empty((len(quantities), 1))
    kinds = np.full((len(quantities), 2), OPEN, "<U7")
    search = _Search(posed, theta, objective, variance, need, places, heights)
    ends = []
    with np.errstate(all="ignore"):
        for quantity in quantities:
            entry = quantity.place if isinstance(quantity, Entry) else -1
            best, slope = value_and_gradient(posed, quantity, theta[None])
            if entry >= 0:
                best, slope = theta[[entry]], np.eye(p)[[entry]]
            usable = np.where(free, slope[0], 0.0)
            spread = math.sqrt(max(float(usable @ inverse @ usable) * variance, 0.0))
            spread = spread if spread > 1e-300 else 0.05 * max(float(np.linalg.norm(slope)), 1e-12)
            ends += [search.end(quantity, entry, float(best[0]), spread, side) for side in (-1.0, 1.0)]
        for job, (at, kind) in enumerate(search.together(ends)):
            q, high_end = divmod(job, 2)
            kinds[q, high_end] = kind
            value = (2 * high_end - 1) * math.inf if kind == OPEN else _value(posed, quantities[q], at)
            (high if high_end else low)[q, 0] = value
    return Interval(low, high, kinds[:, :1], kinds[:, 1:])


@dataclass(frozen=True)
class _Ask:
    """Where is it lowest with a quantity (entry of theta, or -1) at the target, from these starts [T, p]?"""

    quantity: Quantity
    entry: int
    spread: float
    target: float
    starts: Array


Answer = tuple[Array, float, float]  # theta [p], the quantity there, and t
End = Generator[_Ask, Answer, tuple[Array, str]]


def _value(posed: Posed, quantity: Quantity, theta: Array) -> float:
    return float(np.real(np.broadcast_to(np.asarray(quantity(natural(posed, theta[None]))), 1))[0])


@dataclass
class _Search:
    """The search for ends: each asks for one place after the other, and all are answered together."""

    posed: Posed
    optimum: Array
    least: float
    variance: float
    need: float
    places: Array
    heights: Array

    def together(self, ends: Sequence[End]) -> list[tuple[Array, str]]:
        """What the searches find, all of them in step."""
        found: dict[int, tuple[Array, str]] = {}
        answers: dict[int, Answer | None] = dict.fromkeys(range(len(ends)))
        while answers:
            asks: dict[int, _Ask] = {}
            for job, answer in answers.items():
                try:
                    asks[job] = next(ends[job]) if answer is None else ends[job].send(answer)
                except StopIteration as over:
                    found[job] = over.value
            answers = dict(zip(asks, self._lowest(list(asks.values())), strict=True))
        return [found[job] for job in range(len(ends))]

    def end(self, quantity: Quantity, entry: int, best: float, spread: float, side: float) -> End:
        """Theta [p] at the end of an interval on one side, and what kind of end it is."""
        if self.variance <= 1e-22:  # the points lie on the law but for rounding
            return self.optimum, REACHED
        posed, need = self.posed, self.need
        last = [self.optimum]
        inner, inner_t, inner_theta = best, 0.0, self.optimum
        outer = outer_t = math.nan
        limit = math.nan
        if entry >= 0:
            limit = float((posed.high if side > 0 else posed.low)[entry])
            if math.isfinite(limit):
                theta, _, t = yield self._ask(quantity, entry, spread, limit, [self.optimum])
                if t <= need * (1 + CLOSE):
                    return theta, OPEN if posed.names[entry] in posed.units else BOUND
                last.append(theta)
        kept, sticks, seen = 0, 0, best
        target = self._clipped(best + side * need * spread, inner, limit, side)
        for _ in range(SEARCH):
            theta, attained, t = yield self._ask(quantity, entry, spread, target, [inner_theta, last[-1]])
            last.append(theta)
            if abs(t - need) <= CLOSE * need and side * (attained - best) >= 0:
                return theta, REACHED
            below = t < need
            if below and entry < 0 and not math.isfinite(outer):
                sticks = sticks + 1 if abs(attained - seen) < 0.01 * abs(target - seen) else 0
                seen = attained
                if sticks >= 2:
                    return theta, BOUND if self._at_bound(quantity, theta, attained - best, side) else OPEN
                if not abs(attained) <= 1e6 * (abs(best) + spread):
                    return theta, OPEN
            if math.isfinite(outer) and abs(outer - inner) <= 1e-9 * abs(outer - best):
                return inner_theta, REACHED
            if below:
                if kept == 1 and math.isfinite(outer):  # Illinois' rule: an end kept twice counts half
                    outer_t = (outer_t + need) / 2
                kept, inner, inner_t, inner_theta = 1, target, t, theta
            else:
                if kept == 2:
                    inner_t = (inner_t + need) / 2
                kept, outer, outer_t = 2, target, t
            if math.isfinite(outer):
                between = inner + (outer - inner) / (outer_t - inner_t) * (need - inner_t)
                inside = min(inner, outer) < between < max(inner, outer)
                target = between if inside else 0.5 * (inner + outer)
            else:
                growth = min(max(1.05 * need / max(inner_t, 1e-9), 1.2), 4.0)
                away = max(side * (inner - best) * growth, need * spread)
                target = self._clipped(best + side * away, inner, limit, side)
        return (inner_theta, REACHED) if math.isfinite(outer) else (inner_theta, OPEN)

    @staticmethod
    def _clipped(target: float, inner: float, limit: float, side: float) -> float:
        """Never at the limit itself: that was asked."""
        return 0.5 * (inner + limit) if math.isfinite(limit) and side * (target - limit) >= 0 else target

    def _ask(self, quantity: Quantity, entry: int, spread: float, target: float, starts: list[Array]) -> _Ask:
        tries = np.array([*starts, self.optimum, *self._likeliest(quantity, entry, target)])
        return _Ask(quantity, entry, spread, target, np.unique(tries, axis=0))

    def _lowest(self, asks: Sequence[_Ask]) -> list[Answer]:
        """The lowest of several descents under each constraint."""
        answers: dict[int, Answer] = {}
        for kind in (True, False):
            jobs = [j for j, ask in enumerate(asks) if (ask.entry >= 0) == kind]
            if not jobs:
                continue
            of = np.repeat(jobs, [len(asks[j].starts) for j in jobs])
            starts = np.concatenate([asks[j].starts for j in jobs])
            target = np.array([asks[j].target for j in of])
            if kind:
                held = np.zeros(starts.shape, bool)
                held[np.arange(len(of)), [asks[j].entry for j in of]] = True
                starts[held] = target
                found = minimise(self.posed, starts, held=held, iterations=DESCENT)
                attained, total = target, found.objective
            else:
                # The objective's curvature along a quantity is that of its spread, in units of the variance.
                stiff = np.array([STIFFNESS * self.variance / asks[j].spread ** 2 for j in of])

                def pull(theta: Array, rows: NDArray[np.intp], of: NDArray[np.intp] = of) -> tuple[Array, Array]:
                    return self._attained(theta, [asks[j].quantity for j in of[rows]])

                found = minimise(self.posed, starts, pull=pull, target=target, stiffness=stiff, iterations=DESCENT)
                attained = self._attained(found.theta, [asks[j].quantity for j in of])[0]
                total = found.objective + 0.5 * stiff * (attained - target) ** 2
            t = np.sqrt(2 * np.maximum(found.objective - self.least, 0.0) / self.variance)
            for j in jobs:
                own = np.flatnonzero(of == j)
                best = own[np.where(np.isfinite(total[own]), total[own], np.inf).argmin()]
                answers[j] = found.theta[best], float(attained[best]), float(t[best])
        return [answers[j] for j in range(len(asks))]

    def _attained(self, theta: Array, quantities: Sequence[Quantity]) -> tuple[Array, Array]:
        """The quantity of each row of theta [T, p], and its gradient there, by complex steps."""
        size, p = theta.shape
        steps = (theta[:, None, :] + 1j * STEP * np.eye(p)).reshape(-1, p)
        values = {name: v.reshape(size, p) for name, v in natural(self.posed, steps).items()}
        level, slope = np.empty(size), np.empty((size, p))
        for quantity in {id(q): q for q in quantities}.values():
            rows = np.array([q is quantity for q in quantities])
            count = int(rows.sum())
            mine = {name: v[rows].ravel() for name, v in values.items()}
            found = np.broadcast_to(np.asarray(quantity(mine), complex), count * p).reshape(count, p)
            level[rows], slope[rows] = found[:, 0].real, found.imag / STEP
        return level, slope

    def _likeliest(self, quantity: Quantity, entry: int, target: float) -> list[Array]:
        """The two places of the landscape that cost least, if half the way to the target is what it costs."""
        if not len(self.places):
            return []
        if entry >= 0:
            altitude = self.places[:, entry]
        else:
            altitude = np.real(
                np.broadcast_to(np.asarray(quantity(natural(self.posed, self.places))), len(self.places))
            )
        best = self.optimum[entry] if entry >= 0 else _value(self.posed, quantity, self.optimum)
        way = max(abs(target - best), 1e-300)
        cost = self.heights + 0.5 * self.need**2 * self.variance * (2 * (altitude - target) / way) ** 2
        order = np.argsort(np.where(np.isfinite(cost), cost, np.inf), kind="stable")[:2]
        return [self.places[i] for i in order]

    def _at_bound(self, quantity: Quantity, theta: Array, moved: float, side: float) -> bool:
        """Whether no entry with room within its bounds takes the quantity further."""
        gradient = value_and_gradient(self.posed, quantity, theta[None])[1][0] * side
        room = np.where(gradient > 0, self.posed.high - theta, theta - self.posed.low)
        scales = np.array([name in self.posed.units for name in self.posed.names])
        gain = np.abs(gradient) * np.minimum(room, 1.0)
        return bool(gain.max() < 1e-2 * max(abs(moved), 1e-12)) and not bool((gain[scales] > 0).any() and moved == 0)
