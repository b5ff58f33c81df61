"""Fit a law to points and say how far to believe it: global optimum, intervals, health.

The default objective is least squares on log losses, with profile-likelihood intervals: our losses come from our own
runs, their errors are multiplicative seed noise without gross outliers, and there the Huber sum with delta = 1e-3 of
the literature (offered as ``objective="huber"``) behaves like absolute deviations, loses 30-40 % of the efficiency
and is no likelihood. Huber fits get pairs-bootstrap intervals.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.analysis import tuning
from ecgscale.analysis.fitting.cells import cells_of
from ecgscale.analysis.fitting.identifiability import BadPoints, clean, identifiable, law_named
from ecgscale.analysis.fitting.intervals import Parameter, Quantity, resample_counts
from ecgscale.analysis.fitting.laws import EXPONENT, LAWS, Law, Term
from ecgscale.analysis.fitting.newton import Solution, hessian_at
from ecgscale.analysis.fitting.noise import replicate_weights
from ecgscale.analysis.fitting.nonlinear_fit import fit_nonlinear
from ecgscale.analysis.fitting.problem import Array, Problems, natural, problems_of, terms_of
from ecgscale.analysis.fitting.residuals import lack_of_fit
from ecgscale.analysis.fitting.result import Coefficient, Fit, Health, intervals_of, largest_tenth, said_of
from ecgscale.analysis.fitting.shifted import SHIFTS, fit_curved
from ecgscale.analysis.fitting.starts import refit, solve_globally
from ecgscale.analysis.fitting.status import of_number, with_edge, worst

__all__ = ["BadPoints", "Coefficient", "Fit", "Health", "fit"]

OBJECTIVES = ("log-ls", "huber")
WEIGHTS = ("equal", "replicates")
RESAMPLES = 1000  # of a bootstrap that was not asked for but is the only interval there is


def derived_quantities(law: Law, centre: Mapping[str, float]) -> dict[str, Quantity]:
    """What follows from a law: loss of each term at the geometric mean of the points, allocation exponents."""
    quantities: dict[str, Quantity] = {}
    for term in law.terms:
        if term.powers:

            def at_centre(c: Mapping[str, Array], term: Any = term) -> Array:
                power = sum(sign * centre[v] * c[e] for e, (v, sign) in term.powers.items())
                return c[term.amplitude] * np.exp(power)

            quantities[f"{term.amplitude}_centre"] = Parameter(term.amplitude, at_centre)
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
    max_exponent: float = EXPONENT[1],
    weights: str = "equal",
) -> Fit:
    """Fit a law to points: columns of the law's variables and its response (``loss``), optionally ``weight``.

    Intervals: profile likelihood for least squares, a pairs bootstrap over runs (cells, then seeds) for Huber;
    points that agree in all variables are replicates of one cell, and intervals go by cells.
    ``bootstrap`` asks for so many resamples beside them, 0 for none. ``max_exponent`` bounds exponents from above; a
    fit that hits it says so. ``weights``: "equal", or "replicates" for noise that changes with size and data, told
    from runs of one cell (see ``noise``). Raises BadPoints for points that cannot be fitted.
    """
    law = law_named(law)
    if weights not in WEIGHTS:
        raise BadPoints(f"weights '{weights}' are not one of {', '.join(WEIGHTS)}")
    if not max_exponent > EXPONENT[0]:
        raise BadPoints(f"exponents are bounded by {max_exponent} from above; it has to be more than {EXPONENT[0]}")
    if objective not in OBJECTIVES:
        raise BadPoints(f"objective '{objective}' is not one of {', '.join(OBJECTIVES)}")
    if not delta > 0:
        raise BadPoints(f"delta is {delta}; it is the scale of Huber's function in log-loss and has to be positive")
    if law.name == "transfer_joint":
        raise BadPoints("the transfer_joint law is fitted to pairs with N and D: use loss_to_loss, or fit --points")
    if not law.terms and weights != "equal":
        raise BadPoints(f"the {law.name} law is fitted with equal weights alone")
    if not law.terms:
        curved: dict[str, Any] = {"objective": objective, "delta": delta, "bootstrap": bootstrap, "level": level}
        if law.name in SHIFTS:
            return tuned(fit_curved(law, data, seed=seed, **curved), data)
        return tuned(fit_nonlinear(law.up_to(max_exponent), data, seed=seed, intervals=intervals, **curved), data)
    law = law.up_to(max_exponent)
    columns = [*law.variables, law.response, *(["weight"] if "weight" in data else [])]
    points, excluded = clean(data, columns)
    solved, reasons = identifiable(law, points)
    x = {v: points[v].to_numpy(float) for v in law.variables}
    loss = points[law.response].to_numpy(float)
    weighing = points["weight"].to_numpy(float) if "weight" in points else None
    if weights == "replicates":
        weighing = replicate_weights(points, law.variables, law.response) * (1.0 if weighing is None else weighing)
    scale = delta if objective == "huber" else np.inf
    posed = problems_of(solved, x, loss, weighing, scale)
    solution, agree = solve_globally(posed, n_starts)
    if vanished := _vanished(solved, posed, solution):
        for term in vanished:
            reasons |= {e: f"{e} can't be known: the loss does not fall with {v}" for e, (v, _) in term.powers.items()}
            reasons[term.amplitude] = f"{term.amplitude} is zero"
            solved = solved.without(term.amplitude)
        posed = problems_of(solved, x, loss, weighing, scale)
        solution, agree = solve_globally(posed, n_starts)
    posed = _held(posed, solution, reasons)
    if bootstrap is None:
        bootstrap = RESAMPLES if objective == "huber" and intervals else 0
    n, p = len(np.unique(cells_of(points, law.variables))), len(solved.coefficients)
    draws = None
    if bootstrap:
        draws = _bootstrap(solved, posed, solution, points[list(law.variables)], bootstrap, seed)
    health = _health(solved, posed, solution, float(agree[0]), loss, x, excluded, scale, intervals)
    result = Fit(
        law=law.name,
        coefficients={},
        derived={},
        health=replace(health, n_cells=n),
        objective=objective,
        delta=scale,
        interval=_kind_of_interval(objective, intervals, draws is not None),
        level=level,
        status="ok",
        note="",
        fitted={k: float(v[0]) for k, v in natural(solved, posed.design.centre, solution.theta).items()},
        draws=draws,
        solved_law=solved,
        posed=posed,
        solution=solution,
        ranges={v: (float(x[v].min()), float(x[v].max())) for v in law.variables},
        form=None if law.name in LAWS else law,
    )
    if n <= p:
        places = "points" if n == len(points) else "cells"
        reasons |= {c: f"{n} {places} for {p} coefficients" for c in solved.coefficients if c not in reasons}
    return tuned(_described(result, law, reasons), points)


def tuned(found: Fit, points: pd.DataFrame) -> Fit:
    """A fit with what tuning says of its points: a note, and a status of its own where the best lie at an edge."""
    said = tuning.said(points)
    if not said:
        return found
    note = "; ".join(text for text in (found.note, said) if text)
    if not (points["at_edge"] != "").any():
        return replace(found, note=note)
    flagged = [
        {name: replace(c, status=with_edge(c.status)) for name, c in part.items()}
        for part in (found.coefficients, found.derived)
    ]
    return replace(found, coefficients=flagged[0], derived=flagged[1], status=with_edge(found.status), note=note)


def _kind_of_interval(objective: str, wanted: bool, drawn: bool) -> str:
    if objective == "huber":
        return "bootstrap" if drawn and wanted else "none"
    return "profile" if wanted else "none"


def _vanished(law: Law, posed: Problems, solution: Solution) -> list[Term]:
    """Terms with exponents of their own whose amplitude went to zero (the faces A = 0, B = 0); one term is left."""
    gone = []
    for term in law.terms:
        others = {e for t in law.terms if t is not term for e in t.powers}
        own = term.powers and not set(term.powers) & others
        if own and _bound_hit(law, posed, solution, term.amplitude):
            gone.append(term)
    return gone if len(gone) < sum(bool(t.powers) for t in law.terms) else gone[1:]


def _held(posed: Problems, solution: Solution, reasons: Mapping[str, str]) -> Problems:
    """The same problems with the exponents that can't be known held, so that the rest is fitted and profiled well."""
    moot = np.array(
        [k == "exponent" and n in reasons for n, k in zip(posed.design.names, posed.design.kinds, strict=True)]
    )
    fixed = solution.theta[0]
    return replace(posed, low=np.where(moot, fixed, posed.low), high=np.where(moot, fixed, posed.high))


