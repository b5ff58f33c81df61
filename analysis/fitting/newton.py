"""Exact minimisation of many fits at once: damped Newton on sums of power laws, batched over starts x resamples.

In centred logarithms every term is ``u_k = exp(X_k theta)``, so gradient and Hessian of the objective
``sum_i w_i rho(ln L(x_i) - y_i)`` are a few matrix products. With p_k = u_k / L the share of term k,

    J = sum_k p_k X_k,   H = sum_i w_i [(psi' - psi) J J' + psi sum_k p_k X_k X_k'].

The floor (a term without powers) enters linearly instead, u = theta and p = 1/L, so that E = 0 is an ordinary bound.
The metric of the damping, and the model where H is not positive definite, is the majoriser of iteratively reweighted
least squares, ``sum_i w_i psi/r J J'``. rho is Huber's function with scale ``delta`` (sum, as in Hoffmann et al. 2022),
half the square for ``delta = inf``.
"""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from analysis.fitting.problem import Array, Form, Problems, terms_of

CHUNK = 40_000  # elements of one array of a chunk: the working set stays in cache
EXACT = 1e-25  # objective a point at which a fit is exact, whatever its derivatives
FELT = 1e-13  # of the objective: what a parameter has to move to be felt
FIRST_DAMPING = 1.0  # after a step that failed: half way to the majoriser


@dataclass(frozen=True)
class Solution:
    """Minimisers theta [S, p], objectives [S], Newton decrements relative to the objective [S], and whether solved."""

    theta: Array
    objective: Array
    decrement: Array
    converged: NDArray[np.bool_]


@dataclass(frozen=True)
class _Design:
    """Features of the terms, and the products of two terms' features with their place in the Hessian, of some
    problems."""

    features: tuple[Array, ...]
    products: tuple[tuple[int, int, Array, NDArray[np.intp], NDArray[np.intp]], ...]

    @classmethod
    def of(cls, form: Form, which: NDArray[np.intp]) -> "_Design":
        features = tuple(f if f.ndim == 2 else f[which] for f in form.features)
        products = []
        for k, (ck, fk) in enumerate(zip(form.columns, features, strict=True)):
            for m in range(k, len(features)):
                cm, fm = form.columns[m], features[m]
                product = fk[..., :, None] * fm[..., None, :]
                product = product.reshape(*product.shape[:-2], len(ck) * len(cm))
                products.append((k, m, product, np.repeat(ck, len(cm)), np.tile(cm, len(ck))))
        return cls(features, tuple(products))


def _sum_over_points(coefficients: Array, factors: Array) -> Array:
    """[S, m] from coefficients [S, n] and factors [n, m], or [S, n, m]."""
    return coefficients @ factors if factors.ndim == 2 else np.einsum("sn,snm->sm", coefficients, factors)


