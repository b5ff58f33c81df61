"""Pairs bootstrap over runs: weights of the resamples, and intervals from what they give."""

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.problem import Array


def resample_counts(cells: pd.DataFrame, n_resamples: int, seed: int = 0) -> Array:
    """Weights [R, n] of a pairs bootstrap over runs: cells of the grid, then the seeds within each.

    ``cells`` holds the design, one row a run (columns N, D, ...). Resamples that lose a factor (fewer than three levels
    of N where the grid has three, say) are drawn again: they can say nothing about its exponent.
    """
    rng = np.random.default_rng(seed)
    cell = cells.groupby(list(cells.columns), sort=False).ngroup().to_numpy()
    n_cells = int(cell.max()) + 1
    replicates = np.bincount(cell, minlength=n_cells)
    levels = [cells[c].factorize()[0] for c in cells.columns]
    needed = [min(3, int(level.max()) + 1) for level in levels]

    def draw(count: int) -> Array:
        drawn = rng.multinomial(n_cells, np.full(n_cells, 1 / n_cells), size=count)  # [count, cells]
        weights = drawn[:, cell].astype(float)
        for c in np.flatnonzero(replicates > 1):
            members = np.flatnonzero(cell == c)
            weights[:, members] = rng.multinomial(drawn[:, c] * len(members), np.full(len(members), 1 / len(members)))
        return weights

    weights = draw(n_resamples)
    for _ in range(100):
        lost = np.zeros(n_resamples, bool)
        for level, need in zip(levels, needed, strict=True):
            kept = np.stack([weights[:, level == v].any(1) for v in range(int(level.max()) + 1)], 1)
            lost |= kept.sum(1) < need
        if not lost.any():
            break
        weights[lost] = draw(int(lost.sum()))
    return weights


def percentile(draws: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Percentile interval over the first axis, leaving NaN draws out."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail], axis=0)
    return low, high
