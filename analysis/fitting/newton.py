"""Exact minimisation of many fits at once: damped Newton on sums of power laws, over starts x resamples.

In centred logarithms every term is ``u_k = exp(X_k theta)``, so gradient and Hessian of the objective
``sum_i w_i rho(ln L(x_i) - y_i)`` are a few sums over points. With p_k = u_k / L the share of term k,

    J = sum_k p_k X_k,   H = sum_i w_i [(psi' - psi) J J' + psi sum_k p_k X_k X_k'].

The floor (a term without powers) enters linearly instead, u = theta and p = 1/L, so that E = 0 is an ordinary bound.
The metric of the damping, and the model where H is not positive definite, is the majoriser of iteratively reweighted
least squares, ``sum_i w_i psi/r J J'``. rho is Huber's function with scale ``delta`` (sum, as in Hoffmann et al. 2022),
half the square for ``delta = inf``. The loops over points and steps are compiled (``descent``).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgscale.analysis.fitting import descent
from ecgscale.analysis.fitting.problem import Array, Penalty, Problems, Pull

FREE = Pull(np.zeros(1, np.int64), np.zeros((1, 2), np.int64), np.zeros(1), np.zeros(1))  # no pull


@dataclass(frozen=True)
class Solution:
    """Minimisers theta [S, p], objectives [S], Newton decrements relative to the objective [S], and whether solved."""

    theta: Array
    objective: Array
    decrement: Array
    converged: NDArray[np.bool_]


def _posed(problems: Problems) -> descent.Posed:
    """Problems as compiled loops take them."""
    features, columns, counts, amplitude = problems.design.packed
    y, weights = (np.array(v, float, order="C") for v in (problems.y, problems.weights))
    low, high = (np.array(v, float) for v in (problems.low, problems.high))
    pull = problems.penalty if isinstance(problems.penalty, Pull) else FREE
    return descent.Posed(
        features, y, weights, columns, counts, float(problems.delta),
        low, high, amplitude, float(problems.tolerance), int(problems.patience),
        pull.formula, pull.of, pull.target, pull.weight,
    )  # fmt: skip


def solve(matrix: Array, right: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Solve symmetric systems [S, p, p] by elimination without pivoting; says which were positive definite."""
    a = np.moveaxis(matrix, 0, -1).copy(order="C")
    x = right.T.copy(order="C")
    p = len(x)
    floor = np.maximum(1e-14 * np.abs(np.einsum("iis->is", a)), 1e-300)
    positive = np.ones(a.shape[-1], bool)
    for j in range(p):
        good = a[j, j] > floor[j]
        positive &= good
        a[j, j] = np.where(good, a[j, j], 1.0)
        factor = a[j + 1 :, j] / a[j, j]
        a[j + 1 :, j + 1 :] -= factor[:, None] * a[j, None, j + 1 :]
        x[j + 1 :] -= factor * x[j]
    for j in range(p - 1, -1, -1):
        x[j] = (x[j] - np.einsum("is,is->s", a[j, j + 1 :], x[j + 1 :])) / a[j, j]
    return x.T, positive


def derivatives(problems: Problems, theta: Array, which: NDArray[np.intp] | None = None) -> tuple[Array, Array, Array]:
    """Objective [T], gradient [T, p] and Hessian [T, p, p] at theta [T, p] of problems ``which``, without a penalty."""
    theta = np.array(theta, float, order="C")
    size, p = theta.shape
    which = np.arange(size) if which is None else which
    value, gradient, hessian = np.empty(size), np.empty((size, p)), np.empty((size, p, p))
    descent.derive(_posed(problems), np.ascontiguousarray(which, np.int64), theta, value, gradient, hessian)
    return value, gradient, hessian


