"""Coverage of loss-to-loss transfer: kappa and E_ood fitted on the pairs, the floor of the joint law behind them."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from ecgscale.analysis.planning.transfer_coverage import KAPPAS, simulate_transfer
from tests.benchmarks.coverage import Cell
from tests.designs import NOISE, designs

DESIGNS = ("distinct", "seven")  # 20 and 42 points


def cells() -> Iterator[Cell]:
    """Twenty and forty-two points at each kappa; with two seeds a cell, which share as much as they do not."""
    for noise in (NOISE[1], NOISE[0], NOISE[2]):
        for name in DESIGNS:
            for kappa in KAPPAS:
                yield cell(name, kappa, noise)
    for kappa in KAPPAS:
        yield cell(DESIGNS[0], kappa, NOISE[1], n_seeds=2)


def cell(design: str, kappa: float, noise: float, n_seeds: int = 1) -> Cell:
    """One cell of the table."""
    grid = designs()[design].drop_duplicates(ignore_index=True)
    seeds, beside = (f"{design}, two seeds", ", as much a cell") if n_seeds > 1 else (design, "")
    measure = partial(_measure, grid, kappa, noise, n_seeds)
    return Cell("transfer", seeds, n_seeds * len(grid), f"kappa {kappa:g}", f"{noise:.1%}{beside}", measure)


def _measure(grid: pd.DataFrame, kappa: float, noise: float, n_seeds: int, n_sweeps: int, seed: int) -> pd.DataFrame:
    shared = noise if n_seeds > 1 else 0.0
    table = simulate_transfer(grid, kappa, noise, n_sweeps=n_sweeps, n_seeds=n_seeds, cell_effect=shared, seed=seed)
    return table.assign(at_bound=False)
