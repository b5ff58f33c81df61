"""Exact minimisation of many fits at once: damped Newton on sums of power laws, batched over starts x resamples.

In centred logarithms every term is ``u_k = exp(X_k theta)``, so gradient and Hessian of the objective
``sum_i w_i rho(ln L(x_i) - y_i)`` are a few matrix products. With p_k = u_k / L the share of term k,

    J = sum_k p_k X_k,   H = sum_i w_i [(psi' - psi) J J' + psi sum_k p_k X_k X_k'].

The floor (a term without powers) enters linearly instead, u = theta and p = 1/L, so that E = 0 is an ordinary bound.
The metric of the damping, and the model where H is not positive definite, is the majoriser of iteratively reweighted
least squares, ``sum_i w_i psi/r J J'``. rho is Huber's function with scale ``delta`` (sum, as in Hoffmann et al. 2022),
half the square for ``delta = inf``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.laws import Law

Array = NDArray[np.float64]
Pull = Callable[[Array, NDArray[np.intp]], tuple[Array, Array]]

CHUNK = 40_000  # elements of one array of a chunk: the working set stays in cache
TOLERANCE = 1e-12  # of the objective: the Newton decrement at which a problem is solved
ITERATIONS = 300
FIRST_DAMPING = 1.0  # after a step that failed: half way to the majoriser


@dataclass(frozen=True)
class Form:
    """A law at n points. theta: the floor, logs of amplitudes at the centre, and the exponents, in the law's order.

    ``columns[k]`` are the entries of theta that term k reads and ``features[k]`` their factors [n, len(columns[k])], or
    [S, n, len(columns[k])] where every problem has points of its own;
    ``kinds`` says of every entry of theta whether it is a "floor", an "amplitude" or an "exponent". Losses are in units
    of ``exp(centre["loss"])``.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    columns: tuple[NDArray[np.intp], ...]
    features: tuple[Array, ...]
    centre: Mapping[str, float]

    def of_kind(self, kind: str) -> NDArray[np.intp]:
        """Entries of theta of a kind."""
        return np.array([i for i, k in enumerate(self.kinds) if k == kind], int)


@dataclass(frozen=True)
class Problems:
    """S problems over one form: logs of the losses [S or 1, n], weights [S or 1, n], objective, bounds [p].

    ``pull`` adds ``stiffness/2 (q(theta) - goal)^2`` per problem (for profile likelihoods).
    """

    form: Form
    y: Array
    weights: Array
    delta: float
    low: Array
    high: Array
    pull: Pull | None = None
    goal: Array | None = None
    stiffness: Array | None = None

    def __len__(self) -> int:
        return max(len(self.y), len(self.weights))

    def rows(self, which: NDArray[np.intp]) -> tuple[Array, Array]:
        """Targets and weights of some problems."""
        y = self.y if len(self.y) == 1 else self.y[which]
        return y, self.weights if len(self.weights) == 1 else self.weights[which]


@dataclass(frozen=True)
class Solution:
    """Minimisers theta [S, p], objectives [S], Newton decrements relative to the objective [S], and whether solved."""

    theta: Array
    objective: Array
    decrement: Array
    converged: NDArray[np.bool_]


def form(law: Law, x: Mapping[str, ArrayLike], loss: Array) -> Form:
    """Centre the logs of the variables (arrays [n] or [S, n]) and of the losses, and lay out the terms of a law."""
    logs = {v: np.log(np.asarray(x[v], float)) for v in law.variables}
    centre = {v: float(z.mean()) for v, z in logs.items()} | {"loss": float(np.log(loss).mean())}
    index = {name: i for i, name in enumerate(law.coefficients)}
    columns, features = [], []
    for term in law.terms:
        ones = [np.ones_like(logs[law.variables[0]])]
        powers = [sign * (logs[v] - centre[v]) for v, sign in term.powers.values()]
        columns.append(np.array([index[term.amplitude], *(index[e] for e in term.powers)]))
        features.append(np.stack(ones + powers, axis=-1))
    floors = {t.amplitude for t in law.terms if not t.powers}
    kinds = ["floor" if c in floors else "exponent" if c in law.exponents else "amplitude" for c in law.coefficients]
    return Form(law.coefficients, tuple(kinds), tuple(columns), tuple(features), centre)


