"""Shifted power laws: the frontier, and transfer with free floors.

For a fixed shift s, ``E + k (x + s)^p`` is a sum of power laws; the batched solver fits it, and a bracketed search
over s, one for all resamples at once, does the rest.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.health import Health, Reached
from ecgscale.analysis.fitting.identifiability import BadPoints, clean
from ecgscale.analysis.fitting.laws import EXPONENT, TRANSFER, Law, Term
from ecgscale.analysis.fitting.newton import minimise
from ecgscale.analysis.fitting.options import Options
from ecgscale.analysis.fitting.problem import Array, Problems, centred, design, natural, problems_of
from ecgscale.analysis.fitting.resampling import percentile, resample_counts
from ecgscale.analysis.fitting.residuals import lack_of_fit
from ecgscale.analysis.fitting.result import Coefficient, Fit
from ecgscale.analysis.fitting.starts import solve_globally
from ecgscale.analysis.fitting.status import BOUND, kinds_of, of_number, worst

GRID = 25  # shifts tried before the search closes in
CLOSING = 32  # golden-section steps: the bracket shrinks by 2e-7
COARSE = 12  # of these for resamples: by 3e-3, far below the spread of the shifts
PATIENCE = 40  # steps of a solve: those that take more lie in a valley where no shift can be told from the next
RESAMPLES = 300
DIFFERENCE = 1e-5  # relative, of a coefficient
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Shift:
    """How a law hides a shifted power law: names of floor, factor, exponent and shift, and the range of the shift."""

    floor: str
    factor: str
    exponent: str
    shift: str
    sign: int  # of the exponent
    bounds: tuple[float, float]
    moved: Callable[[Array, Array], Array]  # x and s to the base of the power
    at: Callable[[Array, Array], Array]  # position in [0, 1] and x to s


SHIFTS = {
    "frontier": Shift(
        "E",
        "k",
        "gamma",
        "C0",
        -1,
        (EXPONENT[0], 8.0),
        lambda x, s: x + s,
        lambda t, x: np.where(t <= 0, 0.0, x.min() * 1e-3 * (1e5 * x.max() / x.min()) ** np.clip(t, 0, 1)),
    ),
    "transfer": Shift(
        "E_ood",
        "K",
        "kappa",
        "E_id",
        +1,
        TRANSFER,
        lambda x, s: x - s,
        lambda t, x: x.min() * (1 - 10.0 ** (-6 * np.clip(t, 0, 1))),
    ),
}


def fit_curved(law: Law, data: pd.DataFrame, options: Options, counts: Array | None = None) -> Fit:
    """Fit one of these laws; see ``analysis.fitting.fit.fit``. Intervals are bootstrapped.

    ``counts`` [1 + R, n] are weights of the points, first the fit's own, then those of the resamples (clean points
    only).
    """
    points, excluded = clean(data, [*law.variables, law.response])
    x = {v: points[v].to_numpy(float) for v in law.variables}
    loss = points[law.response].to_numpy(float)
    if len(points) <= len(law.coefficients):
        raise BadPoints(
            f"the {law.name} law has {len(law.coefficients)} coefficients; {len(points)} points are too few"
        )
    if counts is None:
        counts = np.ones((1, len(points)))
        n_resamples = RESAMPLES if options.bootstrap is None else options.bootstrap
        if n_resamples:
            counts = np.vstack([counts, resample_counts(points[list(law.variables)], n_resamples, options.seed)])
    values, limits, draws = _shifted(law, points, loss, options.scale, counts)
    used = counts[0] > 0
    health = _health(law, values, {v: z[used] for v, z in x.items()}, loss[used], excluded, options.scale)
    tested = health.tested
    coefficients = {}
    for name in law.coefficients:
        low, high = percentile(draws[name].to_numpy(), options.level) if draws is not None else (math.nan, math.nan)
        at = limits.get(name, "")
        kinds = kinds_of(float(low), float(high), _allowed(law, name))
        note = f"{name} at its {'lower' if at == 'low' else 'upper'} bound" if at else ""
        if kinds[0] == kinds[1] == BOUND:
            note = "; ".join(text for text in (note, f"all resamples have {name} at a bound") if text)
            low = high = math.nan
        status = of_number(float(low), float(high), *kinds, at, tested)
        coefficients[name] = Coefficient(
            values[name], float(low), float(high), at, status, note, low_end=kinds[0], high_end=kinds[1]
        )
    notes = [c.note for c in coefficients.values() if c.note]
    return Fit(
        law=law.name,
        coefficients=coefficients,
        derived={},
        health=health,
        objective=options.objective,
        delta=options.scale,
        interval="none" if draws is None else "bootstrap",
        level=options.level,
        status=worst(c.status for c in coefficients.values()),
        note="; ".join(notes),
        fitted=values,
        draws=draws,
        ranges={v: (float(x[v].min()), float(x[v].max())) for v in law.variables},
    )


def _shifted(
    law: Law, points: pd.DataFrame, loss: Array, scale: float, counts: Array
) -> tuple[dict[str, float], dict[str, str], pd.DataFrame | None]:
    """Coefficients, bounds hit, and bootstrap draws of a shifted power law."""
    shift = SHIFTS[law.name]
    column = law.variables[0]
    x = points[column].to_numpy(float)
    if len(np.unique(x)) < 4:
        raise BadPoints(f"the {law.name} law needs at least four values of {column}; there are {len(np.unique(x))}")
    inner = Law(
        "shifted",
        law.function,
        ("x",),
        (shift.floor, shift.factor, shift.exponent),
        (Term(shift.floor), Term(shift.factor, {shift.exponent: ("x", shift.sign)})),
        MappingProxyType({shift.exponent: shift.bounds}),
    )
    distinct, place = np.unique(counts[1:], axis=0, return_inverse=True)  # of few runs many resamples are alike
    counts = np.vstack([counts[:1], distinct])
    size = len(counts)
    grid = np.linspace(0, 1, GRID)
    objective = np.empty((GRID, size))
    found: list[dict[str, Array]] = []
    first = replace(
        problems_of(inner, {"x": shift.moved(x, shift.at(grid[:1], x))}, loss, counts, scale), patience=PATIENCE
    )

    def at(s: Array, size: int) -> Problems:  # the first so many, with x moved by s [S or 1]
        layout = design(inner, {"x": shift.moved(x, s)}, loss)
        return replace(first, design=layout, weights=counts[:size])

    for i, t in enumerate(grid):
        posed = at(shift.at(np.array(t), x), size)
        if i == 0:
            solution, _ = solve_globally(posed, 4)
        else:  # from one shift to the next the optimum moves little: follow it
            solution = minimise(posed, centred(inner, posed.design.centre, found[-1]))
        objective[i] = solution.objective
        found.append(natural(inner, posed.design.centre, solution.theta))
    best = objective.argmin(0)
    warm = {name: np.stack([f[name] for f in found])[best, np.arange(size)] for name in inner.coefficients}

    def solved(t: Array) -> tuple[Array, dict[str, Array]]:  # of the first so many resamples
        posed = at(shift.at(t[:, None], x), len(t))
        solution = minimise(posed, centred(inner, posed.design.centre, {k: v[: len(t)] for k, v in warm.items()}))
        return solution.objective, natural(inner, posed.design.centre, solution.theta)

    low, high = grid[np.maximum(best - 1, 0)], grid[np.minimum(best + 1, GRID - 1)]
    low, high = _close_in(solved, low, high, COARSE)
    low[:1], high[:1] = _close_in(solved, low[:1], high[:1], CLOSING - COARSE)
    t = (low + high) / 2
    value, natural_at = solved(t)
    kept = objective.min(0) < value  # an end of the range
    t = np.where(kept, grid[best], t)
    table = {name: np.where(kept, warm[name], natural_at[name]) for name in inner.coefficients}
    table[shift.shift] = shift.at(t, x)
    values = {name: float(v[0]) for name, v in table.items()}
    limits = _limits(values, shift, t[0])
    return values, limits, pd.DataFrame({k: v[1:][place] for k, v in table.items()}) if size > 1 else None


def _close_in(
    solved: Callable[[Array], tuple[Array, dict[str, Array]]], low: Array, high: Array, steps: int
) -> tuple[Array, Array]:
    """Golden-section search for the lowest objective, one bracket a resample."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = solved(left)[0], solved(right)[0]
    for _ in range(steps):
        shrink = at_left < at_right
        high, low = np.where(shrink, right, high), np.where(shrink, low, left)
        probe = np.where(shrink, high - GOLDEN * (high - low), low + GOLDEN * (high - low))
        value = solved(probe)[0]
        left, right = np.where(shrink, probe, right), np.where(shrink, left, probe)
        at_left, at_right = np.where(shrink, value, at_right), np.where(shrink, at_left, value)
    return low, high


