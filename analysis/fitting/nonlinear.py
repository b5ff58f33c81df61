"""Laws of any form as arrays: linear in some coefficients, with exponents and scales inside what multiplies them.

A law is ``g_0 + sum_k a_k g_k``, and every g_k a function of the variables and of the exponents and scales. As in the
batched solver for sums of power laws, what is sought is centred: a linear coefficient stands for its part of the loss
at the geometric mean of the points (``theta_k = a_k exp(mean ln g_k)``, in units of the typical loss), a scale for its
logarithm. The optimum is the best of several descents, from the lowest of many places where for given exponents and
scales the rest is solved exactly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgscale.analysis.fitting.amplitudes import subsets
from ecgscale.analysis.fitting.laws import Law
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.structure import ratio_of_units

UNIT = 1e100  # of a linear coefficient, so that what it multiplies is read off without cancellation
STEP = 1e-30  # of the complex step: exact derivatives, there is no subtraction
DECADES = 4.0  # on either side of its variable's range in which a scale is looked for at first
FARTHEST = 12.0  # decades beyond which it is not followed
PLACES = {0: 1, 1: 128, 2: 512, 3: 1024}  # looked at first, by the number of exponents and scales
MOST_PLACES = 4096
DESCENTS = 12
ITERATIONS = 200
TOLERANCE = 1e-15  # of the objective: the predicted gain at which a descent ends

Pull = Callable[[Array, NDArray[np.intp]], tuple[Array, Array]]  # theta [T, p], jobs [T]: values [T], gradients [T, p]


@dataclass(frozen=True)
class Posed:
    """A law over n points. theta: first the linear coefficients, then exponents and scales (``names``)."""

    law: Law
    x: Mapping[str, Array]
    y: Array  # ln(loss) [n]
    weights: Array  # [1 or S, n]
    delta: float
    names: tuple[str, ...]
    low: Array
    high: Array
    units: Mapping[str, float]  # of the scales
    box: Array  # where exponents and scales are looked for at first [q, 2]

    @property
    def n_linear(self) -> int:
        return len(self.law.linear)

    @property
    def typical(self) -> float:
        """The typical loss."""
        return float(np.exp(self.y.mean()))


@dataclass(frozen=True)
class Found:
    """Minimisers theta [T, p], objectives [T], and predicted gains that are left, relative to the objective [T]."""

    theta: Array
    objective: Array
    decrement: Array


def pose(law: Law, x: Mapping[str, Array], loss: Array, weights: Array | None, delta: float) -> Posed:
    """Pose the fit of a law without terms to losses [n] at points x (arrays [n]), with weights [n]."""
    linear, searched = law.linear, [c for c in law.coefficients if c not in law.linear]
    low = [law.bound(c)[0] for c in linear]
    high = [law.bound(c)[1] for c in linear]
    units, box = {}, []
    for name in searched:
        if name in law.scales:
            above, below = ratio_of_units(law.scales[name])
            logs = [np.log10(x[v]) for v in above] + [-np.log10(x[v]) for v in below]
            middle = sum(float(z.mean()) for z in logs)
            reach = sum(float(np.ptp(z)) for z in logs) / 2 + DECADES
            units[name] = 10.0**middle
            ends = (-reach * np.log(10), reach * np.log(10))
            limits = (-(reach + FARTHEST) * np.log(10), (reach + FARTHEST) * np.log(10))
        else:
            limits = law.bound(name)
            ends = (max(limits[0], 0.01) if limits[0] > 0 else max(limits[0], -2.0), min(limits[1], 2.5))
        low, high = [*low, limits[0]], [*high, limits[1]]
        box.append(ends)
    return Posed(
        law,
        x,
        np.log(loss),
        np.ones((1, len(loss))) if weights is None else np.atleast_2d(weights),
        delta,
        (*linear, *searched),
        np.array(low, float),
        np.array(high, float),
        units,
        np.array(box, float).reshape(-1, 2),
    )


def _inner(posed: Posed, inner: Array) -> dict[str, Array]:
    """Exponents and scales as the law takes them [B, 1], from the last entries of theta [B, q]."""
    values = {}
    for j, name in enumerate(posed.names[posed.n_linear :]):
        column = inner[:, j, None]
        values[name] = posed.units[name] * np.exp(column) if name in posed.units else column
    return values


def _basis(posed: Posed, inner: Array) -> tuple[Array, Array, Array]:
    """g_0 [B, n], and what multiplies theta_k [B, K, n] and what makes of theta_k its coefficient [B, K]."""
    size, n = len(inner), len(posed.y)
    law, values = posed.law, _inner(posed, inner)
    nothing = dict.fromkeys(law.linear, 0.0)
    with np.errstate(all="ignore"):
        first = np.broadcast_to(law({**nothing, **values}, **posed.x), (size, n))
        parts = [
            (np.broadcast_to(law({**nothing, **values, name: UNIT}, **posed.x), (size, n)) - first) / UNIT
            for name in law.linear
        ]
        g = np.stack(parts, 1) if parts else np.zeros((size, 0, n), first.dtype)
        there = np.isfinite(g) & (g != 0)
        logs = np.where(there, np.log(np.where(there, np.where(g.real < 0, -g, g), 1.0)), 0.0)
        factor = posed.typical * np.exp(-logs.sum(-1) / np.maximum(there.sum(-1), 1))
        return first, g * factor[..., None], factor


def natural(posed: Posed, theta: Array) -> dict[str, Array]:
    """Coefficients as the law's function takes them [B], from theta [B, p] (real or complex)."""
    inner = theta[:, posed.n_linear :]
    factor = _basis(posed, inner)[2]
    values = {name: theta[:, k] * factor[:, k] for k, name in enumerate(posed.law.linear)}
    return values | {name: value[:, 0] for name, value in _inner(posed, inner).items()}


