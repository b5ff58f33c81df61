"""What a fit found: coefficients with their intervals, and the curve with its band.

A function of the coefficients is profiled (least squares) or read off the draws of the bootstrap, whichever made the
fit's own intervals.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from ecgscale.analysis.fitting.health import Health
from ecgscale.analysis.fitting.intervals import Interval, profile
from ecgscale.analysis.fitting.laws import LAWS, Law
from ecgscale.analysis.fitting.newton import Solution, hessian_at
from ecgscale.analysis.fitting.problem import Problems
from ecgscale.analysis.fitting.quantities import Parameter, Quantity
from ecgscale.analysis.fitting.resampling import percentile
from ecgscale.analysis.fitting.residuals import error_of
from ecgscale.analysis.fitting.status import REACHED, WIDE, kinds_of, of_number, worst

if TYPE_CHECKING:
    import lmfit


@dataclass(frozen=True)
class Coefficient:
    """A fitted number with its interval; ``at_bound`` is "", "low" or "high"; status as in ``analysis.fitting.status``.

    ``low_end`` and ``high_end`` say what the ends are: "reached", at a "bound" of the law, "open" (the end is
    infinite), or "" without an interval. ``bootstrap_low`` and ``bootstrap_high`` are a pairs bootstrap beside the
    interval, NaN if none was asked for.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    at_bound: str = ""
    status: str = "ok"
    note: str = ""
    bootstrap_low: float = math.nan
    bootstrap_high: float = math.nan
    low_end: str = ""
    high_end: str = ""