@dataclass(frozen=True)
class _Chunk:
    """Some of the problems: their targets and weights [S or 1, n], design, and indices."""

    problems: Problems
    which: NDArray[np.intp]
    y: Array
    weights: Array
    design: _Design

    @classmethod
    def of(cls, problems: Problems, which: NDArray[np.intp]) -> "_Chunk":
        return cls(problems, which, *problems.rows(which), _Design.of(problems.form, which))

    def keep(self, stay: NDArray[np.bool_]) -> "_Chunk":
        """The problems that stay."""
        y = self.y if len(self.y) == 1 else self.y[stay]
        weights = self.weights if len(self.weights) == 1 else self.weights[stay]
        own = any(f.ndim == 3 for f in self.design.features)
        design = _Design.of(self.problems.form, self.which[stay]) if own else self.design
        return _Chunk(self.problems, self.which[stay], y, weights, design)

    def predict(self, theta: Array) -> tuple[list[Array], Array]:
        """Shares of the terms in the prediction (of the floor: per unit of it) and log residuals [S, n]."""
        form = self.problems.form
        terms, total = terms_of(form, self.design.features, theta)
        total = np.maximum(total, 1e-300)
        inverse = 1.0 / total
        floor = [len(columns) == 1 for columns in form.columns]
        share = [inverse if f else term * inverse for f, term in zip(floor, terms, strict=True)]
        return share, np.log(total) - self.y

    def derivatives(self, theta: Array) -> tuple[Array, Array, Array]:
        """Objective [S], gradient [S, p] and Hessian [S, p, p]."""
        form, delta, w = self.problems.form, self.problems.delta, self.weights
        share, residual = self.predict(theta)
        if np.isinf(delta):
            psi = residual * w
            value = 0.5 * np.einsum("sn,sn->s", psi, residual)
            curvature = w - psi
        else:
            clipped = np.clip(residual, -delta, delta)
            psi = clipped * w
            value = np.einsum("sn,sn->s", psi, residual - 0.5 * clipped)
            curvature = w * (clipped == residual) - psi
        gradient = np.zeros(theta.shape)
        bent = [psi * p for p in share]
        for columns, features, b in zip(form.columns, self.design.features, bent, strict=True):
            gradient[:, columns] += _sum_over_points(b, features)
        for k, columns in enumerate(form.columns):
            if len(columns) == 1:
                bent[k] = np.zeros(1)  # the floor is linear
        hessian = self._outer(share, curvature, theta.shape[1], bent)
        if self.problems.pull is not None:
            level, direction, stiff, outer = self._spring(theta)
            value = value + 0.5 * stiff * level**2
            gradient += (stiff * level)[:, None] * direction
            hessian += outer
        return value, gradient, hessian

    def majoriser(self, theta: Array) -> Array:
        """Hessian [S, p, p] of iteratively reweighted least squares at theta: positive semi-definite."""
        share, residual = self.predict(theta)
        delta, slope = self.problems.delta, self.weights
        if np.isfinite(delta):
            slope = slope * (delta / np.maximum(np.abs(residual), delta))
        metric = self._outer(share, slope, theta.shape[1])
        return metric + self._spring(theta)[3] if self.problems.pull is not None else metric

    def _outer(self, share: list[Array], slope: Array, p: int, bent: list[Array] | None = None) -> Array:
        """``sum_i slope J J'``, plus ``sum_i bent_k X_k X_k'``."""
        matrix = np.zeros((len(share[0]), p, p))
        weighted = [slope * s for s in share]
        for k, m, product, row, column in self.design.products:
            block = weighted[k] * share[m]
            if k == m and bent is not None:
                block += bent[k]
            entries = _sum_over_points(block, product)
            matrix[:, row, column] += entries
            if k != m:
                matrix[:, column, row] += entries
        return matrix

    def _spring(self, theta: Array) -> tuple[Array, Array, Array, Array]:
        """Stretch [S], direction [S, p] and stiffness [S] of the pull, and its share of the Hessian."""
        pull, goal, stiffness = self.problems.pull, self.problems.goal, self.problems.stiffness
        assert pull is not None
        assert goal is not None
        assert stiffness is not None
        level, direction = pull(theta, self.which)
        stiff = stiffness[self.which]
        outer = stiff[:, None, None] * direction[:, :, None] * direction[:, None, :]
        return level - goal[self.which], direction, stiff, outer


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


def _restrict(matrix: Array, free: NDArray[np.bool_]) -> Array:
    """Hold the parameters that are not free: their rows and columns become those of the identity."""
    if free.all():
        return matrix
    held = np.where(free[:, :, None] & free[:, None, :], matrix, 0.0)
    index = np.arange(free.shape[1])
    held[:, index, index] += ~free
    return held


