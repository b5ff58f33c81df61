"""Global optima: for fixed exponents a law is linear, so a grid over the exponents gives starts near every basin."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ecgscale.analysis.fitting.amplitudes import subsets
from ecgscale.analysis.fitting.newton import Solution, derivatives, minimise
from ecgscale.analysis.fitting.problem import Array, Problems

BRIEF = 60  # steps of every start in least squares; then only those go on that may still win
CONTENDING = 0.02  # relative distance to the best objective at which they may
FINE, COARSE = 14, 7  # points along each of two exponents: of the fit itself, and of resamples near it


@dataclass(frozen=True)
class _Grid:
    """Exponents on a grid [G, exponents], ``points`` along each axis, and what all problems share of the normal
    equations there: products of two terms' basis functions [n, G * pairs], and the functions [n, G * K]."""

    exponents: Array
    points: int
    products: Array
    linear: Array

    @classmethod
    def of(cls, problems: Problems, fineness: int = FINE) -> "_Grid":
        design = problems.design
        names = design.of_kind("exponent").tolist()
        points = fineness if len(names) > 1 else 40
        low, high = np.maximum(problems.low, 0.01), np.minimum(problems.high, 2.5)
        axes = [low[i] + (high[i] - low[i]) * np.linspace(0, 1, points) ** 1.7 for i in names]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(names))
        n_terms, n = len(design.columns), problems.y.shape[1]
        basis = np.ones((len(grid), n_terms, n))
        for k, (columns, features) in enumerate(zip(design.columns, design.features, strict=True)):
            exponents = grid[:, [names.index(int(c)) for c in columns[1:]]]
            basis[:, k] = np.exp(exponents @ features[:, 1:].T)
        upper = np.triu_indices(n_terms)
        products = (basis[:, upper[0]] * basis[:, upper[1]]).reshape(-1, n).T
        return cls(grid, points, products, basis.reshape(-1, n).T)

    def equations(self, y: Array, w: Array, rows: int) -> tuple[Array, Array, Array]:
        """Normal equations of relative least squares ``sum_i w_i (L(x_i)/L_i - 1)^2`` of so many problems: moments
        [S, G, K, K], right sides [S, G, K] and squares [S, 1]."""
        size, n = len(self.exponents), len(self.linear)
        n_terms = self.linear.shape[1] // size
        upper = np.triu_indices(n_terms)
        moments = np.empty((rows, size, n_terms, n_terms))
        flat = (np.broadcast_to(w * np.exp(-2 * y), (rows, n)) @ self.products).reshape(rows, size, -1)
        moments[..., upper[0], upper[1]] = flat
        moments[..., upper[1], upper[0]] = flat
        right = (np.broadcast_to(w * np.exp(-y), (rows, n)) @ self.linear).reshape(rows, size, n_terms)
        return moments, right, np.broadcast_to(w, (rows, n)).sum(1)[:, None]

    def theta(self, problems: Problems, exponents: Array, amplitudes: Array, typical: Array) -> Array:
        """Theta [S, T, p] from exponents and amplitudes [S, T, ...]; one that vanished is far below ``typical``."""
        design = problems.design
        theta = np.empty((*amplitudes.shape[:2], len(design.names)))
        theta[..., design.of_kind("exponent")] = exponents
        for k, columns in enumerate(design.columns):
            column = int(columns[0])
            floor = design.kinds[column] == "floor"
            theta[..., column] = amplitudes[..., k] if floor else np.log(np.maximum(amplitudes[..., k], 1e-3 * typical))
        return theta


