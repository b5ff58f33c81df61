"""Did training help? Each configuration's largest model at full data beside its untrained twin and a blind baseline.

The untrained twin is the same network, same seed, at step 0, probed in the same way; the prevalence baseline predicts
each label's rate on the training split and never looks at a recording.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ecgscale.analysis.naming import label
from ecgscale.analysis.observations import NATS, own

ORDER = ("transformer-sl", "transformer-ssl", "resnet-sl", "resnet-ssl")
COLUMNS = (
    "sweep",
    "configuration",
    "target",
    "domain",
    "N",
    "D",
    "step",
    "loss",
    "loss_untrained",
    "prevalence_loss",
    "auroc",
    "auroc_untrained",
    "r2",
    "r2_untrained",
    "mae",
    "loss_unit",
    "mae_unit",
    "lower_loss",
    "higher_auroc",
    "higher_r2",
    "beats_prevalence",
)
_MEANS = ("N", "D", "step", "loss", "loss_untrained", "prevalence_loss", "auroc", "auroc_untrained") + (
    *("r2", "r2_untrained", "mae"),
)


def learning(points: pd.DataFrame) -> pd.DataFrame:
    """One row a configuration and target, columns ``COLUMNS``, from observations (see ``analysis.observations``).

    ``lower_loss``, ``higher_auroc``, ``higher_r2`` and ``beats_prevalence`` (of numbers: the training recordings' mean)
    are "yes", "no", or "" where the number was not measured. Several seeds of the largest model are averaged.
    """
    rows = []
    for (sweep, name), part in points.groupby(["sweep", "configuration"], sort=False):
        largest = part[part["N"] == part["N"].max()]
        largest = largest[largest["D"] == largest["D"].max()]
        for (target, domain), runs in largest.groupby(["target", "domain"], sort=False):
            mean = runs.reindex(columns=list(_MEANS)).astype(float).mean()
            units = runs.reindex(columns=["loss_unit", "mae_unit"]).iloc[0]
            rows.append(
                {
                    "sweep": sweep,
                    "configuration": name,
                    "target": target,
                    "domain": domain,
                    **mean.to_dict(),
                    "loss_unit": units["loss_unit"] if isinstance(units["loss_unit"], str) else NATS,
                    "mae_unit": units["mae_unit"] if isinstance(units["mae_unit"], str) else "",
                    "lower_loss": _less(mean["loss"], mean["loss_untrained"]),
                    "higher_auroc": _less(mean["auroc_untrained"], mean["auroc"]),
                    "higher_r2": _less(mean["r2_untrained"], mean["r2"]),
                    "beats_prevalence": _less(mean["loss"], mean["prevalence_loss"]),
                }
            )
    return _in_order(pd.DataFrame(rows, columns=list(COLUMNS)), ["sweep", "domain", "target", "configuration"])


def shortfalls(table: pd.DataFrame) -> list[str]:
    """One plain sentence for each row of ``learning`` in which training did not help, or did not beat prevalence."""
    return [sentence for row in table.to_dict("records") if (sentence := _sentence(row))]


def more_data(points: pd.DataFrame) -> pd.DataFrame:
    """In-distribution loss of each size at its smallest and its largest D: does it fall with more data?

    Columns: sweep, configuration, N, D_least, D_most, loss_least, loss_most, lower ("yes" or "no"). Seeds are averaged.
    """
    rows = []
    inside = own(points)
    for (sweep, name, n), part in inside.groupby(["sweep", "configuration", "N"]):
        by_data = part.groupby("D")["loss"].mean()
        if len(by_data) < 2:
            continue
        least, most = float(by_data.iloc[0]), float(by_data.iloc[-1])
        rows.append(
            {
                "sweep": sweep,
                "configuration": name,
                "N": n,
                "D_least": by_data.index[0],
                "D_most": by_data.index[-1],
                "loss_least": least,
                "loss_most": most,
                "lower": _less(most, least),
            }
        )
    columns = ["sweep", "configuration", "N", "D_least", "D_most", "loss_least", "loss_most", "lower"]
    return _in_order(pd.DataFrame(rows, columns=columns), ["sweep", "configuration", "N"])


def _in_order(table: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Sorted, the four configurations of the paper in its order and before any other."""
    place = {name: f"{i}" for i, name in enumerate(ORDER)}
    return table.sort_values(
        by, key=lambda c: c.map(lambda v: place.get(v, v)) if c.name == "configuration" else c, ignore_index=True
    )


def _less(smaller: float, larger: float) -> str:
    if math.isnan(smaller) or math.isnan(larger):
        return ""
    return "yes" if smaller < larger else "no"


def _sentence(row: Mapping[Any, Any]) -> str:
    who = f"{label(row['configuration'])} on {row['target']}"
    losses = f"loss {row['loss']:.3f} trained, {row['loss_untrained']:.3f} untrained"
    aurocs = f"macro AUROC {row['auroc']:.3f} trained, {row['auroc_untrained']:.3f} untrained"
    parts = []
    if row["lower_loss"] == "no" and row["higher_auroc"] == "no":
        parts.append(f"the trained backbone is no better than its untrained twin ({losses}; {aurocs})")
    elif row["lower_loss"] == "no":
        better = f", although it ranks better ({aurocs})" if row["higher_auroc"] == "yes" else ""
        parts.append(f"training does not lower the loss ({losses}){better}")
    elif row["higher_auroc"] == "no":
        parts.append(f"training lowers the loss ({losses}) but does not rank better ({aurocs})")
    if row["beats_prevalence"] == "no":
        parts.append(
            f"its loss {row['loss']:.3f} is no better than always predicting the "
            f"{'prevalence' if row.get('loss_unit', NATS) == NATS else 'mean'}"
            f" ({row['prevalence_loss']:.3f})"
        )
    return f"{who}: {'; '.join(parts)}." if parts else ""
