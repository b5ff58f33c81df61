"""Fit a law to points and say how far to believe it: global optimum, intervals, health.

The default objective is least squares on log losses, with profile-likelihood intervals: our losses come from our own
runs, their errors are multiplicative seed noise without gross outliers, and there the Huber sum with delta = 1e-3 of
the literature (offered as ``objective="huber"``) behaves like absolute deviations, loses 30-40 % of the efficiency
and is no likelihood. Huber fits get pairs-bootstrap intervals.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.intervals import Quantity, percentile, profile, resample_counts
from analysis.laws import LAWS, Law
from analysis.newton import (
    Array,
    Problems,
    Solution,
    hessian_at,
    natural,
    problems_of,
    solve_globally,
    terms_of,
)

if TYPE_CHECKING:
    import lmfit

OBJECTIVES = ("log-ls", "huber")
RESAMPLES = 1000  # of a bootstrap that was not asked for but is the only interval there is
GOOD_R2 = 0.8  # of a joint fit (science: quality flag)


class BadPoints(ValueError):
    """Points that a law cannot be fitted to: what is wrong, and what to do."""


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
        return _intervals(self, [function], level or self.level)[0]

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


def law_named(name: str | Law) -> Law:
    """A law by its name; raises BadPoints with the nearest name for a typo."""
    if isinstance(name, Law):
        return name
    if name not in LAWS:
        near = difflib.get_close_matches(name, LAWS, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; laws are {', '.join(LAWS)}"
        raise BadPoints(f"no law is called '{name}'{hint}")
    return LAWS[name]


def clean(data: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Points usable in logarithms, as floats, and how many were left out for which reason.

    Raises BadPoints if a column is missing or no point is left.
    """
    for column in columns:
        if column not in data:
            near = difflib.get_close_matches(column, [str(c) for c in data.columns], 1, 0.5)
            hint = f" (did you mean to rename '{near[0]}'?)" if near else ""
            raise BadPoints(f"the points have no column '{column}'{hint}; columns needed: {', '.join(columns)}")
    numbers = data[list(columns)].apply(pd.to_numeric, errors="coerce").astype(float)
    keep, excluded = np.ones(len(data), bool), {}
    for column in columns:
        v = numbers[column].to_numpy()
        for reason, bad in (("not a number", np.isnan(v)), ("infinite", np.isinf(v)), ("not positive", v <= 0)):
            count = int((bad & keep).sum())
            if count:
                excluded[f"{column} {reason}"] = count
            keep &= ~bad
    if not keep.any():
        why = "; ".join(f"{n} with {r}" for r, n in excluded.items()) or "the table is empty"
        raise BadPoints(f"no point can be fitted: {why}")
    kept = data.loc[keep].copy()
    kept[list(columns)] = numbers.loc[keep]
    return kept.reset_index(drop=True), excluded


def identifiable(law: Law, points: pd.DataFrame) -> tuple[Law, dict[str, str]]:
    """The part of a law that the points can say something about, and why each other exponent can't be known."""
    reasons: dict[str, str] = {}
    solved = law
    for term in law.terms:
        for exponent, (variable, _) in term.powers.items():
            if points[variable].nunique() == 1:
                reasons[exponent] = f"{exponent} can't be known: {variable} takes one value"
                if term.amplitude in solved.coefficients:
                    solved = solved.without(term.amplitude)
                    reasons[term.amplitude] = f"{term.amplitude} can't be told from E: {variable} takes one value"
    if not solved.terms:
        raise BadPoints("nothing varies in these points: " + "; ".join(reasons.values()))
    if len(law.variables) == 2 and not reasons:
        logs = [np.log(points[v].to_numpy(float)) for v in law.variables]
        if np.corrcoef(*logs)[0, 1] ** 2 > 1 - 1e-6:
            reasons |= {
                e: f"{e} can't be known: {law.variables[0]} and {law.variables[1]} grow together" for e in law.exponents
            }
    return solved, reasons


