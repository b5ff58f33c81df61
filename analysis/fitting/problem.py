"""Fits posed as arrays: a sum of power laws at n points in centred logarithms, and S problems over it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgscale.analysis.fitting.cells import numbered
from ecgscale.analysis.fitting.laws import Law

Array = NDArray[np.float64]
Quantity = Callable[[Array, NDArray[np.intp]], tuple[Array, Array]]

TOLERANCE = 1e-12  # of the objective: the Newton decrement at which a problem is solved
ITERATIONS = 300


@dataclass(frozen=True)
class Design:
    """The design matrix of a law at n points.

    theta: the floor, logs of amplitudes at the centre, and the exponents, in the law's order.

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

    @cached_property
    def packed(self) -> tuple[Array, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """As compiled loops take it: features [1 or S, K, n, M], columns [K, M], how many of the M each term has [K],
        and which entries of theta are amplitudes."""
        counts = np.array([len(c) for c in self.columns], np.int64)
        columns = np.zeros((len(counts), counts.max()), np.int64)
        own = [f for f in self.features if f.ndim == 3]
        features = np.zeros((len(own[0]) if own else 1, len(counts), self.features[0].shape[-2], counts.max()))
        for k, (places, factors) in enumerate(zip(self.columns, self.features, strict=True)):
            columns[k, : len(places)] = places
            features[:, k, :, : len(places)] = factors
        return features, columns, counts, np.array([kind == "amplitude" for kind in self.kinds])

    def of_kind(self, kind: str) -> NDArray[np.intp]:
        """Entries of theta of a kind."""
        return np.array([i for i, k in enumerate(self.kinds) if k == kind], int)


@dataclass(frozen=True)
class Penalty:
    """Adds ``weight/2 (q(theta) - target)^2`` to each of S problems, for profile likelihoods.

    ``quantity`` says values and gradients of q at theta [T, p] of problems [T].
    """

    target: Array
    weight: Array
    quantity: Quantity


@dataclass(frozen=True)
class Pull:
    """A ``Penalty`` on a formula of two entries of theta that is compiled (see ``descent``): ``formula`` [S], ``of``
    [S, 2]."""

    formula: NDArray[np.int64]
    of: NDArray[np.int64]
    target: Array
    weight: Array


@dataclass(frozen=True)
class Problems:
    """S problems over one design: logs of the losses [S or 1, n], weights [S or 1, n], objective, bounds [p]."""

    design: Design
    y: Array
    weights: Array
    delta: float
    low: Array
    high: Array
    penalty: Penalty | Pull | None = None
    held: NDArray[np.intp] | None = None
    tolerance: float = TOLERANCE
    patience: int = ITERATIONS
    cells: NDArray[np.intp] | None = None  # which cell of the grid a point belongs to [n]; None: each is one

    def __len__(self) -> int:
        return max(len(self.y), len(self.weights))

    def rows(self, which: NDArray[np.intp]) -> tuple[Array, Array]:
        """Targets and weights of some problems."""
        y = self.y if len(self.y) == 1 else self.y[which]
        return y, self.weights if len(self.weights) == 1 else self.weights[which]


def design(law: Law, x: Mapping[str, ArrayLike], loss: Array) -> Design:
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
    return Design(law.coefficients, tuple(kinds), tuple(columns), tuple(features), centre)


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


def terms_of(design: Design, features: Sequence[Array], theta: Array) -> tuple[list[Array], Array]:
    """Terms of the prediction at every point [S, n] (or [S, 1] where constant) and their sum [S, n]."""
    terms = []
    for columns, factors in zip(design.columns, features, strict=True):
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


def _limits(law: Law, name: str, kind: str, log_unit: float) -> tuple[float, float]:
    """Bounds of an entry of theta; losses are in units of ``exp(log_unit)``."""
    if kind == "amplitude":
        return -60.0, 60.0
    low, high = law.bound(name)
    return (low, high) if kind == "exponent" else (low * np.exp(-log_unit), min(high * np.exp(-log_unit), 60.0))


def problems_of(
    law: Law,
    x: Mapping[str, ArrayLike],
    loss: ArrayLike,
    weights: ArrayLike | None = None,
    delta: float = np.inf,
) -> Problems:
    """Pose the fits of a law to losses [n] or [S, n] at points x (arrays [n]), with weights [n] or [S, n]."""
    loss = np.atleast_2d(np.asarray(loss, float))
    layout = design(law, x, loss)
    weights = np.ones((1, loss.shape[1])) if weights is None else np.atleast_2d(np.asarray(weights, float))
    limits = np.array(
        [_limits(law, c, k, layout.centre["loss"]) for c, k in zip(layout.names, layout.kinds, strict=True)]
    )
    cells = None
    if all(np.ndim(v) == 1 for v in x.values()):
        places = numbered([np.log(np.asarray(v, float)).round(12) for v in x.values()])
        cells = places if places.max() + 1 < len(places) else None
    y = np.log(loss) - layout.centre["loss"]
    return Problems(layout, y, weights, delta, limits[:, 0], limits[:, 1], cells=cells)
