"""Compute-optimal allocation: how to split a budget between parameters and data (Eqs. S.3-S.7), and its cross-checks.

Compute is ``C = kappa N^s D^t``; s = t = 1 when every recording is seen once, other powers when the number of epochs is
itself a power law of N and D. The optimum under a joint law equates the marginal returns,
``alpha A N^-alpha / s = beta B D^-beta / t``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from ecgscale.analysis.fitting.identifiability import BadPoints, clean
from ecgscale.analysis.fitting.laws import LAWS
from ecgscale.analysis.fitting.optimum import Compute, allocate_numerically
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.result import Coefficient, Fit

SHARES = ("model_share", "data_share")


def compute_law(points: pd.DataFrame, epochs: bool = False) -> Compute:
    """What a run costs: kappa, the median of C/(N D), or with ``epochs`` also the powers, by least squares of logs."""
    clean_points, _ = clean(points, ["N", "D", "C"])
    n, d, c = (np.log(clean_points[v].to_numpy(float)) for v in ("N", "D", "C"))
    if not epochs:
        ratio = c - n - d
        return Compute(float(np.exp(np.median(ratio))), scatter=float(ratio.std()))
    design = np.column_stack([np.ones(len(c)), n, d])
    if np.linalg.matrix_rank(design - np.r_[0, n.mean(), d.mean()]) < 3:
        raise BadPoints("the powers of compute need runs that differ in both N and D")
    (log_kappa, s, t), _, _, _ = np.linalg.lstsq(design, c, rcond=None)
    residual = c - design @ np.array([log_kappa, s, t])
    return Compute(float(np.exp(log_kappa)), float(s), float(t), float(residual.std()))


def log_optimum(c: Mapping[str, Any], flops: float, compute: Compute) -> tuple[Any, Any]:
    """ln N* and ln D* of a joint law's coefficients (floats or arrays, also complex) at a budget (Eq. S.7)."""
    alpha, beta, s, t = c["alpha"], c["beta"], compute.s, compute.t
    budget = math.log(flops / compute.kappa)
    q = np.log(beta * c["B"] * s) - np.log(alpha * c["A"] * t)
    total = s * beta + t * alpha
    return (beta * budget - t * q) / total, (alpha * budget + s * q) / total


def exponents_of(alpha: Any, beta: Any, compute: Compute | None = None) -> tuple[Any, Any, Any]:
    """a, b, gamma with N* ~ C^a, D* ~ C^b, L* - E ~ C^-gamma."""
    compute = compute or Compute()
    total = compute.s * beta + compute.t * alpha
    return beta / total, alpha / total, alpha * beta / total


def allocate(law: Fit, flops: float, compute: Compute | None = None, level: float = 0.95) -> pd.DataFrame:
    """Compute-optimal N, D and loss at a budget, with intervals; one row a quantity (value, low, high, status, note).

    ``model_share`` and ``data_share`` are the shares of marginal compute, a and b (Fig. 5). The interval of each
    quantity is profiled (or bootstrapped) as a function of all coefficients. Raises BadPoints for a joint fit without
    both exponents, and for another law without an optimum in N and D.
    """
    compute = compute or Compute()
    if not flops > 0:
        raise BadPoints(f"a budget of {flops} FLOP cannot be spent; it has to be positive")
    if law.law != "joint":
        found = allocate_numerically(law, flops, compute, level)
        return pd.DataFrame([_told(law, name, q) for name, q in found.items()])
    if not {"alpha", "beta"} <= set(law.fitted):
        raise BadPoints(f"allocation needs a joint law with both exponents known: {law.note or law.law}")
    joint = LAWS["joint"].function

    def log_loss(c: Mapping[str, Array]) -> Array:
        log_n, log_d = log_optimum(c, flops, compute)
        return np.log(joint(np.exp(log_n), np.exp(log_d), **{"E": 0.0, **{k: c[k] for k in law.fitted}}))

    def shares(c: Mapping[str, Array], which: int) -> Array:
        return exponents_of(c["alpha"], c["beta"], compute)[which] * (compute.s, compute.t)[which]

    quantities = {
        "N": lambda c: log_optimum(c, flops, compute)[0],
        "D": lambda c: log_optimum(c, flops, compute)[1],
        "loss": log_loss,
        "model_share": lambda c: shares(c, 0),
        "data_share": lambda c: shares(c, 1),
    }
    return pd.DataFrame([_told(law, name, law.quantity(q, level)) for name, q in quantities.items()])


