"""Eq. 4 on pairs of losses whose in-distribution floor comes from elsewhere: the fit, its profiles, what a floor moves.

``ln L_ood = ln(E_ood + K (L_id - E_id)^kappa)`` in least squares. The floor E_id is known only so well: it is given as
a curve of floors, each with its distance from the best one in standard normal units. An end of an interval is the
farthest that any of these floors allows, at what its own distance leaves of the level: for errors that are normal and
independent that is the quadrature sum of both uncertainties. Where the losses of the pairs themselves told the floor,
both errors come from them and partly cancel; that covariance is carried along (``correlations``).
"""

import math
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ecgscale.analysis.fitting.amplitudes import subsets
from ecgscale.analysis.fitting.laws import TRANSFER, Law, Term, transfer
from ecgscale.analysis.fitting.newton import hessian_at, minimise
from ecgscale.analysis.fitting.newton import solve as solve_systems
from ecgscale.analysis.fitting.problem import Array, Problems, problems_of
from ecgscale.analysis.fitting.status import BOUND, OPEN, REACHED

NAMES = ("E_ood", "K", "kappa")
LAW = Law(
    "transfer above a floor",
    transfer,
    ("excess",),
    NAMES,
    (Term("E_ood"), Term("K", {"kappa": ("excess", 1)})),
    MappingProxyType({"kappa": TRANSFER}),
)
KAPPAS = np.geomspace(*TRANSFER, 33)  # at which E_ood and K are solved for exactly, for starts
STEPS = 40  # of the search for an end
CLOSE = 1e-4  # of the distance at an end
MOST = 0.95  # of a correlation
EXACT = 1e-22  # variance of ln L below which pairs lie on the law but for rounding


@dataclass(frozen=True)
class Origin:
    """The losses [n] that told a floor: how much of its error is each one's (its squares add up to 1), how far the log
    of each lies off their law, and ``noise``, the standard deviation of the log of one of weight 1."""

    pull: Array
    residual: Array
    noise: float


@dataclass(frozen=True)
class Curve:
    """Floors E_id [J] and how far each lies from the best, in standard normal units with sign [J]; one is 0.

    ``origin``: the pairs' own losses, where these told the floor."""

    floors: Array
    distance: Array
    origin: Origin | None = None

    @property
    def best(self) -> int:
        """Which floor is the best."""
        return int(np.abs(self.distance).argmin())

    def of_pairs(self, kept: NDArray[np.bool_]) -> "Curve":
        """The same for those of the losses that pairs are kept of."""
        if self.origin is None:
            return self
        o = self.origin
        return replace(self, origin=replace(o, pull=o.pull[kept], residual=o.residual[kept]))


@dataclass(frozen=True)
class Ends:
    """Ends of the interval of a coefficient, and what each is ("reached", "bound" or "open")."""

    low: float
    high: float
    low_end: str
    high_end: str


def pose(x: Array, y: Array, floors: Array, weights: Array | None = None) -> Problems:
    """One problem a floor [S] over the same pairs x, y [n], weights [n] or [S, n]; pairs at or below it count nothing.

    Logs of L_id - E_id are not centred, so that ln K is an entry of theta.
    """
    above = x[None, :] - np.asarray(floors, float)[:, None]
    counted = (above > 0) * (np.ones((1, len(x))) if weights is None else np.atleast_2d(weights))
    above = np.where(above > 0, above, x)
    posed = problems_of(LAW, {"excess": above}, y, counted)
    features = (posed.design.features[0][0], np.stack([np.ones_like(above), np.log(above)], -1))
    return replace(
        posed, design=replace(posed.design, features=features, centre={**posed.design.centre, "excess": 0.0})
    )


def coefficients(posed: Problems, theta: Array) -> dict[str, Array]:
    """E_ood, K and kappa of theta [S, 3]."""
    unit = math.exp(posed.design.centre["loss"])
    return {"E_ood": theta[:, 0] * unit, "K": np.exp(theta[:, 1]) * unit, "kappa": theta[:, 2]}


def solve(posed: Problems) -> tuple[Array, Array]:
    """The optimum of every problem: theta [S, 3] and objective [S], from the best small, middling and large kappas."""
    starts, squares = _starts(posed)
    size, third = len(starts), len(KAPPAS) // 3
    lowest = squares.reshape(size, 3, third).argmin(-1) + np.arange(3) * third
    chosen = np.take_along_axis(starts, lowest[..., None], 1)
    return _lowest(posed, chosen)


