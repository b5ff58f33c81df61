"""Weights from replicates: how noisy runs are, as a power law of the variables, from the scatter within cells.

One cell's few seeds say little of its variance; those of all cells say how it changes with N and D. So the variance of
ln(loss) is fitted as a power law of the variables (a gamma regression with a log link; McCullagh & Nelder 1989, section
8.3), and each run weighs as its inverse.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.cells import cells_of
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.residuals import REPLICATES

STEPS = 50
MOST = 100.0  # times the median weight: no run speaks for all others


def replicate_weights(points: pd.DataFrame, variables: Sequence[str], loss: str) -> Array:
    """Weights [n], 1 on average. Raises BadPoints where too few cells were run several times to tell."""
    cell = cells_of(points, variables)
    log = np.log(points[loss].to_numpy(float))
    count = np.bincount(cell)
    mean = np.bincount(cell, log) / count
    squares = np.bincount(cell, (log - mean[cell]) ** 2)
    several = (count > 1) & (squares > 0)
    logs = np.log(points[list(variables)].to_numpy(float))
    design = np.column_stack([np.ones(len(cell)), logs - logs.mean(0)])
    place = design[np.unique(cell, return_index=True)[1]]
    freedom = (count - 1)[several].astype(float)
    need = max(REPLICATES, 2 * place.shape[1])
    if freedom.sum() < need:
        raise BadPoints(
            f"weights from replicates need {need} runs beyond the first of their cell; there are {freedom.sum():.0f}"
        )
    x, variance = place[several], squares[several] / freedom
    answer = np.zeros(x.shape[1])
    answer[0] = np.log(squares[several].sum() / freedom.sum())
    for _ in range(STEPS):
        ratio = variance / np.exp(x @ answer) - 1
        move = np.linalg.lstsq(np.sqrt(freedom)[:, None] * x, np.sqrt(freedom) * ratio, rcond=None)[0]
        answer = answer + move * min(1.0, 2.0 / max(float(np.abs(x @ move).max()), 1e-300))
    weights = np.exp(-(design @ answer))
    weights = np.minimum(weights, MOST * np.median(weights))
    return np.asarray(weights / weights.mean(), float)