@dataclass(frozen=True)
class Fit:
    """A law fitted to points. ``draws`` are the bootstrap's coefficients, one row a resample."""

    law: str
    coefficients: Mapping[str, Coefficient]
    derived: Mapping[str, Coefficient]
    health: Health
    objective: str
    delta: float
    interval: str
    level: float
    status: str
    note: str
    fitted: Mapping[str, float] = field(default_factory=dict, repr=False)  # coefficients of the law as solved
    draws: pd.DataFrame | None = field(default=None, repr=False)
    solved_law: Law | None = field(
        default=None, repr=False
    )  # the law as solved: terms that cannot be known are taken out
    posed: Problems | None = field(default=None, repr=False)
    solution: Solution | None = field(default=None, repr=False)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict, repr=False)
    form: Law | None = field(default=None, repr=False)  # a law that is not in the registry
    profiled: Callable[[Sequence[Quantity], float], Interval] | None = field(default=None, repr=False)  # see nonlinear

    @property
    def as_law(self) -> Law:
        """The law that was fitted."""
        return self.form or LAWS[self.law]

    def __getitem__(self, name: str) -> float:
        """Value of a coefficient or derived quantity."""
        return (self.coefficients.get(name) or self.derived[name]).value

    @property
    def tested(self) -> str:
        """What the fit is flagged for as a whole; "ok" if nothing."""
        return self.health.tested

    def values(self) -> dict[str, float]:
        """Values of the law's coefficients."""
        return {name: c.value for name, c in self.coefficients.items()}

    def __call__(self, **x: Any) -> Any:
        """Predicted loss at x (arrays named as the law's variables)."""
        return self.as_law(self.values(), **x)

    def quantity(self, function: Quantity, level: float | None = None) -> Coefficient:
        """Value and interval of any function of the coefficients, by the fit's own kind of interval."""
        return intervals_of(self, [function], level or self.level)[0]

    def predict(self, level: float | None = None, **x: float) -> Coefficient:
        """Loss at one x with an interval for the law's curve there (positive: it is formed in logs)."""
        law = self.as_law
        gone = dict.fromkeys(law.coefficients, 0.0)
        log = self.quantity(lambda c: np.log(law({**gone, **c}, **x)), level)
        note = extrapolation(self.ranges, x)
        logs = (log.value, log.low, log.high, log.bootstrap_low, log.bootstrap_high)
        value, low, high, drawn_low, drawn_high = (math.inf if v > 700 else math.exp(v) for v in logs)
        status = "wide" if log.status == "ok" and high > WIDE * low else log.status
        unseen = [v for v, (least, most) in self.ranges.items() if least == most != x.get(v, least)]
        if unseen:  # the law's curve along them is nobody's measurement
            unknown = f"{' and '.join(unseen)} takes one value in the points: how the loss changes with it is not known"
            note = "; ".join(text for text in (note, unknown) if text)
            return Coefficient(value, status="unidentified", note=note)
        note = "; ".join(text for text in (note, log.note) if text)
        return Coefficient(
            value, low, high, log.at_bound, status, note, drawn_low, drawn_high, log.low_end, log.high_end
        )

    def band(self, x: pd.DataFrame) -> pd.DataFrame:
        """Curve with a simultaneous band: x with columns loss, low, high (Scheffe: sqrt(p F(p, n - p)) for t)."""
        p, level = self.health.n_params, self.level
        if (
            self.interval == "profile"
            and self.health.freedom > 0
            and self.posed is not None
            and self.solution is not None
        ):
            freedom = int(error_of(self.posed, self.solution)[1][0])
            reach = math.sqrt(p * special.fdtri(p, freedom, self.level))
            level = 2 * float(special.stdtr(freedom, reach)) - 1
        rows = [self.predict(level, **{str(k): float(v) for k, v in row.items()}) for row in x.to_dict("records")]
        return x.assign(loss=[c.value for c in rows], low=[c.low for c in rows], high=[c.high for c in rows])

    def parameters(self) -> "lmfit.Parameters":
        """The coefficients as lmfit's: values, bounds and, for least squares, standard errors (not of amplitudes)."""
        import lmfit

        law, parameters, errors = self.as_law, lmfit.Parameters(), self._standard_errors()
        for name, c in self.coefficients.items():
            low, high = law.bound(name)
            parameters.add(name, value=c.value, min=low, max=high)
            parameters[name].stderr = errors.get(name)
        return parameters

    def _standard_errors(self) -> dict[str, float]:
        if self.solved_law is None or self.posed is None or self.solution is None or math.isfinite(self.delta):
            return {}
        hessian, free = hessian_at(self.posed, self.solution.theta)
        if self.health.freedom < 1:
            return {}
        squares, freedom = error_of(self.posed, self.solution)
        covariance = np.linalg.pinv(hessian[0]) * squares[0] / freedom[0]
        places = {
            n: i
            for i, n in enumerate(self.posed.design.names)
            if self.posed.design.kinds[i] != "amplitude" and free[0, i]
        }
        units = {n: math.exp(self.posed.design.centre["loss"]) for n in places if n not in self.solved_law.exponents}
        return {n: math.sqrt(covariance[i, i]) * units.get(n, 1.0) for n, i in places.items()}


def said_of(result: Fit) -> str:
    """What a fit is flagged for as a whole, in words."""
    h = result.health
    places = "points" if h.n_cells in (0, h.n_points) else "cells"
    count = h.freedom + h.n_params
    return {
        "few points": f"{count} {places} for {h.n_params} coefficients: too few to test the law's form",
        "negative R2": f"the law fits worse than a constant (R2 {h.r2:.2g})",
        "lack of fit": f"residuals are not noise alone (p = {h.lack_of_fit:.1g}): the law's form is wrong here",
    }[result.tested]


def extrapolation(ranges: Mapping[str, tuple[float, float]], x: Mapping[str, float]) -> str:
    """How far x lies outside the fitted points, in words; empty inside."""
    parts = []
    for name, (low, high) in ranges.items():
        value = float(x.get(name, low))
        if value > high * (1 + 1e-9):
            parts.append(f"{name} {value / high:.3g} times beyond the largest fitted")
        elif value < low * (1 - 1e-9):
            parts.append(f"{name} {low / value:.3g} times below the smallest fitted")
    return "extrapolates: " + ", ".join(parts) if parts else ""


