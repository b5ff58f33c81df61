"""What a figure shows of a fit beyond its table: bands, profile likelihoods, residuals, what it would have foretold.

The exponents table holds coefficients and their intervals; a band or a likelihood needs the fit itself. Fits are made
anew from the points, each once: the same points give the same fit.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.laws import LAWS
from ecgscale.analysis.fitting.newton import minimise
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.quantities import Parameter, Quantity
from ecgscale.analysis.fitting.resampling import percentile
from ecgscale.analysis.fitting.residuals import error_of
from ecgscale.analysis.fitting.result import Fit, intervals_of

LEVEL = 0.95
KNOTS = 11  # at which a band is profiled; between them it is smooth
EXACT = 1e-12  # squared error of ln L below which points lie on the law but for rounding
NEAR = np.linspace(0.2, 2.4, 9)  # distances from the optimum, in ends of the interval
WALKS = (1, -1) * 4  # steps along a profile, up and down, in search of a lower valley
RESAMPLES = 100  # of a bootstrapped band
AGREE = 0.02  # relative: a band belongs to the curve of a table if its own curve is this near
HELD = 0.2  # of the runs, those that took the most compute, are predicted from all others


@dataclass(frozen=True)
class Band:
    """A law's curve at x with the interval of the curve there, point by point."""

    x: Array
    loss: Array
    low: Array
    high: Array


def fitted(law: str, points: pd.DataFrame) -> Fit | None:
    """The law fitted to points (least squares of logs); None where it cannot be. Made once for the same points."""
    columns = [*LAWS[law].variables, LAWS[law].response]
    return _fitted(law, points[columns].to_numpy(float).tobytes())


@lru_cache(maxsize=2048)
def _fitted(law: str, numbers: bytes) -> Fit | None:
    columns = [*LAWS[law].variables, LAWS[law].response]
    table = pd.DataFrame(np.frombuffer(numbers).reshape(-1, len(columns)), columns=columns)
    try:
        # Intervals are asked for one by one, where a figure shows them.
        return replace(fit(law, table, intervals=False), interval="profile")
    except BadPoints:
        return None


def band(law: str, points: pd.DataFrame, **x: Array | float) -> Band | None:
    """The curve of a law along one variable with its 95 % profile-likelihood band, point by point.

    ``x``: an array for the variable that the curve follows, a number for every other of the law: ``N=xs, D=1e4``.
    None where the law cannot be fitted, or its curve has no interval (as many coefficients as points).
    """
    from scipy import interpolate

    found = fitted(law, points)
    if found is None or found.status == "failed":
        return None
    form = LAWS[law]
    ((variable, along),) = ((name, np.asarray(v, float)) for name, v in x.items() if np.ndim(v))
    held = {name: float(v) for name, v in x.items() if not np.ndim(v)}
    gone = dict.fromkeys(form.coefficients, 0.0)

    def log_loss(c: Any, at: float) -> Any:
        return np.log(form({**gone, **c}, **{variable: at}, **held))

    logs = np.log(along)
    knots = np.linspace(logs.min(), logs.max(), KNOTS)
    quantities: list[Quantity] = [partial(log_loss, at=float(v)) for v in np.exp(knots)]
    ends = intervals_of(found, quantities, LEVEL)
    curves = [np.array([getattr(c, k) for c in ends]) for k in ("value", "low", "high")]
    if not np.isfinite(curves).all():
        return None
    loss, low, high = (np.exp(interpolate.PchipInterpolator(knots, c)(logs)) for c in curves)
    return Band(along, loss, low, high)


def resampled(result: Fit, **x: Array) -> tuple[Array, Array] | None:
    """Ends of a bootstrapped law's curve at x, point by point: 95 % percentiles over the resamples of its fit.

    ``x``: arrays [n], or [R, n] with a row a resample. None without resamples.
    """
    if result.draws is None or result.draws.empty:
        return None
    curves = LAWS[result.law]({str(c): v.to_numpy()[:, None] for c, v in result.draws.items()}, **x)
    low, high = percentile(np.asarray(curves, float), LEVEL)
    return low, high


@dataclass(frozen=True)
class Likelihood:
    """How much worse a law fits with one coefficient held: ``excess`` is F / F(95 %), 1 at the ends of the interval."""

    values: Array
    excess: Array
    best: float
    n_points: int


