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
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.laws import Law

Array = NDArray[np.float64]
Pull = Callable[[Array, NDArray[np.intp]], tuple[Array, Array]]

CHUNK = 40_000  # elements of one array of a chunk: the working set stays in cache
TOLERANCE = 1e-13  # of the objective: the Newton decrement at which a problem is solved
ITERATIONS = 300


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


def form(law: Law, x: Mapping[str, Array], loss: Array) -> Form:
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
                product = product.reshape(*product.shape[:-2], -1)
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


def _derivatives(
    problems: Problems, design: _Design, theta: Array, y: Array, w: Array, which: NDArray[np.intp]
) -> tuple[Array, Array, Array, Array]:
    """Objective [S], gradient [S, p], Hessian and metric [S, p, p]."""
    form, delta = problems.form, problems.delta
    size, n_params = theta.shape
    terms, total = terms_of(form, design.features, theta)
    total = np.maximum(total, 1e-300)
    residual = np.log(total) - y
    if np.isinf(delta):
        psi, second, slope = residual * w, w, w
        value = 0.5 * np.einsum("sn,sn->s", psi, residual)
    else:
        clipped = np.clip(residual, -delta, delta)
        psi = clipped * w
        value = np.einsum("sn,sn->s", psi, residual - 0.5 * clipped)
        second = w * (np.abs(residual) < delta)
        slope = w * (delta / np.maximum(np.abs(residual), delta))
    inverse = 1.0 / total
    floor = [len(columns) == 1 for columns in form.columns]
    share = [inverse if f else term * inverse for f, term in zip(floor, terms, strict=True)]
    curvature = second - psi
    weighted = [curvature * p for p in share]
    bent = [psi * p for p in share]
    slopes = [slope * p for p in share]
    gradient = np.zeros((size, n_params))
    for columns, features, b in zip(form.columns, design.features, bent, strict=True):
        gradient[:, columns] += _sum_over_points(b, features)
    hessian = np.zeros((size, n_params, n_params))
    metric = np.zeros((size, n_params, n_params))
    for k, m, product, row, column in design.products:
        block = weighted[k] * share[m]
        if k == m and not floor[k]:
            block += bent[k]
        for matrix, entries in (
            (hessian, _sum_over_points(block, product)),
            (metric, _sum_over_points(slopes[k] * share[m], product)),
        ):
            matrix[:, row, column] += entries
            if k != m:
                matrix[:, column, row] += entries
    if problems.pull is not None and problems.goal is not None and problems.stiffness is not None:
        level, direction = problems.pull(theta, which)
        gap, stiff = level - problems.goal[which], problems.stiffness[which]
        value = value + 0.5 * stiff * gap**2
        gradient += (stiff * gap)[:, None] * direction
        outer = stiff[:, None, None] * direction[:, :, None] * direction[:, None, :]
        hessian += outer
        metric += outer
    return value, gradient, hessian, metric


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
    which = np.arange(len(theta))
    y, w = problems.rows(which)
    _, gradient, hessian, _ = _derivatives(problems, _Design.of(problems.form, which), theta, y, w, which)
    free = ~((theta <= problems.low) & (gradient > 0) | (theta >= problems.high) & (gradient < 0))
    return _restrict(hessian, free), free


