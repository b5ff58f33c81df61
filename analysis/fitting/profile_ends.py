"""Where profile likelihoods end: many ends of intervals at once, each searched for outwards from the optimum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ecgscale.analysis.fitting.laws import Law
from ecgscale.analysis.fitting.newton import Solution, hessian_at, minimise, solve
from ecgscale.analysis.fitting.problem import Array, Penalty, Problems, Pull, natural
from ecgscale.analysis.fitting.quantities import Formula, Parameter, Quantity, value_and_gradient
from ecgscale.analysis.fitting.residuals import error_of
from ecgscale.analysis.fitting.starts import landscape
from ecgscale.analysis.fitting.status import BOUND, OPEN, REACHED

SEARCH = 40  # steps of the search for an end; five or six are the rule
CLOSE = 1e-4  # relative, of the root of the excess at an end
PENALTY_WEIGHT = 1e4  # of the penalty, against the curvature of the objective along the quantity
FIRST = 0.05  # first step along a parameter that the curvature says nothing of
NEAREST = 2  # places of the landscape that are tried at each step


@dataclass
class Search:
    """Ends that are searched for at once, one a quantity x data set x side: J of them.

    A quantity is followed on its own scale: a parameter as it stands in theta (``entry`` >= 0), any other as it is.
    ``inner`` and ``outer`` are the nearest places known on either side of the end: where they are and t there, the root
    of the excess.
    """

    law: Law
    problems: Problems
    quantities: Sequence[Quantity]
    least: Array  # objective of the fits [J]
    optimum: Array  # theta of the fits [J, p]
    variance: Array
    need: Array
    quantity: NDArray[np.intp]
    dataset: NDArray[np.intp]
    side: Array
    entry: NDArray[np.intp]
    formula: NDArray[np.int64]  # that is compiled; 0: none
    pair: NDArray[np.int64]  # entries of theta that it is of [J, 2]
    limit: Array  # of a parameter
    best: Array
    spread: Array
    penalty_weight: Array
    places: Array  # theta of the landscape [S, G, p]
    heights: Array  # objectives there [S, G]
    altitudes: Array  # the quantities there [Q, S, G]
    end: Array
    kind: NDArray[np.str_]

    @classmethod
    def of(
        cls, law: Law, problems: Problems, solution: Solution, quantities: Sequence[Quantity], level: ArrayLike
    ) -> "Search":
        size, p = solution.theta.shape
        squares, freedom = error_of(problems, solution)
        variance = squares / freedom
        curvature, free = hessian_at(problems, solution.theta)
        places, heights = landscape(problems)
        names = problems.design.names
        entry = [names.index(q.name) if isinstance(q, Parameter) else -1 for q in quantities]
        best, spread, wide = (np.empty((len(quantities), size)) for _ in range(3))
        altitudes = np.empty((len(quantities), *heights.shape))
        flat = places.reshape(-1, p)
        for k, quantity in enumerate(quantities):
            if entry[k] >= 0:
                value, altitude = solution.theta[:, entry[k]], flat[:, entry[k]]
                gradient = np.broadcast_to(np.eye(p)[entry[k]], (size, p))
            else:
                value, gradient = value_and_gradient(law, problems.design.centre, quantity, solution.theta)
                altitude = np.broadcast_to(quantity(natural(law, problems.design.centre, flat)), len(flat))
            bent, regular = solve(curvature, np.where(free, gradient, 0.0))
            information = np.where(regular, np.einsum("sp,sp->s", bent, np.where(free, gradient, 0.0)), 0.0)
            length = np.sqrt(np.einsum("sp,sp->s", gradient, gradient))
            unknown = ~(information > 0)
            best[k], altitudes[k] = value, altitude.reshape(heights.shape)
            spread[k] = np.where(unknown, FIRST * length, np.sqrt(np.maximum(information * variance, 0.0)))
            wide[k] = spread[k] ** 2 / np.maximum(variance, 1e-300)
        formula = [q.kind if isinstance(q, Formula) else 0 for q in quantities]
        pair = [[names.index(q.u), names.index(q.v)] if isinstance(q, Formula) else [0, 0] for q in quantities]
        asked = np.broadcast_to(np.asarray(level, float), len(quantities))
        jobs = np.indices((len(quantities), size, 2)).reshape(3, -1)
        q, s, high = jobs
        entries = np.array(entry, int)[q]
        bound = np.where(high == 1, problems.high[entries], problems.low[entries])
        return cls(
            law=law,
            problems=problems,
            quantities=quantities,
            least=solution.objective[s],
            optimum=solution.theta[s],
            variance=variance[s],
            need=np.asarray(special.stdtrit(freedom[s], 0.5 + asked[q] / 2), float),
            quantity=q,
            dataset=s,
            side=np.where(high == 1, 1.0, -1.0),
            entry=entries,
            formula=np.array(formula, np.int64)[q],
            pair=np.array(pair, np.int64)[q],
            limit=np.where(entries >= 0, bound, np.nan),
            best=best[q, s],
            spread=np.maximum(spread[q, s], 1e-300),
            penalty_weight=PENALTY_WEIGHT / np.maximum(wide[q, s], 1e-300),
            places=places,
            heights=heights,
            altitudes=altitudes,
            end=np.full(len(q), np.nan),
            kind=np.full(len(q), OPEN, "<U7"),
        )

    def run(self) -> None:
        """Search for all ends: step outwards until the excess is enough, then close in."""
        exact = self.variance <= 1e-22  # the search leaves the tiny excesses of rounding alone
        self._write(np.flatnonzero(exact), self.optimum[exact], REACHED)
        inner, inner_t, inner_theta = self._first()
        last = inner_theta.copy()
        outer, outer_t = np.full(len(inner), np.nan), np.full(len(inner), np.nan)
        followed = inner.copy()  # where the quantity was seen when it was last pulled
        sticks = np.zeros(len(inner), int)
        kept = np.zeros(len(inner), int)  # the side of the end that was improved last
        target = self.best + self.side * np.maximum(
            self.need * self.spread, 1.02 * self.side * (inner - self.best) + 0.01 * self.spread
        )
        todo = np.flatnonzero(~exact)
        held = self.entry[todo] >= 0
        at_limit = todo[held]
        target[at_limit] = self.limit[at_limit]  # first of all: is there an end before the law's own?
        asked_limit = np.zeros(len(inner), bool)
        asked_limit[at_limit] = True
        for _ in range(SEARCH):
            if not len(todo):
                return
            theta, attained, t = self._lowest(todo, target[todo], inner_theta[todo], last[todo])
            need, side = self.need[todo], self.side[todo]
            last[todo] = theta
            below = t < need
            limited = asked_limit[todo]
            asked_limit[todo] = False
            reached = ~limited & (np.abs(t - need) <= CLOSE * need)
            bound = limited & (t <= need * (1 + CLOSE))
            pinned = below & (self.entry[todo] < 0) & ~np.isfinite(outer[todo])
            pinned &= np.abs(attained - followed[todo]) < 0.01 * np.abs(target[todo] - followed[todo])
            followed[todo] = attained
            sticks[todo] = np.where(pinned, sticks[todo] + 1, 0)
            stuck = sticks[todo] >= 2
            bound |= stuck & self._at_bound(todo, theta, attained)
            narrow = np.abs(outer[todo] - inner[todo]) <= 1e-9 * np.abs(outer[todo] - self.best[todo])
            far = stuck | (np.abs(attained) > 1e6 * (np.abs(self.best[todo]) + self.spread[todo]))
            self._write(todo[reached], theta[reached], REACHED)
            self._write(todo[bound & ~reached], theta[bound & ~reached], BOUND)
            jump = narrow & ~reached & ~bound
            self._write(todo[jump], inner_theta[todo[jump]], REACHED)
            stop = reached | bound | jump | (far & below)
            for mask, where, ts, other, other_t, mark in (
                (below, inner, inner_t, outer, outer_t, 1),
                (~below & ~limited, outer, outer_t, inner, inner_t, 2),
            ):
                rows = todo[mask & ~stop]
                twice = (kept[rows] == mark) & np.isfinite(other[rows])  # Illinois' rule: an end kept twice counts half
                other_t[rows] = np.where(twice, (other_t[rows] + self.need[rows]) / 2, other_t[rows])
                kept[rows] = mark
                where[rows], ts[rows] = target[rows], t[mask & ~stop]
                if mark == 1:
                    inner_theta[rows] = theta[mask & ~stop]
            del side
            todo = todo[~stop]
            target[todo] = self._next(todo, inner[todo], inner_t[todo], outer[todo], outer_t[todo])
        rest = todo[np.isfinite(outer[todo])]  # between two places: the inner one is inside
        self._write(rest, inner_theta[rest], REACHED)

    def _first(self) -> tuple[Array, Array, Array]:
        """The farthest place inside the interval that the landscape has, or the optimum: value, t, theta."""
        excess = np.maximum(self.heights[self.dataset] - self.least[:, None], 0.0)
        t = np.sqrt(2 * excess / np.maximum(self.variance, 1e-300)[:, None])
        ahead = self.side[:, None] * (self.altitudes[self.quantity, self.dataset] - self.best[:, None])
        ahead = np.where(np.isfinite(ahead) & (t < 0.98 * self.need[:, None]), ahead, -np.inf)
        place = ahead.argmax(1)
        rows = np.arange(len(place))
        better = ahead[rows, place] > 0
        value = np.where(better, self.altitudes[self.quantity, self.dataset, place], self.best)
        theta = np.where(better[:, None], self.places[self.dataset, place], self.optimum)
        return value, np.where(better, t[rows, place], 0.0), theta

    def _lowest(self, rows: NDArray[np.intp], target: Array, inside: Array, last: Array) -> tuple[Array, Array, Array]:
        """The lowest of several descents under the constraint: theta [R, p], the quantity there, and t [R]."""
        optimum, floors = self.optimum[rows], self.problems.design.of_kind("floor")
        risen, sunk = inside.copy(), inside.copy()
        risen[:, floors] = np.maximum(risen[:, floors], 0.3 * math.exp(self.problems.y.mean()))
        sunk[:, floors] = 0.0
        starts = np.stack([inside, optimum, last, risen, sunk, *self._likeliest(rows, target)], 1)
        objective, theta = np.empty(len(starts)), np.empty_like(optimum)
        held = self.entry[rows] >= 0
        compiled = self.formula[rows] > 0
        for of_kind in (held, compiled, ~held & ~compiled):
            chosen = np.flatnonzero(of_kind)
            if not len(chosen):
                continue
            part = starts[chosen]
            posed = self._posed(rows[chosen], target[chosen])
            if of_kind is held:
                part[np.arange(len(part)), :, self.entry[rows[chosen]]] = target[chosen, None]
            part = np.clip(part, posed.low, posed.high)
            which, attempt = np.nonzero(_first_of_equals(part))
            found = minimise(posed, part[which, attempt], which)
            values = np.full(part.shape[:2], np.inf)
            values[which, attempt], part[which, attempt] = found.objective, found.theta
            lowest = np.where(np.isfinite(values), values, np.inf).argmin(1)
            theta[chosen] = part[np.arange(len(chosen)), lowest]
            objective[chosen] = values[np.arange(len(chosen)), lowest]
        attained = target.copy()
        loose = np.flatnonzero(~held)
        if len(loose):
            attained[loose] = self._attained(rows[loose], theta[loose], np.arange(len(loose)))[0]
            objective[loose] -= 0.5 * self.penalty_weight[rows[loose]] * (attained[loose] - target[loose]) ** 2
        t = np.sqrt(2 * np.maximum(objective - self.least[rows], 0.0) / self.variance[rows])
        return theta, attained, t

    def _posed(self, rows: NDArray[np.intp], target: Array) -> Problems:
        """One problem an end, its parameter held or its quantity pulled."""
        own, posed = self.dataset[rows], self.problems
        posed = replace(
            posed,
            y=posed.y if len(posed.y) == 1 else posed.y[own],
            weights=posed.weights if len(posed.weights) == 1 else posed.weights[own],
            tolerance=1e-10,
            patience=60,
        )
        if self.entry[rows[0]] >= 0:
            return replace(posed, held=self.entry[rows])
        weight = self.penalty_weight[rows]
        if self.formula[rows[0]] > 0:
            return replace(posed, penalty=Pull(self.formula[rows], self.pair[rows], target, weight))
        return replace(posed, penalty=Penalty(target, weight, partial(self._attained, rows)))

    def _attained(self, rows: NDArray[np.intp], theta: Array, which: NDArray[np.intp]) -> tuple[Array, Array]:
        """Quantities and their gradients at theta [T, p] of ends ``rows[which]``."""
        value, gradient = np.empty(len(theta)), np.empty_like(theta)
        quantity = self.quantity[rows[which]]
        for q in np.unique(quantity):
            here = quantity == q
            value[here], gradient[here] = value_and_gradient(
                self.law, self.problems.design.centre, self.quantities[q], theta[here]
            )
        return value, gradient

    def _likeliest(self, rows: NDArray[np.intp], target: Array) -> list[Array]:
        """The places of the landscape that cost least, if coming to the target costs what half the way there does."""
        altitude = self.altitudes[self.quantity[rows], self.dataset[rows]]
        way = np.maximum(np.abs(target - self.best[rows]), 1e-300)[:, None]
        unit = (self.need[rows] ** 2 * self.variance[rows])[:, None]
        with np.errstate(invalid="ignore", over="ignore"):
            cost = self.heights[self.dataset[rows]] + 0.5 * unit * (2 * (altitude - target[:, None]) / way) ** 2
        cost = np.where(np.isfinite(cost), cost, np.inf)
        order = np.argpartition(cost, NEAREST, axis=1)[:, :NEAREST]
        return [self.places[self.dataset[rows], order[:, i]] for i in range(NEAREST)]

    def _at_bound(self, rows: NDArray[np.intp], theta: Array, attained: Array) -> NDArray[np.bool_]:
        """Whether nothing within the law's bounds takes a quantity further: no parameter with room moves it."""
        answer = np.zeros(len(rows), bool)
        loose = np.flatnonzero(self.entry[rows] < 0)
        if len(loose):
            gradient = (
                self._attained(rows[loose], theta[loose], np.arange(len(loose)))[1] * self.side[rows[loose], None]
            )
            room = np.where(gradient > 0, self.problems.high - theta[loose], theta[loose] - self.problems.low)
            gain = (np.abs(gradient) * np.minimum(room, 1.0)).max(1)
            answer[loose] = gain < 1e-2 * np.maximum(np.abs(attained[loose] - self.best[rows[loose]]), 1e-12)
        return answer

    def _next(self, rows: NDArray[np.intp], inner: Array, inner_t: Array, outer: Array, outer_t: Array) -> Array:
        """Where to look next: between the places known on either side, else further out."""
        need, best, side = self.need[rows], self.best[rows], self.side[rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            between = inner + (outer - inner) / (outer_t - inner_t) * (need - inner_t)
            between = np.where(np.isfinite(between), between, 0.5 * (inner + outer))
            growth = np.clip(1.05 * need / inner_t, 1.2, 4.0)
        away = np.maximum(side * (inner - best) * growth, need * self.spread[rows])
        away = np.maximum(away, 1.2 * side * (inner - best))
        beyond = best + side * away
        known = self.entry[rows] >= 0
        half = 0.5 * (inner + self.limit[rows])  # never at the limit itself: that was asked
        beyond = np.where(known & (side * (beyond - self.limit[rows]) >= 0), half, beyond)
        return np.where(np.isfinite(outer), between, beyond)

    def _write(self, rows: NDArray[np.intp], theta: Array, kind: str) -> None:
        """Ends at theta."""
        self.kind[rows] = kind
        for q in np.unique(self.quantity[rows]):
            here = self.quantity[rows] == q
            values = natural(self.law, self.problems.design.centre, theta[here])
            self.end[rows[here]] = np.broadcast_to(self.quantities[q](values), int(here.sum()))


def _first_of_equals(starts: Array) -> NDArray[np.bool_]:
    """Which of the starts [R, T, p] of a problem are the first of their kind [R, T]: equal ones end alike."""
    first = np.ones(starts.shape[:2], bool)
    for j in range(1, starts.shape[1]):
        first[:, j] = ~(starts[:, :j] == starts[:, j : j + 1]).all(-1).any(1)
    return first
