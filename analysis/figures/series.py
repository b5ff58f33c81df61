"""One line of a figure: runs along N or D, the marginal law fitted to them, and its floor."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import fitted, observed, style
from analysis.figures.plate import Plate

AXES = {"N": "parameters N", "D": "recordings D"}
LAW = {"N": ("size", "alpha"), "D": ("data", "beta")}


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

    @property
    def exponent(self) -> fitted.Number | None:
        """The exponent of the fitted law."""
        return self.law.numbers[LAW[self.variable][1]] if self.law else None


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
        return [Series(target, observed.at_full_data(part), next(iter(fits.values()), None), look, "N", scale)]
    found: list[Series] = []
    for n in observed.sizes_with_fractions(part):
        runs = part[part["N"] == n].sort_values("D")
        found.append(Series(target, runs, fits.get(f"N = {n:.4g}"), look, "D", scale, hollow=bool(found)))
    return found


def frame(ax: Axes, shown: list[Series]) -> None:
    """Axes that hold all points: log x, linear y; the few far above are counted in a corner."""
    x = np.concatenate([s.points[s.variable].to_numpy(float) for s in shown])
    y = np.concatenate([s.points["loss"].to_numpy(float) / s.scale for s in shown])
    style.logarithmic(ax.xaxis, x.min(), x.max())
    low, high, above = style.without_outliers(y.tolist())
    room = 0.12 * max(high - low, 0.02 * abs(high))
    ax.set_ylim(low - room, high + room)
    style.say_above(ax, above, "run")
    style.linear(ax.yaxis)


def draw_series(plate: Plate, ax: Axes, panel: str, s: Series, y_name: str) -> None:
    """Points, law and floor of one line."""
    xs, ys = s.points[s.variable].to_numpy(float), s.points["loss"].to_numpy(float) / s.scale
    face = "white" if s.hollow else s.look.colour
    ax.plot(xs, ys, s.look.marker, color=s.look.colour, markerfacecolor=face, markeredgewidth=0.8, zorder=4)
    plate.record(panel, "run", s.name, (s.variable, xs), (y_name, ys), list(s.points["run_id"]))
    if s.law is not None and s.exponent is not None:
        _law(plate, ax, panel, s, s.law, s.exponent, y_name)


def _law(
    plate: Plate, ax: Axes, panel: str, s: Series, law: fitted.Fitted, exponent: fitted.Number, y_name: str
) -> None:
    xs = np.geomspace(s.points[s.variable].min(), s.points[s.variable].max(), 80)
    ys = law(**{s.variable: xs}) / s.scale
    line = style.law_line(exponent.known)
    line["linewidth"] *= 0.7 if s.hollow else 1
    ax.plot(xs, ys, color=s.look.colour, zorder=3, **line)
    plate.record(panel, "law", s.name, (s.variable, xs), (y_name, ys), exponent.text())
    if not exponent.known or s.hollow:
        return
    floor = law.numbers["E"].value / s.scale
    bottom, top = ax.get_ylim()
    span = top - bottom
    if bottom - 0.45 * span < floor <= bottom:
        bottom = floor - 0.08 * span
        ax.set_ylim(bottom, top)
    if bottom < floor < top:
        ax.axhline(floor, color=s.look.colour, zorder=2, **style.FLOOR)
    plate.record(panel, "floor", s.name, (s.variable, np.nan), (y_name, floor), law.numbers["E"].text(3))


def law_keys(law: str = "law (Eq. 2)") -> list[style.Line2D]:
    """Entries of a legend for full and dashed laws and for floors."""
    return [
        style.key(law, **style.law_line(True)),
        style.key("not identified", **style.law_line(False)),
        style.key("floor E", **style.FLOOR),
    ]
