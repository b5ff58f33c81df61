"""One descent of damped Newton on a sum of power laws, compiled: fits are small, and numpy's calls cost more than they.

A fit has n points, K terms and p parameters; ``features`` [K, n, M] are the factors of a term's parameters (``columns``
[K, M], of which the first ``counts`` [K] are used), as ``problem.Design`` lays them out. ``newton`` tells the
algebra.
"""

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

EXACT = 1e-25  # objective a point at which a fit is exact, whatever its derivatives
FELT = 1e-13  # of the objective: what a parameter has to move to be felt
FIRST_DAMPING = 1.0  # after a step that failed: half way to the majoriser
LARGEST = 300.0  # of the logarithm of a term


def compiled(signature: str | None = None) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: ``numba.njit``, its machine code kept beside the module or in the user's cache folder; where it cannot
    be kept, each process compiles for itself. Without a signature: inlined by whoever calls it, or compiled with it."""

    def decorated(function: Callable[..., Any]) -> Any:
        if signature is None:
            return numba.njit(nogil=True, error_model="numpy")(function)
        try:
            return numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function)
        except Exception:  # no folder can be written, its disk is full, or what lies in it is damaged
            return numba.njit(signature, nogil=True, error_model="numpy")(function)

    return decorated


@compiled()
def residual_at(
    theta: Any, i: int, features: Any, y: Any, columns: Any, counts: Any, share: Any, jacobian: Any
) -> float:
    """Log residual at point i; fills the terms' shares [K] (of a floor: per unit of it) and ``dL/L`` [p]."""
    total = 0.0
    for k in range(len(counts)):
        if counts[k] == 1:
            share[k] = 1.0
            total += theta[columns[k, 0]]
        else:
            exponent = 0.0
            for m in range(counts[k]):
                exponent += theta[columns[k, m]] * features[k, i, m]
            share[k] = math.exp(min(exponent, LARGEST))
            total += share[k]
    total = max(total, 1e-300)
    jacobian[:] = 0.0
    for k in range(len(counts)):
        share[k] /= total
        for m in range(counts[k]):
            jacobian[columns[k, m]] += share[k] * features[k, i, m]
    return math.log(total) - y[i]


@compiled()
def derivatives(
    theta: Any, features: Any, y: Any, w: Any, columns: Any, counts: Any, delta: float, gradient: Any, hessian: Any
) -> float:
    """Objective; fills gradient [p] and Hessian [p, p]."""
    p, n_terms = len(theta), len(counts)
    share, jacobian = np.empty(n_terms), np.empty(p)
    value = 0.0
    gradient[:] = 0.0
    hessian[:] = 0.0
    for i in range(len(y)):
        if w[i] == 0.0:
            continue
        residual = residual_at(theta, i, features, y, columns, counts, share, jacobian)
        clipped = min(max(residual, -delta), delta)
        psi = clipped * w[i]
        value += psi * (residual - 0.5 * clipped)
        bent = (w[i] if clipped == residual else 0.0) - psi
        for a in range(p):
            gradient[a] += psi * jacobian[a]
            for b in range(a + 1):
                hessian[a, b] += bent * jacobian[a] * jacobian[b]
        for k in range(n_terms):
            if counts[k] > 1:  # the floor is linear
                for m in range(counts[k]):
                    for q in range(m + 1):
                        a, b = columns[k, m], columns[k, q]
                        hessian[max(a, b), min(a, b)] += psi * share[k] * features[k, i, m] * features[k, i, q]
    for a in range(p):
        for b in range(a):
            hessian[b, a] = hessian[a, b]
    return value


@compiled()
def majoriser(theta: Any, features: Any, y: Any, w: Any, columns: Any, counts: Any, delta: float, matrix: Any) -> None:
    """Fills the Hessian [p, p] of iteratively reweighted least squares: positive semi-definite."""
    share, jacobian = np.empty(len(counts)), np.empty(len(theta))
    matrix[:] = 0.0
    for i in range(len(y)):
        if w[i] == 0.0:
            continue
        residual = abs(residual_at(theta, i, features, y, columns, counts, share, jacobian))
        slope = w[i] if residual <= delta else w[i] * delta / residual
        for a in range(len(theta)):
            for b in range(len(theta)):
                matrix[a, b] += slope * jacobian[a] * jacobian[b]