def projected_starts(
    problems: Problems, n_starts: int, which: NDArray[np.intp] | None = None, fineness: int = FINE
) -> Array:
    """Starts [S, T, p] from a grid over the exponents: for fixed exponents a law is linear, solve the rest exactly.

    Relative least squares under non-negative amplitudes. The starts are the lowest points of as many blocks of the
    grid, so that they differ; the last is the lowest on the face E = 0.
    """
    design, grid = problems.design, _Grid.of(problems, fineness)
    n_exponents, n_terms = grid.exponents.shape[1], len(design.columns)
    size = len(problems) if which is None else len(which)
    which = np.arange(size) if which is None else which
    starts = np.empty((size, n_starts, len(design.names)))
    step = max(1, 40_000 // len(grid.exponents))
    for i in range(0, size, step):
        y, w = problems.rows(which[i : i + step])
        rows = len(which[i : i + step])
        moments, right, square = grid.equations(y, w, rows)
        amplitudes, rss = subsets(moments, right, square)
        order = _lowest_of_blocks(rss.reshape(rows, *[grid.points] * n_exponents), n_starts)
        chosen = np.take_along_axis(amplitudes, order[..., None], 1)
        if n_starts > 1 and len(design.columns[0]) == 1 and n_terms > 1:
            bare, bare_rss = subsets(moments[..., 1:, 1:], right[..., 1:], square)
            face = bare_rss.argmin(1)
            order[:, -1] = face
            chosen[:, -1, 1:] = bare[np.arange(rows), face]
            chosen[:, -1, 0] = 0.0
        typical = np.exp(np.broadcast_to(y, (rows, problems.y.shape[1])).mean(1))[:, None]
        starts[i : i + step] = grid.theta(problems, grid.exponents[order], chosen, typical)
    return starts


def landscape(problems: Problems) -> tuple[Array, Array]:
    """Where the objective is low for any exponents: theta [S, G, p] over a grid of them, and objectives [S, G].

    With a floor, once with the best floor and once without.
    """
    design, grid, size = problems.design, _Grid.of(problems), len(problems)
    y, w = problems.rows(np.arange(size))
    moments, right, square = grid.equations(y, w, size)
    tables = [subsets(moments, right, square)[0]]
    if len(design.columns[0]) == 1 and len(design.columns) > 1:
        bare = subsets(moments[..., 1:, 1:], right[..., 1:], square)[0]
        tables.append(np.concatenate([np.zeros((*bare.shape[:2], 1)), bare], -1))
    amplitudes = np.concatenate(tables, 1)
    exponents = np.broadcast_to(
        np.tile(grid.exponents, (len(tables), 1)), (size, amplitudes.shape[1], grid.exponents.shape[1])
    )
    typical = np.exp(np.broadcast_to(y, (size, problems.y.shape[1])).mean(1))[:, None]
    theta = grid.theta(problems, exponents, amplitudes, typical)
    flat = np.clip(theta.reshape(-1, theta.shape[2]), problems.low, problems.high)
    objective = derivatives(problems, flat, np.repeat(np.arange(size), theta.shape[1]))[0]
    return flat.reshape(theta.shape), objective.reshape(theta.shape[:2])


def _lowest_of_blocks(surface: Array, count: int) -> NDArray[np.intp]:
    """Flat indices [S, count] of the lowest points of the blocks of surfaces [S, ...]: halves of every axis."""
    size, shape = len(surface), surface.shape[1:]
    flat = surface.reshape(size, -1)
    halves = 2 if len(shape) > 1 else 4
    place = np.indices(shape).reshape(len(shape), -1)
    block = np.zeros(flat.shape[1], int)
    for axis, length in enumerate(shape):
        block = block * halves + place[axis] * halves // length
    members = [np.flatnonzero(block == b) for b in range(halves ** len(shape))]
    lowest = np.stack([m[flat[:, m].argmin(1)] for m in members], 1)
    rank = np.take_along_axis(flat, lowest, 1).argsort(1)
    return np.take_along_axis(lowest, np.resize(rank.T, (count, size)).T, 1)


def best_of(problems: Problems, starts: Array, which: NDArray[np.intp] | None = None) -> tuple[Solution, Array]:
    """Solve from several starts [S, T, p] each; the best solution and the share of starts that agree with it [S]."""
    size, n_starts, n_params = starts.shape
    which = np.arange(size) if which is None else which
    brief = problems
    if np.isinf(problems.delta):  # Huber's kinks take more steps from anywhere
        brief = replace(problems, patience=min(BRIEF, problems.patience))
    found = minimise(brief, starts.reshape(-1, n_params), np.repeat(which, n_starts))
    objective = found.objective.reshape(size, n_starts)
    near = (objective <= objective.min(1)[:, None] * (1 + CONTENDING)).ravel()
    late = np.flatnonzero(near & ~found.converged)
    if len(late) and problems.patience > brief.patience:
        rest = replace(problems, patience=problems.patience - brief.patience)
        last = minimise(rest, found.theta[late], which[late // n_starts])
        found.theta[late], found.objective[late] = last.theta, last.objective
        found.decrement[late], found.converged[late] = last.decrement, last.converged
        objective = found.objective.reshape(size, n_starts)
    winner = np.arange(size) * n_starts + objective.argmin(1)
    best = found.objective[winner]
    agree = (objective <= best[:, None] * (1 + 1e-8) + 1e-28).mean(1)
    return Solution(found.theta[winner], best, found.decrement[winner], found.converged[winner]), agree


def solve_globally(
    problems: Problems,
    n_starts: int = 4,
    more: Sequence[Array] = (),
    which: NDArray[np.intp] | None = None,
    fineness: int = FINE,
) -> tuple[Solution, Array]:
    """Fit every problem from its own projected starts, and from ``more`` starts: [p] that all share, or [S, 1, p]."""
    n_starts = max(1, n_starts)
    starts = projected_starts(problems, n_starts, which, fineness)
    extra = [np.broadcast_to(m, (len(starts), 1, starts.shape[2])) for m in more]
    smooth = problems
    if problems.delta < 1e-4:
        # Nearly absolute deviations: come down to the scale by decades, each from the optimum of the one before.
        smooth = replace(problems, delta=1e-3)
    found, agree = best_of(smooth, np.concatenate([starts, *extra], 1), which)
    while smooth.delta > problems.delta:
        smooth = replace(smooth, delta=max(problems.delta, smooth.delta / 4))
        found = minimise(smooth, found.theta, which)
    return found, agree


def refit(problems: Problems, centre: Array, n_starts: int = 1) -> Solution:
    """Fit every problem from a known optimum ([p], or [S, 1, p]) and from its own projected starts; the better wins."""
    fineness = COARSE if np.isinf(problems.delta) else FINE  # Huber's kinks make more valleys
    found, _ = solve_globally(problems, n_starts, [centre], fineness=fineness)
    return found