def centred(law: Law, centre: Mapping[str, float], values: Mapping[str, Array]) -> Array:
    """Theta [S, p] from natural coefficients (arrays [S]): the inverse of ``natural``."""
    theta = {name: np.asarray(values[name], float) for name in law.coefficients}
    for term in law.terms:
        if not term.powers:
            theta[term.amplitude] = theta[term.amplitude] * np.exp(-centre["loss"])
            continue
        shift = sum(sign * centre[v] * theta[e] for e, (v, sign) in term.powers.items())
        theta[term.amplitude] = np.log(np.maximum(theta[term.amplitude], 1e-300)) - centre["loss"] + shift
    return np.stack([theta[name] for name in law.coefficients], -1)


def natural(law: Law, centre: Mapping[str, float], theta: Array) -> dict[str, Array]:
    """Coefficients as the law's function takes them, from centred theta [..., p] (real or complex)."""
    values = {name: theta[..., i] for i, name in enumerate(law.coefficients)}
    for term in law.terms:
        if not term.powers:
            values[term.amplitude] = values[term.amplitude] * np.exp(centre["loss"])
            continue
        shift = sum(sign * centre[v] * values[e] for e, (v, sign) in term.powers.items())
        values[term.amplitude] = np.exp(values[term.amplitude] + centre["loss"] - shift)
    return values


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


def terms_of(form: Form, features: Sequence[Array], theta: Array) -> tuple[list[Array], Array]:
    """Terms of the prediction at every point [S, n] (or [S, 1] where constant) and their sum [S, n]."""
    terms = []
    for columns, factors in zip(form.columns, features, strict=True):
        part = theta[:, columns]
        if len(columns) == 1:
            terms.append(part)
            continue
        exponent = part @ factors.T if factors.ndim == 2 else np.einsum("sm,snm->sn", part, factors)
        terms.append(np.exp(np.minimum(exponent, 300.0)))
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return terms, total


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


def problems_of(
    law: Law,
    x: Mapping[str, ArrayLike],
    loss: ArrayLike,
    weights: ArrayLike | None = None,
    delta: float = np.inf,
) -> Problems:
    """Pose the fits of a law to losses [n] or [S, n] at points x (arrays [n]), with weights [n] or [S, n]."""
    loss = np.atleast_2d(np.asarray(loss, float))
    layout = form(law, x, loss)
    weights = np.ones((1, loss.shape[1])) if weights is None else np.atleast_2d(np.asarray(weights, float))
    limits = np.array(
        [
            law.bound(c) if k == "exponent" else (0.0 if k == "floor" else -60.0, 60.0)
            for c, k in zip(layout.names, layout.kinds, strict=True)
        ]
    )
    return Problems(layout, np.log(loss) - layout.centre["loss"], weights, delta, limits[:, 0], limits[:, 1])


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
    downhill = np.where(free, -gradient, 0.0)
    move, positive = solve(_restrict(state.hessian, free), downhill)
    decrement = 0.5 * np.einsum("sp,sp->s", move, downhill)
    done = positive & (decrement <= TOLERANCE * state.value + 1e-30)
    return _Step(move, decrement, positive, free, downhill, done, done | (state.age >= ITERATIONS))


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


def subsets(moments: Array, right: Array, square: Array) -> tuple[Array, Array]:
    """Non-negative least squares in closed form, batched: best of all sets of active amplitudes.

    ``moments`` [..., K, K] and ``right`` [..., K] are the normal equations, ``square`` [...] the sum of squares of the
    target. Returns amplitudes [..., K] and residual sums of squares [...].
    """
    n_terms = right.shape[-1]
    best = np.zeros_like(right)
    least = np.broadcast_to(square, right.shape[:-1]).copy()
    for mask in range(1, 2**n_terms):
        inside = [k for k in range(n_terms) if mask >> k & 1]
        flat = moments[..., inside, :][..., inside].reshape(-1, len(inside), len(inside))
        target = right[..., inside]
        answer, regular = solve(flat, target.reshape(-1, len(inside)))
        answer = answer.reshape(target.shape)
        rss = square - np.einsum("...k,...k->...", answer, target)
        better = regular.reshape(rss.shape) & (answer > 0).all(-1) & (rss < least)
        least = np.where(better, rss, least)
        new = np.zeros_like(best)
        new[..., inside] = answer
        best = np.where(better[..., None], new, best)
    return best, least