@compiled()
def eliminate(matrix: Any, free: Any, right: Any, answer: Any) -> bool:
    """Solve for the free parameters (others: 0) without pivoting; whether the matrix [p, p] is positive definite."""
    p = len(right)
    a = np.empty((p, p))
    for i in range(p):
        answer[i] = right[i] if free[i] else 0.0
        for j in range(p):
            a[i, j] = matrix[i, j] if free[i] and free[j] else 1.0 if i == j else 0.0
    positive = True
    floor = np.empty(p)
    for j in range(p):
        floor[j] = max(1e-14 * abs(a[j, j]), 1e-300)
    for j in range(p):
        if not a[j, j] > floor[j]:
            positive = False
            a[j, j] = 1.0
        for i in range(j + 1, p):
            factor = a[i, j] / a[j, j]
            for k in range(j + 1, p):
                a[i, k] -= factor * a[j, k]
            answer[i] -= factor * answer[j]
    for j in range(p - 1, -1, -1):
        for k in range(j + 1, p):
            answer[j] -= a[j, k] * answer[k]
        answer[j] /= a[j, j]
    return positive


@compiled()
def propose(
    theta: Any,
    value: float,
    gradient: Any,
    hessian: Any,
    damping: float,
    entry: int,
    penalty_weight: float,
    direction: Any,
    features: Any,
    y: Any,
    w: Any,
    columns: Any,
    counts: Any,
    delta: float,
    low: Any,
    high: Any,
    amplitude: Any,
    tolerance: float,
    trial: Any,
) -> Any:
    """The next place to try: Newton's where it works, else damped by the majoriser.

    Returns whether the descent is done (``trial`` is then its end), the decrement, whether the Hessian is positive
    definite, whether the step is usable, and the change of the objective that the model predicts.
    """
    p = len(theta)
    free, downhill, move = np.empty(p, np.bool_), np.empty(p), np.empty(p)
    for a in range(p):
        held = a == entry or (theta[a] <= low[a] and gradient[a] > 0) or (theta[a] >= high[a] and gradient[a] < 0)
        # A term that has vanished is no longer felt, nor are its exponents.
        free[a] = not held and max(abs(gradient[a]), abs(hessian[a, a])) > FELT * value
        downhill[a] = -gradient[a] if free[a] else 0.0
    positive = eliminate(hessian, free, downhill, move)
    decrement = 0.0
    for a in range(p):
        decrement += 0.5 * move[a] * downhill[a]
    if (positive and decrement <= tolerance * value) or value <= EXACT * len(y):
        # One last full step: at this distance Newton converges quadratically.
        for a in range(p):
            trial[a] = min(max(theta[a] + move[a], low[a]), high[a])
        return True, decrement, positive, True, 0.0
    model, usable = hessian, positive
    if not positive or damping > 0.0:
        # Where the Hessian is not positive definite its model is the majoriser: reweighted least squares.
        metric = np.empty((p, p))
        majoriser(theta, features, y, w, columns, counts, delta, metric)
        if penalty_weight > 0.0:
            for a in range(p):
                for b in range(p):
                    metric[a, b] += penalty_weight * direction[a] * direction[b]
        model = hessian if positive else metric
        usable = eliminate(model + max(damping, 1e-9) * metric, free, downhill, move)
    longest = 0.0
    for a in range(p):
        if amplitude[a]:
            longest = max(longest, abs(move[a]))
    shorter = min(1.0, 4.0 / max(longest, 1e-300))
    predicted = 0.0
    for a in range(p):
        trial[a] = min(max(theta[a] + move[a] * shorter, low[a]), high[a]) if usable else theta[a]
        move[a] = trial[a] - theta[a]
        predicted += gradient[a] * move[a]
    for a in range(p):
        for b in range(p):
            predicted += 0.5 * move[a] * model[a, b] * move[b]
    return False, decrement, positive, usable, predicted


@compiled()
def judge(value: float, new: float, predicted: float, usable: bool, damping: float) -> Any:
    """Whether a step is taken, and the damping of the next."""
    ratio = (new - value) / predicted
    rounding = abs(predicted) <= 1e-13 * value
    taken = usable and math.isfinite(new) and ((new < value and ratio > 1e-3) or rounding)
    if taken:
        damping *= 0.01 if ratio > 0.9 else 0.1 if ratio > 0.6 else 1.0 if ratio > 0.2 else 4.0
    else:
        damping = min(max(damping * 4.0, FIRST_DAMPING), 1e12)
    return taken, 0.0 if damping < 1e-6 else damping


SHAPE = "f8[:,:,:,::1], f8[:,::1], f8[:,::1], i8[:,::1], i8[::1], f8"  # features, y, weights, columns, counts, delta
LIMITS = "f8[::1], f8[::1], b1[::1], f8, i8"  # low, high, which are amplitudes, tolerance, patience


