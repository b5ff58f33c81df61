"""Adaptive design against a grid on planted laws: how much compute does each need for the same interval?

Nothing here is measured on recordings and nothing enters results. The adaptive design knows neither law nor noise: it
starts from the prior, buys a batch, sees noisy losses, fits, and buys again; its intervals are the profile intervals
of the runs bought, as `ecgscale fit` would report them.
"""

from collections.abc import Iterator, Mapping
from operator import itemgetter

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.intervals import profile
from ecgscale.analysis.fitting.laws import EXPONENT, LAWS
from ecgscale.analysis.fitting.problem import Array, problems_of
from ecgscale.analysis.fitting.starts import solve_globally
from ecgscale.analysis.planning.adaptive import SEEDS, WANTED, centre_of, known, propose

EXPONENTS = (0.15, 0.8)  # alpha and beta: where half of the marginal refits of Tables S.5 and S.6 lie
FLOORS = (0.02, 0.3)  # nats
SHARES = (0.3, 3.0)  # of a power law in the floor, at the smallest N or D: the losses of Tables S.5 and S.6 span this
ALLOWANCE = 0.5  # of the grid's compute, at most, is spent by an adaptive design
FIRST, GROWTH = 0.01, 1.4  # of the grid's compute: spent before the first fit; from one fit to the next
BATCH = (8, 2)  # the same in runs, where runs are limited
JOINT = LAWS["joint"]
DESIGNS = ("grid, cheapest first", "adaptive", "adaptive, no more runs than the grid")


def planted_laws(grid: pd.DataFrame, n_laws: int, seed: int = 0) -> list[dict[str, float]]:
    """Joint laws in the paper's range, uniform in logarithms."""
    rng = np.random.default_rng(seed)
    laws = []
    for _ in range(n_laws):
        alpha, beta = _between(rng, EXPONENTS, 2)
        (floor,) = _between(rng, FLOORS, 1)
        size, data = floor * _between(rng, SHARES, 2)
        a, b = size * grid["N"].min() ** alpha, data * grid["D"].min() ** beta
        laws.append({"E": floor, "A": a, "alpha": alpha, "B": b, "beta": beta})
    return laws


def compare_designs(
    grid: pd.DataFrame, candidates: pd.DataFrame, n_laws: int = 20, noise: float = 0.01, seed: int = 0
) -> pd.DataFrame:
    """Interval widths of alpha and beta as compute is spent, on ``n_laws`` planted laws.

    ``grid``: one row a run, columns N, D, flops; ``candidates``: the cells that the adaptive design may choose from.
    One row an evaluation: law, alpha_true, beta_true, design (of ``DESIGNS``), flops (share of the grid's), n_runs,
    alpha and beta (width over the median width of the whole grid), and whether each interval covers the truth.
    """
    total, rows = float(grid["flops"].sum()), []
    for number, truth in enumerate(planted_laws(grid, n_laws, seed)):
        rng = np.random.default_rng((seed, number))
        whole, _ = _intervals(grid, truth, _losses(grid, truth, noise, 40, rng))
        reference = np.median(whole, axis=1)

        def evaluate(
            design: str,
            runs: pd.DataFrame,
            losses: Array,
            truth: Mapping[str, float] = truth,
            reference: Array = reference,
            number: int = number,
        ) -> None:
            width, covered = _intervals(runs, truth, losses)
            relative = np.median(width, axis=1) / reference
            facts = {"law": number, "alpha_true": truth["alpha"], "beta_true": truth["beta"], "design": design}
            spent = {"flops": float(runs["flops"].sum()) / total, "n_runs": len(runs)}
            measured = {"alpha": relative[0], "beta": relative[1]}
            rows.append(
                {**facts, **spent, **measured, "alpha_covered": covered[0].mean(), "beta_covered": covered[1].mean()}
            )

        cheapest = grid.sort_values("flops", kind="stable", ignore_index=True)
        for n in np.unique(np.linspace(8, len(grid), 8).round().astype(int)):
            evaluate(DESIGNS[0], cheapest[:n], _losses(cheapest[:n], truth, noise, 20, rng))
        for design, limit in ((DESIGNS[1], None), (DESIGNS[2], len(grid))):
            for runs in _adaptive(candidates, truth, noise, total, limit, rng):
                evaluate(design, runs, runs["loss"].to_numpy()[None])
    return pd.DataFrame(rows)


