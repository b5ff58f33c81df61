"""Fit a law that is no sum of power laws: optimum, intervals and health, as ``fit`` gives for those that are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.health import Health, Reached, largest_tenth
from ecgscale.analysis.fitting.identifiability import BadPoints, clean
from ecgscale.analysis.fitting.intervals import Interval
from ecgscale.analysis.fitting.laws import Law
from ecgscale.analysis.fitting.nonlinear import (
    Found,
    Posed,
    distinct,
    landscape,
    loss_of,
    minimise,
    natural,
    pose,
    residuals,
    solve_globally,
)
from ecgscale.analysis.fitting.nonlinear_ends import Entry, Quantity, profile
from ecgscale.analysis.fitting.options import Options
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.resampling import resample_counts
from ecgscale.analysis.fitting.residuals import lack_of_fit
from ecgscale.analysis.fitting.result import Coefficient, Fit, concluded, intervals_of
from ecgscale.analysis.fitting.status import of_number

RESAMPLES = 200  # of a bootstrap that was not asked for but is the only interval there is
STARTS, STEPS = 6, 150  # places of the landscape that each resample is solved from, and steps of a descent
CHUNK = 50  # resamples that are solved at once
FLAT = 1e-7  # relative, of a singular value below which a direction is not seen by the points
SOLVED = 1e-9  # predicted gain that is left, relative to the objective


def fit_nonlinear(law: Law, data: pd.DataFrame, options: Options) -> Fit:
    """Fit a law without terms; see ``analysis.fitting.fit.fit``.

    Raises BadPoints for points that cannot be fitted: too few, or nowhere a loss that the law could have.
    """
    points, excluded = clean(data, [*law.variables, law.response, *(["weight"] if "weight" in data else [])])
    n, p = len(points), len(law.coefficients)
    if n < p:
        raise BadPoints(f"the law has {p} coefficients ({', '.join(law.coefficients)}); {n} points are too few")
    if all(points[v].nunique() == 1 for v in law.variables):
        raise BadPoints(f"nothing varies in these points: {' and '.join(law.variables)} take one value each")
    x = {v: points[v].to_numpy(float) for v in law.variables}
    loss = points[law.response].to_numpy(float)
    weights = points["weight"].to_numpy(float) if "weight" in points else None
    posed = pose(law, x, loss, weights, options.scale)
    places = landscape(posed)
    found, agree = solve_globally(posed, places)
    if not np.isfinite(found.objective[0]):
        raise BadPoints(f"the law {law.name} has no positive loss at these points, whatever its coefficients")
    draws = None
    if n_resamples := options.resamples(RESAMPLES):
        counts = resample_counts(points[list(law.variables)], n_resamples, options.seed) * posed.weights
        draws = _bootstrap(posed, found, places, counts)
    values = {name: float(np.real(v[0])) for name, v in natural(posed, found.theta).items()}
    result = Fit(
        law=law.name,
        coefficients={},
        derived={},
        health=_health(posed, found, agree, loss, excluded, places if options.intervals else None),
        objective=options.objective,
        delta=options.scale,
        interval=options.kind_of_interval(draws is not None),
        level=options.level,
        status="ok",
        note="",
        fitted=values,
        draws=draws,
        solved_law=law,
        ranges={v: (float(x[v].min()), float(x[v].max())) for v in law.variables},
        form=law,
        profiled=partial(_profiled, posed, found, places),
    )
    return _described(result, posed, found)


def _profiled(posed: Posed, found: Found, places: Array, quantities: Sequence[Quantity], level: float) -> Interval:
    return profile(posed, found.theta[0], float(found.objective[0]), places, quantities, level)


def _bootstrap(posed: Posed, found: Found, places: Array, counts: Array) -> pd.DataFrame:
    """Coefficients of resamples [R, n], each the lowest of descents from the fit and places of the landscape."""
    others = np.concatenate([found.theta, distinct(posed, places, STARTS)])
    tables = []
    for i in range(0, len(counts), CHUNK):
        part = counts[i : i + CHUNK]
        starts = np.repeat(others[None], len(part), 0).reshape(-1, others.shape[1])
        solved = minimise(posed, starts, weights=np.repeat(part, len(others), 0), iterations=STEPS)
        best = solved.objective.reshape(len(part), -1).argmin(1)
        theta = solved.theta.reshape(len(part), len(others), -1)[np.arange(len(part)), best]
        tables.append(pd.DataFrame({k: np.real(v) for k, v in natural(posed, theta).items()}))
    return pd.concat(tables, ignore_index=True)


def _unknown(posed: Posed, found: Found) -> dict[str, str]:
    """Coefficients that the points say nothing of, and why: what moves them leaves every loss as it is."""
    theta, linear = found.theta[0], posed.n_linear
    _, J = residuals(posed, found.theta)
    J = np.sqrt(posed.weights[0])[:, None] * J[0]
    length = np.linalg.norm(J, axis=0)
    seen = length > 1e-10 * length.max(initial=1e-300)
    gone = [name for name, value in zip(posed.names[:linear], theta[:linear], strict=True) if value == 0.0]
    where = f" where {' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} zero" if gone else ""
    unseen = [name for name, known in zip(posed.names, seen, strict=True) if not known]
    reasons = {name: f"{name} can't be known: no loss changes with it{where}" for name in unseen}
    for k, name in enumerate(posed.names[:linear]):
        if unseen and name not in reasons and _moves(posed, found, k, unseen):
            reasons[name] = f"{name} can't be told from {', '.join(unseen)}"
    names = [name for name, known in zip(posed.names, seen, strict=True) if known]
    _, singular, right = np.linalg.svd(J[:, seen] / length[seen], full_matrices=False)
    for direction in right[singular <= FLAT * singular.max(initial=0.0)]:
        mixed = [name for name, share in zip(names, direction, strict=True) if abs(share) > 0.1]
        told = ", ".join(mixed)
        reasons |= dict.fromkeys(mixed, f"{told} can't be told from each other by these points")
    return reasons


def _at_centre(posed: Posed, found: Found, k: int) -> Quantity:
    """The part of the loss that a linear coefficient makes, at the geometric mean over the points."""
    name, law, x, linear = posed.names[k], posed.law, posed.x, posed.law.linear

    def part(c: Mapping[str, Any]) -> Any:
        inner = {key: np.asarray(v)[..., None] for key, v in c.items() if key not in linear}
        nothing = dict.fromkeys(linear, 0.0)
        with np.errstate(all="ignore"):
            g = (law({**nothing, **inner, name: 1e100}, **x) - law({**nothing, **inner}, **x)) / 1e100
            there = np.isfinite(g) & (g != 0)
            logs = np.where(there, np.log(np.where(there, np.where(np.real(g) < 0, -g, g), 1.0)), 0.0)
        return c[name] * np.exp(logs.sum(-1) / np.maximum(there.sum(-1), 1))

    return Entry(k, part)


def _moves(posed: Posed, found: Found, k: int, names: Sequence[str] = ()) -> bool:
    """Whether what multiplies a linear coefficient depends on an exponent or scale (on one of these)."""
    inner = found.theta[:, posed.n_linear :]
    moved = np.array([not names or name in names for name in posed.names[posed.n_linear :]], bool)
    if not moved.any():
        return False
    low, high = posed.low[posed.n_linear :], posed.high[posed.n_linear :]
    other = np.where(moved, np.where(inner + 0.1 < high, inner + 0.1, np.maximum(inner - 0.1, low)), inner)
    factors = [natural(posed, np.concatenate([np.ones((1, posed.n_linear)), at], 1)) for at in (inner, other)]
    one, two = (float(np.real(f[posed.names[k]][0])) for f in factors)
    return abs(one - two) > 1e-9 * abs(one)


def _described(result: Fit, posed: Posed, found: Found) -> Fit:
    """Coefficients with intervals, bounds and status, and the fit's own status and note."""
    law, reasons = posed.law, _unknown(posed, found)
    amplitudes = [k for k in range(posed.n_linear) if _moves(posed, found, k)]
    quantities: dict[str, Quantity] = {}
    for place, name in enumerate(posed.names):
        if place not in amplitudes and name not in reasons:
            quantities[name] = Entry(place, lambda c, name=name: c[name])  # type: ignore[misc]
    derived = {f"{posed.names[k]}_centre": _at_centre(posed, found, k) for k in amplitudes}
    asked = {**quantities, **derived}
    ends = dict(zip(asked, intervals_of(result, list(asked.values()), result.level), strict=True))
    theta, coefficients = found.theta[0], {}
    for place, name in enumerate(posed.names):
        if place in amplitudes:
            whole = ends[f"{name}_centre"]
            c = Coefficient(result.fitted[name], status=whole.status, note=f"its interval is that of {name}_centre")
        elif name in reasons:
            c = Coefficient(result.fitted[name])
        else:
            c = ends[name]
            c = replace(c, note=f"{name}: {c.note}" if c.note else "")
        at = (
            "low"
            if theta[place] <= posed.low[place] + 1e-9
            else "high"
            if theta[place] >= posed.high[place] - 1e-9
            else ""
        )
        if at and name in posed.units:
            reasons.setdefault(name, f"{name} can't be known: the {'smaller' if at == 'low' else 'larger'} the better")
        elif at:
            status = of_number(c.low, c.high, c.low_end, c.high_end, at, result.tested)
            bound = law.bound(name)[at == "high"]
            which = f"its {'lower' if at == 'low' else 'upper'} bound {bound:g}"
            c = replace(c, at_bound=at, status=status, note=f"{name} at {which}")
        if name in reasons:
            c = Coefficient(c.value, status="unidentified", note=reasons[name])
        coefficients[name] = c
    coefficients = {name: coefficients[name] for name in law.coefficients}
    silent = {posed.names[k] for k in amplitudes} - set(reasons)  # their intervals are those of the terms at the centre
    told = {name: ends[name] for name in derived}
    return concluded(result, coefficients, told, "relative gain that is left", silent)