def derived_quantities(law: Law, centre: Mapping[str, float]) -> dict[str, Quantity]:
    """What follows from a law: loss of each term at the geometric mean of the points, allocation exponents."""
    quantities: dict[str, Quantity] = {}
    for term in law.terms:
        if term.powers:

            def at_centre(c: Mapping[str, Array], term: Any = term) -> Array:
                power = sum(sign * centre[v] * c[e] for e, (v, sign) in term.powers.items())
                return c[term.amplitude] * np.exp(power)

            quantities[f"{term.amplitude}_centre"] = at_centre
    if law.name == "joint" and {"alpha", "beta"} <= set(law.coefficients):
        quantities["a"] = lambda c: c["beta"] / (c["alpha"] + c["beta"])
        quantities["b"] = lambda c: c["alpha"] / (c["alpha"] + c["beta"])
        quantities["gamma"] = lambda c: c["alpha"] * c["beta"] / (c["alpha"] + c["beta"])
    return quantities


def fit(
    law: str | Law,
    data: pd.DataFrame,
    *,
    objective: str = "log-ls",
    delta: float = 1e-3,
    bootstrap: int | None = None,
    level: float = 0.95,
    n_starts: int = 4,
    seed: int = 0,
    intervals: bool = True,
) -> Fit:
    """Fit a law to points: columns of the law's variables and its response (``loss``), optionally ``weight``.

    Intervals: profile likelihood for least squares, a pairs bootstrap over runs (cells, then seeds) for Huber;
    ``bootstrap`` asks for so many resamples beside it. Raises BadPoints for points that cannot be fitted.
    """
    law = law_named(law)
    if objective not in OBJECTIVES:
        raise BadPoints(f"objective '{objective}' is not one of {', '.join(OBJECTIVES)}")
    if not delta > 0:
        raise BadPoints(f"delta is {delta}; it is the scale of Huber's function in log-loss and has to be positive")
    if not law.terms:
        from analysis.curved import fit_curved  # the laws that are no plain sums build on this module

        return fit_curved(law, data, objective=objective, delta=delta, bootstrap=bootstrap, level=level, seed=seed)
    columns = [*law.variables, law.response, *(["weight"] if "weight" in data else [])]
    points, excluded = clean(data, columns)
    solved, reasons = identifiable(law, points)
    x = {v: points[v].to_numpy(float) for v in law.variables}
    loss = points[law.response].to_numpy(float)
    weights = points["weight"].to_numpy(float) if "weight" in points else None
    scale = delta if objective == "huber" else np.inf
    posed = problems_of(solved, x, loss, weights, scale)
    solution, agree = solve_globally(posed, n_starts)
    if bootstrap is None:
        bootstrap = RESAMPLES if objective == "huber" and intervals else 0
    n, p = len(points), len(solved.coefficients)
    draws = None
    if bootstrap:
        draws = _bootstrap(solved, posed, solution, points[list(law.variables)], bootstrap, seed)
    result = Fit(
        law=law.name,
        coefficients={},
        derived={},
        health=_health(solved, posed, solution, float(agree[0]), loss, x, excluded, scale, intervals),
        objective=objective,
        delta=scale,
        interval="none" if not intervals else "bootstrap" if objective == "huber" else "profile",
        level=level,
        status="ok",
        note="",
        fitted={k: float(v[0]) for k, v in natural(solved, posed.form.centre, solution.theta).items()},
        draws=draws,
        form=solved,
        posed=posed,
        solution=solution,
        ranges={v: (float(x[v].min()), float(x[v].max())) for v in law.variables},
    )
    if n <= p:
        reasons |= {c: f"{n} points for {p} coefficients" for c in solved.coefficients if c not in reasons}
    return _described(result, law, reasons)