def _told(law: Fit, name: str, q: Coefficient) -> dict[str, Any]:
    """A row of the answer; sizes, data and losses are formed in logs."""
    ends = (q.value, q.low, q.high) if name in SHARES else tuple(_exp(v) for v in (q.value, q.low, q.high))
    of_fit = law.note if name == "loss" else ""  # said once
    note = "; ".join(text for text in (_beyond(law, name, ends[0]), q.note, of_fit) if text)
    kinds = {"low_end": q.low_end, "high_end": q.high_end}
    row = {"quantity": name, "value": ends[0], "low": ends[1], "high": ends[2]}
    return row | kinds | {"status": q.status, "note": note}


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _beyond(law: Fit, name: str, value: float) -> str:
    if name not in law.ranges:
        return ""
    low, high = law.ranges[name]
    if value > high:
        return f"{value / high:.3g} times beyond the largest fitted {name}"
    return f"{low / value:.3g} times below the smallest fitted {name}" if value < low else ""


@dataclass(frozen=True)
class IsoFlop:
    """Parabolas of loss over ln N at like compute: their minima, and N* ~ C^a through these with its interval."""

    minima: pd.DataFrame  # C, N, D, loss, n_points, curvature, inside (minimum within the points)
    a: Coefficient


def isoflop(points: pd.DataFrame, n_bins: int | None = None, level: float = 0.95) -> IsoFlop:
    """Allocation from isoFLOP parabolas (Hoffmann et al. 2022, approach 2), only to stand beside the joint fit: biased
    when the grid is wide or off-centre, or alpha differs from beta. Slices: equal C, or ``n_bins`` bins of ln C."""
    clean_points, _ = clean(points, ["N", "D", "C", "loss"])
    log_c = np.log(clean_points["C"].to_numpy(float))
    if n_bins:
        edges = np.linspace(log_c.min(), log_c.max() + 1e-9, n_bins + 1)
        slices = np.digitize(log_c, edges)
    else:
        slices = np.round(log_c, 2)
    rows = []
    for _, part in clean_points.groupby(slices):
        if part["N"].nunique() < 4:
            continue
        x, y = np.log(part["N"].to_numpy(float)), np.log(part["loss"].to_numpy(float))
        middle = x.mean()
        curvature, slope, level_at = np.polyfit(x - middle, y, 2)
        if curvature <= 0:
            continue
        offset = -slope / (2 * curvature)
        flops = float(np.exp(np.log(part["C"]).mean()))
        best = math.exp(middle + offset)
        rows.append(
            {
                "C": flops,
                "N": best,
                "D": flops / best / float(np.exp(np.log(part["C"] / part["N"] / part["D"]).mean())),
                "loss": math.exp(level_at - slope**2 / (4 * curvature)),
                "n_points": len(part),
                "curvature": curvature,
                "inside": bool(x.min() <= middle + offset <= x.max()),
            }
        )
    minima = pd.DataFrame(rows, columns=["C", "N", "D", "loss", "n_points", "curvature", "inside"])
    usable = minima[minima["inside"].astype(bool)]
    if len(usable) < 3:
        return IsoFlop(
            minima, Coefficient(math.nan, status="unidentified", note=f"{len(usable)} isoFLOP minima; three needed")
        )
    x, y = np.log(usable["C"].to_numpy()), np.log(usable["N"].to_numpy())
    slope, start = np.polyfit(x, y, 1)
    freedom = len(x) - 2
    error = math.sqrt(float(((y - start - slope * x) ** 2).sum()) / freedom / float(((x - x.mean()) ** 2).sum()))
    half = float(special.stdtrit(freedom, 0.5 + level / 2)) * error
    return IsoFlop(minima, Coefficient(float(slope), float(slope - half), float(slope + half)))