def _described(result: Fit, law: Law, reasons: Mapping[str, str]) -> Fit:
    """Coefficients with intervals, bounds and status, and the fit's own status and note."""
    solved, posed, solution = result.solved_law, result.posed, result.solution
    assert solved is not None
    assert posed is not None
    assert solution is not None
    values = result.fitted
    amplitudes = {t.amplitude for t in solved.terms if t.powers}
    names = [c for c in solved.coefficients if c not in amplitudes]
    derived = derived_quantities(solved, posed.design.centre)
    quantities: list[Quantity] = [*map(Parameter, names), *derived.values()]
    found = dict(zip([*names, *derived], intervals_of(result, quantities, result.level), strict=True))
    coefficients = {}
    for name in law.coefficients:
        if name not in values:
            coefficients[name] = Coefficient(
                0.0 if name not in law.exponents else math.nan, status="unidentified", note=reasons.get(name, "")
            )
            continue
        if name in amplitudes:
            whole = found[f"{name}_centre"]
            c = Coefficient(values[name], status=whole.status, note=f"its interval is that of {name}_centre")
        else:
            c = found[name]
            c = replace(c, note=f"{name}: {c.note}" if c.note else "")
        at = _bound_hit(solved, posed, solution, name)
        if at:
            status = of_number(c.low, c.high, c.low_end, c.high_end, at, result.tested)
            c = replace(c, at_bound=at, status=status, note=_hit(solved, name, at))
        if name in reasons:
            c = Coefficient(c.value, status="unidentified", note=reasons[name])
        coefficients[name] = c
    if any(name in reasons for name in solved.exponents):
        found = {k: replace(v, status="unidentified") if k in ("a", "b", "gamma") else v for k, v in found.items()}
    flagged = [c for c in coefficients.values() if c.status not in ("ok", result.tested)]
    status = worst([result.tested, *(c.status for c in coefficients.values())])
    notes = [
        c.note for n, c in coefficients.items() if c in flagged and c.note and (n not in amplitudes or n in reasons)
    ]
    if result.tested != "ok":
        notes.insert(0, said_of(result))
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


