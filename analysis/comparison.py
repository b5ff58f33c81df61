"""Which law suits the points: several laws side by side, by AICc on all points and by error on the largest runs.

A law with more coefficients always fits better where it was fitted. The corrected Akaike criterion (Hurvich & Tsai
1989) charges for them; predicting the largest runs from all others asks what a law is for.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.identifiability import BadPoints, clean
from ecgscale.analysis.fitting.laws import EXPONENT, LAWS, Law
from ecgscale.analysis.fitting.result import Fit

HELD = 0.2  # of the points, the largest runs, are predicted from all others
USUAL = ("joint", "tied", "interaction", "kaplan")
REPEATED = ("repeated", "repeated_excess", "overfitting")  # of data that was seen more than once
COLUMNS = ("law", "k", "n", "rmse", "aicc", "daicc", "holdout", "status", "note")


def usual_laws(points: pd.DataFrame) -> list[Law]:
    """The laws of N and D that are compared if nobody names others."""
    if "N" in points and "D" not in points:
        return [LAWS["size"], LAWS["pure_size"]]
    if "D" in points and "N" not in points:
        return [LAWS["data"], LAWS["pure_data"]]
    if "N" not in points and "C" in points:
        return [LAWS["compute"], LAWS["frontier"]]
    several = {"U", "epochs"} <= set(points) and pd.to_numeric(points["epochs"], errors="coerce").nunique() > 1
    return [LAWS[name] for name in (*USUAL, *(REPEATED[::2] if several else ()))]


def compared(
    parts: Iterable[tuple[dict[str, Any], pd.DataFrame]],
    laws: Sequence[Law],
    held: float = HELD,
    max_exponent: float = EXPONENT[1],
) -> pd.DataFrame:
    """Laws fitted to each group by least squares of logs, the lowest AICc first; one row a group and law.

    All laws of a group see the same points. Columns: those of the group, law, k (coefficients), n, rmse (of ln loss),
    aicc, daicc (above the lowest), holdout (root mean square of ln(predicted / measured) over the share ``held`` of the
    points that are the largest runs, the law fitted to the others), status and note. Raises BadPoints if laws explain
    different columns or ``held`` is no share.
    """
    if len({law.response for law in laws}) > 1:
        raise BadPoints("laws of loss and of loss_ood can't be compared: they explain different columns")
    if not 0 < held < 1:
        raise BadPoints(f"--held {held:g} is no share of the points: it lies between 0 and 1")
    columns = list(dict.fromkeys(c for law in laws for c in (*law.variables, law.response)))
    rows = []
    for group, part in parts:
        found = _of_group(part, laws, columns, held, max_exponent)
        least = min((row["aicc"] for row in found if math.isfinite(row["aicc"])), default=math.nan)
        found = [row | {"daicc": row["aicc"] - least} for row in found]
        found.sort(key=lambda row: row["aicc"] if math.isfinite(row["aicc"]) else math.inf)
        rows += [{**group, **{c: row[c] for c in COLUMNS}} for row in found]
    return pd.DataFrame(rows)


def _of_group(
    part: pd.DataFrame, laws: Sequence[Law], columns: list[str], held: float, max_exponent: float
) -> list[dict[str, Any]]:
    nothing = {"k": 0, "n": 0, "rmse": math.nan, "aicc": math.nan, "holdout": math.nan, "status": "failed"}
    try:
        points, excluded = clean(part, [*columns, *(["weight"] if "weight" in part else [])])
    except BadPoints as error:
        return [nothing | {"law": law.shown, "note": str(error)} for law in laws]
    largest = largest_runs(points, held, sorted({v for law in laws for v in law.variables}))
    left_out = ", ".join(f"{count} with {reason}" for reason, count in excluded.items())
    rows = []
    for law in laws:
        try:
            found = fit(law, points, max_exponent=max_exponent)
        except BadPoints as error:
            rows.append(nothing | {"law": law.shown, "n": len(points), "note": str(error)})
            continue
        h = found.health
        spare, k = h.n_points - h.n_params - 2, h.n_params + 1  # the variance is a coefficient, too
        rows.append(
            {
                "law": law.shown,
                "k": h.n_params,
                "n": h.n_points,
                "rmse": h.rmse_log,
                "aicc": h.aic + 2 * k * (k + 1) / spare if spare > 0 else math.nan,
                "holdout": _missed(law, points, largest, max_exponent),
                "status": found.status,
                "note": "; ".join(t for t in (found.note, left_out and f"left out: {left_out}") if t),
            }
        )
    return rows


def largest_runs(points: pd.DataFrame, held: float, variables: Sequence[str]) -> NDArray[np.bool_]:
    """Which runs took the most compute (column C; else the product of the variables): a share, at least one."""
    extent = np.log(pd.to_numeric(points["C"], errors="coerce").to_numpy(float)) if "C" in points else np.array(np.nan)
    if not np.isfinite(extent).all():
        extent = np.log(points[list(variables)].to_numpy(float)).sum(1)
    largest = np.zeros(len(points), bool)
    largest[np.argsort(extent, kind="stable")[-max(1, round(held * len(points))) :]] = True
    return largest


def _missed(law: Law, points: pd.DataFrame, largest: NDArray[np.bool_], max_exponent: float) -> float:
    """Root mean square of ln(predicted / measured) on the largest runs, fitted without them; NaN where it can't be."""
    small = points[~largest]
    if len(small) <= len(law.coefficients):
        return math.nan
    try:
        found: Fit = fit(law, small, intervals=False, max_exponent=max_exponent)
    except BadPoints:
        return math.nan
    x = {v: points.loc[largest, v].to_numpy(float) for v in law.variables}
    with np.errstate(all="ignore"):
        loss = np.asarray(law({**dict.fromkeys(law.coefficients, 0.0), **found.fitted}, **x), float)
        missed = np.log(loss / points.loc[largest, law.response].to_numpy(float))
    return float(np.sqrt((missed**2).mean()))


def preferred(table: pd.DataFrame) -> str:
    """Which law the table of one group speaks for, in a sentence; empty if it says nothing."""
    best = table.loc[table["daicc"] == 0, "law"]
    missed = table.dropna(subset=["holdout"]).sort_values("holdout", kind="stable")
    if best.empty:
        return ""
    near = table.loc[(table["daicc"] > 0) & (table["daicc"] < 2), "law"]
    told = f"AICc: {best.iloc[0]}" + (f" (not to be told from {', '.join(near)})" if len(near) else "")
    if missed.empty:
        return told
    return f"{told}; the largest runs, held out, are best foretold by {missed['law'].iloc[0]}"
