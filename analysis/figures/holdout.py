"""Would the smaller runs have foretold the largest? Residuals of the joint law, and its errors beyond them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import observed, style
from analysis.figures.figure import Plate, panel_letter, source_of
from analysis.fitting import bands

CAPTION = (
    "Errors of the joint law (Eq. 1), ln(measured / law) in per cent, against the compute of each run. First row: "
    "fitted to all runs. Second row: fitted to the runs that took less compute and asked for the fifth that took "
    "the most (on grey ground): does the law foretell larger runs? The words give root mean square errors, inside "
    "the fit and beyond, as medians over targets. One column a configuration; the configuration's own marker is "
    "the in-distribution loss."
)
ROWS = ("fitted to all runs", "fitted to the smaller runs")


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Two rows (all runs, hold-out), one column a configuration, one marker a target."""
    best = observed.best(points, table)
    names = observed.configurations(best)[:4]
    tasks = observed.targets(best)
    plate = Plate(style.TWO_COLUMNS, 4.4, "Residuals and hold-out", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(len(ROWS), len(names), sharex="col", squeeze=False)
    for j, name in enumerate(names):
        look = style.configuration(name)
        part = best[(best["configuration"] == name) & (best["C"] > 0)] if len(best) else best
        for i in range(len(ROWS)):
            _panel(plate, axes[i, j], part, name, foretelling=i == 1)
            panel_letter(axes[i, j], "abcdefghij"[i * len(names) + j])
        axes[0, j].set_title(look.label, color=style.legible(look.colour), fontweight="semibold", fontsize=9, pad=14)
        axes[-1, j].set_xlabel("compute C (FLOP)")
    for i, words in enumerate(ROWS):
        axes[i, 0].set_ylabel(f"{words}\nerror (%)")
    handles = [style.key((look := style.configuration(n)).label + ", ID", look.colour, look.marker) for n in names]
    handles += [style.key((look := style.target(t)).label, look.colour, look.marker, markersize=3) for t in tasks]
    for handle in handles:
        handle.set_linestyle("")
    plate.legend(handles=handles, loc="outside upper center", ncols=style.columns(len(handles), 5), fontsize=7.5)
    return plate


def _panel(plate: Plate, ax: Axes, part: pd.DataFrame, name: str, foretelling: bool) -> None:
    look = style.configuration(name)
    panel = f"{look.label}, {ROWS[foretelling]}"
    inside, beyond, border = [], [], np.inf
    for target in [*observed.targets(part, "ID"), *observed.targets(part)] if len(part) else []:
        runs = part[part["target"] == target]
        found = bands.foretold(runs, bands.HELD if foretelling else 0.0)
        if found is None:
            plate.lacks(f"{panel}, {target}: too few runs for the joint law")
            continue
        table, _ = found
        own = look if runs["domain"].iloc[0] == "ID" else style.target(target)
        error = 100 * table["error"]
        small = runs["domain"].iloc[0] != "ID"
        marks: dict[str, Any] = {
            "color": own.colour,
            "markersize": 2.4 if small else 3.6,
            "markeredgewidth": 0,
            "alpha": 0.85,
        }
        ax.plot(table["C"], error, own.marker, zorder=3 if small else 4, **marks)
        plate.record(panel, "error", target, ("C", table["C"]), ("error (%)", error), list(table["run_id"]))
        inside.append(float(np.sqrt((error[~table["held"]] ** 2).mean())))
        if foretelling:
            beyond.append(float(np.sqrt((error[table["held"]] ** 2).mean())))
            border = min(border, float(table.loc[table["held"], "C"].min()))
    if not inside:
        style.blank(ax, "no finished runs" if part.empty else "too few runs for\nthe joint law")
        plate.lacks(panel)
        return
    c = part["C"].to_numpy(float)
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
