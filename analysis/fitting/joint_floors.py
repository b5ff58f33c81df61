"""Eq. 4 as the paper fits it: a straight line of logs once both floors are taken off, ``E_id`` and ``E_ood`` alike.

The floors are those of two joint laws, refitted in every resample of runs unless they are given (with the floors held
kappa's interval comes out 4-7 times too narrow). Where the out-of-distribution loss follows no joint law its floor from
one is wrong, and kappa with it: then fit ``E_ood`` on the pairs (``transfer``).
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from ecgscale.analysis.fitting.cells import cells_of
from ecgscale.analysis.fitting.fit import RESAMPLES
from ecgscale.analysis.fitting.floors import drawn_floors, joint_of
from ecgscale.analysis.fitting.health import Health
from ecgscale.analysis.fitting.identifiability import BadPoints, clean
from ecgscale.analysis.fitting.laws import LAWS, TRANSFER
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.resampling import percentile, resample_counts
from ecgscale.analysis.fitting.residuals import lack_of_fit
from ecgscale.analysis.fitting.result import Coefficient, Fit
from ecgscale.analysis.fitting.status import BOUND, kinds_of, of_number

Found = dict[bytes, tuple[Array, str, bool]]  # of points and resamples: floors, a note, whether they can be known
LAW = "transfer_joint"


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


def with_both_floors(
    data: pd.DataFrame,
    E_id: float | None = None,
    E_ood: float | None = None,
    *,
    bootstrap: int | None = None,
    level: float = 0.95,
    clip: float | None = None,
    seed: int = 0,
    floors_found: Found | None = None,
) -> Fit:
    """Fit Eq. 4 to pairs above both floors; see ``analysis.fitting.transfer.loss_to_loss``.

    With both floors given: ordinary least squares and its t interval. Otherwise the floors are those of the joint law,
    fitted here and in every resample. ``clip``: excesses below it are clipped there as the paper does (1e-6), not left
    out. Raises BadPoints if fewer than three pairs lie above the floors.
    """
    bootstrap = RESAMPLES if bootstrap is None else bootstrap
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
    cells = cells_of(points, ["N", "D"])[above[0]] if {"N", "D"} <= set(points) else None
    health = _health(values, x, y, log_x[0], log_y[0], above[0], float(squares[0]), excluded, cells)
    tested = health.tested
    coefficients = {}
    for name, value in values.items():
        low, high = ends.get(name, (math.nan, math.nan))
        at = _at_bound(name, value)
        kinds = kinds_of(low, high, LAWS[LAW].bound(name))
        if kinds[0] == kinds[1] == BOUND:
            low = high = math.nan
        status = "unidentified" if unknown else of_number(low, high, *kinds, at, tested)
        note = f"{name} at its {'lower' if at == 'low' else 'upper'} bound" if at else ""
        coefficients[name] = Coefficient(value, low, high, at, status, note, low_end=kinds[0], high_end=kinds[1])
    hit = [c.note for c in coefficients.values() if c.note]
    return Fit(
        law=LAW,
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


def _health(
    values: Mapping[str, float],
    x: Array,
    y: Array,
    log_x: Array,
    log_y: Array,
    above: Array,
    squares: float,
    excluded: Mapping[str, int],
    cells: NDArray[np.intp] | None,
) -> Health:
    design = np.column_stack([np.ones(int(above.sum())), log_x[above]])
    residual = math.log(values["K"]) + values["kappa"] * log_x[above] - log_y[above]
    known = np.array([True, not _at_bound("kappa", values["kappa"])])
    return Health.of(
        y[above],
        LAWS[LAW](values, loss_id=x[above]),
        2,
        excluded,
        squares=squares,
        lack_of_fit=lack_of_fit(residual, design[:, known], {"excess": log_x[above]}, cells),
        n_cells=0 if cells is None else len(np.unique(cells)),
    )


def _floors(points: pd.DataFrame, column: str, counts: Array) -> tuple[Array, str, bool]:
    """Floor of the joint law in every resample of the runs [1 + R], a note, and whether the points can tell it."""
    found = joint_of(points, column)
    if "E" not in found.fitted:
        return np.zeros(len(counts)), "no floor can be known", False
    return drawn_floors(found, counts), found.note, found.coefficients["E"].status != "unidentified"


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
