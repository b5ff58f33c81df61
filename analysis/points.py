"""Anybody's table of points: read it, fit it group by group, give the fits as JSON values."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.fitting.fit import fit
from analysis.fitting.identifiability import BadPoints, clean, law_named
from analysis.fitting.joint_floors import LAW as JOINT_FLOORS
from analysis.fitting.laws import EXPONENT, Law
from analysis.fitting.result import Coefficient, Fit
from analysis.fitting.transfer import CONVENTIONS, loss_to_loss

KNOWN_COLUMNS = ("N", "D", "C", "loss", "loss_id", "loss_ood", "weight", "seed", "run_id", "E_id", "E_ood")


def read_points(file: Path) -> pd.DataFrame:
    """A table of points from CSV or Parquet. Raises BadPoints, in one sentence, if it cannot be read."""
    try:
        return pd.read_parquet(file) if file.suffix in (".parquet", ".pq") else pd.read_csv(file)
    except FileNotFoundError:
        raise BadPoints(f"there is no file {file.name}") from None
    except (ValueError, OSError) as error:
        raise BadPoints(f"{file.name} cannot be read as a table: {str(error).splitlines()[0]}") from error


def default_law(points: pd.DataFrame) -> str:
    """The law that a table's columns ask for."""
    if {"loss_id", "loss_ood"} <= set(points):
        return "transfer"
    if {"N", "D"} <= set(points):
        return "joint"
    return next((law for law, column in (("frontier", "C"), ("size", "N"), ("data", "D")) if column in points), "joint")


def fit_points(
    file: Path | str | pd.DataFrame,
    law: str | None = None,
    objective: str = "log-ls",
    delta: float = 1e-3,
    bootstrap: int | None = None,
    max_exponent: float = EXPONENT[1],
    weights: str = "equal",
) -> list[dict[str, Any]]:
    """Fit anybody's table (columns N, D, loss, or C, loss, or loss_id, loss_ood), one fit a group.

    Text columns group the points. A group that cannot be fitted has status "failed" and says why in its note; a table
    without the needed columns raises BadPoints.
    """
    points = file if isinstance(file, pd.DataFrame) else read_points(Path(file))
    chosen = law_named(law or default_law(points))
    clean(points, [*chosen.variables, chosen.response])
    numeric = set(points.select_dtypes("number").columns)
    groups = [c for c in points if c not in KNOWN_COLUMNS and c not in numeric]
    parts = points.groupby(groups, dropna=False, sort=True) if groups else [((), points)]
    fits = []
    for key, part in parts:
        group = {c: None if v != v else v for c, v in zip(groups, key, strict=True)}
        try:
            options = {"objective": objective, "delta": delta, "bootstrap": bootstrap, "weights": weights}
            found = _fit_part(chosen, part, max_exponent, **options)
            fits.append({"group": group, **as_json(found)})
        except BadPoints as error:
            fits.append(
                {
                    "group": group,
                    "law": chosen.name,
                    "coefficients": {},
                    "r2": None,
                    "rmse_log": None,
                    "n_points": 0,
                    "status": "failed",
                    "note": str(error),
                }
            )
    return fits


def _fit_part(law: Law, part: pd.DataFrame, max_exponent: float, **options: Any) -> Fit:
    """Transfer between losses has its floors from columns E_id and E_ood, or from joint laws if N and D are given."""
    if law.name in CONVENTIONS:
        floors = {name: _one_value(part, name) for name in ("E_id", "E_ood") if name in part}
        if law.name == JOINT_FLOORS or "E_id" in floors or {"N", "D"} <= set(part):
            floor, floor_ood = floors.get("E_id"), floors.get("E_ood")
            return loss_to_loss(part, floor, floor_ood, law=law.name, bootstrap=options["bootstrap"])
    return fit(law, part, max_exponent=max_exponent, **options)


def _one_value(part: pd.DataFrame, name: str) -> float:
    values = part[name].dropna().unique()
    if len(values) != 1:
        raise BadPoints(f"column {name} holds {len(values)} values; a floor is one number a group")
    return float(values[0])


def as_json(found: Fit) -> dict[str, Any]:
    """A fit as JSON values; what is not finite is null."""

    def number(v: float) -> float | None:
        return float(v) if math.isfinite(v) else None

    def coefficient(c: Coefficient) -> dict[str, Any]:
        out: dict[str, Any] = {
            "value": number(c.value),
            "low": number(c.low),
            "high": number(c.high),
            "low_end": c.low_end,
            "high_end": c.high_end,
            "at_bound": c.at_bound,
            "status": c.status,
        }
        if math.isfinite(c.bootstrap_low):
            out |= {"bootstrap_low": number(c.bootstrap_low), "bootstrap_high": number(c.bootstrap_high)}
        return out

    h = found.health
    return {
        "law": found.law,
        "coefficients": {name: coefficient(c) for name, c in found.coefficients.items()},
        "derived": {name: coefficient(c) for name, c in found.derived.items()},
        "r2": number(h.r2),
        "rmse_log": number(h.rmse_log),
        "n_points": h.n_points,
        "status": found.status,
        "note": found.note,
        "objective": found.objective,
        "objective_value": number(h.objective_value),
        "interval": found.interval,
        "level": found.level,
        "health": {
            "converged": h.converged,
            "starts_agree": number(h.starts_agree),
            "condition": number(h.condition),
            "n_params": h.n_params,
            "excluded": dict(h.excluded),
            "aic": number(h.aic),
            "bic": number(h.bic),
            "holdout": number(h.holdout),
            "lack_of_fit": number(h.lack_of_fit),
        },
    }
