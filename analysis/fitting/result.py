"""What a fit found: coefficients with their intervals, health, and the curve with its band.

A function of the coefficients is profiled (least squares) or read off the draws of the bootstrap, whichever made the
fit's own intervals.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from analysis.fitting.intervals import Quantity, percentile, profile
from analysis.fitting.laws import LAWS, Law
from analysis.fitting.newton import Solution, hessian_at
from analysis.fitting.problem import Problems

if TYPE_CHECKING:
    import lmfit


@dataclass(frozen=True)
class Coefficient:
    """A fitted number with its interval; ``at_bound`` is "", "low" or "high"; status "ok", "bound" or "unidentified".

    ``bootstrap_low`` and ``bootstrap_high`` are a pairs bootstrap beside the interval, NaN if none was asked for.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    at_bound: str = ""
    status: str = "ok"
    note: str = ""
    bootstrap_low: float = math.nan
    bootstrap_high: float = math.nan


@dataclass(frozen=True)
class Health:
    """What speaks for and against a fit. Errors of the hold-out are relative (root mean square of log residuals)."""

    n_points: int
    n_params: int
    excluded: Mapping[str, int]
    converged: bool
    decrement: float  # Newton decrement relative to the objective: half of it bounds the gap to the optimum
    starts_agree: float  # share of starts that reach the optimum
    condition: float  # of the Hessian in centred coordinates
    objective_value: float
    r2: float
    rmse_log: float
    aic: float
    bic: float
    holdout: float  # fitted without the largest tenth of the runs, predicted there


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
    form: Law | None = field(default=None, repr=False)  # the law as solved: terms that cannot be known are taken out
    posed: Problems | None = field(default=None, repr=False)
    solution: Solution | None = field(default=None, repr=False)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> float:
        """Value of a coefficient or derived quantity."""
        return (self.coefficients.get(name) or self.derived[name]).value

    def values(self) -> dict[str, float]:
        """Values of the law's coefficients."""
        return {name: c.value for name, c in self.coefficients.items()}

    def __call__(self, **x: Any) -> Any:
        """Predicted loss at x (arrays named as the law's variables)."""
        return LAWS[self.law](self.values(), **x)

    def quantity(self, function: Quantity, level: float | None = None) -> Coefficient:
        """Value and interval of any function of the coefficients, by the fit's own kind of interval."""
        return intervals_of(self, [function], level or self.level)[0]

    def predict(self, level: float | None = None, **x: float) -> Coefficient:
        """Loss at one x with an interval for the law's curve there (positive: it is formed in logs)."""
        law = LAWS[self.law]
        gone = dict.fromkeys(law.coefficients, 0.0)
        log = self.quantity(lambda c: np.log(law({**gone, **c}, **x)), level)
        note = extrapolation(self.ranges, x)
        ends = [math.exp(v) for v in (log.value, log.low, log.high, log.bootstrap_low, log.bootstrap_high)]
        return Coefficient(ends[0], ends[1], ends[2], log.at_bound, log.status, note, ends[3], ends[4])

    def band(self, x: pd.DataFrame) -> pd.DataFrame:
        """Curve with a simultaneous band: x with columns loss, low, high (Scheffe: sqrt(p F(p, n - p)) for t)."""
        n, p = self.health.n_points, self.health.n_params
        level = self.level
        if self.interval == "profile" and n > p:
            reach = math.sqrt(p * special.fdtri(p, n - p, self.level))
            level = 2 * float(special.stdtr(n - p, reach)) - 1
        rows = [self.predict(level, **{str(k): float(v) for k, v in row.items()}) for row in x.to_dict("records")]
        return x.assign(loss=[c.value for c in rows], low=[c.low for c in rows], high=[c.high for c in rows])

    def parameters(self) -> "lmfit.Parameters":
        """The coefficients as lmfit's: values, bounds and, for least squares, standard errors (not of amplitudes)."""
        import lmfit

        law, parameters, errors = LAWS[self.law], lmfit.Parameters(), self._standard_errors()
        for name, c in self.coefficients.items():
            low, high = law.bound(name)
            parameters.add(name, value=c.value, min=low, max=high)
            parameters[name].stderr = errors.get(name)
        return parameters

    def _standard_errors(self) -> dict[str, float]:
        if self.form is None or self.posed is None or self.solution is None or math.isfinite(self.delta):
            return {}
        freedom = self.health.n_points - self.health.n_params
        hessian, free = hessian_at(self.posed, self.solution.theta)
        if freedom < 1:
            return {}
        covariance = np.linalg.pinv(hessian[0]) * 2 * self.solution.objective[0] / freedom
        places = {
            n: i for i, n in enumerate(self.posed.form.names) if self.posed.form.kinds[i] != "amplitude" and free[0, i]
        }
        units = {n: math.exp(self.posed.form.centre["loss"]) for n in places if n not in self.form.exponents}
        return {n: math.sqrt(covariance[i, i]) * units.get(n, 1.0) for n, i in places.items()}


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


def intervals_of(result: Fit, quantities: Sequence[Quantity], level: float) -> list[Coefficient]:
    """Values of quantities with the fit's intervals."""
    fitted = {name: np.float64(v) for name, v in result.fitted.items()}
    values = [float(q(fitted)) for q in quantities]
    draws: list[tuple[float, float]] = [(math.nan, math.nan)] * len(quantities)
    if result.draws is not None:
        table = {str(name): column.to_numpy() for name, column in result.draws.items()}
        ends = [percentile(np.broadcast_to(q(table), len(result.draws)), level) for q in quantities]
        draws = [(float(low), float(high)) for low, high in ends]
    if result.interval == "none":
        return [Coefficient(v) for v in values]
    if result.interval == "bootstrap":
        return [Coefficient(v, *d, bootstrap_low=d[0], bootstrap_high=d[1]) for v, d in zip(values, draws, strict=True)]
    if result.health.n_points <= result.health.n_params:
        return [Coefficient(v, status="unidentified") for v in values]
    assert result.form is not None
    assert result.posed is not None
    assert result.solution is not None
    found = profile(result.form, result.posed, result.solution, quantities, level)
    coefficients_out = []
    for i, (value, drawn) in enumerate(zip(values, draws, strict=True)):
        both = bool(found.open_low[i, 0] and found.open_high[i, 0])
        coefficients_out.append(
            Coefficient(
                value,
                math.nan if both else min(value, float(found.low[i, 0])),
                math.nan if both else max(value, float(found.high[i, 0])),
                status="unidentified" if both else "ok",
                note="its interval has no end within the law's bounds" if both else "",
                bootstrap_low=drawn[0],
                bootstrap_high=drawn[1],
            )
        )
    return coefficients_out