def problems_of(
    law: Law,
    x: Mapping[str, Array],
    loss: Array,
    weights: Array | None = None,
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


def minimise(problems: Problems, theta: Array, which: NDArray[np.intp] | None = None) -> Solution:
    """Minimise from starts theta [T, p]; start t belongs to problem ``which[t]`` (default: one start a problem)."""
    which = np.arange(len(theta)) if which is None else which
    n = problems.y.shape[1]
    step = max(32, CHUNK // n)
    parts = [_minimise(problems, theta[i : i + step], which[i : i + step]) for i in range(0, len(theta), step)]
    return Solution(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _minimise(problems: Problems, start: Array, which: NDArray[np.intp]) -> tuple[Array, ...]:
    low, high = problems.low, problems.high
    amplitudes = problems.form.of_kind("amplitude")
    theta = np.clip(start, low, high)
    out_theta, out_value = theta.copy(), np.full(len(theta), np.inf)
    out_decrement, out_done = np.full(len(theta), np.inf), np.zeros(len(theta), bool)
    active = np.arange(len(theta))
    y, w = problems.rows(which)
    design = _Design.of(problems.form, which)
    value, gradient, hessian, metric = _derivatives(problems, design, theta, y, w, which)
    damping = np.full(len(theta), 1e-4)
    for _ in range(ITERATIONS):
        free = ~((theta <= low) & (gradient > 0) | (theta >= high) & (gradient < 0))
        downhill = np.where(free, -gradient, 0.0)
        newton, positive = solve(_restrict(hessian, free), downhill)
        decrement = 0.5 * np.einsum("sp,sp->s", newton, downhill)
        done = positive & (decrement <= TOLERANCE * value + 1e-30)
        if done.any() or not len(theta):
            # One last full step: at this distance Newton converges quadratically.
            last = np.clip(theta[done] + newton[done], low, high)
            keep = active[done]
            out_theta[keep], out_value[keep] = last, value[done] - np.maximum(decrement[done], 0.0)
            out_decrement[keep] = decrement[done] / np.maximum(value[done], 1e-300)
            out_done[keep] = True
            stay = ~done
            if not stay.any():
                break
            active, theta, value, gradient = active[stay], theta[stay], value[stay], gradient[stay]
            hessian, metric, damping = hessian[stay], metric[stay], damping[stay]
            free, downhill, newton, positive = free[stay], downhill[stay], newton[stay], positive[stay]
            y, w = y if len(y) == 1 else y[stay], w if len(w) == 1 else w[stay]
            which = which[stay]
            if any(f.ndim == 3 for f in problems.form.features):
                design = _Design.of(problems.form, which)
        # Where the Hessian is not positive definite its model is the majoriser: Gauss-Newton of reweighted squares.
        model = np.where(positive[:, None, None], hessian, metric)
        damped, held = solve(_restrict(model + damping[:, None, None] * metric, free), downhill)
        undamped = positive & (damping <= 1e-6)
        move = np.where(undamped[:, None], newton, damped)
        usable = held | undamped
        longest = np.abs(move[:, amplitudes]).max(1, initial=0.0)
        move = move * np.minimum(1.0, 4.0 / np.maximum(longest, 1e-300))[:, None]
        trial = np.where(usable[:, None], np.clip(theta + move, low, high), theta)
        move = trial - theta
        predicted = np.einsum("sp,sp->s", gradient, move) + 0.5 * np.einsum("sp,spq,sq->s", move, model, move)
        new = _derivatives(problems, design, trial, y, w, which)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (new[0] - value) / predicted
        rounding = np.abs(predicted) <= 1e-13 * value
        accept = usable & np.isfinite(new[0]) & ((new[0] < value) & (ratio > 1e-3) | rounding)
        theta = np.where(accept[:, None], trial, theta)
        value = np.where(accept, new[0], value)
        gradient = np.where(accept[:, None], new[1], gradient)
        hessian = np.where(accept[:, None, None], new[2], hessian)
        metric = np.where(accept[:, None, None], new[3], metric)
        easier = np.where(ratio > 0.9, 0.01, np.where(ratio > 0.6, 0.1, np.where(ratio > 0.2, 1.0, 4.0)))
        damping = np.where(accept, np.maximum(damping * easier, 1e-9), np.maximum(damping * 10.0, 1e-4))
        damping = np.minimum(damping, 1e12)
    else:
        out_theta[active], out_value[active] = theta, value
        out_decrement[active] = np.where(positive, decrement[-len(theta) :], np.inf) / np.maximum(value, 1e-300)
    return out_theta, out_value, out_decrement, out_done


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