def likelihood(law: str, points: pd.DataFrame, exponent: str, n_values: int = 25) -> Likelihood | None:
    """The profile likelihood of an exponent over all that its bounds allow; None where the law does not have it.

    ``excess`` is the increase of the sum of squares in units of the increase that ends the 95 % interval (F(1, n - p);
    Bates & Watts 1988, section 6.1).
    """
    found = fitted(law, points)
    if found is None or found.posed is None or found.solution is None or exponent not in found.fitted:
        return None
    if found.health.freedom < 1:
        return None
    squares, freedom = (float(v[0]) for v in error_of(found.posed, found.solution))
    best, posed = found.fitted[exponent], found.posed
    least_squares = float(found.solution.objective[0])
    if least_squares < EXACT * found.health.n_points:
        return Likelihood(np.full(3, best), np.array([np.inf, 0.0, np.inf]), best, found.health.n_points)
    least, most = LAWS[law].bound(exponent)
    ends = intervals_of(found, [Parameter(exponent)], LEVEL)[0]
    low, high = (ends.low, ends.high) if math.isfinite(ends.low + ends.high) else (0.5 * best, 2.0 * best)
    near = np.r_[best + (low - best) * NEAR, best, best + (high - best) * NEAR]
    goals = np.unique(np.clip(np.r_[np.geomspace(least, most, n_values), near], least, most))
    place = posed.design.names.index(exponent)

    unit = special.fdtri(1, freedom, LEVEL) * squares / 2 / freedom
    held = replace(
        posed,
        weights=np.repeat(posed.weights, len(goals), 0),
        held=np.full(len(goals), place),
        tolerance=1e-8,
        patience=150,
    )

    def at_goal(starts: Array, which: NDArray[np.intp]) -> Array:
        starts = starts.copy()
        starts[:, place] = goals[which]
        return starts

    every = np.arange(len(goals))
    at = minimise(held, at_goal(np.repeat(found.solution.theta, len(goals), 0), every))
    theta, objective, solved = at.theta, at.objective, at.converged
    # The profile is the lower envelope of all valleys: one beside the first is entered from a neighbour's place in it,
    # and followed until nobody finds anything lower.
    lower = np.ones(len(goals), bool)
    for shift in WALKS:
        tried = np.flatnonzero(lower[np.clip(np.arange(len(goals)) - shift, 0, len(goals) - 1)] | ~solved)
        if not len(tried):
            continue
        again = minimise(held, at_goal(theta[np.clip(tried - shift, 0, len(goals) - 1)], tried), tried)
        better = again.objective < objective[tried] * (1 - 1e-6)
        lower = np.zeros(len(goals), bool)
        lower[tried[better]] = True
        theta[tried[better]], objective[tried[better]] = again.theta[better], again.objective[better]
        solved[tried[better]] = again.converged[better]
    if solved.any():  # what did not arrive lies above the profile
        theta, objective = theta[solved], objective[solved]
    values = theta[:, place]
    excess = np.maximum(objective - least_squares, 0.0) / unit
    order = np.argsort(values, kind="stable")
    return Likelihood(values[order], excess[order], best, found.health.n_points)


def predict_holdout(points: pd.DataFrame, held: float = HELD) -> tuple[pd.DataFrame, Fit] | None:
    """Fit the joint law to the smaller runs and predict the largest.

    ``points``: one group of observations with columns N, D, C, loss. Adds columns held (the share ``held`` of runs that
    took the most compute), predicted, and error, ln(measured / predicted). None if the smaller runs
    cannot carry the law. With ``held`` 0 the law is fitted to all runs.
    """
    part = points.dropna(subset=["N", "D", "C", "loss"]).sort_values(["C", "N", "D"], kind="stable")
    count = math.ceil(held * len(part))
    found = fitted("joint", part.iloc[: len(part) - count]) if len(part) else None
    if found is None or found.health.freedom < 1:
        return None
    predicted = np.asarray(found(N=part["N"].to_numpy(float), D=part["D"].to_numpy(float)), float)
    if not np.isfinite(predicted).all():
        gone = dict.fromkeys(LAWS["joint"].coefficients, 0.0)
        law = LAWS["joint"]({**gone, **found.fitted}, N=part["N"].to_numpy(float), D=part["D"].to_numpy(float))
        predicted = np.asarray(law, float)
    out = np.arange(len(part)) >= len(part) - count
    table = part.assign(held=out, predicted=predicted, error=np.log(part["loss"].to_numpy(float) / predicted))
    return table, found