def _described(result: Fit, law: Law, reasons: Mapping[str, str]) -> Fit:
    """Coefficients with intervals, bounds and status, and the fit's own status and note."""
    solved, posed, solution = result.form, result.posed, result.solution
    assert solved is not None
    assert posed is not None
    assert solution is not None
    values = result.fitted
    amplitudes = {t.amplitude for t in solved.terms if t.powers}
    names = [c for c in solved.coefficients if c not in amplitudes]
    derived = derived_quantities(solved, posed.form.centre)
    quantities: list[Quantity] = [*map(itemgetter, names), *derived.values()]
    found = dict(zip([*names, *derived], _intervals(result, quantities, result.level), strict=True))
    for term in solved.terms:
        if term.powers and _bound_hit(solved, posed, solution, term.amplitude):
            moot = {e: f"{e} can't be known: the loss does not fall with {v}" for e, (v, _) in term.powers.items()}
            reasons = {**moot, **reasons}
    coefficients = {}
    for name in law.coefficients:
        if name not in values:
            coefficients[name] = Coefficient(
                0.0 if name not in law.exponents else math.nan, status="unidentified", note=reasons.get(name, "")
            )
            continue
        c = found.get(
            name, Coefficient(values[name], note="no interval on an amplitude alone: see its loss at the centre")
        )
        at = _bound_hit(solved, posed, solution, name)
        status, note = c.status, c.note
        if at:
            status, note = "bound", f"{name} at its {at}er bound" if at == "low" else f"{name} at its upper bound"
        if name in reasons:
            status, note = "unidentified", reasons[name]
        coefficients[name] = replace(c, at_bound=at, status=status, note=note)
    if any(name in reasons for name in solved.exponents):
        found = {k: replace(v, status="unidentified") if k in ("a", "b", "gamma") else v for k, v in found.items()}
    flagged = [c for c in coefficients.values() if c.status != "ok"]
    status = next((s for s in ("unidentified", "bound") if any(c.status == s for c in flagged)), "ok")
    notes = [c.note for c in flagged if c.note]
    if not result.health.converged and status != "unidentified":
        status = "failed"
        notes.insert(0, f"not converged (relative Newton decrement {result.health.decrement:.1e})")
    if result.health.excluded:
        notes.append("left out: " + ", ".join(f"{n} with {r}" for r, n in result.health.excluded.items()))
    return replace(
        result,
        coefficients=coefficients,
        derived={k: found[k] for k in derived},
        status=status,
        note="; ".join(dict.fromkeys(notes)),
    )


def _bound_hit(law: Law, posed: Problems, solution: Solution, name: str) -> str:
    i = posed.form.names.index(name)
    value = solution.theta[0, i]
    if posed.form.kinds[i] == "amplitude":
        return "low" if value < -20 else ""
    low, high = posed.low[i], posed.high[i]
    return "low" if value <= low + 1e-9 else "high" if value >= high - 1e-9 else ""


def _intervals(result: Fit, quantities: Sequence[Quantity], level: float) -> list[Coefficient]:
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
                float(found.low[i, 0]),
                float(found.high[i, 0]),
                status="unidentified" if both else "ok",
                note="its interval has no end within the law's bounds" if both else "",
                bootstrap_low=drawn[0],
                bootstrap_high=drawn[1],
            )
        )
    return coefficients_out


