"""How well the runs tell each exponent: profile likelihoods of alpha and beta under the joint law."""

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
    "Profile likelihoods of both exponents of the joint law (Eq. 1): the increase of the sum of squares of ln L "
    "when the exponent is held and all else is fitted anew, in units of the increase that ends the 95 % interval "
    "(F(1, n − p)). Where a curve crosses the dashed line its interval ends; a curve that stays below it on one "
    "side leaves the exponent open there; a kink is where another coefficient meets "
    "its bound. One row an exponent, one column a configuration; the thick line is in "
    "distribution."
)
EXPONENTS = {"alpha": "parameter exponent α", "beta": "data exponent β"}
TOP = 4.0  # units of the threshold that are shown


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Rows alpha and beta, one column a configuration, one curve a target."""
    best = observed.best(points, table)
    looks, tasks = observed.configurations(best), observed.targets(best)
    source = source_of(best, observed.selection(table))
    curves = {(look.name, exponent): _curves(best, look, exponent) for look in looks for exponent in EXPONENTS}
    reach: dict[str, list[float]] = {exponent: [] for exponent in EXPONENTS}
    for (_, exponent), of_panel in curves.items():
        reach[exponent] += [v for found in of_panel.values() for v in _reach(found)]

    def panel(look: style.Look, exponent: str) -> Panel:
        shown, inside = curves[look.name, exponent], set(observed.targets(best, "ID"))
        if not shown:
            return "no joint law with\nthis exponent"
        return partial(_panel, look=look, exponent=exponent, curves=shown, inside=inside, ends=reach[exponent])

    def page(rows: int) -> Page:
        height = (4.2 if len(tasks) > 4 else 3.9) * rows / len(EXPONENTS)
        return Page(style.TWO_COLUMNS, height, "Profile likelihoods of the exponents", CAPTION, source)

    keys = [style.key("in distribution", linewidth=2)]
    keys += [style.key((look := style.target(t)).label, look.colour, linewidth=1.1) for t in tasks]
    keys.append(style.key("95 % limit", linewidth=0.9, linestyle=(0, (4, 2))))
    ylabels = dict.fromkeys(EXPONENTS, "increase ÷ 95 % limit")
    header = {"pad": 14}
    return grid(looks, list(EXPONENTS), panel, page, ylabels=ylabels, keys=lambda _: keys, header=header, sharey=True)


def _curves(best: pd.DataFrame, look: style.Look, exponent: str) -> dict[str, bands.Likelihood]:
    """The profile of every target whose joint law has the exponent."""
    part = best[best["configuration"] == look.name]
    found = {
        target: bands.likelihood("joint", part[part["target"] == target], exponent)
        for target in [*observed.targets(part, "ID"), *observed.targets(part)]
    }
    return {target: curve for target, curve in found.items() if curve is not None}


def _panel(
    page: Page,
    ax: Axes,
    look: style.Look,
    exponent: str,
    curves: dict[str, bands.Likelihood],
    inside: set[str],
    ends: list[float],
) -> None:
    for target, found in curves.items():
        line: dict[str, Any] = (
            {"color": look.colour, "linewidth": 2, "zorder": 4}
            if target in inside
            else {"color": style.target(target).colour}
        )
        ax.plot(
            found.values, np.minimum(found.excess, 2 * TOP), **({"linewidth": 0.9, "zorder": 3, "alpha": 0.9} | line)
        )
        panel, increase = f"{look.label}, {exponent}", ("increase / 95 % limit", found.excess)
        page.record(panel, "profile", target, (exponent, found.values), increase)
    ax.axhline(1, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=2)
    ax.set_xlabel(EXPONENTS[exponent])
    ax.set_ylim(0, TOP)
    style.linear(ax.yaxis)
    at: dict[str, Any] = {
        "xycoords": "axes fraction",
        "xytext": (1, 3),
        "textcoords": "offset points",
        "in_layout": False,
    }
    known = sum(bool(found.excess[0] > 1 and found.excess[-1] > 1) for found in curves.values())
    ax.annotate(f"{known} of {len(curves)} closed on both sides", (0, 1), fontsize=style.SMALL, va="bottom", **at)
    style.logarithmic(ax.xaxis, min(ends), max(ends))


def _reach(found: bands.Likelihood) -> tuple[float, float]:
    """The values between which a curve lies below the top of the panel."""
    below = found.values[found.excess <= TOP]
    return (float(np.min(below)), float(np.max(below))) if len(below) else (found.best / 2, found.best * 2)
