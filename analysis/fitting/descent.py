"""One descent of damped Newton on a sum of power laws, compiled: fits are small, and numpy's calls cost more than they.

In least squares floor and amplitudes are solved for at every step (variable projection, Golub & Pereyra 1973): what is
left are one or two exponents, and the curved valleys between them and the amplitudes, in which Newton creeps, are gone.

A fit has n points, K terms and p parameters. What a batch of fits shares and what each has of its own goes in as one
``Posed``, where the descents stand as ``Places``. ``newton`` tells the algebra.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types

EXACT = 1e-25  # objective a point at which a fit is exact, whatever its derivatives
FELT = 1e-13  # of the objective: what a parameter has to move to be felt
INNER = 1e-10  # of the objective: the decrement at which floor and amplitudes are solved for but for one last step
VANISHED = 1e-26  # of the typical loss: an amplitude that is zero
STRIDE = 2.0  # the longest step of an exponent
GRACE = 5  # steps in which a descent that met another face of the bounds has to come out lower than before
FIRST_DAMPING = 1.0  # after a step that failed: half way to the majoriser
LARGEST = 300.0  # of the logarithm of a term
SHARE, HARMONIC = 1, 2  # formulas of two parameters u and v: v/(u + v), and uv/(u + v)


class Posed(NamedTuple):
    """S fits over one design, as ``problem.Problems`` poses them; what all share has a first axis of 1.

    ``features`` [S, K, n, M] are the factors of a term's parameters, ``columns`` [K, M] which these are, of which the
    first ``counts`` [K] are used. ``pulls`` [S] say which formula of two parameters is pulled to a target, if any.
    """

    features: Any
    y: Any  # [S, n]
    weights: Any  # [S, n]
    columns: Any
    counts: Any
    delta: float
    low: Any  # [p]
    high: Any  # [p]
    amplitude: Any  # [p], whether it is the log of one
    tolerance: float
    patience: int
    pulls: Any  # [S]: 0 (none), SHARE or HARMONIC
    pulled: Any  # [S, 2], of which parameters
    target: Any  # [S]
    strength: Any  # [S], weight of half the square of the distance to the target


class Points(NamedTuple):
    """The points of one fit: factors [K, n, M], targets [n], weights [n]; and what pulls on two of its parameters."""

    x: Any
    y: Any
    w: Any
    pull: Any
    first: Any
    second: Any
    target: Any
    strength: Any


class Scratch(NamedTuple):
    """Room for one descent's sums: allocating it at every step would take longer than they do."""

    share: Any  # [K]
    jacobian: Any  # [p]
    free: Any  # [p]
    downhill: Any  # [p]
    move: Any  # [p]
    floor: Any  # [p]
    exponent: Any  # [p], whether it is one
    metric: Any  # [p, p]
    damped: Any  # [p, p]
    reduced: Any  # [p, p]


class Inner(NamedTuple):
    """Room for solving floor and amplitudes: what multiplies each of the K, they, and a small quadratic problem."""

    basis: Any  # [K, n]
    amplitudes: Any  # [K]
    held: Any  # [K], those that stay
    step: Any  # [K]
    slope: Any  # [K]
    curvature: Any  # [K, K]
    within: Any  # [K]
    answer: Any  # [K]
    reduced: Any  # [K, K]


class Places(NamedTuple):
    """Where T descents that go in step stand, under a penalty that pulls along ``direction``."""

    theta: Any  # [T, p]
    value: Any  # [T]
    gradient: Any  # [T, p]
    hessian: Any  # [T, p, p]
    damping: Any  # [T]
    penalty_weight: Any  # [T]
    direction: Any  # [T, p]


class Proposals(NamedTuple):
    """Where T descents would go next (``propose``)."""

    trial: Any  # [T, p]
    done: Any  # [T]
    decrement: Any  # [T]
    positive: Any  # [T]
    usable: Any  # [T]
    predicted: Any  # [T]


class Ends(NamedTuple):
    """Where T descents start, and then where and how they end (``newton.Solution``)."""

    theta: Any  # [T, p]
    objective: Any  # [T]
    decrement: Any  # [T]
    converged: Any  # [T]


