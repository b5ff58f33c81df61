"""One line of a figure: runs along N or D, their law, its band, its floor, and where it goes.

The law is the marginal one fitted to the line's own runs; where few runs leave its exponent open and the joint law of
all sizes and amounts of data knows it, the line is a slice of the joint law.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import fitted, observed, style
from ecgscale.analysis.figures.figure import Page
from ecgscale.analysis.fitting import bands

AXES = {"N": "parameters N", "D": "recordings D"}
LAW = {"N": ("size", "alpha"), "D": ("data", "beta")}
REACH = 0.16  # of the measured decades: how far a law is drawn beyond the largest run
FEW = 4  # lines: more of them, threefold apart, share a panel only on a log axis


@dataclass(frozen=True)
class Series:
    """Points of one line with the law fitted to them, drawn in one look; losses are divided by ``scale``."""

    name: str
    points: pd.DataFrame
    law: fitted.Fitted | None
    look: style.Look
    variable: str  # N or D
    scale: float = 1.0
    hollow: bool = False
    joint: pd.DataFrame | None = None  # the runs of the joint law, where the line is a slice of it

    @property
    def exponent(self) -> fitted.Number | None:
        """The exponent of the fitted law."""
        return self.law.numbers[LAW[self.variable][1]] if self.law else None

    @property
    def held(self) -> dict[str, float]:
        """What a slice of the joint law holds: {"D": recordings} along N, {"N": parameters} along D."""
        if self.joint is None:
            return {}
        other = "D" if self.variable == "N" else "N"
        return {other: float(self.points[other].max())}

    def curve(self, xs: Any) -> Any:
        """The law's loss at ``xs``, in the figure's scale."""
        assert self.law is not None
        return self.law(**{self.variable: xs}, **self.held) / self.scale


def series_of(
    part: pd.DataFrame, table: pd.DataFrame, name: str, target: str, variable: str, look: style.Look, scale: float = 1.0
) -> list[Series]:
    """Lines of a configuration on a target: one over N at full data, or one over D for each size with fractions.

    ``part``: observations of that configuration and target. The largest such size comes first, the others are hollow.
    """
    fits = {f.at: f for f in fitted.find(table, LAW[variable][0], name, target)}
    if part.empty:
        return []
    if variable == "N":
        line = Series(target, observed.at_full_data(part), next(iter(fits.values()), None), look, "N", scale)
        return _sliced([line], part, table, name)
    found: list[Series] = []
    for n in observed.sizes_with_fractions(part):
        runs = part[part["N"] == n].sort_values("D")
        found.append(Series(target, runs, fits.get(f"N = {n:.4g}"), look, "D", scale, hollow=bool(found)))
    return _sliced(found, part, table, name)


def _sliced(lines: list[Series], part: pd.DataFrame, table: pd.DataFrame, name: str) -> list[Series]:
    """Lines as slices of the joint law, where it alone knows the exponent of the first."""
    if not lines or (lines[0].exponent and lines[0].exponent.known):
        return lines
    joint = next((f for f in fitted.find(table, "joint", name, lines[0].name)), None)
    if joint is None or not joint.known(LAW[lines[0].variable][1]):
        return lines
    return [replace(line, law=joint, joint=part) for line in lines]


def frame(ax: Axes, shown: list[Series]) -> None:
    """Axes that hold all points: log x, linear y (log where many tasks differ much).

    The few points far above are counted in a corner; the ground beyond the largest is grey.
    """
    x = np.concatenate([s.points[s.variable].to_numpy(float) for s in shown])
    y = np.concatenate([s.points["loss"].to_numpy(float) / s.scale for s in shown])
    style.logarithmic(ax.xaxis, x.min(), x.max())
    if any(s.exponent and s.exponent.known and not s.hollow for s in shown):
        left, right = ax.get_xlim()
        right = max(right, x.max() * (x.max() / x.min()) ** REACH)
        ax.set_xlim(left, right)
        ax.axvspan(x.max(), right, color=style.EXTRAPOLATED, linewidth=0, zorder=0)
    low, high, above = style.without_outliers(y.tolist())
    style.say_above(ax, above, "run")
    if len(shown) > FEW and 0 < low < high / 3:
        style.logarithmic(ax.yaxis, low, high)
        return
    room = 0.12 * max(high - low, 0.02 * abs(high))
    ax.set_ylim(low - room, high + room)
    style.linear(ax.yaxis)


def draw_series(page: Page, ax: Axes, panel: str, s: Series, y_name: str, crowded: bool = False) -> None:
    """Points, law, floor and 95 % band of one line; ``crowded``: small, without band, the floor at the edge alone."""
    xs, ys = s.points[s.variable].to_numpy(float), s.points["loss"].to_numpy(float) / s.scale
    face = "white" if s.hollow else s.look.colour
    marks: dict[str, Any] = {"markersize": 2.6 if crowded else 4, "markeredgewidth": 0.5 if crowded else 0.8}
    ax.plot(xs, ys, s.look.marker, color=s.look.colour, markerfacecolor=face, zorder=4, **marks)
    page.record(panel, "run", s.name, (s.variable, xs), (y_name, ys), list(s.points["run_id"]))
    if s.law is not None and s.exponent is not None:
        _law(page, ax, panel, s, s.law, s.exponent, y_name, crowded)
        if not crowded and s.exponent.known and not s.hollow:
            _band(page, ax, panel, s, y_name)


def _law(
    page: Page,
    ax: Axes,
    panel: str,
    s: Series,
    law: fitted.Fitted,
    exponent: fitted.Number,
    y_name: str,
    crowded: bool,
) -> None:
    xs = np.geomspace(s.points[s.variable].min(), s.points[s.variable].max(), 80)
    ys = s.curve(xs)
    line = style.law_line(exponent.known) if s.joint is None else dict(style.SLICE)
    line["linewidth"] *= 0.7 if s.hollow or crowded else 1
    ax.plot(xs, ys, color=s.look.colour, zorder=3, **line)
    kind = "law" if s.joint is None else "slice of the joint law"
    page.record(panel, kind, s.name, (s.variable, xs), (y_name, ys), exponent.text())
    if not exponent.known or s.hollow:
        return
    ahead: dict[str, Any] = style.BEYOND | ({"linewidth": 0.8} if crowded else {})
    beyond = np.geomspace(xs[-1], ax.get_xlim()[1], 12)
    ax.plot(beyond, s.curve(beyond), color=s.look.colour, zorder=3, **ahead)
    if s.joint is not None:
        return  # its floor is reached along both axes alone
    floor = law.numbers["E"].value / s.scale
    bottom, top = ax.get_ylim()
    span = top - bottom
    if not crowded and bottom - 0.45 * span < floor <= bottom:
        bottom = floor - 0.08 * span
        ax.set_ylim(bottom, top)
    if bottom < floor < top:
        ax.axhline(floor, 0.93 if crowded else 0, color=s.look.colour, zorder=2, **style.FLOOR)
    page.record(panel, "floor", s.name, (s.variable, np.nan), (y_name, floor), law.numbers["E"].text(3))


def _band(page: Page, ax: Axes, panel: str, s: Series, y_name: str) -> None:
    xs = np.geomspace(s.points[s.variable].min(), ax.get_xlim()[1], 24)
    kind, runs = (LAW[s.variable][0], s.points) if s.joint is None else ("joint", s.joint)
    band = bands.band(kind, runs, **{s.variable: xs}, **s.held)
    if band is None or np.abs(np.log(band.loss / (s.curve(xs) * s.scale))).max() > bands.AGREE:
        return  # the table was fitted otherwise: another objective, other points
    low, high = band.low / s.scale, band.high / s.scale
    ax.fill_between(xs, low, high, color=s.look.colour, alpha=style.BAND, linewidth=0, zorder=1.5)
    for kind, ys in (("band, low", low), ("band, high", high)):
        page.record(panel, kind, s.name, (s.variable, xs), (y_name, ys), "95 %, profile likelihood")


def mark_lost(page: Page, ax: Axes, panel: str, points: pd.DataFrame, configuration: str, variable: str) -> bool:
    """Crosses on the axis where runs failed, diverged or ran out of memory; says whether there are any.

    Over N those at full data count, over D those at a size that the panel follows.
    """
    lost = observed.lost(points, configuration)
    if lost.empty or points.empty:
        return False
    mine = points[points["configuration"] == configuration]
    if variable == "N":
        lost = lost[lost["D"] >= mine["D"].max()] if len(mine) else lost
    else:
        lost = lost[lost["N"].isin(observed.sizes_with_fractions(mine))] if len(mine) else lost
    if lost.empty:
        return False
    values = lost[variable].to_numpy(float)
    if ax.get_xscale() == "log" and math.isfinite(values.sum()):
        left, right = ax.get_xlim()
        ax.set_xlim(min(left, values.min() / 1.2), max(right, values.max() * 1.2))
    ax.plot(
        values,
        np.zeros(len(values)),
        "x",
        transform=ax.get_xaxis_transform(),
        color=style.WARNING,
        markersize=4.5,
        markeredgewidth=1.2,
        clip_on=False,
        zorder=6,
    )
    page.record(panel, "lost run", configuration, (variable, values), ("", np.nan), list(lost["status"]))
    return True


def law_keys(shown: Iterable[Series]) -> list[style.Line2D]:
    """Entries of a legend for the laws, slices and floors of the lines that are shown."""
    return [
        style.key("law (Eq. 2), 95 % band", **style.law_line(True)),
        *(
            [style.key("slice of the joint law (Eq. 1)", **style.SLICE)]
            if any(s.joint is not None for s in shown)
            else []
        ),
        style.key("extrapolated", **style.BEYOND),
        style.key("not identified", **style.law_line(False)),
        style.key("floor E", **style.FLOOR),
    ]


def lost_key() -> style.Line2D:
    """Entry of a legend for runs that failed."""
    return style.key("failed run", style.WARNING, "x", markersize=4.5, markeredgewidth=1.2, linestyle="")
