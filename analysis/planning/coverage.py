"""Plant a law, draw a grid from it many times, refit: does the grid identify the exponents, do the intervals cover?

All sweeps of a design are fitted as one batch. What comes out is simulated and never enters results.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.allocation import Compute, log_optimum
from ecgscale.analysis.fitting.descent import SHARE
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.intervals import profile
from ecgscale.analysis.fitting.laws import LAWS, Law
from ecgscale.analysis.fitting.newton import Solution
from ecgscale.analysis.fitting.problem import Array, natural, problems_of
from ecgscale.analysis.fitting.quantities import Formula, Parameter, Quantity
from ecgscale.analysis.fitting.resampling import percentile, resample_counts
from ecgscale.analysis.fitting.starts import refit, solve_globally
from ecgscale.analysis.fitting.status import OPEN, REACHED

FARTHER = (1.0, 10.0, 100.0)  # times the largest N and D of the grid: where the loss is predicted
BUDGET = 10.0  # times the largest compute of the grid: where it is allocated
PLANTED = {"E": 0.05, "A": 3.0, "alpha": 0.35, "B": 20.0, "beta": 0.45}  # losses 0.08-0.4 on the paper's grid
OUTLYING = 5.0  # times the noise of other runs


def targets(law: Law, grid: pd.DataFrame) -> dict[str, Quantity]:
    """What is asked of a sweep: exponents, floor, allocation exponent and best size, and the loss further out."""
    names = [*law.exponents, *(t.amplitude for t in law.terms if not t.powers)]
    asked: dict[str, Quantity] = {name: Parameter(name) for name in names}
    if law.name == "joint":
        flops = BUDGET * 6 * float((grid["N"] * grid["D"]).max())
        asked["allocation"] = Formula(SHARE, "alpha", "beta")
        asked["N_best"] = lambda c: log_optimum(c, flops, Compute())[0]
    for times in FARTHER:
        far = {v: times * float(grid[v].max()) for v in law.variables}
        asked[f"predict_{times:.0f}x"] = partial(_log_loss, law, far)
    return asked


def _log_loss(law: Law, x: Mapping[str, float], c: Mapping[str, Array]) -> Array:
    return np.log(law(c, **x))


def simulate(
    grid: pd.DataFrame,
    coefficients: Mapping[str, float] | None = None,
    noise: float = 0.01,
    *,
    law: str = "joint",
    n_sweeps: int = 400,
    bootstrap: int = 0,
    level: float = 0.95,
    seed: int = 0,
    outliers: float = 0.0,
    cell_noise: float = 0.0,
) -> pd.DataFrame:
    """Refit ``n_sweeps`` simulated sweeps of a grid (one row a run: the law's variables, N and D).

    ``noise`` is the standard deviation of ln(loss). One row a quantity: truth, bias and spread of the estimates,
    coverage of the default intervals with its own standard error, their median width, the shares of sweeps whose
    interval is one-sided or has an open end; with ``bootstrap``, coverage and width of the pairs bootstrap beside.
    The rows "predict_10x" are the log of the loss ten times beyond the largest N and D. ``outliers``: the share of runs
    whose noise is five times as large. ``cell_noise``: the standard deviation of what the runs of one cell (the same
    point of the grid) have in common. Raises BadPoints if coefficients miss.
    """
    form, truth = LAWS[law], dict(PLANTED if coefficients is None else coefficients)
    missing = [c for c in form.coefficients if c not in truth]
    if missing:
        raise BadPoints(f"to plant the {law} law, {', '.join(missing)} must be given too")
    x = {v: grid[v].to_numpy(float) for v in form.variables}
    clean_loss = np.asarray(form(truth, **x), float)
    rng = np.random.default_rng(seed)
    spread = noise * np.where(rng.random((n_sweeps, len(grid))) < outliers, OUTLYING, 1.0)
    logs = spread * rng.standard_normal((n_sweeps, len(grid)))
    if cell_noise:
        cell = grid.groupby(list(form.variables)).ngroup().to_numpy()
        logs += cell_noise * rng.standard_normal((n_sweeps, cell.max() + 1))[:, cell]
    losses = clean_loss * np.exp(logs)
    posed = problems_of(form, x, losses)
    solution, _ = solve_globally(posed)
    asked = targets(form, grid)
    found = profile(form, posed, solution, list(asked.values()), level)
    drawn = _bootstrap(form, grid, losses, solution, asked, bootstrap, level, seed) if bootstrap else {}
    values = natural(form, posed.design.centre, solution.theta)
    rows = []
    for i, (name, quantity) in enumerate(asked.items()):
        true = float(quantity({k: np.float64(v) for k, v in truth.items()}))
        estimate, low, high = np.asarray(quantity(values)), found.low[i], found.high[i]
        covered = float(((low <= true) & (true <= high)).mean())
        row = {
            "quantity": name,
            "truth": true,
            "bias": float(np.mean(estimate) - true),
            "spread": float(np.std(estimate)),
            "coverage": covered,
            "coverage_error": math.sqrt(max(covered * (1 - covered), 1 / n_sweeps) / n_sweeps),
            "width": float(np.median(high - low)),
            "one_sided": float(((found.low_end[i] != REACHED) | (found.high_end[i] != REACHED)).mean()),
            "open": float(((found.low_end[i] == OPEN) | (found.high_end[i] == OPEN)).mean()),
        }
        if bootstrap:
            low, high = drawn[name]
            row["bootstrap_coverage"] = float(((low <= true) & (true <= high)).mean())
            row["bootstrap_width"] = float(np.median(high - low))
        rows.append(row | {"n_points": len(grid), "n_sweeps": n_sweeps, "noise": noise})
    return pd.DataFrame(rows)


def _bootstrap(
    law: Law,
    grid: pd.DataFrame,
    losses: Array,
    solution: Solution,
    asked: Mapping[str, Quantity],
    n_resamples: int,
    level: float,
    seed: int,
) -> dict[str, tuple[Array, Array]]:
    x = {v: grid[v].to_numpy(float) for v in law.variables}
    ends: dict[str, list[tuple[Array, Array]]] = {name: [] for name in asked}
    whole = problems_of(law, x, losses)
    for i in range(len(losses)):
        counts = resample_counts(grid[list(law.variables)], n_resamples, seed + i)
        posed = replace(whole, y=whole.y[i : i + 1], weights=counts)
        draws = natural(law, posed.design.centre, refit(posed, solution.theta[i]).theta)
        for name, quantity in asked.items():
            ends[name].append(percentile(np.asarray(quantity(draws)), level))
    return {name: (np.array([e[0] for e in v]), np.array([e[1] for e in v])) for name, v in ends.items()}
