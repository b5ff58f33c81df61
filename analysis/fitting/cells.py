"""Cells of a sweep: runs at one place of the grid are replicates, and what they have in common is no noise of theirs.

Seeds of one cell share its recordings and its settings. Intervals therefore go by the scatter of the cells' means about
the law, with one degree of freedom a cell: they hold whether or not a cell has an effect of its own.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def numbered(columns: Sequence[NDArray[np.float64]]) -> NDArray[np.intp]:
    """A number for each row of some columns [n] each, numbered as they come; equal rows have the same."""
    place = np.zeros(len(columns[0]), np.intp)
    for column in columns:
        values, level = np.unique(column, return_inverse=True)
        place = np.unique(place * len(values) + level, return_inverse=True)[1]
    first = np.unique(place, return_index=True)[1]
    return np.argsort(np.argsort(first))[place]


def cells_of(points: pd.DataFrame, variables: Sequence[str]) -> NDArray[np.intp]:
    """Which cell each point [n] lies in, numbered as they come: points that agree in all variables lie in one."""
    return numbered([points[v].to_numpy(float) for v in variables])


def means_by_cell(points: pd.DataFrame, cell: NDArray[np.intp], losses: Sequence[str]) -> pd.DataFrame:
    """One row a cell: its first point, geometric means of its losses, and ``weight``, how many points it has."""
    parts = points.groupby(cell, sort=False)
    table = parts.first()
    for column in losses:
        table[column] = np.exp(np.log(points[column]).groupby(cell, sort=False).mean())
    return table.assign(weight=parts.size().astype(float)).reset_index(drop=True)