def hessian_at(problems: Problems, theta: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Hessian of the objective at theta [S, p], held parameters decoupled, and which parameters are free."""
    _, gradient, hessian = derivatives(problems, theta)
    free = ~((theta <= problems.low) & (gradient > 0) | (theta >= problems.high) & (gradient < 0))
    held = np.where(free[:, :, None] & free[:, None, :], hessian, 0.0)
    index = np.arange(free.shape[1])
    held[:, index, index] += ~free
    return held, free


def minimise(problems: Problems, theta: Array, which: NDArray[np.intp] | None = None) -> Solution:
    """Minimise from starts theta [T, p]; start t belongs to problem ``which[t]`` (default: one start a problem)."""
    theta = np.clip(np.array(theta, float, order="C"), problems.low, problems.high)
    size = len(theta)
    which = np.ascontiguousarray(np.arange(size) if which is None else which, np.int64)
    found = Solution(theta, np.full(size, np.inf), np.full(size, np.inf), np.zeros(size, bool))
    if isinstance(problems.penalty, Penalty):
        _in_step(problems, found, which)
        return found
    entry = np.array([-1]) if problems.held is None else np.ascontiguousarray(problems.held, np.int64)
    ends = descent.Ends(found.theta, found.objective, found.decrement, found.converged)
    descent.descend(_posed(problems), entry, which, ends)
    return found


def _in_step(problems: Problems, found: Solution, which: NDArray[np.intp]) -> None:
    """Minimise under a penalty that is not compiled: all descents take their steps together; fills ``found``."""
    posed, penalty = _posed(problems), problems.penalty
    assert isinstance(penalty, Penalty)

    def at(theta: Array, rows: NDArray[np.intp]) -> tuple[Array, Array, Array, Array]:
        problem = which[rows]
        value, gradient, hessian = np.empty(len(theta)), np.empty(theta.shape), np.empty((*theta.shape, p))
        descent.derive(posed, problem, theta, value, gradient, hessian)
        assert isinstance(penalty, Penalty)
        level, direction = penalty.quantity(theta, problem)
        stretch, weight = level - penalty.target[problem], penalty.weight[problem]
        value += 0.5 * weight * stretch**2
        gradient += (weight * stretch)[:, None] * direction
        hessian += weight[:, None, None] * direction[:, :, None] * direction[:, None, :]
        return value, gradient, hessian, np.array(direction, float, order="C")

    p = found.theta.shape[1]
    rows, theta = np.arange(len(found.theta)), found.theta.copy()
    value, gradient, hessian, direction = at(theta, rows)
    damping = np.zeros(len(rows))
    for age in range(problems.patience + 1):
        size, problem = len(rows), which[rows]
        places = descent.Places(theta, value, gradient, hessian, damping, penalty.weight[problem], direction)
        done, positive, usable = np.empty(size, bool), np.empty(size, bool), np.empty(size, bool)
        trial, decrement, predicted = np.empty((size, p)), np.empty(size), np.empty(size)
        descent.advance(posed, problem, places, descent.Proposals(trial, done, decrement, positive, usable, predicted))
        over = done | (age == problems.patience)
        if over.any():
            at_end = rows[over]
            found.theta[at_end] = np.where(done[over, None], trial[over], theta[over])
            found.objective[at_end] = value[over] - np.where(done[over], np.maximum(decrement[over], 0.0), 0.0)
            relative = np.where(positive[over], decrement[over], np.inf) / np.maximum(value[over], 1e-300)
            found.decrement[at_end], found.converged[at_end] = relative, done[over]
            stay = ~over
            rows, theta, value, gradient = rows[stay], theta[stay], value[stay], gradient[stay]
            hessian, damping, direction, trial = hessian[stay], damping[stay], direction[stay], trial[stay]
            usable, predicted = usable[stay], predicted[stay]
        if not len(rows):
            return
        new = at(trial, rows)
        taken = np.empty(len(rows), bool)
        descent.settle(value, new[0], predicted, usable, damping, taken)
        theta, value = np.where(taken[:, None], trial, theta), np.where(taken, new[0], value)
        gradient = np.where(taken[:, None], new[1], gradient)
        hessian = np.where(taken[:, None, None], new[2], hessian)
        direction = np.where(taken[:, None], new[3], direction)