@compiled(f"void({SHAPE}, {LIMITS}, i8[::1], i8[::1], f8[:,::1], f8[::1], f8[::1], b1[::1])")
def descend(
    features: Any,
    ys: Any,
    ws: Any,
    columns: Any,
    counts: Any,
    delta: float,
    low: Any,
    high: Any,
    amplitude: Any,
    tolerance: float,
    patience: int,
    entry: Any,
    which: Any,
    theta: Any,
    objective: Any,
    decrement: Any,
    converged: Any,
) -> None:
    """Descend from every start theta [T, p], of problem ``which[t]``, to where it ends; fills the last four.

    ``entry`` [S] says which parameter of a problem stays where it starts (-1: none).
    """
    n_starts, p = theta.shape
    gradient, new_gradient, trial, direction = np.empty(p), np.empty(p), np.empty(p), np.zeros(p)
    hessian, new_hessian = np.empty((p, p)), np.empty((p, p))
    for t in range(n_starts):
        s = which[t]
        x, y, w, here = features[s % len(features)], ys[s % len(ys)], ws[s % len(ws)], theta[t]
        value = derivatives(here, x, y, w, columns, counts, delta, gradient, hessian)
        damping, age = 0.0, 0
        while True:
            done, newton, positive, usable, predicted = propose(
                here, value, gradient, hessian, damping, entry[s % len(entry)], 0.0, direction,
                x, y, w, columns, counts, delta, low, high, amplitude, tolerance, trial,
            )  # fmt: skip
            if done or age >= patience:
                decrement[t] = (newton if positive else np.inf) / max(value, 1e-300)
                objective[t], converged[t] = value, done
                if done:
                    here[:] = trial
                    objective[t] -= max(newton, 0.0)
                break
            age += 1
            new = derivatives(trial, x, y, w, columns, counts, delta, new_gradient, new_hessian)
            taken, damping = judge(value, new, predicted, usable, damping)
            if taken:
                here[:], gradient[:], hessian[:], value = trial, new_gradient, new_hessian, new


@compiled(f"void({SHAPE}, i8[::1], f8[:,::1], f8[::1], f8[:,::1], f8[:,:,::1])")
def derive(
    features: Any,
    ys: Any,
    ws: Any,
    columns: Any,
    counts: Any,
    delta: float,
    which: Any,
    theta: Any,
    value: Any,
    gradient: Any,
    hessian: Any,
) -> None:
    """Fills objective [T], gradient [T, p] and Hessian [T, p, p] at theta [T, p]."""
    for t in range(len(theta)):
        s = which[t]
        value[t] = derivatives(
            theta[t], features[s % len(features)], ys[s % len(ys)], ws[s % len(ws)], columns, counts, delta,
            gradient[t], hessian[t],
        )  # fmt: skip


@compiled(
    f"void({SHAPE}, {LIMITS}, i8[::1], f8[:,::1], f8[::1], f8[:,::1], f8[:,:,::1], f8[::1], f8[::1], f8[:,::1], "
    "f8[:,::1], b1[::1], f8[::1], b1[::1], b1[::1], f8[::1])"
)
def advance(
    features: Any,
    ys: Any,
    ws: Any,
    columns: Any,
    counts: Any,
    delta: float,
    low: Any,
    high: Any,
    amplitude: Any,
    tolerance: float,
    patience: int,
    which: Any,
    theta: Any,
    value: Any,
    gradient: Any,
    hessian: Any,
    damping: Any,
    penalty_weight: Any,
    direction: Any,
    trial: Any,
    done: Any,
    decrement: Any,
    positive: Any,
    usable: Any,
    predicted: Any,
) -> None:
    """``propose`` for descents that go in step, because what pulls on them is not compiled; fills the last six."""
    for t in range(len(theta)):
        s = which[t]
        done[t], decrement[t], positive[t], usable[t], predicted[t] = propose(
            theta[t], value[t], gradient[t], hessian[t], damping[t], -1, penalty_weight[t], direction[t],
            features[s % len(features)], ys[s % len(ys)], ws[s % len(ws)], columns, counts, delta,
            low, high, amplitude, tolerance, trial[t],
        )  # fmt: skip


@compiled("void(f8[::1], f8[::1], f8[::1], b1[::1], f8[::1], b1[::1])")
def settle(value: Any, new: Any, predicted: Any, usable: Any, damping: Any, taken: Any) -> None:
    """``judge`` for descents that go in step; fills the last two."""
    for t in range(len(value)):
        taken[t], damping[t] = judge(value[t], new[t], predicted[t], usable[t], damping[t])
