"""Would the smaller runs have foretold the largest? Residuals of the joint law, and its errors beyond them."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import observed, style
from ecgscale.analysis.figures.figure import Page, source_of
from ecgscale.analysis.figures.grid import Panel, grid
from ecgscale.analysis.fitting import bands

CAPTION = (
    "Errors of the joint law (Eq. 1), ln(measured / law) in per cent, against the compute of each run. First row: "
    "fitted to all runs. Second row: fitted to the runs that took less compute and asked for the fifth that took "
    "the most (on grey ground): does the law foretell larger runs? The words give root mean square errors, inside "
    "the fit and beyond, as medians over targets. One column a configuration; the configuration's own marker is "
    "the in-distribution loss."
)
ROWS = ("fitted to all runs", "fitted to the smaller runs")


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Two rows (all runs, hold-out), one column a configuration, one marker a target."""
    best = observed.best(points, table)
    looks, tasks = observed.configurations(best), observed.targets(best)
    source = source_of(best, observed.selection(table))

    def panel(look: style.Look, row: str) -> Panel:
        part = best[(best["configuration"] == look.name) & (best["C"] > 0)]
        errors = _errors(part, foretelling=row == ROWS[1])
        if not errors:
            return "too few runs for\nthe joint law"
        return partial(_panel, look=look, row=row, c=part["C"].to_numpy(float), errors=errors, tasks=tasks)

    def page(rows: int) -> Page:
        return Page(style.TWO_COLUMNS, round(0.6 + 1.9 * rows, 2), "Residuals and hold-out", CAPTION, source)

    def keys(shown: list[style.Look]) -> list[style.Line2D]:
        own = [style.key(f"{look.label}, ID", look.colour, look.marker, linestyle="") for look in shown]
        others = [style.target(task) for task in tasks]
        return own + [style.key(k.label, k.colour, k.marker, markersize=3, linestyle="") for k in others]

    ylabels = {row: f"{row}\nerror (%)" for row in ROWS}
    return grid(
        looks,
        ROWS,
        panel,
        page,
        ylabels=ylabels,
        xlabel="compute C (FLOP)",
        keys=keys,
        columns=5,
        header={"pad": 14},
        sharex="col",
    )


def _errors(part: pd.DataFrame, foretelling: bool) -> dict[str, pd.DataFrame]:
    """Per target every run's error under the joint law, fitted to all runs or to the smaller ones alone."""
    held = bands.HELD if foretelling else 0.0
    found = {
        target: bands.predict_holdout(part[part["target"] == target], held)
        for target in [*observed.targets(part, "ID"), *observed.targets(part)]
    }
    return {target: errors[0] for target, errors in found.items() if errors is not None}


def _panel(
    page: Page,
    ax: Axes,
    look: style.Look,
    row: str,
    c: np.ndarray,
    errors: dict[str, pd.DataFrame],
    tasks: list[str],
) -> None:
    inside, beyond, border = [], [], np.inf
    for target, table in errors.items():
        small = target in tasks
        own = style.target(target) if small else look
        error = 100 * table["error"]
        marks: dict[str, Any] = {
            "color": own.colour,
            "markersize": 2.4 if small else 3.6,
            "markeredgewidth": 0,
            "alpha": 0.85,
        }
        ax.plot(table["C"], error, own.marker, zorder=3 if small else 4, **marks)
        page.record(
            f"{look.label}, {row}", "error", target, ("C", table["C"]), ("error (%)", error), list(table["run_id"])
        )
        inside.append(float(np.sqrt((error[~table["held"]] ** 2).mean())))
        if table["held"].any():
            beyond.append(float(np.sqrt((error[table["held"]] ** 2).mean())))
            border = min(border, float(table.loc[table["held"], "C"].min()))
    style.logarithmic(ax.xaxis, c.min(), c.max())
    if np.isfinite(border):
        ax.axvspan(border / 1.05, ax.get_xlim()[1], color=style.EXTRAPOLATED, linewidth=0, zorder=0)
    ax.axhline(0, color=style.MUTED, linewidth=0.8, zorder=1)
    style.linear(ax.yaxis, 5)
    words = f"rms {style.number(float(np.median(inside)), 1)} %"
    if beyond:
        words += f" · beyond {style.number(float(np.median(beyond)), 1)} %"
    at: dict[str, Any] = {
        "xycoords": "axes fraction",
        "xytext": (1, 3),
        "textcoords": "offset points",
        "in_layout": False,
    }
    ax.annotate(words, (0, 1), fontsize=style.SMALL, va="bottom", **at)
