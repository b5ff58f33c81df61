"""Forecasts from observations: the loss at a size and an amount of data, and the best use of a budget."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ecgscale.analysis.fitting.allocation import allocate, compute_law
from ecgscale.analysis.fitting.fit import Fit, fit
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.phrases import did_you_mean


def allocate_group(
    points: pd.DataFrame, configuration: str, target: str, flops: float, epochs: bool = False
) -> pd.DataFrame:
    """``allocate`` from observations: the joint law of a configuration and target, compute calibrated on its runs."""
    part = group(points, configuration, target)
    table = allocate(fit("joint", part), flops, compute_law(part, epochs))
    return table.assign(configuration=configuration, target=target, flops=flops)


def predict(points: pd.DataFrame, configuration: str, target: str, n_params: float, n_samples: float) -> pd.DataFrame:
    """Loss at N and D with its interval, one row; ``note`` says when it extrapolates, and how far."""
    found = fit("joint", group(points, configuration, target))
    row = predicted(found, {"N": float(n_params), "D": float(n_samples)})
    return pd.DataFrame([{"configuration": configuration, "target": target, **row}])


def predicted(found: Fit, at: Mapping[str, float]) -> dict[str, Any]:
    """What a fitted law says of one place ``at`` (its variables): the loss with its interval, status and note."""
    c = found.predict(**at)
    note = "; ".join(t for t in (c.note, found.note) if t)
    return {
        **at,
        found.as_law.response: c.value,
        "low": c.low,
        "high": c.high,
        "low_end": c.low_end,
        "high_end": c.high_end,
        "status": c.status,
        "note": note,
    }


def group(points: pd.DataFrame, configuration: str, target: str) -> pd.DataFrame:
    """The observations of a configuration and target.

    Raises BadPoints with the nearest name if there are none, and if they come from different sweeps, corpora or label
    sets, whose losses do not belong in one law.
    """
    for column, name in (("configuration", configuration), ("target", target)):
        known = sorted(points[column].dropna().unique())
        if name not in known:
            raise BadPoints(f"no observations of {column} '{name}'{did_you_mean(name, known)}")
    part = points[(points["configuration"] == configuration) & (points["target"] == target)]
    if part.empty:
        raise BadPoints(f"no run of {configuration} was measured on {target}")
    for column in ("sweep", "corpus", "label_set"):
        if column in part and len(found := sorted(part[column].unique())) > 1:
            raise BadPoints(
                f"{configuration} on {target} was measured with different {column}s: {', '.join(found)}; "
                "name one sweep with --sweep"
            )
    return part