def _array(number: Any, axes: int) -> Any:
    return types.Array(number, axes, "C")


_F, _I, _B = types.float64, types.int64, types.boolean
ONE, TWO, THREE, WHICH, FLAGS = _array(_F, 1), _array(_F, 2), _array(_F, 3), _array(_I, 1), _array(_B, 1)
POSED = types.NamedTuple(
    (
        types.Array(_F, 4, "C"), TWO, TWO, _array(_I, 2), WHICH, _F, ONE, ONE, FLAGS, _F, _I,
        WHICH, _array(_I, 2), ONE, ONE,
    ),
    Posed,
)  # fmt: skip
PLACES = types.NamedTuple((TWO, ONE, TWO, THREE, ONE, ONE, TWO), Places)
PROPOSALS = types.NamedTuple((TWO, FLAGS, ONE, FLAGS, FLAGS, ONE), Proposals)
ENDS = types.NamedTuple((TWO, ONE, ONE, FLAGS), Ends)


def compiled(*arguments: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: ``numba.njit``, its machine code kept beside the module or in the user's cache folder; where it cannot
    be kept, each process compiles for itself. Without types of its arguments: compiled with whoever calls it, in this
    module (what is kept is known to be stale by the module's file alone)."""

    def decorated(function: Callable[..., Any]) -> Any:
        if not arguments:
            return numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
        signature = types.void(*arguments)
        try:
            return numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function)
        except Exception:  # no folder can be written, its disk is full, or what lies in it is damaged
            return numba.njit(signature, nogil=True, error_model="numpy")(function)

    return decorated


@compiled()
def points_of(posed: Posed, s: int) -> Points:
    """The points of fit s."""
    features, y, weights, pull = posed.features, posed.y, posed.weights, s % len(posed.pulls)
    return Points(
        features[s % len(features)], y[s % len(y)], weights[s % len(weights)],
        posed.pulls[pull], posed.pulled[pull, 0], posed.pulled[pull, 1], posed.target[pull], posed.strength[pull],
    )  # fmt: skip


@compiled()
def formula(theta: Any, points: Points) -> tuple[float, float, float]:
    """The value of what is pulled, and its derivatives by its two parameters."""
    u, v = theta[points.first], theta[points.second]
    whole = u + v
    if points.pull == SHARE:
        return v / whole, -v / whole**2, u / whole**2
    return u * v / whole, (v / whole) ** 2, (u / whole) ** 2


@compiled()
def stretched(theta: Any, points: Points) -> float:
    """What the pull adds to the objective."""
    if points.pull == 0:
        return 0.0
    return 0.5 * points.strength * (formula(theta, points)[0] - points.target) ** 2


@compiled()
def stiffen(theta: Any, points: Points, matrix: Any) -> None:
    """Adds the pull's part of the Hessian, ``strength d d'`` with d the formula's gradient, below the diagonal."""
    _, by_u, by_v = formula(theta, points)
    u, v = points.first, points.second
    matrix[u, u] += points.strength * by_u * by_u
    matrix[v, v] += points.strength * by_v * by_v
    matrix[max(u, v), min(u, v)] += points.strength * by_u * by_v


@compiled()
def scratch_of(posed: Posed) -> Scratch:
    """Room for descents of these fits."""
    p, n_terms = len(posed.low), len(posed.counts)
    exponent = np.zeros(p, np.bool_)
    for k in range(n_terms):
        for m in range(1, posed.counts[k]):
            exponent[posed.columns[k, m]] = True
    return Scratch(
        np.empty(n_terms), np.empty(p), np.empty(p, np.bool_), np.empty(p), np.empty(p), np.empty(p), exponent,
        np.empty((p, p)), np.empty((p, p)), np.empty((p, p)),
    )  # fmt: skip


@compiled()
def inner_of(posed: Posed) -> Inner:
    """Room for solving their floors and amplitudes."""
    n_terms = len(posed.counts)
    return Inner(
        np.empty((n_terms, posed.y.shape[1])), np.empty(n_terms), np.empty(n_terms, np.bool_), np.empty(n_terms),
        np.empty(n_terms), np.empty((n_terms, n_terms)), np.empty(n_terms, np.int64), np.empty(n_terms),
        np.empty((n_terms, n_terms)),
    )  # fmt: skip


@compiled()
def residual_at(theta: Any, i: int, x: Any, y: Any, columns: Any, counts: Any, share: Any, jacobian: Any) -> float:
    """Log residual at point i; fills the terms' shares [K] (of a floor: per unit of it) and ``dL/L`` [p]."""
    total = 0.0
    for k in range(len(counts)):
        if counts[k] == 1:
            share[k] = 1.0
            total += theta[columns[k, 0]]
        else:
            exponent = 0.0
            for m in range(counts[k]):
                exponent += theta[columns[k, m]] * x[k, i, m]
            share[k] = math.exp(min(exponent, LARGEST))
            total += share[k]
    total = max(total, 1e-300)
    jacobian[:] = 0.0
    for k in range(len(counts)):
        share[k] /= total
        for m in range(counts[k]):
            jacobian[columns[k, m]] += share[k] * x[k, i, m]
    return math.log(total) - y[i]


@compiled()
def derivatives(theta: Any, points: Points, posed: Posed, scratch: Scratch, gradient: Any, hessian: Any) -> float:
    """Objective; fills gradient [p] and Hessian [p, p]."""
    x, y, w, columns, counts, delta = points.x, points.y, points.w, posed.columns, posed.counts, posed.delta
    share, jacobian = scratch.share, scratch.jacobian
    p, n_terms = len(theta), len(counts)
    value = 0.0
    gradient[:] = 0.0
    hessian[:] = 0.0
    for i in range(len(y)):
        if w[i] == 0.0:
            continue
        residual = residual_at(theta, i, x, y, columns, counts, share, jacobian)
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
                        hessian[max(a, b), min(a, b)] += psi * share[k] * x[k, i, m] * x[k, i, q]
    if points.pull != 0:
        level, by_u, by_v = formula(theta, points)
        force = points.strength * (level - points.target)
        value += 0.5 * force * (level - points.target)
        gradient[points.first] += force * by_u
        gradient[points.second] += force * by_v
        stiffen(theta, points, hessian)
    for a in range(p):
        for b in range(a):
            hessian[b, a] = hessian[a, b]
    return value


@compiled()
def objective(theta: Any, points: Points, posed: Posed) -> float:
    """What ``derivatives`` gives, alone: most steps that fail are soon told."""
    x, columns, counts, delta = points.x, posed.columns, posed.counts, posed.delta
    value = stretched(theta, points)
    for i in range(len(points.y)):
        if points.w[i] == 0.0:
            continue
        total = 0.0
        for k in range(len(counts)):
            exponent = 0.0
            for m in range(counts[k]):
                exponent += theta[columns[k, m]] * x[k, i, m]
            total += theta[columns[k, 0]] if counts[k] == 1 else math.exp(min(exponent, LARGEST))
        residual = math.log(max(total, 1e-300)) - points.y[i]
        clipped = min(max(residual, -delta), delta)
        value += clipped * points.w[i] * (residual - 0.5 * clipped)
    return value


@compiled()
def majoriser(theta: Any, points: Points, posed: Posed, scratch: Scratch) -> None:
    """Fills ``scratch.metric``: the Hessian of iteratively reweighted least squares, positive semi-definite."""
    x, y, w, delta = points.x, points.y, points.w, posed.delta
    jacobian, matrix = scratch.jacobian, scratch.metric
    matrix[:] = 0.0
    for i in range(len(y)):
        if w[i] == 0.0:
            continue
        residual = abs(residual_at(theta, i, x, y, posed.columns, posed.counts, scratch.share, jacobian))
        slope = w[i] if residual <= delta else w[i] * delta / residual
        for a in range(len(theta)):
            for b in range(a + 1):
                matrix[a, b] += slope * jacobian[a] * jacobian[b]
    if points.pull != 0:
        stiffen(theta, points, matrix)
    for a in range(len(theta)):
        for b in range(a):
            matrix[b, a] = matrix[a, b]


@compiled()
def eliminate(matrix: Any, scratch: Scratch) -> bool:
    """Solve for ``scratch.move``: the free parameters' answer (others: 0) to ``scratch.downhill``, without pivoting.

    Says whether the matrix [p, p] is positive definite.
    """
    free, answer, a, floor = scratch.free, scratch.move, scratch.reduced, scratch.floor
    p = len(answer)
    for i in range(p):
        answer[i] = scratch.downhill[i] if free[i] else 0.0
        for j in range(p):
            a[i, j] = matrix[i, j] if free[i] and free[j] else 1.0 if i == j else 0.0
    positive = True
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
def newton(
    places: Places, t: int, entry: int, points: Points, posed: Posed, scratch: Scratch, trial: Any
) -> tuple[bool, float, bool]:
    """Newton's step from place t (``scratch.move``).

    Returns whether the descent is done (``trial`` is then its end), the decrement, and whether the Hessian is positive
    definite. ``entry`` is a parameter that stays where it is (-1: none).
    """
    theta, value, gradient, hessian = places.theta[t], places.value[t], places.gradient[t], places.hessian[t]
    low, high, free = posed.low, posed.high, scratch.free
    for a in range(len(theta)):
        held = a == entry or (theta[a] <= low[a] and gradient[a] > 0) or (theta[a] >= high[a] and gradient[a] < 0)
        # A term that has vanished is no longer felt, nor are its exponents.
        free[a] = not held and max(abs(gradient[a]), abs(hessian[a, a])) > FELT * value
        scratch.downhill[a] = -gradient[a] if free[a] else 0.0
    positive = eliminate(hessian, scratch)
    decrement = 0.0
    for a in range(len(theta)):
        decrement += 0.5 * scratch.move[a] * scratch.downhill[a]
    done = (positive and decrement <= posed.tolerance * value) or value <= EXACT * len(points.y)
    if done:  # one last full step: at this distance Newton converges quadratically
        for a in range(len(theta)):
            trial[a] = min(max(theta[a] + scratch.move[a], low[a]), high[a])
    return done, decrement, positive


@compiled()
def propose(
    places: Places,
    t: int,
    points: Points,
    posed: Posed,
    scratch: Scratch,
    trial: Any,
    positive: bool,
    known: bool,
    projected: bool,
) -> tuple[bool, float]:
    """The next place to try from place t, after ``newton``: its step where that works, else damped by the majoriser.

    ``known``: ``scratch.metric`` is that of this place; ``projected``: amplitudes are solved for afterwards, and
    only the steps of exponents are kept short. Returns whether the step is usable, and the change of the
    objective that the model predicts.
    """
    theta, gradient, hessian, damping = places.theta[t], places.gradient[t], places.hessian[t], places.damping[t]
    pull, direction, move, p = places.penalty_weight[t], places.direction[t], scratch.move, len(places.theta[t])
    model, usable = hessian, positive
    if not positive or damping > 0.0:
        # Where the Hessian is not positive definite its model is the majoriser: reweighted least squares.
        metric, damped = scratch.metric, scratch.damped
        if not known:
            majoriser(theta, points, posed, scratch)
            if pull > 0.0:
                for a in range(p):
                    for b in range(p):
                        metric[a, b] += pull * direction[a] * direction[b]
        model = hessian if positive else metric
        for a in range(p):
            for b in range(p):
                damped[a, b] = model[a, b] + max(damping, 1e-9) * metric[a, b]
        usable = eliminate(damped, scratch)
    longest = 0.0
    for a in range(p):
        if scratch.exponent[a] if projected else posed.amplitude[a]:
            longest = max(longest, abs(move[a]))
    shorter = min(1.0, (STRIDE if projected else 4.0) / max(longest, 1e-300))
    predicted = 0.0
    for a in range(p):
        trial[a] = min(max(theta[a] + move[a] * shorter, posed.low[a]), posed.high[a]) if usable else theta[a]
        move[a] = trial[a] - theta[a]
        predicted += gradient[a] * move[a]
    for a in range(p):
        for b in range(p):
            predicted += 0.5 * move[a] * model[a, b] * move[b]
    return usable, predicted


@compiled()
def judge(value: float, new: float, predicted: float, usable: bool, damping: float) -> tuple[bool, float]:
    """Whether a step is taken, and the damping of the next."""
    ratio = (new - value) / predicted
    rounding = abs(predicted) <= 1e-13 * value
    taken = usable and math.isfinite(new) and ((new < value and ratio > 1e-3) or rounding)
    if taken:
        damping *= 0.01 if ratio > 0.9 else 0.1 if ratio > 0.6 else 1.0 if ratio > 0.2 else 4.0
    else:
        damping = min(max(damping * 4.0, FIRST_DAMPING), 1e12)
    return taken, 0.0 if damping < 1e-6 else damping


@compiled()
def mismatch(points: Points, inner: Inner, along: float) -> float:
    """Half the sum of squares, so far along the step of floor and amplitudes."""
    value = 0.0
    for i in range(len(points.y)):
        if points.w[i] == 0.0:
            continue
        total = 0.0
        for k in range(len(inner.amplitudes)):
            total += (inner.amplitudes[k] + along * inner.step[k]) * inner.basis[k, i]
        residual = math.log(max(total, 1e-300)) - points.y[i]
        value += 0.5 * points.w[i] * residual * residual
    return value


@compiled()
def bend(points: Points, inner: Inner) -> None:
    """Fills slope and curvature of half the sum of squares in floor and amplitudes."""
    basis, slope, curvature, n_terms = inner.basis, inner.slope, inner.curvature, len(inner.amplitudes)
    slope[:] = 0.0
    curvature[:] = 0.0
    for i in range(len(points.y)):
        if points.w[i] == 0.0:
            continue
        total = 0.0
        for k in range(n_terms):
            total += inner.amplitudes[k] * basis[k, i]
        total = max(total, 1e-300)
        residual = math.log(total) - points.y[i]
        pull = points.w[i] * residual / total
        bent = points.w[i] * max(1.0 - residual, 0.1) / (total * total)
        for k in range(n_terms):
            slope[k] += pull * basis[k, i]
            for q in range(k + 1):
                curvature[k, q] += bent * basis[k, i] * basis[q, i]
    for k in range(n_terms):
        for q in range(k):
            curvature[q, k] = curvature[k, q]


@compiled()
def step_within(inner: Inner) -> None:
    """Fills the step to the lowest place of the quadratic model at which no amplitude is negative, over all sets of
    those that are not zero; those that are held stay."""
    amplitudes, held, within, answer, a = inner.amplitudes, inner.held, inner.within, inner.answer, inner.reduced
    n_terms, lowest = len(amplitudes), np.inf
    for mask in range(2**n_terms - 1, -1, -1):
        count, usable, full = 0, True, True
        for k in range(n_terms):
            chosen = mask >> k & 1 == 1
            if held[k]:
                usable &= not chosen
            elif chosen:
                within[count] = k
                count += 1
            else:
                full = False
        if not usable:
            continue
        # The step of those outside the set is to zero (held: none); the others' follows.
        for i in range(count):
            row = within[i]
            answer[i] = -inner.slope[row]
            for k in range(n_terms):
                if not held[k] and mask >> k & 1 == 0:
                    answer[i] += inner.curvature[row, k] * amplitudes[k]
            for j in range(count):
                a[i, j] = inner.curvature[row, within[j]]
        for j in range(count):
            if not a[j, j] > 1e-14 * inner.curvature[within[j], within[j]]:
                usable = False
                break
            for i in range(j + 1, count):
                factor = a[i, j] / a[j, j]
                for k in range(j + 1, count):
                    a[i, k] -= factor * a[j, k]
                answer[i] -= factor * answer[j]
        if not usable:
            continue
        for j in range(count - 1, -1, -1):
            for k in range(j + 1, count):
                answer[j] -= a[j, k] * answer[k]
            answer[j] /= a[j, j]
            usable &= amplitudes[within[j]] + answer[j] > 0.0
        if not usable:
            continue
        value = modelled(mask, count, inner)
        if value < lowest:
            lowest = value
            for k in range(n_terms):
                inner.step[k] = 0.0 if held[k] else -amplitudes[k]
            for i in range(count):
                inner.step[within[i]] = answer[i]
            if full:  # the lowest of all, whatever their sign
                break


@compiled()
def modelled(mask: int, count: int, inner: Inner) -> float:
    """The change that the quadratic model predicts if those in the set step as answered and the others to zero."""
    n_terms, value = len(inner.amplitudes), 0.0
    for k in range(n_terms):
        one = 0.0 if inner.held[k] else -inner.amplitudes[k]
        for i in range(count):
            if inner.within[i] == k:
                one = inner.answer[i]
        value += one * inner.slope[k]
        for q in range(n_terms):
            other = 0.0 if inner.held[q] else -inner.amplitudes[q]
            for i in range(count):
                if inner.within[i] == q:
                    other = inner.answer[i]
            value += 0.5 * one * inner.curvature[k, q] * other
    return value


@compiled()
def project(theta: Any, entry: int, points: Points, posed: Posed, inner: Inner) -> float:
    """Solve floor and amplitudes for the exponents of theta, in place, all but ``entry``; returns the objective.

    Given the exponents the loss is linear in them and half the sum of squares of its logs is convex where residuals are
    below one: Newton's steps within the bounds arrive in two or three.
    """
    amplitudes, columns, counts, n_terms = inner.amplitudes, posed.columns, posed.counts, len(posed.counts)
    for k in range(n_terms):
        column = columns[k, 0]
        inner.held[k], inner.step[k] = column == entry, 0.0
        amplitudes[k] = theta[column] if counts[k] == 1 else math.exp(theta[column])
        for i in range(len(points.y)):
            if points.w[i] == 0.0:
                continue
            exponent = 0.0
            for m in range(1, counts[k]):
                exponent += theta[columns[k, m]] * points.x[k, i, m]
            inner.basis[k, i] = math.exp(min(exponent, LARGEST))
    value = mismatch(points, inner, 0.0)
    for _ in range(20):
        bend(points, inner)
        step_within(inner)
        for k in range(n_terms):
            if counts[k] == 1 and not inner.held[k]:
                least, most = posed.low[columns[k, 0]], posed.high[columns[k, 0]]
                floor = amplitudes[k] + inner.step[k]
                if floor < least or floor > most:  # the floor has bounds of its own: it stands there, the others follow
                    amplitudes[k], inner.held[k] = min(max(floor, least), most), True
                    value = np.inf
        if value == np.inf:
            inner.step[:] = 0.0
            value = mismatch(points, inner, 0.0)
            continue
        decrement = 0.0
        for k in range(n_terms):
            decrement -= 0.5 * inner.slope[k] * inner.step[k]
        along, new, last = 1.0, value, decrement <= INNER * value
        if last:
            new = value - max(decrement, 0.0)
        else:
            for _ in range(8):
                new = mismatch(points, inner, along)
                if new < value:
                    break
                along *= 0.3
            if not new < value:
                break
        for k in range(n_terms):
            gone = along == 1.0 and inner.step[k] == -amplitudes[k]
            amplitudes[k] = 0.0 if gone else amplitudes[k] + along * inner.step[k]
        value = new
        if last:
            break
    for k in range(n_terms):
        column = columns[k, 0]
        if column != entry:
            there = amplitudes[k] > VANISHED
            theta[column] = amplitudes[k] if counts[k] == 1 else math.log(amplitudes[k]) if there else posed.low[column]
    return value


@compiled()
def other_face(one: Any, other: Any, posed: Posed) -> bool:
    """Whether two places lie on different faces of the bounds."""
    for a in range(len(one)):
        if (one[a] <= posed.low[a]) != (other[a] <= posed.low[a]):
            return True
        if (one[a] >= posed.high[a]) != (other[a] >= posed.high[a]):
            return True
    return False


@compiled(POSED, WHICH, WHICH, ENDS)
def descend(posed: Posed, entry: Any, which: Any, ends: Ends) -> None:
    """Descend from every start of ``ends``, of fit ``which[t]``, to where it ends; fills ``ends``.

    ``entry`` [S] says which parameter of a fit stays where it starts (-1: none). In least squares amplitudes are solved
    for at every place. There a valley bends where it meets a face of the bounds: a step that lands on another face may
    rise at first, and is taken back if the descent has not come out lower after some steps.
    """
    n_starts, p = ends.theta.shape
    scratch, inner, trial, before = scratch_of(posed), inner_of(posed), np.empty(p), np.empty(p)
    here = Places(
        np.empty((1, p)), np.empty(1), np.empty((1, p)), np.empty((1, p, p)), np.empty(1), np.zeros(1),
        np.zeros((1, p)),
    )  # fmt: skip
    theta, gradient, hessian = here.theta[0], here.gradient[0], here.hessian[0]
    projected = math.isinf(posed.delta)
    for t in range(n_starts):
        s = which[t]
        points, held = points_of(posed, s), entry[s % len(entry)]
        theta[:] = ends.theta[t]
        if projected:
            project(theta, held, points, posed, inner)
        here.value[0] = derivatives(theta, points, posed, scratch, gradient, hessian)
        here.damping[0], age, moved, known = 0.0, 0, True, False
        done, decrement, positive = False, np.inf, False
        grace, spent, least = 0, not projected, np.inf
        while True:
            if moved:
                done, decrement, positive = newton(here, 0, held, points, posed, scratch, trial)
                known = False
            if grace > 0:
                lower = here.value[0] < least
                grace = 0 if lower else grace - 1
                if not lower and (grace == 0 or done or age >= posed.patience):
                    grace, spent, age, moved = 0, True, age + 1, True
                    theta[:] = before
                    here.value[0] = derivatives(theta, points, posed, scratch, gradient, hessian)
                    here.damping[0] = FIRST_DAMPING
                    continue
            value = here.value[0]
            if done or age >= posed.patience:
                ends.decrement[t] = (decrement if positive else np.inf) / max(value, 1e-300)
                ends.objective[t], ends.converged[t] = value - max(decrement, 0.0) if done else value, done
                ends.theta[t] = trial if done else theta
                break
            age += 1
            usable, predicted = propose(here, 0, points, posed, scratch, trial, positive, known, projected)
            known = not positive or here.damping[0] > 0.0
            if projected:
                new = project(trial, held, points, posed, inner) + stretched(trial, points)
            else:
                new = objective(trial, points, posed)
            if usable and not spent and grace == 0 and not new < value and other_face(theta, trial, posed):
                before[:] = theta
                least, grace, moved, here.damping[0] = value, GRACE, True, 0.0
            elif projected and usable and new < value and predicted >= 0.0:
                moved = True  # the model saw the amplitudes go where a bound kept the exponents from following
            else:
                moved, here.damping[0] = judge(value, new, predicted, usable, here.damping[0])
            if moved:
                theta[:] = trial
                here.value[0] = derivatives(theta, points, posed, scratch, gradient, hessian)


@compiled(POSED, WHICH, TWO, ONE, TWO, THREE)
def derive(posed: Posed, which: Any, theta: Any, value: Any, gradient: Any, hessian: Any) -> None:
    """Fills objective [T], gradient [T, p] and Hessian [T, p, p] at theta [T, p]."""
    scratch = scratch_of(posed)
    for t in range(len(theta)):
        points = points_of(posed, which[t])
        value[t] = derivatives(theta[t], points, posed, scratch, gradient[t], hessian[t])


@compiled(POSED, WHICH, PLACES, PROPOSALS)
def advance(posed: Posed, which: Any, places: Places, proposals: Proposals) -> None:
    """``propose`` for descents that go in step, because what pulls on them is not compiled; fills ``proposals``."""
    scratch = scratch_of(posed)
    for t in range(len(places.theta)):
        points = points_of(posed, which[t])
        trial = proposals.trial[t]
        done, decrement, positive = newton(places, t, -1, points, posed, scratch, trial)
        proposals.done[t], proposals.decrement[t], proposals.positive[t] = done, decrement, positive
        if not done:
            usable, predicted = propose(places, t, points, posed, scratch, trial, positive, False, False)
            proposals.usable[t], proposals.predicted[t] = usable, predicted


@compiled(ONE, ONE, ONE, FLAGS, ONE, FLAGS)
def settle(value: Any, new: Any, predicted: Any, usable: Any, damping: Any, taken: Any) -> None:
    """``judge`` for descents that go in step; fills the last two."""
    for t in range(len(value)):
        taken[t], damping[t] = judge(value[t], new[t], predicted[t], usable[t], damping[t])
