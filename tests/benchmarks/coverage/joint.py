"""Coverage of the joint law: its exponents and floor, the allocation, and predictions at 1, 10 and 100 times."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from ecgscale.analysis.planning.coverage import simulate
from tests.benchmarks.coverage import Cell
from tests.designs import NOISE, TRUTHS, designs

DESIGNS = ("demo", "distinct", "ragged", "seven", "large")
FLOOR, SLOW, NONE = "floor a third of the loss", "slow exponents", "no floor"
SHARED = 1.0  # standard deviation of what two seeds of a cell have in common, in that of what they have not


def cells() -> Iterator[Cell]:
    """All designs, with a floor and with slow exponents; without a floor; with outliers; with two seeds a cell."""
    grids = designs()
    for noise in (*NOISE[1:], NOISE[0]):
        for name in DESIGNS:
            yield cell(name, grids[name], FLOOR, noise)
        for name in ("distinct", "seven"):
            yield cell(f"{name}, two seeds", pd.concat([grids[name]] * 2), FLOOR, noise, shared=SHARED)
        yield cell("ragged", grids["ragged"], FLOOR, noise, outliers=0.05)
    for noise in NOISE[1:]:
        for name in DESIGNS:
            yield cell(name, grids[name], SLOW, noise)
    for name in ("demo", "distinct"):
        yield cell(name, grids[name], NONE, NOISE[1])


def cell(
    design: str, grid: pd.DataFrame, planted: str, noise: float, outliers: float = 0.0, shared: float = 0.0
) -> Cell:
    """One cell; ``outliers``: share of runs with five times the noise; ``shared``: of the noise, by a cell's runs."""
    beside = f", {outliers:.0%} outliers" if outliers else ", as much a cell" if shared else ""
    measure = partial(_measure, grid.reset_index(drop=True), planted, noise, outliers, shared)
    return Cell("joint", design, len(grid), planted, f"{noise:.1%}{beside}", measure)


def _measure(
    grid: pd.DataFrame, planted: str, noise: float, outliers: float, shared: float, n_sweeps: int, seed: int
) -> pd.DataFrame:
    truth = TRUTHS[planted]
    options = {"outliers": outliers, "cell_noise": shared * noise}
    table = simulate(grid, truth, noise, n_sweeps=n_sweeps, seed=seed, **options)  # type: ignore[arg-type]
    return table.assign(at_bound=(table["quantity"] == "E") & (truth["E"] == 0))