def loss_of(posed: Posed, theta: Array) -> Array:
    """Losses [T, n] at theta [T, p]."""
    first, h, _ = _basis(posed, theta[:, posed.n_linear :])
    return np.asarray(first + np.einsum("tk,tkn->tn", theta[:, : posed.n_linear], h))


def residuals(posed: Posed, theta: Array) -> tuple[Array, Array]:
    """Residuals of ln(loss) [T, n], NaN where there is no loss, and their derivatives [T, n, p] at theta [T, p]."""
    linear, (size, p) = posed.n_linear, theta.shape
    q = p - linear
    steps = np.concatenate([np.zeros((1, q)), 1j * STEP * np.eye(q)])
    inner = theta[:, None, linear:] + steps
    first, h, _ = _basis(posed, inner.reshape(size * (q + 1), q))
    first, h = first.reshape(size, q + 1, -1), h.reshape(size, q + 1, linear, -1)
    shares = theta[:, :linear]
    with np.errstate(all="ignore"):
        loss = first[:, 0].real + np.einsum("tk,tkn->tn", shares, h[:, 0].real)
        slopes = (first[:, 1:].imag + np.einsum("tk,tqkn->tqn", shares, h[:, 1:].imag)) / STEP
        jacobian = np.concatenate([h[:, 0].real, slopes], 1).transpose(0, 2, 1) / loss[..., None]
        return np.log(np.where(loss > 0, loss, np.nan)) - posed.y, jacobian


def objective_of(posed: Posed, residual: Array, weights: Array) -> Array:
    """Weighted sums of Huber's function (half the square) of residuals [T, n]; infinite where there is no loss."""
    clipped = np.clip(residual, -posed.delta, posed.delta)
    total = (weights * clipped * (residual - clipped / 2)).sum(-1)
    return np.where(np.isfinite(total), total, np.inf)