def _hit(law: Law, name: str, at: str) -> str:
    """That a coefficient is at a bound, and at which."""
    if name not in law.exponents:
        return f"{name} at its {'lower' if at == 'low' else 'upper'} bound"
    least, most = law.bound(name)
    return f"{name} at its lower bound {least:g}" if at == "low" else f"{name} at its upper bound {most:g}"


def _bound_hit(law: Law, posed: Problems, solution: Solution, name: str) -> str:
    i = posed.design.names.index(name)
    value = solution.theta[0, i]
    if posed.design.kinds[i] == "amplitude":
        return "low" if value < -20 else ""
    low, high = posed.low[i], posed.high[i]
    return "low" if value <= low + 1e-9 else "high" if value >= high - 1e-9 else ""


def _bootstrap(
    law: Law, posed: Problems, solution: Solution, cells: pd.DataFrame, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Coefficients of so many resamples, each at its own optimum: from the fit, and from starts of its own."""
    counts = resample_counts(cells, n_resamples, seed)
    resampled = replace(posed, weights=counts * posed.weights)
    found = refit(resampled, solution.theta[0])
    return pd.DataFrame(natural(law, posed.design.centre, found.theta))


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
    values = {k: v[0] for k, v in natural(law, posed.design.centre, solution.theta).items()}
    hessian, free = hessian_at(posed, solution.theta)
    return Health.of(
        loss,
        np.asarray(law(values, **x), float),
        len(law.coefficients),
        excluded,
        likelihood=math.isinf(delta),
        converged=bool(solution.converged[0]),
        decrement=float(solution.decrement[0]),
        starts_agree=agree,
        condition=float(np.linalg.cond(hessian[0][np.ix_(free[0], free[0])])),
        objective_value=float(solution.objective[0]),
        holdout=_holdout(posed, solution, x) if deep else math.nan,
        lack_of_fit=_lack_of_fit(posed, solution, x),
    )


def _lack_of_fit(posed: Problems, solution: Solution, x: Mapping[str, Array]) -> float:
    """p of the test of the law's form (see ``residuals``), at the free parameters."""
    terms, total = terms_of(posed.design, posed.design.features, solution.theta)
    root = np.sqrt(np.broadcast_to(posed.weights[0], total[0].shape))
    jacobian = np.zeros((len(total[0]), len(posed.design.names)))
    for columns, features, term in zip(posed.design.columns, posed.design.features, terms, strict=True):
        share = 1.0 if len(columns) == 1 else np.broadcast_to(term, total.shape)[0][:, None]
        jacobian[:, columns] += share * features / total[0][:, None]
    _, free = hessian_at(posed, solution.theta)
    residual = np.log(total[0]) - posed.y[0]
    used = root > 0
    return lack_of_fit(
        (root * residual)[used],
        (root[:, None] * jacobian)[used][:, free[0]],
        {v: np.log(z[used]) for v, z in x.items()},
    )


def _holdout(posed: Problems, solution: Solution, x: Mapping[str, Array]) -> float:
    """Error of predicting the largest tenth of the runs (at least one) from all others."""
    extent = sum(np.log(v) for v in x.values())
    largest = largest_tenth(np.asarray(extent))
    n_params = len(posed.design.names)
    if (~largest).sum() <= n_params:
        return math.nan
    small = replace(posed, weights=posed.weights * ~largest)
    found = refit(small, solution.theta[0], 4)
    residual = np.log(terms_of(posed.design, posed.design.features, found.theta)[1]) - posed.y
    return float(np.sqrt((residual[0, largest] ** 2).mean()))