def _starts(posed: Problems) -> tuple[Array, Array]:
    """Theta [S, G, 3] of relative least squares at every kappa of ``KAPPAS``, and their sums of squares [S, G]."""
    rise = posed.design.features[1][..., 1]
    middle = rise.mean(-1)[:, None]
    unit = np.exp(-posed.y[0])
    powers = np.exp(KAPPAS[:, None] * (rise - middle)[:, None, :]) * unit  # [S, G, n]
    w = np.broadcast_to(posed.weights, rise.shape)[:, None, :]
    moments = np.empty((*powers.shape[:2], 2, 2))
    moments[..., 0, 0] = (w * unit**2).sum(-1)
    moments[..., 0, 1] = moments[..., 1, 0] = (w * unit * powers).sum(-1)
    moments[..., 1, 1] = (w * powers**2).sum(-1)
    right = np.stack(np.broadcast_arrays((w * unit).sum(-1), (w * powers).sum(-1)), -1)
    amplitudes, squares = subsets(moments, right, w.sum(-1))
    theta = np.empty((*powers.shape[:2], 3))
    theta[..., 0] = amplitudes[..., 0]
    theta[..., 1] = np.log(np.maximum(amplitudes[..., 1], 1e-3)) - KAPPAS * middle
    theta[..., 2] = KAPPAS
    return theta, squares


def _lowest(posed: Problems, starts: Array) -> tuple[Array, Array]:
    """The lowest of the descents from starts [S, T, 3]: theta [S, 3] and objective [S]."""
    size, tries, p = starts.shape
    found = minimise(posed, starts.reshape(-1, p), np.repeat(np.arange(size), tries))
    objective = np.where(np.isfinite(found.objective), found.objective, np.inf).reshape(size, tries)
    winner = objective.argmin(1)
    return found.theta.reshape(size, tries, p)[np.arange(size), winner], objective[np.arange(size), winner]


def ends(x: Array, y: Array, curve: Curve, weights: Array, freedom: int, level: float) -> dict[str, Ends]:
    """Intervals of E_ood, K and kappa: profiled at every floor of the curve, and the farthest ends of all.

    ``freedom``: degrees of freedom of the residuals, F(1, freedom) on the sum of squares (Bates & Watts 1988, section
    6.1). Given a floor that lies d standard errors from the best, a coefficient whose error goes with the floor's
    (``correlations``, rho) is expected rho d off its optimum there, and its own error is less by sqrt(1 - rho^2).
    """
    posed = pose(x, y, curve.floors, weights)
    optimum, least = solve(posed)
    variance = 2 * float(least[curve.best]) / freedom
    whole = float(special.ndtri(0.5 + level / 2))
    left = np.sqrt(np.maximum(whole**2 - curve.distance**2, 0.0))
    together = correlations(x, y, curve, weights, optimum[curve.best], variance)
    answer = {}
    for entry, name in enumerate(NAMES):
        found: list[tuple[float, str]] = []
        rho = together[entry]
        for side in (-1, 1):
            away = side * rho * curve.distance + math.sqrt(1 - rho**2) * left  # in units of its error, outwards
            need = np.where(away != 0, special.stdtrit(freedom, special.ndtr(np.abs(away))), 0.0)
            end, kind = _ends_at(posed, optimum, least, variance, np.where(away > 0, need, 0.0), entry, side)
            if (away < 0).any():
                back = _ends_at(posed, optimum, least, variance, np.where(away < 0, need, 0.0), entry, -side)[0]
                end = np.where(away < 0, back, end)
            far = int((side * end).argmax())
            value = side * _top(np.arcsin(np.clip(curve.distance / whole, -1, 1)), side * end, far)
            found.append((value if kind[far] == REACHED else float(end[far]), str(kind[far])))
        theta = np.repeat(optimum[:1], 2, 0)
        theta[:, entry] = [value for value, _ in found]
        low, high = coefficients(posed, theta)[name]
        answer[name] = Ends(
            -math.inf if found[0][1] == OPEN else float(low),
            math.inf if found[1][1] == OPEN else float(high),
            found[0][1],
            found[1][1],
        )
    return answer


def correlations(x: Array, y: Array, curve: Curve, weights: Array, theta: Array, variance: float) -> Array:
    """How the errors of E_ood, ln K and kappa [3] at a known floor go with the floor's own, where the pairs' own losses
    told it; else 0.

    The log of an in-distribution loss that came out high by e moves the floor, and its pair lies elasticity e below the
    curve, but for what the loss beside it has in common with it: how much of that the pairs show is its coefficient in
    their residuals, of which one standard error is not believed (so that floors of other data change nothing, and
    intervals are rather too wide).
    """
    origin, floor = curve.origin, curve.floors[curve.best]
    if origin is None or variance <= EXACT:
        return np.zeros(len(NAMES))
    posed = pose(x, y, np.array([floor]), weights)
    log_excess, root = posed.design.features[1][0, :, 1], np.sqrt(weights)
    rise = np.exp(theta[1] + theta[2] * log_excess)
    predicted = theta[0] + rise
    jacobian = np.column_stack([1 / predicted, rise / predicted, rise * log_excess / predicted])
    free = hessian_at(posed, theta[None])[1][0]
    inverse = np.zeros((len(NAMES), len(x)))
    inverse[free] = np.linalg.pinv(root[:, None] * jacobian[:, free])
    elasticity = theta[2] * rise / predicted * x / (x - floor)
    lowered = -elasticity * origin.residual * root
    own = lowered - root * (jacobian @ (inverse @ lowered))
    told = max(float(own @ own), 1e-300)
    share = float(own @ (root * (posed.y[0] - np.log(predicted)))) / told
    share = math.copysign(max(abs(share) - math.sqrt(variance / told), 0.0), share)
    length = np.sqrt(variance * (inverse**2).sum(1))
    covariance = -share * origin.noise * (inverse * elasticity * origin.pull).sum(1)
    return np.clip(np.where(length > 0, covariance / np.maximum(length, 1e-300), 0.0), -MOST, MOST)


