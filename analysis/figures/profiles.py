"""How well the runs tell each exponent: profile likelihoods of alpha and beta under the joint law."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import observed, style
from analysis.figures.figure import Plate, panel_letter, source_of
from analysis.fitting import bands

CAPTION = (
    "Profile likelihoods of both exponents of the joint law (Eq. 1): the increase of the sum of squares of ln L "
    "when the exponent is held and all else is fitted anew, in units of the increase that ends the 95 % interval "
    "(F(1, n − p)). Where a curve crosses the dashed line its interval ends; a curve that stays below it on one "
    "side leaves the exponent open there; a kink is where another coefficient meets "
    "its bound. One row an exponent, one column a configuration; the thick line is in "
    "distribution."
)
EXPONENTS = (("alpha", "parameter exponent α"), ("beta", "data exponent β"))
TOP = 4.0  # units of the threshold that are shown


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Rows alpha and beta, one column a configuration, one curve a target."""
    best = observed.best(points, table)
    names = observed.configurations(best)[:4]
    tasks = observed.targets(best)
    plate = Plate(style.TWO_COLUMNS, 4.2 if len(tasks) > 4 else 3.9, "Profile likelihoods of the exponents", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(len(EXPONENTS), len(names), sharey=True, squeeze=False)
    for i, (exponent, title) in enumerate(EXPONENTS):
        reach: list[float] = []
        for j, name in enumerate(names):
            ax, look = axes[i, j], style.configuration(name)
            part = best[best["configuration"] == name]
            reach += _panel(plate, ax, part, name, exponent)
            panel_letter(ax, "abcdefghij"[i * len(names) + j])
            ax.set_xlabel(title)
            if i == 0:
                ax.set_title(look.label, color=style.legible(look.colour), fontweight="semibold", fontsize=9, pad=14)
            if j == 0:
                ax.set_ylabel("increase ÷ 95 % limit")
        for ax in axes[i]:
            if reach and ax.lines:
                style.logarithmic(ax.xaxis, min(reach), max(reach))
    handles = [style.key("in distribution", linewidth=2)]
    handles += [style.key((look := style.target(t)).label, look.colour, linewidth=1.1) for t in tasks]
    handles.append(style.key("95 % limit", linewidth=0.9, linestyle=(0, (4, 2))))
    plate.legend(handles=handles, loc="outside upper center", ncols=style.columns(len(handles)), fontsize=7.5)
    return plate


def _panel(plate: Plate, ax: Axes, part: pd.DataFrame, name: str, exponent: str) -> list[float]:
    """Curves of one configuration; returns the exponents where they reach the top of the panel."""
    look = style.configuration(name)
    panel = f"{look.label}, {exponent}"
    known = 0
    shown = []
    for target in [*observed.targets(part, "ID"), *observed.targets(part)] if len(part) else []:
        runs = part[part["target"] == target]
        found = bands.likelihood("joint", runs, exponent)
        if found is None:
            plate.lacks(f"{panel}, {target}: the joint law has no {exponent}")
            continue
        inside = runs["domain"].iloc[0] == "ID"
        known += bool(found.excess[0] > 1 and found.excess[-1] > 1)
        line: dict[str, Any] = (
            {"color": look.colour, "linewidth": 2, "zorder": 4} if inside else {"color": style.target(target).colour}
        )
        ax.plot(
            found.values, np.minimum(found.excess, 2 * TOP), **({"linewidth": 0.9, "zorder": 3, "alpha": 0.9} | line)
        )
        plate.record(panel, "profile", target, (exponent, found.values), ("increase / 95 % limit", found.excess))
        shown.append(found)
    ax.axhline(1, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=2)
    if not shown:
        style.say(ax, "no finished runs" if part.empty else "no joint law with\nthis exponent", at=(0.5, 0.6))
        if part.empty:
            plate.lacks(panel)
        return []
    ax.set_ylim(0, TOP)
    style.linear(ax.yaxis)
    at: dict[str, Any] = {
        "xycoords": "axes fraction",
        "xytext": (1, 3),
        "textcoords": "offset points",
        "in_layout": False,
    }
    ax.annotate(f"{known} of {len(shown)} closed on both sides", (0, 1), fontsize=style.SMALL, va="bottom", **at)
    return [v for found in shown for v in _reach(found)]


def _reach(found: bands.Likelihood) -> tuple[float, float]:
    """The values between which a curve lies below the top of the panel."""
    below = found.values[found.excess <= TOP]
    return (float(np.min(below)), float(np.max(below))) if len(below) else (found.best / 2, found.best * 2)