def intervals_of(
    result: Fit, quantities: Sequence[Quantity], level: float, ends: Interval | None = None
) -> list[Coefficient]:
    """Values of quantities with the fit's intervals; ``ends`` [Q, 1] are those, where they were searched for before."""
    fitted = {name: np.float64(v) for name, v in result.fitted.items()}
    values = [float(q(fitted)) for q in quantities]
    draws: list[tuple[float, float]] = [(math.nan, math.nan)] * len(quantities)
    if result.draws is not None:
        table = {str(name): column.to_numpy() for name, column in result.draws.items()}
        limits = [percentile(np.broadcast_to(q(table), len(result.draws)), level) for q in quantities]
        draws = [(float(low), float(high)) for low, high in limits]
    fit = result.tested
    if result.interval == "none":
        return [Coefficient(v, status=fit) for v in values]
    if result.interval == "bootstrap":
        least_and_most = [_allowed(result, q) for q in quantities]
        kinds = [kinds_of(*d, bounds) for d, bounds in zip(draws, least_and_most, strict=True)]
        return [
            Coefficient(v, *d, "", of_number(*d, *k, fit=fit), "", *d, *k)
            for v, d, k in zip(values, draws, kinds, strict=True)
        ]
    if result.health.freedom < 1:
        return [Coefficient(v, status="few points") for v in values]
    if ends is not None:
        found = ends
    elif result.profiled is not None:
        found = result.profiled(quantities, level)
    else:
        assert result.solved_law is not None
        assert result.posed is not None
        assert result.solution is not None
        found = profile(result.solved_law, result.posed, result.solution, quantities, level)
    answers = []
    for i, (value, drawn) in enumerate(zip(values, draws, strict=True)):
        low_end, high_end = str(found.low_end[i, 0]), str(found.high_end[i, 0])
        low, high = min(value, float(found.low[i, 0])), max(value, float(found.high[i, 0]))
        status = of_number(low, high, low_end, high_end, fit=fit)
        note = sided(low_end, high_end)
        if status == "unidentified":
            low, high = math.nan, math.nan
        answers.append(Coefficient(value, low, high, "", status, note, *drawn, low_end, high_end))
    return answers


def sided(low_end: str, high_end: str) -> str:
    """Which limits the points do not set, in words."""
    missing = [name for name, kind in (("lower", low_end), ("upper", high_end)) if kind not in (REACHED, "")]
    if len(missing) == 2:
        return "its interval has no end within the law's bounds"
    return f"the points set no {missing[0]} limit" if missing else ""


def _allowed(result: Fit, quantity: Quantity) -> tuple[float, float]:
    """Bounds of a quantity that is a coefficient."""
    if result.solved_law is None or not isinstance(quantity, Parameter):
        return -math.inf, math.inf
    return (0.0, math.inf) if quantity.at_centre is not None else result.solved_law.bound(quantity.name)


def concluded(
    result: Fit,
    coefficients: Mapping[str, Coefficient],
    derived: Mapping[str, Coefficient],
    unsolved: str,
    silent: Collection[str] = (),
) -> Fit:
    """The fit with what it found, its own status and its note: what is wrong with it and with its coefficients.

    ``unsolved`` says how far a fit that did not converge is from its optimum; the notes of ``silent`` coefficients are
    those of others.
    """
    flagged = {name: c for name, c in coefficients.items() if c.status not in ("ok", result.tested)}
    status = worst([result.tested, *(c.status for c in coefficients.values())])
    notes = [c.note for name, c in flagged.items() if c.note and name not in silent]
    if result.tested != "ok":
        notes.insert(0, said_of(result))
    if not result.health.converged and status != "unidentified":
        status = "failed"
        notes.insert(0, f"not converged ({unsolved} {result.health.decrement:.1e})")
    if result.health.excluded:
        notes.append("left out: " + ", ".join(f"{n} with {r}" for r, n in result.health.excluded.items()))
    note = "; ".join(dict.fromkeys(notes))
    return replace(result, coefficients=coefficients, derived=derived, status=status, note=note)