def _health(
    posed: Posed, found: Found, agree: float, loss: Array, excluded: Mapping[str, int], places: Array | None
) -> Health:
    r, J = residuals(posed, found.theta)
    root = np.sqrt(posed.weights[0])
    J = root[:, None] * J[0]
    free = (found.theta[0] > posed.low) & (found.theta[0] < posed.high)
    length = np.maximum(np.linalg.norm(J[:, free], axis=0), 1e-300)
    exact = float(found.objective[0]) < 1e-24 * len(loss)
    return Health.of(
        loss,
        loss_of(posed, found.theta)[0],
        len(posed.names),
        excluded,
        likelihood=math.isinf(posed.delta),
        reached=Reached(
            converged=exact or bool(found.decrement[0] <= SOLVED),
            decrement=float(found.decrement[0]),
            starts_agree=agree,
            condition=float(np.linalg.cond(J[:, free])) ** 2 if free.any() else math.nan,
            objective_value=float(found.objective[0]),
        ),
        holdout=_holdout(posed, found, places) if places is not None else math.nan,
        lack_of_fit=lack_of_fit(
            root * r[0], J[:, free] / length, {v: np.log(z) for v, z in posed.x.items() if np.ptp(z) > 0}
        ),
    )


def _holdout(posed: Posed, found: Found, places: Array) -> float:
    """Error of predicting the largest tenth of the runs (at least one) from all others."""
    largest = largest_tenth(np.asarray(sum(np.log(v) for v in posed.x.values())))
    if (~largest).sum() <= len(posed.names):
        return math.nan
    small = replace(posed, weights=posed.weights * ~largest)
    solved, _ = solve_globally(small, landscape(small)[:200], found.theta)
    residual = residuals(posed, solved.theta)[0][0, largest]
    return float(np.sqrt((residual**2).mean()))