def _bootstrap(
    law: Law, posed: Problems, solution: Solution, cells: pd.DataFrame, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Coefficients of so many resamples, each at its own optimum: from the fit, and from starts of its own."""
    counts = resample_counts(cells, n_resamples, seed)
    resampled = replace(posed, weights=counts * posed.weights)
    found = refit(resampled, solution.theta[0])
    return pd.DataFrame(natural(law, posed.form.centre, found.theta))


def refit(problems: Problems, centre: Array, n_starts: int = 1) -> Solution:
    """Fit every problem from a known optimum [p] and from its own projected starts; the better wins."""
    found, _ = solve_globally(problems, n_starts, more=[centre])
    return found


def _health(
    law: Law,
    posed: Problems,
    solution: Solution,
    agree: float,
    loss: Array,
    x: Mapping[str, Array],
    excluded: Mapping[str, int],
    delta: float,
    deep: bool,
) -> Health:
    values = {k: v[0] for k, v in natural(law, posed.form.centre, solution.theta).items()}
    predicted = np.asarray(law(values, **x), float)
    residual = np.log(predicted / loss)
    n, p = len(loss), len(law.coefficients)
    squares = float((residual**2).sum())
    spread = float(((loss - loss.mean()) ** 2).sum())
    hessian, free = hessian_at(posed, solution.theta)
    loglik = -0.5 * n * (math.log(max(squares / n, 1e-300)) + 1 + math.log(2 * math.pi))
    likelihood = math.isinf(delta)
    return Health(
        n_points=n,
        n_params=p,
        excluded=excluded,
        converged=bool(solution.converged[0]),
        decrement=float(solution.decrement[0]),
        starts_agree=agree,
        condition=float(np.linalg.cond(hessian[0][np.ix_(free[0], free[0])])),
        objective_value=float(solution.objective[0]),
        r2=1 - float(((predicted - loss) ** 2).sum()) / spread if spread > 0 else math.nan,
        rmse_log=math.sqrt(squares / n),
        aic=2 * (p + 1) - 2 * loglik if likelihood else math.nan,
        bic=math.log(n) * (p + 1) - 2 * loglik if likelihood else math.nan,
        holdout=_holdout(posed, solution, x) if deep else math.nan,
    )


def _holdout(posed: Problems, solution: Solution, x: Mapping[str, Array]) -> float:
    """Error of predicting the largest tenth of the runs (at least one) from all others."""
    extent = sum(np.log(v) for v in x.values())
    largest = largest_tenth(np.asarray(extent))
    n_params = len(posed.form.names)
    if (~largest).sum() <= n_params:
        return math.nan
    small = replace(posed, weights=posed.weights * ~largest)
    found = refit(small, solution.theta[0], 4)
    residual = np.log(terms_of(posed.form, posed.form.features, found.theta)[1]) - posed.y
    return float(np.sqrt((residual[0, largest] ** 2).mean()))


def largest_tenth(extent: Array) -> NDArray[np.bool_]:
    """Which runs are the largest tenth, at least one."""
    count = max(1, len(extent) // 10)
    largest = np.zeros(len(extent), bool)
    largest[np.argsort(extent, kind="stable")[-count:]] = True
    return largest


def holdout_error(law: str | Law, data: pd.DataFrame, held: Any, **options: Any) -> float:
    """Mean relative error (signed) at the rows ``held`` (boolean, one a row) of a law fitted to all others."""
    held = np.asarray(held, bool)
    found = fit(law, data[~held], intervals=False, **options)
    test = data[held]
    known = law_named(law)
    predicted = found(**{v: test[v].to_numpy(float) for v in known.variables})
    return float(np.mean(predicted / test[known.response].to_numpy(float) - 1))


def delta_sweep(law: str, data: pd.DataFrame, deltas: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)) -> pd.DataFrame:
    """How the coefficients depend on the scale of Huber's function, one row a delta, least squares of logs last."""
    rows = [fit(law, data, objective="huber", delta=d, bootstrap=0, intervals=False) for d in deltas]
    rows.append(fit(law, data, intervals=False))
    return pd.DataFrame([{"delta": f.delta, **f.values(), "rmse_log": f.health.rmse_log} for f in rows])


def compare(laws: Sequence[str], data: pd.DataFrame, **options: Any) -> pd.DataFrame:
    """Laws side by side on the same points: n_params, objective, R2, AIC, BIC and hold-out error, best AIC first."""
    rows = []
    for name in laws:
        found = fit(name, data, **options)
        h = found.health
        rows.append(
            {
                "law": name,
                "n_points": h.n_points,
                "n_params": h.n_params,
                "objective": h.objective_value,
                "rmse_log": h.rmse_log,
                "r2": h.r2,
                "aic": h.aic,
                "bic": h.bic,
                "holdout": h.holdout,
                "status": found.status,
                "note": found.note,
            }
        )
    return pd.DataFrame(rows).sort_values(["aic", "rmse_log"], ignore_index=True)
