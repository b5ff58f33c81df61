"""Overfitting: what finite data costs, its collapse on one curve, and the data that avoids it (Eq. S.8)."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.result import Coefficient, Fit

TOLERATED = 0.1  # of the loss with unlimited data


def unlimited(c: Mapping[str, Any], N: Any) -> Any:
    """Loss of a joint law with unlimited data, ``L(N, inf) = E + A N^-alpha``."""
    return c.get("E", 0.0) + c.get("A", 0.0) * N ** -c.get("alpha", 1.0)


def extent(c: Mapping[str, Any], N: Any, D: Any) -> Any:
    """``delta(N, D) = (L(N, D) - L(N, inf)) / L(N, inf)`` under a joint law."""
    return c["B"] * D ** -c["beta"] / unlimited(c, N)


def collapse(law: Fit, points: pd.DataFrame) -> pd.DataFrame:
    """Measured extents against ``u = D^beta L(N, inf) / B``; under the law all lie on ``delta = 1/u``.

    Adds columns u, delta (measured) and delta_law; ``attrs["r2"]`` is R2 of ln(delta) where delta is positive.
    """
    c = law.fitted
    n, d = points["N"].to_numpy(float), points["D"].to_numpy(float)
    floor = unlimited(c, n)
    u = d ** c["beta"] * floor / c["B"]
    measured = points["loss"].to_numpy(float) / floor - 1
    table = points.assign(u=u, delta=measured, delta_law=1 / u)
    positive = measured > 0
    y, fitted = np.log(measured[positive]), -np.log(u[positive])
    spread = float(((y - y.mean()) ** 2).sum()) if positive.any() else 0.0
    table.attrs["r2"] = 1 - float(((y - fitted) ** 2).sum()) / spread if spread > 0 else math.nan
    table.attrs["left_out"] = int((~positive).sum())
    return table


def minimum_data(law: Fit, N: float, tolerated: float = TOLERATED) -> Coefficient:
    """D below which data costs more than ``tolerated`` of L(N, inf): ``(B / (tolerated L(N, inf)))^(1/beta)``."""
    log = law.quantity(lambda c: np.log(c["B"] / (tolerated * unlimited(c, N))) / c["beta"])
    with np.errstate(over="ignore"):  # where the loss hardly falls with D, no number of recordings is enough
        value, low, high = (float(np.exp(v)) for v in (log.value, log.low, log.high))
    return replace(log, value=value, low=low, high=high)