def projected_starts(problems: Problems, n_starts: int, which: NDArray[np.intp] | None = None) -> Array:
    """Starts [S, T, p] from a grid over the exponents: for fixed exponents a law is linear, solve the rest exactly.

    Relative least squares ``sum_i w_i (L(x_i)/L_i - 1)^2`` under non-negative amplitudes. The starts are the lowest
    points of as many blocks of the grid, so that they differ; the last is the lowest on the face E = 0.
    """
    form = problems.form
    names = form.of_kind("exponent").tolist()
    points = 14 if len(names) > 1 else 40
    low, high = np.maximum(problems.low, 0.01), np.minimum(problems.high, 2.5)
    axes = [low[i] + (high[i] - low[i]) * np.linspace(0, 1, points) ** 1.7 for i in names]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(names))  # [G, exponents]
    size = len(problems) if which is None else len(which)
    which = np.arange(size) if which is None else which
    amplitude_of = [int(c[0]) for c in form.columns]
    n_terms, n = len(amplitude_of), problems.y.shape[1]
    basis = np.ones((len(grid), n_terms, n))
    for k, (columns, features) in enumerate(zip(form.columns, form.features, strict=True)):
        exponents = grid[:, [names.index(int(c)) for c in columns[1:]]]
        basis[:, k] = np.exp(exponents @ features[:, 1:].T)
    upper = np.triu_indices(n_terms)
    products = (basis[:, upper[0]] * basis[:, upper[1]]).reshape(-1, n).T  # [n, G * pairs]
    linear = basis.reshape(-1, n).T  # [n, G * K]
    starts = np.empty((size, n_starts, len(form.names)))
    step = max(1, 40_000 // len(grid))
    for i in range(0, size, step):
        y, w = problems.rows(which[i : i + step])
        rows = len(which[i : i + step])
        relative = np.broadcast_to(w * np.exp(-2 * y), (rows, n))
        moments = np.empty((rows, len(grid), n_terms, n_terms))
        flat = (relative @ products).reshape(rows, len(grid), -1)
        moments[..., upper[0], upper[1]] = flat
        moments[..., upper[1], upper[0]] = flat
        right = (np.broadcast_to(w * np.exp(-y), (rows, n)) @ linear).reshape(rows, len(grid), n_terms)
        square = np.broadcast_to(w, (rows, n)).sum(1)[:, None]
        amplitudes, rss = subsets(moments, right, square)
        order = _lowest_of_blocks(rss.reshape(rows, *[points] * len(names)), n_starts)
        chosen = np.take_along_axis(amplitudes, order[..., None], 1)
        if n_starts > 1 and len(form.columns[0]) == 1 and n_terms > 1:
            bare, bare_rss = subsets(moments[..., 1:, 1:], right[..., 1:], square)
            face = bare_rss.argmin(1)
            order[:, -1] = face
            chosen[:, -1, 1:] = bare[np.arange(rows), face]
            chosen[:, -1, 0] = 0.0
        typical = np.exp(np.broadcast_to(y, (rows, n)).mean(1))[:, None]
        part = starts[i : i + step]
        part[..., names] = grid[order]
        for k, column in enumerate(amplitude_of):
            floor = form.kinds[column] == "floor"
            part[..., column] = chosen[..., k] if floor else np.log(np.maximum(chosen[..., k], 1e-3 * typical))
    return starts


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
    found = minimise(problems, starts.reshape(-1, n_params), np.repeat(which, n_starts))
    objective = found.objective.reshape(size, n_starts)
    winner = np.arange(size) * n_starts + objective.argmin(1)
    best = objective.min(1)
    agree = (objective <= best[:, None] * (1 + 1e-8) + 1e-28).mean(1)
    return Solution(found.theta[winner], best, found.decrement[winner], found.converged[winner]), agree


def solve_globally(
    problems: Problems, n_starts: int = 4, more: Sequence[Array] = (), which: NDArray[np.intp] | None = None
) -> tuple[Solution, Array]:
    """Fit every problem from its own projected starts, and from ``more`` starts [p] that all share."""
    n_starts = max(1, n_starts)
    starts = projected_starts(problems, n_starts, which)
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
