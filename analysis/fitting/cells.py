"""Cells of a sweep: runs at one place of the grid are replicates, and what they have in common is no noise of theirs.

Seeds of one cell share its recordings and its settings. Intervals therefore go by the scatter of the cells' means about
the law, with one degree of freedom a cell: they hold whether or not a cell has an effect of its own (for balanced cells
the estimates are the same).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.fitting.problem import Problems


def cells_of(points: pd.DataFrame, variables: Sequence[str]) -> NDArray[np.intp]:
    """Which cell each point [n] lies in: points that agree in all variables lie in one."""
    return np.asarray(points.groupby(list(variables), sort=False).ngroup(), np.intp)


def by_cell(posed: Problems, cell: NDArray[np.intp]) -> Problems:
    """The same problems (least squares) with each cell's weighted mean of ln(loss) in place of its points.

    The sums of squares differ by those within cells, which no law explains: the optimum is the same.
    """
    n_cells = int(cell.max()) + 1
    if n_cells == len(cell):
        return posed
    belongs = (cell[:, None] == np.arange(n_cells)).astype(float)
    size, n = max(len(posed.y), len(posed.weights)), len(cell)
    y, weights = np.broadcast_to(posed.y, (size, n)), np.broadcast_to(posed.weights, (size, n))
    total = weights @ belongs
    mean = (weights * y) @ belongs / np.where(total > 0, total, 1.0)
    first = np.unique(cell, return_index=True)[1]
    features = tuple(f[..., first, :] for f in posed.design.features)
    return replace(posed, design=replace(posed.design, features=features), y=mean, weights=total)


def means_by_cell(points: pd.DataFrame, cell: NDArray[np.intp], losses: Sequence[str]) -> pd.DataFrame:
    """One row a cell: its first point, geometric means of its losses, and ``weight``, how many points it has."""
    parts = points.groupby(cell, sort=False)
    table = parts.first()
    for column in losses:
        table[column] = np.exp(np.log(points[column]).groupby(cell, sort=False).mean())
    return table.assign(weight=parts.size().astype(float)).reset_index(drop=True)
