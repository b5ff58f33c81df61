"""Adaptive design against a grid on planted laws: width of the intervals of alpha and beta against compute."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ecgscale.analysis.figures import style
from ecgscale.analysis.figures.figure import Page, panel_letter
from ecgscale.analysis.figures.typesetting import paper
from ecgscale.analysis.planning.adaptive_vs_grid import DESIGNS, reached

MARK = "Simulated: losses drawn from planted laws"
CAPTION = (
    "Interval width of α (a) and β (b), relative to that of the whole grid, against compute, relative to the grid's. "
    "Lines are medians over planted laws and bands their quartiles; runs of the grid are taken cheapest first. "
    "(c) Compute at which each law's adaptive design has both intervals as narrow as the whole grid's; "
    "the bar is the median, › marks laws that did not get there within the allowance."
)
LOOKS = dict(zip(DESIGNS, (("#5C6670", "s", (0, (4, 1.5))), ("#004488", "o", "-"), ("#DDAA33", "^", "-")), strict=True))


def draw(table: pd.DataFrame, what: str) -> Page:
    """Three panels of a table of ``adaptive_vs_grid.compare_designs``; ``what``: its grid, for the footer."""
    with paper():
        page = Page(style.TWO_COLUMNS, 3.0, "Adaptive design against the grid", CAPTION)
        page.source = f"{table['law'].nunique()} planted laws · {what}"
        axes = page.subplots(1, 3, width_ratios=(1, 1, 0.8))
        for ax, letter, name, symbol in zip(axes, "ab", ("alpha", "beta"), "αβ", strict=False):
            panel_letter(ax, letter)
            ax.axhline(1.0, color=style.FAINT, linewidth=0.8, zorder=1)
            for design in DESIGNS:
                _widths(page, ax, table[table["design"] == design], design, name)
            _shares(ax, table["flops"])
            style.logarithmic(ax.yaxis, 0.4, 6)
            ax.set_ylim(0.35, 7)
            ax.set_ylabel(f"width of {symbol}'s interval ÷ grid's")
        panel_letter(axes[2], "c")
        _arrivals(page, axes[2], reached(table))
        keys = [style.key(name, colour, marker, linestyle=line) for name, (colour, marker, line) in LOOKS.items()]
        page.legend(handles=keys, loc="outside upper center", ncols=3)
        page.footer(MARK)
        page.fix_layout()
    return page


def _widths(page: Page, ax: Axes, part: pd.DataFrame, design: str, name: str) -> None:
    """Median and quartiles over laws, read off each law's compared at the same amounts of compute."""
    colour, marker, line = LOOKS[design]
    laws = [look.sort_values("flops") for _, look in part.groupby("law")]
    low = max(look["flops"].min() for look in laws)
    high = min(look["flops"].max() for look in laws)
    at = np.geomspace(low, high, 9)
    log_widths = [np.interp(np.log(at), np.log(look["flops"]), np.log(look[name])) for look in laws]
    quartiles = np.exp(np.quantile(log_widths, [0.25, 0.5, 0.75], axis=0))
    ax.fill_between(at, quartiles[0], quartiles[2], color=colour, alpha=0.15, linewidth=0)
    ax.plot(at, quartiles[1], color=colour, marker=marker, linestyle=line, markersize=3)
    axis = ("compute over the grid's", at)
    for kind, values in zip(("lower quartile", "median", "upper quartile"), quartiles, strict=True):
        page.record(name, kind, design, axis, (f"width of {name} over the grid's", values))


def _arrivals(page: Page, ax: Axes, arrived: pd.DataFrame) -> None:
    """One dot a law and adaptive design, the median as a bar."""
    designs: Sequence[str] = [d for d in DESIGNS if d in set(arrived["design"])]
    reached_at = arrived.loc[np.isfinite(arrived["flops"]), "flops"]
    first, edge = (1.0, 1.0) if reached_at.empty else (float(reached_at.min()), float(reached_at.max()))
    for place, design in enumerate(designs):
        colour, marker, _ = LOOKS[design]
        flops = np.sort(arrived.loc[arrived["design"] == design, "flops"].to_numpy())
        median = float(np.median(flops))
        heights = place + np.linspace(-0.25, 0.25, len(flops))
        inside = np.isfinite(flops)
        ax.plot(flops[inside], heights[inside], marker, color=colour, markersize=3, alpha=0.7)
        late = int((~inside).sum())
        ax.plot(np.full(late, edge * 1.35), heights[~inside], ">", color=colour, markersize=3, mfc="none")
        if np.isfinite(median):
            ax.plot([median] * 2, [place - 0.36, place + 0.36], color=style.INK, linewidth=1.2)
            ax.annotate(f"{median:.0%}", (median, place + 0.4), ha="center", va="bottom", fontsize=7)
        page.record("arrival", "law", design, ("compute over the grid's", flops), ("place", heights))
    ax.set_ylim(-0.6, len(designs) - 0.2)
    ax.yaxis.set_major_locator(NullLocator())
    ax.grid(False, axis="y")
    _shares(ax, pd.Series([first, edge * 1.4]))
    ax.set_xlabel("compute ÷ grid's, where as narrow")


def _shares(ax: Axes, flops: pd.Series) -> None:
    """A log axis of compute in percent of the grid's."""
    style.logarithmic(ax.xaxis, float(flops.min()), float(flops.max()))
    ax.xaxis.set_major_locator(FixedLocator([0.001, 0.01, 0.1, 1.0] if flops.min() < 0.01 else [0.03, 0.1, 0.3, 1.0]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.3g}" if v < 0.01 else f"{v:.0%}"))
    ax.set_xlabel("compute ÷ grid's")