def minimise(
    posed: Posed,
    theta: Array,
    *,
    weights: Array | None = None,
    held: NDArray[np.bool_] | None = None,
    pull: Pull | None = None,
    target: Array | None = None,
    stiffness: Array | None = None,
    iterations: int = ITERATIONS,
) -> Found:
    """Descend from every start theta [T, p] (Levenberg-Marquardt within bounds, all descents in step).

    ``weights`` [T, n] instead of the posed ones; entries of theta ``held`` [T, p] stay; ``pull`` adds
    ``stiffness/2 (q - target)^2``. The objective that is returned is without the pull.
    """
    theta = np.clip(np.array(theta, float), posed.low, posed.high)
    size, p = theta.shape
    weights = np.broadcast_to(posed.weights if weights is None else weights, (size, len(posed.y)))
    held = np.zeros((size, p), bool) if held is None else held
    value, plain = np.full(size, np.inf), np.full(size, np.inf)
    left, damping = np.full(size, np.inf), np.full(size, 1e-3)
    gradient, hessian, metric = np.zeros((size, p)), np.zeros((size, p, p)), np.zeros((size, p))

    def look(rows: NDArray[np.intp], at: Array) -> tuple[Array, ...]:
        r, J = residuals(posed, at)
        w = weights[rows]
        bare = objective_of(posed, r, w)
        r, J = np.nan_to_num(r, posinf=0.0, neginf=0.0), np.nan_to_num(J, posinf=0.0, neginf=0.0)
        size_of = np.maximum(np.abs(r), 1e-300)
        pulled = w * np.minimum(1.0, posed.delta / size_of)
        inside = w * (size_of <= posed.delta)
        g = np.einsum("tn,tnp->tp", pulled * r, J)
        H = np.einsum("tnp,tnq->tpq", inside[..., None] * J, J)
        M = np.einsum("tn,tnp->tp", pulled, J**2)
        total = bare
        if pull is not None and target is not None and stiffness is not None:
            level, slope = pull(at, rows)
            stretch, stiff = level - target[rows], stiffness[rows]
            total = bare + 0.5 * stiff * stretch**2
            g, H = g + (stiff * stretch)[:, None] * slope, H + stiff[:, None, None] * slope[:, :, None] * slope[:, None]
            M = M + stiff[:, None] * slope**2
            total = np.where(np.isfinite(total), total, np.inf)
        return total, bare, g, H, M

    rows = np.arange(size)
    value, plain, gradient, hessian, metric = look(rows, theta)
    rows = rows[np.isfinite(value)]
    index = np.arange(p)
    for _ in range(iterations):
        if not len(rows):
            break
        at, g = theta[rows], gradient[rows]
        fixed = held[rows] | ((at <= posed.low) & (g > 0)) | ((at >= posed.high) & (g < 0))
        g = np.where(fixed, 0.0, g)
        scale = np.where(fixed, 1.0, np.sqrt(np.maximum(metric[rows], 1e-300)))
        H = hessian[rows] / (scale[:, :, None] * scale[:, None])
        H = np.where(fixed[:, :, None] | fixed[:, None], 0.0, H)
        H[:, index, index] = np.where(fixed, 1.0, H[:, index, index] + damping[rows, None] + 1e-13)
        step = -np.linalg.solve(H, (g / scale)[..., None])[..., 0] / scale
        trial = np.clip(at + step, posed.low, posed.high)
        move = np.where(fixed, 0.0, trial - at)
        gain = -(np.einsum("tp,tp->t", g, move) + 0.5 * np.einsum("tp,tpq,tq->t", move, hessian[rows], move))
        new = look(rows, at + move)
        better = (new[0] < value[rows]) & np.isfinite(new[0])
        small = np.abs(gain) <= TOLERANCE * value[rows] + 1e-28
        stuck = ~better & ((damping[rows] > 1e8) | (np.abs(gain) <= 1e-12 * value[rows]))
        left[rows] = np.abs(gain) / np.maximum(value[rows], 1e-300)
        taken = rows[better]
        theta[taken] = (at + move)[better]
        for kept, fresh in zip((value, plain, gradient, hessian, metric), new, strict=True):
            kept[taken] = fresh[better]
        damping[rows] = np.where(better, np.maximum(damping[rows] / 10, 1e-12), np.maximum(damping[rows] * 6, 1e-6))
        rows = rows[~(small & (damping[rows] < 1.0) | stuck | (value[rows] < 1e-26 * len(posed.y)))]
    return Found(theta, plain, left)


