"""Two sweeps side by side: their exponents with intervals, and the losses of the cells that both measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import fitted, observed, style
from ecgscale.analysis.figures.figure import Page, panel_letter

CAPTION = (
    "(a, b) Exponents of the joint law (Eq. 1) in one sweep against the other, one marker a target and "
    "configuration, with the 95 % intervals of both; on the grey line they agree, open markers are not identified "
    "in one of them. (c) Loss of the second sweep over that of the first in every cell (configuration, target, N, "
    "D) that both measured, as a median over targets for each run, against N: below the line the second sweep "
    "does better."
)
CELL = ["configuration", "domain", "target", "N", "D"]


def draw(points: pd.DataFrame, table: pd.DataFrame, sweeps: Sequence[str]) -> list[Page]:
    """Exponents of two sweeps against each other, and the ratio of their losses where they share cells."""
    first, second = sweeps
    sides = []
    for sweep in (first, second):
        fits = table[table["sweep"] == sweep] if len(table) else table
        own = observed.best(points[points["sweep"] == sweep], fits)
        sides.append(observed.one_group(own, fits)[:2])
    page = Page(style.TWO_COLUMNS, 2.75, f"{first} and {second}", CAPTION)
    runs = [side[0]["run_id"].nunique() for side in sides]
    page.source = f"{runs[0]} runs of sweep {first} · {runs[1]} runs of sweep {second}"
    looks = observed.configurations(pd.concat([sides[0][0], sides[1][0]]))
    axes = page.subplots(1, 3)
    for ax, exponent, letter in zip(axes, ("alpha", "beta"), "ab", strict=False):
        _exponents(page, ax, exponent, sides, looks, sweeps)
        panel_letter(ax, letter)
    _ratio(page, axes[2], sides, looks, sweeps)
    panel_letter(axes[2], "c")
    handles = [style.key(look.label, look.colour, look.marker, linestyle="") for look in looks]
    handles.append(style.key("not identified in both", marker="o", markerfacecolor="white", linestyle=""))
    page.legend(handles=handles, loc="outside upper center", ncols=style.columns(len(handles)), fontsize=7.5)
    return [page]


def _exponents(
    page: Page,
    ax: Axes,
    exponent: str,
    sides: list[tuple[pd.DataFrame, pd.DataFrame]],
    looks: list[style.Look],
    sweeps: Sequence[str],
) -> None:
    symbol = fitted.NAMES[exponent]
    ax.set_xlabel(f"{symbol}, {sweeps[0]}")
    ax.set_ylabel(f"{symbol}, {sweeps[1]}")
    shown, agree, both = [], 0, 0
    for look in looks:
        for target in sorted(set(sides[0][0]["target"]) | set(sides[1][0]["target"])):
            own = [_own_target(side[0], target) for side in sides]
            fits = [fitted.find(side[1], "joint", look.name, t) for side, t in zip(sides, own, strict=True)]
            if not all(fits):
                page.note_missing(f"{exponent} of {look.label} on {target} in both sweeps")
                continue
            x, y = (f[0].numbers[exponent] for f in fits)
            if not np.isfinite(x.value + y.value):
                continue
            known = x.known and y.known
            size: dict[str, Any] = {"markersize": 4 if known else 3, "alpha": 1 if known else 0.6}
            face = look.colour if known else "white"
            ax.plot(x.value, y.value, look.marker, color=look.colour, markerfacecolor=face, zorder=4, **size)
            if known:
                ax.plot([x.low, x.high], [y.value] * 2, color=look.colour, linewidth=0.7, alpha=0.5, zorder=3)
                ax.plot([x.value] * 2, [y.low, y.high], color=look.colour, linewidth=0.7, alpha=0.5, zorder=3)
                shown += [x.value, y.value]
                both += 1
                agree += x.low <= y.high and y.low <= x.high
            page.record(exponent, "exponents", f"{look.name}, {target}", (sweeps[0], x.value), (sweeps[1], y.value))
    if not shown:
        style.say(ax, "no exponent is identified\nin both sweeps", at=(0.5, 0.85))
        shown = [0.05, 3.0]
    for axis in (ax.xaxis, ax.yaxis):
        style.logarithmic(axis, min(shown) / 1.3, max(shown) * 1.3)
    ends = np.array([ax.get_xlim()[0], ax.get_xlim()[1]])
    ax.plot(ends, ends, color=style.FAINT, linewidth=0.8, zorder=1)
    if both:
        ax.set_title(f"intervals overlap: {agree} of {both}", fontsize=style.SMALL)


def _own_target(side: pd.DataFrame, target: str) -> str:
    """The target under this name, or the sweep's own in-distribution target where another corpus' is asked for."""
    return target if target in set(side["target"]) else ""


def _ratio(
    page: Page, ax: Axes, sides: list[tuple[pd.DataFrame, pd.DataFrame]], looks: list[style.Look], sweeps: Sequence[str]
) -> None:
    ax.set_xlabel("parameters N")
    ax.set_ylabel(f"loss, {sweeps[1]} ÷ {sweeps[0]}")
    means = [side[0].groupby(CELL)["loss"].mean() for side in sides]
    both = pd.concat(means, axis=1, join="inner", keys=["first", "second"]).reset_index()
    if both.empty:
        style.blank(ax, "the sweeps share no cell\n(configuration, target, N, D)")
        page.note_missing("cells that both sweeps measured")
        return
    both["ratio"] = both["second"] / both["first"]
    cells = both.groupby(["configuration", "N", "D"])["ratio"].median().reset_index()
    for look in looks:
        part = cells[cells["configuration"] == look.name]
        marks: dict[str, Any] = {"color": look.colour, "markersize": 3.4, "markeredgewidth": 0, "alpha": 0.85}
        ax.plot(part["N"], part["ratio"], look.marker, zorder=3, **marks)
        page.record("ratio", "run", look.name, ("N", part["N"]), ("ratio of losses", part["ratio"]))
    ax.axhline(1, color=style.FAINT, linewidth=0.8, zorder=1)
    style.logarithmic(ax.xaxis, cells["N"].min(), cells["N"].max())
    style.linear(ax.yaxis, 5)
    ax.set_title(f"{len(cells)} cells, median {style.number(float(cells['ratio'].median()))}", fontsize=style.SMALL)