def hessian_at(problems: Problems, theta: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Hessian of the objective at theta [S, p], held parameters decoupled, and which parameters are free."""
    _, gradient, hessian = _Chunk.of(problems, np.arange(len(theta))).derivatives(theta)
    free = ~((theta <= problems.low) & (gradient > 0) | (theta >= problems.high) & (gradient < 0))
    return _restrict(hessian, free), free


@dataclass(frozen=True)
class _Rows:
    """Arrays with one row a descent."""

    def keep(self, stay: NDArray[np.bool_]) -> Self:
        """The rows that stay."""
        return type(self)(*(getattr(self, f.name)[stay] for f in fields(self)))

    def join(self, other: Self) -> Self:
        """These rows, then the other's."""
        return type(self)(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


@dataclass(frozen=True)
class _State(_Rows):
    """Where descents stand: which start each is, theta, objective, gradient, Hessian, damping, steps taken."""

    start: NDArray[np.intp]
    theta: Array
    value: Array
    gradient: Array
    hessian: Array
    damping: Array
    age: NDArray[np.intp]


def minimise(problems: Problems, theta: Array, which: NDArray[np.intp] | None = None) -> Solution:
    """Minimise from starts theta [T, p]; start t belongs to problem ``which[t]`` (default: one start a problem).

    A pool of descents, topped up as they arrive, keeps the batch full and its arrays in cache.
    """
    theta = np.clip(theta, problems.low, problems.high)
    which = np.arange(len(theta)) if which is None else which
    capacity = max(64, CHUNK // problems.y.shape[1])
    design = _Design.of(problems.form, which)
    shared = all(f.ndim == 2 for f in design.features)
    found = Solution(theta.copy(), np.full(len(theta), np.inf), np.full(len(theta), np.inf), np.zeros(len(theta), bool))

    def chunk_of(starts: NDArray[np.intp]) -> _Chunk:
        rows = which[starts]
        return _Chunk(problems, rows, *problems.rows(rows), design if shared else _Design.of(problems.form, rows))

    def begin(starts: NDArray[np.intp]) -> _State:
        derivatives = chunk_of(starts).derivatives(theta[starts])
        return _State(starts, theta[starts], *derivatives, np.zeros(len(starts)), np.zeros(len(starts), int))

    taken = min(capacity, len(theta))
    state = begin(np.arange(taken))
    chunk = chunk_of(state.start)
    while True:
        step = _newton(chunk, state)
        if step.arrived.any():
            _write(step, state, found, problems)
            stay = ~step.arrived
            state, step, chunk = state.keep(stay), step.keep(stay), chunk.keep(stay)
        if len(state.start):
            state = _advance(chunk, state, step)
        elif taken == len(theta):
            return found
        if taken < len(theta) and len(state.start) <= capacity // 2:
            more = np.arange(taken, min(taken + capacity - len(state.start), len(theta)))
            state, taken = state.join(begin(more)), taken + len(more)
            chunk = chunk_of(state.start)


@dataclass(frozen=True)
class _Step(_Rows):
    """Newton steps: the move, its decrement, where the Hessian is positive definite, which parameters are free, the
    downhill direction, and who arrived (or gave up)."""

    move: Array
    decrement: Array
    positive: NDArray[np.bool_]
    free: NDArray[np.bool_]
    downhill: Array
    done: NDArray[np.bool_]
    arrived: NDArray[np.bool_]


def _newton(chunk: _Chunk, state: _State) -> _Step:
    low, high, theta, gradient = chunk.problems.low, chunk.problems.high, state.theta, state.gradient
    free = ~((theta <= low) & (gradient > 0) | (theta >= high) & (gradient < 0))
    # A term that has vanished is no longer felt, nor are its exponents.
    curvature = np.abs(np.einsum("spp->sp", state.hessian))
    free &= np.maximum(np.abs(gradient), curvature) > FELT * state.value[:, None]
    downhill = np.where(free, -gradient, 0.0)
    move, positive = solve(_restrict(state.hessian, free), downhill)
    decrement = 0.5 * np.einsum("sp,sp->s", move, downhill)
    done = positive & (decrement <= chunk.problems.tolerance * state.value) | (state.value <= EXACT * chunk.y.shape[1])
    return _Step(move, decrement, positive, free, downhill, done, done | (state.age >= chunk.problems.patience))


def _write(step: _Step, state: _State, found: Solution, problems: Problems) -> None:
    """Write those that arrived, after one last full step: at this distance Newton converges quadratically."""
    last, here = step.keep(step.arrived), state.keep(step.arrived)
    found.theta[here.start] = np.clip(
        here.theta + np.where(last.done[:, None], last.move, 0), problems.low, problems.high
    )
    found.objective[here.start] = here.value - np.where(last.done, np.maximum(last.decrement, 0.0), 0.0)
    relative = np.where(last.positive, last.decrement, np.inf) / np.maximum(here.value, 1e-300)
    found.decrement[here.start], found.converged[here.start] = relative, last.done


def _advance(chunk: _Chunk, state: _State, step: _Step) -> _State:
    """One step of every descent: Newton's where it works, else damped by the majoriser; refused where uphill."""
    theta, value, gradient, hessian, damping = state.theta, state.value, state.gradient, state.hessian, state.damping
    move, usable, model = step.move, step.positive, hessian
    slow = ~usable | (damping > 0)
    if slow.any():
        # Where the Hessian is not positive definite its model is the majoriser: reweighted least squares.
        metric = chunk.keep(slow).majoriser(theta[slow])
        model, usable = hessian.copy(), usable.copy()
        model[slow] = np.where(step.positive[slow, None, None], hessian[slow], metric)
        damped = model[slow] + np.maximum(damping[slow], 1e-9)[:, None, None] * metric
        move[slow], usable[slow] = solve(_restrict(damped, step.free[slow]), step.downhill[slow])
    longest = np.abs(move[:, chunk.problems.form.of_kind("amplitude")]).max(1, initial=0.0)
    move = move * np.minimum(1.0, 4.0 / np.maximum(longest, 1e-300))[:, None]
    trial = np.where(usable[:, None], np.clip(theta + move, chunk.problems.low, chunk.problems.high), theta)
    move = trial - theta
    predicted = np.einsum("sp,sp->s", gradient, move) + 0.5 * np.einsum("sp,spq,sq->s", move, model, move)
    new_value, new_gradient, new_hessian = chunk.derivatives(trial)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = (new_value - value) / predicted
    rounding = np.abs(predicted) <= 1e-13 * value
    accept = usable & np.isfinite(new_value) & ((new_value < value) & (ratio > 1e-3) | rounding)
    easier = np.where(ratio > 0.9, 0.01, np.where(ratio > 0.6, 0.1, np.where(ratio > 0.2, 1.0, 4.0)))
    damping = np.where(accept, damping * easier, np.clip(damping * 4.0, FIRST_DAMPING, 1e12))
    damping[damping < 1e-6] = 0.0
    return _State(
        state.start,
        np.where(accept[:, None], trial, theta),
        np.where(accept, new_value, value),
        np.where(accept[:, None], new_gradient, gradient),
        np.where(accept[:, None, None], new_hessian, hessian),
        damping,
        state.age + 1,
    )