def _allowed(law: Law, name: str) -> tuple[float, float]:
    """Bounds that the fit of a coefficient kept to."""
    shift = SHIFTS.get(law.name)
    return shift.bounds if shift and name == shift.exponent else law.bound(name)


def _limits(values: Mapping[str, float], shift: Shift, t: float) -> dict[str, str]:
    limits = {}
    low, high = shift.bounds
    if values[shift.exponent] <= low * (1 + 1e-9):
        limits[shift.exponent] = "low"
    if values[shift.exponent] >= high * (1 - 1e-9):
        limits[shift.exponent] = "high"
    if values[shift.floor] <= 0:
        limits[shift.floor] = "low"
    if t >= 1 - 1e-9 or t <= 1e-9:
        limits[shift.shift] = "high" if t > 0.5 else "low"
    return limits


def _health(
    law: Law,
    values: Mapping[str, float],
    x: Mapping[str, Array],
    loss: Array,
    excluded: Mapping[str, int],
    scale: float,
) -> Health:
    predicted = np.asarray(law(values, **x), float)
    residual = np.log(predicted / loss)
    clipped = np.clip(residual, -scale, scale)
    logs = {v: np.log(z) for v, z in x.items()}
    return Health.of(
        loss,
        predicted,
        len(law.coefficients),
        excluded,
        likelihood=math.isinf(scale),
        reached=Reached(
            decrement=math.nan,
            starts_agree=math.nan,
            objective_value=float((clipped * (residual - clipped / 2)).sum()),
        ),
        lack_of_fit=lack_of_fit(residual, _jacobian(law, values, x), logs),
    )


def _jacobian(law: Law, values: Mapping[str, float], x: Mapping[str, Array]) -> Array:
    """Derivatives of ln(loss) by relative changes of the coefficients [n, p], by differences; none of those at zero."""
    columns = []
    for name, value in values.items():
        if value > 0:
            high, low = (law({**values, name: value * (1 + step)}, **x) for step in (DIFFERENCE, -DIFFERENCE))
            columns.append((np.log(high) - np.log(low)) / (2 * DIFFERENCE))
    return np.nan_to_num(np.column_stack(columns))
