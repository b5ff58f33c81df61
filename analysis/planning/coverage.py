"""Plant a law, draw a grid from it many times, refit: does the grid identify the exponents, do the intervals cover?

All sweeps of a design are fitted as one batch. What comes out is simulated and never enters results.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import itemgetter

import numpy as np
import pandas as pd

from analysis.fitting.identifiability import BadPoints
from analysis.fitting.intervals import Quantity, percentile, profile, resample_counts
from analysis.fitting.laws import LAWS, Law
from analysis.fitting.newton import Solution
from analysis.fitting.problem import Array, natural, problems_of
from analysis.fitting.starts import refit, solve_globally
from analysis.table.query import as_markdown

EXTRAPOLATION = 10.0  # times the largest N and D of the grid
PLANTED = {"E": 0.05, "A": 3.0, "alpha": 0.35, "B": 20.0, "beta": 0.45}  # losses 0.08-0.4 on the paper's grid
N_FULL = 2.09e6  # recordings of the full training corpus
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


def targets(law: Law, grid: pd.DataFrame) -> dict[str, Quantity]:
    """What is asked of a sweep: exponents, the floor, the allocation exponent, and the loss a tenfold further out."""
    names = [*law.exponents, *(t.amplitude for t in law.terms if not t.powers)]
    asked: dict[str, Quantity] = {name: itemgetter(name) for name in names}
    if law.name == "joint":
        asked["allocation"] = lambda c: c["beta"] / (c["alpha"] + c["beta"])
    far = {v: EXTRAPOLATION * float(grid[v].max()) for v in law.variables}
    asked["extrapolation"] = lambda c: np.log(law(c, **far))
    return asked


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
) -> pd.DataFrame:
    """Refit ``n_sweeps`` simulated sweeps of a grid (one row a run: the law's variables, N and D).

    ``noise`` is the standard deviation of ln(loss). One row a quantity: truth, bias and spread of the estimates,
    coverage of the default intervals with its own standard error, their median width, the share of sweeps whose
    interval has no end within the law's bounds; with ``bootstrap``, coverage and width of the pairs bootstrap beside.
    The row "extrapolation" is the log of the loss ten times beyond the largest N and D. Raises BadPoints if
    coefficients miss.
    """
    form, truth = LAWS[law], dict(PLANTED if coefficients is None else coefficients)
    missing = [c for c in form.coefficients if c not in truth]
    if missing:
        raise BadPoints(f"to plant the {law} law, {', '.join(missing)} must be given too")
    x = {v: grid[v].to_numpy(float) for v in form.variables}
    clean_loss = np.asarray(form(truth, **x), float)
    rng = np.random.default_rng(seed)
    losses = clean_loss * np.exp(noise * rng.standard_normal((n_sweeps, len(grid))))
    posed = problems_of(form, x, losses)
    solution, _ = solve_globally(posed)
    asked = targets(form, grid)
    found = profile(form, posed, solution, list(asked.values()), level)
    drawn = _bootstrap(form, grid, losses, solution, asked, bootstrap, level, seed) if bootstrap else {}
    values = natural(form, posed.form.centre, solution.theta)
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
            "open": float((found.open_low[i] | found.open_high[i]).mean()),
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
        draws = natural(law, posed.form.centre, refit(posed, solution.theta[i]).theta)
        for name, quantity in asked.items():
            ends[name].append(percentile(np.asarray(quantity(draws)), level))
    return {name: (np.array([e[0] for e in v]), np.array([e[1] for e in v])) for name, v in ends.items()}


def designs() -> dict[str, pd.DataFrame]:
    """Grids in the ECG range: 20K-200M parameters, fractions of 2.09M recordings."""

    def table(cells: Sequence[tuple[float, float]]) -> pd.DataFrame:
        return pd.DataFrame(cells, columns=["N", "f"]).assign(D=lambda t: t["f"] * N_FULL).drop(columns="f")

    def sizes(count: int) -> list[float]:
        return [float(n) for n in np.geomspace(25e3, 100e6, count)]

    ten = sizes(10)
    ragged = [(n, 1.0) for n in ten] + [(n, f) for n in (ten[3], ten[6]) for f in FRACTIONS]
    fractions = (*FRACTIONS, 0.2, 0.75)
    return {
        "ragged": table(ragged),  # ten sizes at full data, all fractions at two sizes, their full runs repeated
        "full": table([(n, f) for n in sizes(8) for f in FRACTIONS]),
        "large": table([(n, f) for n in sizes(17) for f in fractions]),
    }


TRUTHS: dict[str, dict[str, float]] = {
    "floor a third of the loss": PLANTED,
    "high floor": {"E": 0.1, "A": 8.0, "alpha": 0.4, "B": 5.0, "beta": 0.3},
    "small exponents": {"E": 0.02, "A": 0.6, "alpha": 0.15, "B": 4.0, "beta": 0.2},
    "no floor": {"E": 0.0, "A": 1.0, "alpha": 0.2, "B": 2.0, "beta": 0.2},
}


def coverage(n_sweeps: int = 400, bootstrap: int = 0, seed: int = 0) -> pd.DataFrame:
    """Measured coverage of the default 95 % intervals: designs x planted laws x noise of 0.5 % and 1 %."""
    parts = []
    for design, grid in designs().items():
        for planted, truth in TRUTHS.items():
            for noise in (0.005, 0.01):
                seed += 1
                part = simulate(grid, truth, noise, n_sweeps=n_sweeps, bootstrap=bootstrap, seed=seed)
                part.insert(0, "planted", planted)
                part.insert(0, "design", design)
                parts.append(part)
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Print the coverage table: ``python -m analysis.planning.coverage [--sweeps 400] [--bootstrap R]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sweeps", type=int, default=400)
    parser.add_argument("--bootstrap", type=int, default=0)
    options = parser.parse_args()
    table = coverage(options.sweeps, options.bootstrap)
    measures = ["coverage", *(["bootstrap_coverage"] if options.bootstrap else [])]
    for measure in measures:
        wide = table.pivot_table(
            index=["design", "n_points", "planted", "noise"], columns="quantity", values=measure, sort=False
        )
        print(f"{measure} of 95 % intervals, {options.sweeps} simulated sweeps a row\n")
        print(as_markdown(wide.reset_index()))


if __name__ == "__main__":
    main()