def reached(table: pd.DataFrame) -> pd.DataFrame:
    """Where each law's adaptive designs have both intervals as narrow as the whole grid's, for good.

    One row a law and design: flops (share of the grid's; infinite if never within the allowance) and n_runs.
    """
    rows = []
    for (law, design), looks in table[table["design"] != DESIGNS[0]].groupby(["law", "design"], sort=False):
        wide = np.flatnonzero((looks[["alpha", "beta"]] > 1).any(axis=1))
        first = wide[-1] + 1 if len(wide) else 0
        at = looks.iloc[first] if first < len(looks) else None
        flops, n_runs = (np.inf, np.nan) if at is None else (at["flops"], at["n_runs"])
        rows.append({"law": law, "design": design, "flops": flops, "n_runs": n_runs})
    return pd.DataFrame(rows)


def _between(rng: np.random.Generator, ends: tuple[float, float], n: int) -> Array:
    return np.exp(rng.uniform(np.log(ends[0]), np.log(ends[1]), n))


def _adaptive(
    candidates: pd.DataFrame,
    truth: Mapping[str, float],
    noise: float,
    total: float,
    limit: int | None,
    rng: np.random.Generator,
) -> Iterator[pd.DataFrame]:
    """The runs bought so far, each time after a batch: more and more compute, or up to a number of runs."""
    centre = centre_of(candidates)
    runs = pd.DataFrame(columns=["N", "D", "flops", "loss"], dtype=float)
    left = np.full(len(candidates), SEEDS)
    share = FIRST
    while share <= ALLOWANCE and len(runs) != limit:
        knowledge = known(runs, centre)
        allowed = ALLOWANCE if limit else share
        share *= 1.0 if limit else GROWTH
        pool = candidates.assign(left=left, cell=np.arange(len(candidates)))
        try:
            bought, _ = propose(
                pool,
                knowledge,
                allowed * total - float(runs["flops"].sum()),
                n_runs=limit and limit - len(runs),
                batch=limit and BATCH[len(runs) > 0],
            )
        except BadPoints:  # what is left buys nothing
            if limit:
                return
            continue
        np.subtract.at(left, bought["cell"].astype(int), 1)
        bought["loss"] = _losses(bought, truth, noise, 1, rng)[0]
        runs = pd.concat([runs, bought[list(runs.columns)]], ignore_index=True)
        if len(runs) > len(JOINT.coefficients) + 1:
            yield runs


def _losses(runs: pd.DataFrame, truth: Mapping[str, float], noise: float, n: int, rng: np.random.Generator) -> Array:
    """Losses [n, runs] of a planted law with its noise."""
    clean = np.asarray(JOINT(truth, N=runs["N"].to_numpy(float), D=runs["D"].to_numpy(float)))
    return clean * np.exp(noise * rng.standard_normal((n, len(runs))))


def _intervals(runs: pd.DataFrame, truth: Mapping[str, float], losses: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Widths of the intervals of alpha and beta [2, S], and whether they cover the truth."""
    posed = problems_of(JOINT, {v: runs[v].to_numpy(float) for v in JOINT.variables}, losses)
    solution, _ = solve_globally(posed)
    found = profile(JOINT, posed, solution, [itemgetter(name) for name in WANTED])
    true = np.array([[truth[name]] for name in WANTED])
    width = found.high - found.low
    width = np.where(width > 0, width, EXPONENT[1] - EXPONENT[0])  # both ends on one bound: nothing is known
    return width, (found.low <= true) & (true <= found.high)
