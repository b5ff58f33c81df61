"""Loss-to-loss transfer: how in-distribution gains carry over (Eq. 4).

``L_ood - E_ood = K (L_id - E_id)^kappa``: least squares of the logs, floors from the joint fits. The floors are not
known: unless they are given, every resample of runs refits both of them, and kappa's interval carries their uncertainty
(with the floors held it comes out 4-7 times too narrow).
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.fitting.fit import RESAMPLES, fit
from analysis.fitting.identifiability import BadPoints, clean
from analysis.fitting.intervals import percentile, resample_counts
from analysis.fitting.laws import LAWS, TRANSFER
from analysis.fitting.problem import Array
from analysis.fitting.result import Coefficient, Fit, Health
from analysis.fitting.starts import refit
from analysis.fitting.status import BOUND, kinds_of, of_fit, of_number
from analysis.observations import own

KEYS = ["sweep", "run_id"]
Floors = dict[bytes, tuple[Array, str, bool]]  # of points and resamples: floors, a note, whether they can be known
PATIENCE = 60  # steps of a resample: those that take more have no floor to speak of


def pairs(points: pd.DataFrame, target: str) -> pd.DataFrame:
    """In- and out-of-distribution losses of the same runs: sweep, run_id, N, D, C, loss_id, loss_ood."""
    inside = own(points)[[*KEYS, "N", "D", "C", "loss"]].rename(columns={"loss": "loss_id"})
    outside = points[points["target"] == target][[*KEYS, "loss"]].rename(columns={"loss": "loss_ood"})
    return inside.merge(outside, on=KEYS)


def line(log_x: Array, log_y: Array, weights: Array) -> tuple[Array, Array, Array]:
    """K, kappa and sum of squares of ``log_y = ln K + kappa log_x``, kappa within its bounds; arrays [S, n], weight 0
    leaves a point out. The problem is a parabola in kappa, so clipping it is exact."""
    total = np.maximum(weights.sum(-1), 1e-300)
    x, y = np.where(weights > 0, log_x, 0.0), np.where(weights > 0, log_y, 0.0)
    mean_x, mean_y = (weights * x).sum(-1) / total, (weights * y).sum(-1) / total
    dx, dy = x - mean_x[..., None], y - mean_y[..., None]
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa = np.clip((weights * dx * dy).sum(-1) / (weights * dx * dx).sum(-1), *TRANSFER)
    squares = (weights * (dy - kappa[..., None] * dx) ** 2).sum(-1)
    return np.exp(mean_y - kappa * mean_x), kappa, squares


def excess(loss: Array, floor: Array, clip: float | None) -> Array:
    """ln(loss - floor); NaN at or below the floor, or clipped there as the paper does (clip = 1e-6)."""
    above = loss - floor
    if clip is not None:
        return np.log(np.maximum(above, clip))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(above > 0, np.log(above), np.nan)


def loss_to_loss(
    data: pd.DataFrame,
    E_id: float | None = None,
    E_ood: float | None = None,
    *,
    bootstrap: int = RESAMPLES,
    level: float = 0.95,
    clip: float | None = None,
    seed: int = 0,
    floors_found: Floors | None = None,
) -> Fit:
    """Fit Eq. 4 to paired losses (columns loss_id, loss_ood; N and D too unless both floors are given).

    With both floors given: ordinary least squares and its t interval. Otherwise the floors are those of the joint law,
    fitted here and in every resample. Points at or below a floor are left out and counted, never clipped in silence.
    ``floors_found`` keeps floors from one call to the next: that of the in-distribution loss serves every target.
    Raises BadPoints if fewer than three pairs lie above the floors.
    """
    floors_found = {} if floors_found is None else floors_found
    known = E_id is not None and E_ood is not None
    columns = ["loss_id", "loss_ood", *([] if known else ["N", "D"])]
    points, excluded = clean(data, columns)
    x, y = points["loss_id"].to_numpy(float), points["loss_ood"].to_numpy(float)
    notes, draws = [], None
    if known:
        floors, unknown = {"E_id": np.array([float(E_id or 0)]), "E_ood": np.array([float(E_ood or 0)])}, False
        counts = np.ones((1, len(points)))
    else:
        counts = np.ones((1, len(points)))
        if bootstrap:
            counts = np.vstack([counts, resample_counts(points[["N", "D"]], bootstrap, seed)])
        given = {"E_id": E_id, "E_ood": E_ood}
        floors, unknown = {}, False
        for name, column in (("E_id", "loss_id"), ("E_ood", "loss_ood")):
            if given[name] is not None:
                floors[name] = np.full(len(counts), float(given[name] or 0))
                continue
            posed = points[["N", "D", column]].to_numpy(float).tobytes() + counts.tobytes()
            if posed not in floors_found:
                floors_found[posed] = _floors(points, column, counts)
            floors[name], note, can_be_known = floors_found[posed]
            unknown |= not can_be_known
            notes += [f"{name}: {note}"] if note else []
    log_x = excess(x, floors["E_id"][:, None], clip)
    log_y = excess(y, floors["E_ood"][:, None], clip)
    above = np.isfinite(log_x) & np.isfinite(log_y)
    weights = counts * above
    if above[0].sum() < 3:
        raise BadPoints(f"{int(above[0].sum())} of {len(points)} pairs lie above both floors; kappa needs three")
    K, kappa, squares = line(log_x, log_y, weights)
    below = int((~above[0]).sum())
    if below:
        excluded = {**excluded, "loss at or below a floor": below}
        notes.append(f"left out: {below} with a loss at or below a floor")
    table = {"E_id": floors["E_id"], "E_ood": floors["E_ood"], "K": K, "kappa": kappa}
    values = {name: float(v[0]) for name, v in table.items()}
    if known:
        ends = _t_interval(log_x[0], squares[0], values, above[0], level)
    else:
        usable = (weights[1:] > 0).sum(1) >= 3
        draws = pd.DataFrame({name: v[1:][usable] for name, v in table.items()})
        ends = {name: _ends(draws[name].to_numpy(), level) for name in table} if bootstrap else {}
    health = _health(values, x, y, above[0], float(squares[0]), excluded)
    tested = of_fit(health.n_points, health.n_params, health.r2, health.lack_of_fit)
    coefficients = {}
    for name, value in values.items():
        low, high = ends.get(name, (math.nan, math.nan))
        at = _at_bound(name, value)
        kinds = kinds_of(low, high, LAWS["transfer"].bound(name))
        if kinds[0] == kinds[1] == BOUND:
            low = high = math.nan
        status = "unidentified" if unknown else of_number(low, high, *kinds, at, tested)
        note = f"{name} at its {'lower' if at == 'low' else 'upper'} bound" if at else ""
        coefficients[name] = Coefficient(value, low, high, at, status, note, low_end=kinds[0], high_end=kinds[1])
    hit = [c.note for c in coefficients.values() if c.note]
    return Fit(
        law="transfer",
        coefficients=coefficients,
        derived={},
        health=health,
        objective="log-ls",
        delta=math.inf,
        interval="t, floors given" if known else "bootstrap, floors refitted" if bootstrap else "none",
        level=level,
        status=coefficients["kappa"].status,
        note="; ".join([*hit, *notes]),
        fitted=values,
        draws=draws,
        ranges={"loss_id": (float(x.min()), float(x.max()))},
    )


def _floors(points: pd.DataFrame, column: str, counts: Array) -> tuple[Array, str, bool]:
    """Floor of the joint law in every resample of the runs [1 + R], a note, and whether the points can tell it."""
    found = fit("joint", points.assign(loss=points[column]), intervals=False)
    assert found.posed is not None
    assert found.solution is not None
    if "E" not in found.fitted:
        return np.zeros(len(counts)), "no floor can be known", False
    refitted = refit(replace(found.posed, weights=counts, patience=PATIENCE), found.solution.theta[0])
    floor = found.posed.design.names.index("E")
    floors = refitted.theta[:, floor] * math.exp(found.posed.design.centre["loss"])
    return floors, found.note, found.coefficients["E"].status != "unidentified"


def _t_interval(
    log_x: Array, squares: float, values: Mapping[str, float], above: Array, level: float
) -> dict[str, tuple[float, float]]:
    n = int(above.sum())
    dx = log_x[above] - log_x[above].mean()
    variance = squares / max(n - 2, 1)
    t = float(special.stdtrit(max(n - 2, 1), 0.5 + level / 2))
    half = t * math.sqrt(variance / float((dx**2).sum()))
    at_one = t * math.sqrt(variance * (1 / n + float(log_x[above].mean() ** 2 / (dx**2).sum())))
    return {
        "kappa": (values["kappa"] - half, values["kappa"] + half),
        "K": (values["K"] * math.exp(-at_one), values["K"] * math.exp(at_one)),
    }


def _ends(draws: Array, level: float) -> tuple[float, float]:
    low, high = percentile(draws, level)
    return float(low), float(high)


def _at_bound(name: str, value: float) -> str:
    if name == "kappa":
        return "low" if value <= TRANSFER[0] else "high" if value >= TRANSFER[1] else ""
    return "low" if name.startswith("E_") and value <= 0 else ""


def bound_hits(kappas: Array, digits: int = 3) -> NDArray[np.bool_]:
    """Which printed kappas (rounded to ``digits``) are at a bound of the fit: 8 of the 44 of Table S.7."""
    return np.isin(np.round(kappas, digits), np.round(TRANSFER, digits))


def _health(
    values: Mapping[str, float], x: Array, y: Array, above: Array, squares: float, excluded: Mapping[str, int]
) -> Health:
    return Health.of(y[above], LAWS["transfer"](values, loss_id=x[above]), 2, excluded, squares=squares)