def landscape(posed: Posed) -> Array:
    """Places theta [M, p] all over the exponents and scales, the rest solved exactly there, the lowest first."""
    from scipy.stats import qmc

    q = len(posed.box)
    count = PLACES.get(q, MOST_PLACES)
    cube = qmc.Sobol(q, seed=0).random(count) if q else np.zeros((1, 0))
    inner = posed.box[:, 0] + (posed.box[:, 1] - posed.box[:, 0]) * cube
    for j, name in enumerate(posed.names[posed.n_linear :]):
        if name not in posed.units and posed.box[j, 0] > 0:  # more places where exponents are small
            inner[:, j] = posed.box[j, 0] + (posed.box[j, 1] - posed.box[j, 0]) * cube[:, j] ** 1.7
    theta, cost = [], []
    for part in np.array_split(inner, max(1, count // 256)):
        first, h, _ = _basis(posed, part)
        usable = np.isfinite(first).all(-1) & np.isfinite(h).all((1, 2))
        first, h = (np.where(usable.reshape(-1, *[1] * (a.ndim - 1)), a, 1.0) for a in (first, h))
        root = np.sqrt(posed.weights[0]) * np.exp(-posed.y)
        wanted = np.sqrt(posed.weights[0]) - root * first
        rows = root * h
        moments, right = np.einsum("bkn,bln->bkl", rows, rows), np.einsum("bkn,bn->bk", rows, wanted)
        square = (wanted**2).sum(-1)
        if posed.law.signed or not 0 < posed.n_linear <= 6:
            amplitudes = np.einsum("bkl,bl->bk", np.linalg.pinv(moments), right)
            amplitudes = np.clip(amplitudes, posed.low[: posed.n_linear], posed.high[: posed.n_linear])
            left = square - 2 * (right * amplitudes).sum(-1)
            left = left + np.einsum("bk,bkl,bl->b", amplitudes, moments, amplitudes)
        else:
            amplitudes, left = subsets(moments, right, square)
        theta.append(np.concatenate([amplitudes, part], 1))
        cost.append(np.where(usable, left, np.inf))
    order = np.concatenate(cost).argsort(kind="stable")
    return np.concatenate(theta)[order]


def distinct(posed: Posed, places: Array, count: int) -> Array:
    """So many of the places, lowest first, that differ in exponents and scales."""
    span = posed.box[:, 1] - posed.box[:, 0]
    inner = places[:, posed.n_linear :] / np.maximum(span, 1e-300)
    chosen = [0]
    for i in range(1, len(places)):
        if len(chosen) == count:
            break
        if (np.abs(inner[i] - inner[chosen]).max(1) > 0.05).all():
            chosen.append(i)
    return places[chosen]


def solve_globally(posed: Posed, places: Array, more: Array | None = None) -> tuple[Found, float]:
    """The lowest of several descents [1, p], and the share of those that end there."""
    starts = distinct(posed, places, DESCENTS)
    found = minimise(posed, starts if more is None else np.concatenate([starts, more]))
    best = int(found.objective.argmin())
    lowest = found.objective[best]
    agree = float((found.objective[: len(starts)] <= lowest * (1 + 1e-6) + 1e-26).mean())
    return Found(found.theta[[best]], found.objective[[best]], found.decrement[[best]]), agree


def value_and_gradient(posed: Posed, quantity: Callable[[Mapping[str, Any]], Any], theta: Array) -> tuple[Array, Array]:
    """A quantity of the coefficients and its gradient in theta, at theta [T, p], by complex steps."""
    size, p = theta.shape
    steps = theta[:, None, :] + 1j * STEP * np.eye(p)
    values = natural(posed, steps.reshape(-1, p))
    found = np.broadcast_to(np.asarray(quantity(values), complex), size * p).reshape(size, p)
    return found[:, 0].real, found.imag / STEP
