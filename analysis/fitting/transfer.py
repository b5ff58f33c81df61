"""Loss-to-loss transfer: how in-distribution gains carry over (Eq. 4).

``L_ood - E_ood = K (L_id - E_id)^kappa``. kappa depends on where its floors come from, so that each convention has a
name. "transfer", the default: E_ood is fitted with K and kappa on the pairs, in least squares of ln(L_ood); E_id is
that of the joint law, and its uncertainty is carried along. "transfer_joint", the paper's: both floors are those of
joint laws (see ``joint_floors``). With kappa other than 1 the out-of-distribution loss is no joint law of N and D: the
second then misses kappa, the first does not.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from ecgscale.analysis.fitting import joint_floors, loss_pairs
from ecgscale.analysis.fitting.cells import cells_of, means_by_cell
from ecgscale.analysis.fitting.fit import tuned
from ecgscale.analysis.fitting.floors import Floor, drawn_floors, floor_of, joint_of
from ecgscale.analysis.fitting.health import Health
from ecgscale.analysis.fitting.identifiability import BadPoints, clean
from ecgscale.analysis.fitting.laws import LAWS, TRANSFER
from ecgscale.analysis.fitting.loss_pairs import Curve
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.resampling import percentile, resample_counts
from ecgscale.analysis.fitting.residuals import lack_of_fit
from ecgscale.analysis.fitting.result import Coefficient, Fit, sided
from ecgscale.analysis.fitting.status import BOUND, OPEN, REACHED, limits, of_number
from ecgscale.analysis.observations import own

CONVENTIONS = ("transfer", joint_floors.LAW)
KEYS = ["sweep", "run_id"]
LOSSES = ["loss_id", "loss_ood"]
Floors = dict[bytes, Any]  # floors that were found for a column of losses, by what they were asked of


def pairs(points: pd.DataFrame, target: str) -> pd.DataFrame:
    """``paired`` losses of observations: those in distribution and those on a target."""
    return paired(own(points), points[points["target"] == target])


def paired(inside: pd.DataFrame, outside: pd.DataFrame) -> pd.DataFrame:
    """In- and out-of-distribution losses of the same runs: sweep, run_id, N, D, C, loss_id, loss_ood."""
    tried = [c for c in ("n_tried", "at_edge") if c in inside]
    one = inside[[*KEYS, "N", "D", "C", *tried, "loss"]].rename(columns={"loss": "loss_id"})
    return one.merge(outside[[*KEYS, "loss"]].rename(columns={"loss": "loss_ood"}), on=KEYS)


def loss_to_loss(
    data: pd.DataFrame,
    E_id: float | None = None,
    E_ood: float | None = None,
    *,
    law: str = "transfer",
    bootstrap: int | None = None,
    level: float = 0.95,
    seed: int = 0,
    floors_found: Floors | None = None,
    **options: Any,
) -> Fit:
    """Fit Eq. 4 to paired losses: columns loss_id and loss_ood, N and D too where a joint law has to tell a floor.

    ``law``: one of ``CONVENTIONS``. A floor that is given is held. ``bootstrap``: resamples of cells beside the
    profiled interval of the default convention, those that make the paper's. Pairs at or below a floor are left out and
    counted. ``floors_found`` keeps floors from one call to the next: that of the in-distribution loss serves every
    target. Raises BadPoints if too few pairs lie above the floors.
    """
    floors_found = {} if floors_found is None else floors_found
    if law == joint_floors.LAW or E_ood is not None:
        found = joint_floors.with_both_floors(
            data, E_id, E_ood, bootstrap=bootstrap, level=level, seed=seed, floors_found=floors_found, **options
        )
        return tuned(replace(found, law=law), data)
    gridded = {"N", "D"} <= set(data)
    points, excluded = clean(data, [*LOSSES, *(["N", "D"] if gridded or E_id is None else [])])
    cell = cells_of(points, ["N", "D"]) if gridded else np.arange(len(points))
    cells = means_by_cell(points, cell, LOSSES)
    if E_id is not None:
        floor = Floor(Curve(np.array([float(E_id)]), np.zeros(1)), "", True)
    else:
        posed = cells[["N", "D", "loss_id", "weight"]].to_numpy(float).tobytes() + str(level).encode()
        floor = floors_found[posed] = floors_found.get(posed) or floor_of(cells, "loss_id", level)
    x, y, weights = (cells[c].to_numpy(float) for c in (*LOSSES, "weight"))
    best = float(floor.curve.floors[floor.curve.best])
    above = x > best
    n_cells, least = int(above.sum()), len(loss_pairs.NAMES) + 1
    if n_cells < least:
        raise BadPoints(f"{n_cells} of {len(cells)} pairs lie above E_id = {best:.4g}; E_ood, K and kappa need {least}")
    problem = loss_pairs.pose(x[above], y[above], floor.curve.floors[[floor.curve.best]], weights[above])
    theta = loss_pairs.solve(problem)[0]
    values = {"E_id": best} | {k: float(v[0]) for k, v in loss_pairs.coefficients(problem, theta).items()}
    ends = loss_pairs.ends(x[above], y[above], floor.curve, weights[above], n_cells - len(loss_pairs.NAMES), level)
    ends["E_id"] = _ends_of(floor.curve, level, given=E_id is not None)
    draws = _draws(cells, above, E_id, values, bootstrap, seed) if bootstrap else None
    notes = [f"E_id: {floor.note}"] if floor.note else []
    if below := int((~above[cell]).sum()):
        excluded = {**excluded, "loss at or below a floor": below}
        notes.append(f"left out: {below} with a loss at or below a floor")
    health = _health(values, points, cell, above[cell], excluded)
    coefficients = {
        name: _coefficient(name, values[name], ends[name], health.tested, floor.known, draws, level)
        for name in ("E_id", "E_ood", "K", "kappa")
    }
    said = [c.note for c in coefficients.values() if c.note]
    if health.tested == "lack of fit":
        said.insert(0, f"residuals are not noise alone (p = {health.lack_of_fit:.1g}): the law's form is wrong here")
    found = Fit(
        law="transfer",
        coefficients=coefficients,
        derived={},
        health=health,
        objective="log-ls",
        delta=math.inf,
        interval="profile, E_id " + ("from the joint law" if E_id is None else "given"),
        level=level,
        status=coefficients["kappa"].status,
        note="; ".join([*said, *notes]),
        fitted=values,
        draws=draws,
        ranges={"loss_id": (float(x.min()), float(x.max()))},
    )
    return tuned(found, data)


def _ends_of(curve: Curve, level: float, given: bool) -> loss_pairs.Ends:
    """The interval of the floor itself: of the joint law; none where it was given."""
    if given or len(curve.floors) == 1:
        return loss_pairs.Ends(math.nan, math.nan, "", "")
    whole = float(special.ndtri(0.5 + level / 2)) * (1 - 1e-9)
    reached = curve.distance[0] <= -whole, curve.distance[-1] >= whole
    low, high = float(curve.floors[0]), float(curve.floors[-1]) if reached[1] else math.inf
    return loss_pairs.Ends(low, high, REACHED if reached[0] else BOUND, REACHED if reached[1] else OPEN)


def _coefficient(
    name: str,
    value: float,
    ends: loss_pairs.Ends,
    tested: str,
    known: bool,
    draws: pd.DataFrame | None,
    level: float,
) -> Coefficient:
    at = at_bound(name, value)
    drawn = percentile(draws[name].to_numpy(), level) if draws is not None else (math.nan, math.nan)
    status = of_number(ends.low, ends.high, ends.low_end, ends.high_end, at, tested)
    note = f"{name} at its {'lower' if at == 'low' else 'upper'} bound" if at else ""
    if not at and (missing := sided(ends.low_end, ends.high_end)):
        note = f"{name}: {missing}"
    low, high = min(value, ends.low), max(value, ends.high)
    if not known:
        status, note = "unidentified", ""
    if status == "unidentified" or REACHED not in (ends.low_end, ends.high_end):
        low = high = math.nan
    return Coefficient(
        value, low, high, at, status, note, float(drawn[0]), float(drawn[1]), ends.low_end, ends.high_end
    )


def at_bound(name: str, value: float) -> str:
    """Which bound of the law a coefficient lies at: "low", "high" or ""."""
    if name == "kappa":
        slack = 1e-9
        return "low" if value <= TRANSFER[0] + slack else "high" if value >= TRANSFER[1] - slack else ""
    return "low" if name.startswith("E_") and value <= 0 else ""


def _draws(
    cells: pd.DataFrame, above: NDArray[np.bool_], E_id: float | None, values: Mapping[str, float], n: int, seed: int
) -> pd.DataFrame:
    """Coefficients of resamples of the cells: each with a floor and a fit of its own."""
    design = cells[["N", "D"]] if {"N", "D"} <= set(cells) else cells[["loss_id"]]
    counts = resample_counts(design, n, seed) * cells["weight"].to_numpy(float)
    floors = np.full(n, values["E_id"]) if E_id is not None else drawn_floors(joint_of(cells, "loss_id"), counts)
    x, y = (cells[c].to_numpy(float) for c in LOSSES)
    usable = ((counts > 0) & (x > floors[:, None])).sum(1) >= len(loss_pairs.NAMES)
    problem = loss_pairs.pose(x, y, floors[usable], counts[usable])
    found = loss_pairs.coefficients(problem, loss_pairs.solve(problem)[0])
    return pd.DataFrame({"E_id": floors[usable], **found})


def _health(
    values: Mapping[str, float],
    points: pd.DataFrame,
    cell: NDArray[np.intp],
    above: NDArray[np.bool_],
    excluded: Mapping[str, int],
) -> Health:
    x, y = (points.loc[above, c].to_numpy(float) for c in LOSSES)
    over = x > values["E_id"]  # a run may lie below the floor that its cell lies above
    x, y, inside = x[over], y[over], cell[above][over]
    predicted = np.asarray(LAWS["transfer"](values, loss_id=x), float)
    log_x, rise = np.log(x - values["E_id"]), predicted - values["E_ood"]
    jacobian = np.column_stack([1 / predicted, rise / predicted, rise * log_x / predicted])
    free = np.array([values["E_ood"] > 0, True, not at_bound("kappa", values["kappa"])])
    return Health.of(
        y,
        predicted,
        len(loss_pairs.NAMES),
        excluded,
        lack_of_fit=lack_of_fit(np.log(predicted / y), jacobian[:, free], {"excess": log_x}, inside),
        n_cells=len(np.unique(inside)),
    )


def disagree(one: Coefficient, other: Coefficient) -> bool:
    """Whether each of two numbers lies outside the other's interval; False where one has no interval."""
    if REACHED not in (one.low_end, one.high_end) or REACHED not in (other.low_end, other.high_end):
        return False
    low, high = limits(one.low, one.high, one.low_end, one.high_end)
    least, most = limits(other.low, other.high, other.low_end, other.high_end)
    return not low <= other.value <= high and not least <= one.value <= most


def bound_hits(kappas: Array, digits: int = 3) -> NDArray[np.bool_]:
    """Which printed kappas (rounded to ``digits``) are at a bound of the fit: 8 of the 44 of Table S.7."""
    return np.isin(np.round(kappas, digits), np.round(TRANSFER, digits))
