"""Does a law have the right form? Its residuals against pure error, or for curvature that it leaves behind."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ecgscale.analysis.fitting.cells import numbered
from ecgscale.analysis.fitting.newton import Solution
from ecgscale.analysis.fitting.problem import Array, Problems

REPLICATES = 4  # degrees of freedom of pure error from which on residuals are held against it


def lack_of_fit(
    residual: Array, jacobian: Array, logs: Mapping[str, Array], cells: NDArray[np.intp] | None = None
) -> float:
    """p of the test of a form, small if the residuals are not noise alone; NaN if the points cannot test it.

    ``residual`` [n] of ln(loss), ``jacobian`` [n, p] of its free parameters, ``logs`` of the variables [n] each. Where
    cells (points that agree in all variables, unless ``cells`` [n] says which belong together) were run several times:
    pure error against the rest (Draper & Smith 1998, section 2.1); exact copies are no replicates. Else: whether
    curvature (products and powers of the logs) explains residuals.
    """
    x = np.column_stack([v - v.mean() for v in logs.values()])
    n, p = jacobian.shape
    squares = float(residual @ residual)
    if squares <= 1e-20 * n:
        return math.nan
    once = np.unique(numbered([*x.T.round(12), residual.round(12)]), return_index=True)[1]
    cell = numbered(list(x[once].T)) if cells is None else np.unique(cells[once], return_inverse=True)[1]
    count = np.bincount(cell)
    mean = np.bincount(cell, residual[once]) / count
    within, error = len(once) - len(count), float(((residual[once] - mean[cell]) ** 2).sum())
    between = float((count * mean**2).sum())
    if within >= REPLICATES and len(count) > p and error > 0:
        return float(special.fdtrc(len(count) - p, within, between / (len(count) - p) / (error / within)))
    scaled = x / np.maximum(x.std(0), 1e-300)
    products = [scaled[:, 0] * scaled[:, 1]] if scaled.shape[1] == 2 else []
    bent = np.column_stack([*products, *(scaled**2).T, *(scaled**3).T])
    left, singular, _ = np.linalg.svd(
        jacobian / np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300), full_matrices=False
    )
    spanned = left[:, singular > 1e-10 * singular.max(initial=0.0)]
    explained, extra = 0.0, 0
    for column in bent.T:
        if 2 * (extra + 1) > n - p:
            break
        new = column - spanned @ (spanned.T @ column)
        new -= spanned @ (spanned.T @ new)
        if np.linalg.norm(new) > 1e-3 * np.linalg.norm(column):
            new /= np.linalg.norm(new)
            spanned, explained, extra = (
                np.column_stack([spanned, new]),
                explained + float(new @ residual) ** 2,
                extra + 1,
            )
    if not extra:
        return math.nan
    freedom = n - p - extra
    return float(special.fdtrc(extra, freedom, explained / extra / (max(squares - explained, 1e-300) / freedom)))


def error_of(problems: Problems, solution: Solution) -> tuple[Array, Array]:
    """Sums of squares [S] that tell the noise of least-squares fits, and their degrees of freedom [S].

    With replicates (as many as ``REPLICATES`` beyond the cells) those of the cells' means about the law:
    the split plot's error (Draper & Smith 1998, section 2.1). Else those of all points.
    """
    size, p = solution.theta.shape
    w = np.broadcast_to(problems.weights, (size, problems.weights.shape[1]))
    whole, used = 2 * solution.objective, w > 0
    freedom = np.maximum(used.sum(1) - p, 1)
    if problems.cells is None:
        return whole, freedom
    member = (problems.cells[:, None] == np.arange(problems.cells.max() + 1)).astype(float)
    heavy, y = w @ member, np.broadcast_to(problems.y, w.shape)
    mean = (w * y) @ member / np.maximum(heavy, 1e-300)
    within = (w * (y - mean @ member.T) ** 2).sum(1)
    cells = (heavy > 0).sum(1)
    replicated = (used.sum(1) - cells >= REPLICATES) & (cells > p)
    between = np.maximum(whole - within, 0.0)
    return np.where(replicated, between, whole), np.where(replicated, np.maximum(cells - p, 1), freedom)