def _top(angle: Array, height: Array, highest: int) -> float:
    """The top of a smooth curve through points: of the parabola through the highest and its neighbours."""
    if not 0 < highest < len(height) - 1:
        return float(height[highest])
    near = slice(highest - 1, highest + 2)
    bend, slope, level = np.polyfit(angle[near] - angle[highest], height[near], 2)
    return float(level - slope**2 / (4 * bend)) if bend < 0 else float(height[highest])


def _ends_at(
    posed: Problems, optimum: Array, least: Array, variance: float, need: Array, entry: int, side: int
) -> tuple[Array, NDArray[np.str_]]:
    """Where the root of the excess of every problem reaches ``need`` [S], on one side: values and kinds of ends [S]."""
    size = len(optimum)
    best, limit = optimum[:, entry], float((posed.high if side > 0 else posed.low)[entry])
    held, floor = replace(posed, held=np.array([entry]), tolerance=1e-10, patience=60), math.exp(posed.y.mean())
    last = optimum.copy()

    def t_at(rows: NDArray[np.intp], value: Array) -> Array:
        """The root of the excess with the entry held; where that is becomes the next start."""
        starts = np.stack([last[rows], optimum[rows], optimum[rows], optimum[rows]], 1)
        starts[:, 2, 0], starts[:, 3, 0] = 0.0, 0.7 * floor
        starts[:, :, entry] = value[:, None]
        which = np.repeat(rows, starts.shape[1])
        found = minimise(held, starts.reshape(-1, starts.shape[2]), which)
        objective = np.where(np.isfinite(found.objective), found.objective, np.inf).reshape(len(rows), -1)
        lowest = objective.argmin(1)
        last[rows] = found.theta.reshape(starts.shape)[np.arange(len(rows)), lowest]
        return np.sqrt(2 * np.maximum(objective.min(1) - least[rows], 0.0) / max(variance, 1e-300))

    at_limit = side * (limit - best) <= 1e-9
    end, kind = best.copy(), np.where(at_limit, BOUND, np.full(size, REACHED, "<U7"))
    todo = np.flatnonzero((need > 0) & (variance > EXACT))
    if not len(todo):
        return end, kind
    free = t_at(todo, np.full(len(todo), limit)) <= need[todo] * (1 + CLOSE)
    end[todo[free]] = limit
    kind[todo[free]] = OPEN if entry == 1 or (entry == 0 and side > 0) else BOUND
    todo = todo[~free]
    last[todo] = optimum[todo]
    curvature, loose = hessian_at(posed, optimum)
    unit = np.zeros((size, optimum.shape[1]))
    unit[:, entry] = 1.0
    bent = solve_systems(curvature, unit)[0][:, entry]
    step = np.where(loose[:, entry] & (bent > 0), np.sqrt(np.maximum(bent, 0.0) * variance), 0.05)
    inner, inner_t = best.copy(), np.zeros(size)
    outer, outer_t = np.full(size, np.nan), np.full(size, np.nan)
    kept = np.zeros(size, int)  # which of both was replaced last: Illinois' rule halves the other's distance
    target = best + side * need * step
    for _ in range(STEPS):
        if not len(todo):
            break
        half = 0.5 * (inner[todo] + limit)
        beyond = side * (target[todo] - limit) >= 0
        target[todo] = np.where(beyond, half, target[todo])
        t = t_at(todo, target[todo])
        end[todo] = target[todo]
        below = t < need[todo]
        for mask, where, ts, other, other_t, mark in (
            (below, inner, inner_t, outer, outer_t, 1),
            (~below, outer, outer_t, inner, inner_t, 2),
        ):
            rows = todo[mask]
            twice = (kept[rows] == mark) & np.isfinite(other[rows])
            other_t[rows] = np.where(twice, (other_t[rows] + need[rows]) / 2, other_t[rows])
            kept[rows], where[rows], ts[rows] = mark, target[rows], t[mask]
        near = np.abs(t - need[todo]) <= CLOSE * need[todo]
        narrow = np.abs(outer[todo] - inner[todo]) <= 1e-9 * np.maximum(np.abs(outer[todo]), 1.0)
        todo = todo[~(near | narrow)]
        with np.errstate(invalid="ignore", divide="ignore"):
            between = inner + (outer - inner) / (outer_t - inner_t) * (need - inner_t)
            between = np.where(np.isfinite(between), between, 0.5 * (inner + outer))
            farther = best + (inner - best) * np.clip(1.05 * need / inner_t, 1.2, 4.0)
        target = np.where(np.isfinite(outer), between, farther)
        target = np.where(~np.isfinite(outer) & (inner == best), best + side * need * step, target)
    return end, kind
