"""Loss against size and data, in and out of distribution: the shape of the paper's Fig. 2."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import fitted, observed, style
from analysis.figures.plate import Plate, panel_letter, source_of

CAPTION = (
    "Test loss against backbone parameters N (all the data) and against unique pretraining recordings D (one "
    "size), in distribution (left) and on tasks probed with frozen features (right). Points are runs at their "
    "best step; lines are the marginal laws (Eq. 2), L = E + A N^−α and L = E + B D^−β, with the floor E dotted "
    "where it falls inside the panel. Exponents carry 95 % intervals. Thin dashed lines are fits whose exponent "
    "is at a bound or not identified: they follow the points and say nothing about scaling."
)
COLUMNS = (("ID", "N"), ("ID", "D"), ("OOD", "N"), ("OOD", "D"))
AXES = {"N": "parameters N", "D": "recordings D"}
LAW = {"N": ("size", "alpha"), "D": ("data", "beta")}
LISTED = 4  # tasks whose exponents fit above a panel


@dataclass(frozen=True)
class Series:
    """Points of one line with the law fitted to them, drawn in one look."""

    name: str
    points: pd.DataFrame
    law: fitted.Fitted | None
    look: style.Look
    scale: float = 1.0
    hollow: bool = False


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Four columns (ID and OOD loss against N and D) by one row a configuration."""
    best = observed.best(points, table)
    names = observed.configurations(best)
    tasks = observed.targets(best)
    scales, label = observed.scale(best)
    listed = len(tasks) if len(tasks) <= LISTED else 1
    plate = Plate(style.TWO_COLUMNS, (1.16 + 0.115 * listed) * len(names) + 0.75, "Loss against size and data", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(len(names), len(COLUMNS), squeeze=False)
    for i, name in enumerate(names):
        for j, (domain, variable) in enumerate(COLUMNS):
            ax = axes[i, j]
            part = best[(best["configuration"] == name) & (best["domain"] == domain)]
            series = _series(part, table, name, domain, variable, scales)
            panel = f"{style.configuration(name).label}, {domain} against {variable}"
            _panel(plate, ax, panel, series, variable, label if domain == "OOD" else "ID loss (nats)")
            panel_letter(ax, "abcdefghijklmnopqrstuvwxyz"[(i * len(COLUMNS) + j) % 26])
            if i == len(names) - 1:
                ax.set_xlabel(AXES[variable])
            if j == 0:
                look = style.configuration(name)
                ax.set_ylabel("ID loss (nats)")
                ax.annotate(
                    look.label,
                    (0, 0.5),
                    xycoords="axes fraction",
                    xytext=(-36, 0),
                    textcoords="offset points",
                    rotation=90,
                    ha="center",
                    va="center",
                    fontsize=10,
                    fontweight="semibold",
                    color=style.legible(look.colour),
                )
            if j == 2:
                ax.set_ylabel(label)
    _legend(plate, tasks)
    return plate


def _series(
    part: pd.DataFrame, table: pd.DataFrame, name: str, domain: str, variable: str, scales: dict[str, float]
) -> list[Series]:
    law = LAW[variable][0]
    found = []
    for target in style.in_order(list(part["target"].unique()), style.TARGETS):
        of_target = part[part["target"] == target]
        look = style.configuration(name) if domain == "ID" else style.target(target)
        scale = scales.get(target, 1.0) if domain == "OOD" else 1.0
        fits = {f.at: f for f in fitted.find(table, law, name, target)}
        if variable == "N":
            chosen = [("", observed.at_full_data(of_target))]
        else:
            sizes = observed.sizes_with_fractions(of_target)
            sizes = sizes if domain == "ID" else sizes[:1]
            chosen = [(f"N = {n:.4g}", of_target[of_target["N"] == n].sort_values("D")) for n in sizes]
        for k, (at, runs) in enumerate(chosen):
            fit = fits.get(at) if at else next(iter(fits.values()), None)
            found.append(Series(target, runs, fit, look, scale, hollow=k > 0))
    return found


def _panel(plate: Plate, ax: Axes, panel: str, series: list[Series], variable: str, y_name: str) -> None:
    shown = [s for s in series if len(s.points)]
    if not shown:
        style.say(ax, "no finished runs" if not series else "no size saw several fractions")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        plate.lacks(panel)
        return
    x = np.concatenate([s.points[variable].to_numpy(float) for s in shown])
    y = np.concatenate([s.points["loss"].to_numpy(float) / s.scale for s in shown])
    style.logarithmic(ax.xaxis, x.min(), x.max())
    low, high, above = style.without_outliers(y.tolist())
    style.say_above(ax, above, "run")
    room = 0.12 * max(high - low, 0.02 * abs(high))
    ax.set_ylim(low - room, high + room)
    style.linear(ax.yaxis)
    if y_name.endswith("prevalence") and low - room < 1 < high + room:
        ax.axhline(1, color=style.FAINT, linewidth=0.6, zorder=1)
    for s in shown:
        _points(plate, ax, panel, s, variable, y_name)
        if s.law:
            _curve(plate, ax, panel, s, variable, y_name)
    _words(ax, shown, variable)


def _points(plate: Plate, ax: Axes, panel: str, s: Series, variable: str, y_name: str) -> None:
    xs, ys = s.points[variable].to_numpy(float), s.points["loss"].to_numpy(float) / s.scale
    face = "white" if s.hollow else s.look.colour
    ax.plot(xs, ys, s.look.marker, color=s.look.colour, markerfacecolor=face, markeredgewidth=0.8, zorder=4)
    plate.record(panel, "run", s.name, (variable, xs), (y_name, ys), list(s.points["run_id"]))


def _curve(plate: Plate, ax: Axes, panel: str, s: Series, variable: str, y_name: str) -> None:
    assert s.law is not None
    exponent = s.law.numbers[LAW[variable][1]]
    xs = np.geomspace(s.points[variable].min(), s.points[variable].max(), 80)
    ys = s.law(**{variable: xs}) / s.scale
    known = exponent.known
    line = style.law_line(known)
    line["linewidth"] *= 0.7 if s.hollow else 1
    ax.plot(xs, ys, color=s.look.colour, zorder=3, **line)
    plate.record(panel, "law", s.name, (variable, xs), (y_name, ys), exponent.text())
    floor = s.law.numbers["E"].value / s.scale
    bottom, top = ax.get_ylim()
    if known and not s.hollow:
        span = top - bottom
        if bottom - 0.45 * span < floor <= bottom:
            ax.set_ylim(floor - 0.08 * span, top)
            bottom = floor - 0.08 * span
        if bottom < floor < top:
            ax.axhline(floor, color=s.look.colour, zorder=2, **style.FLOOR)
        plate.record(panel, "floor", s.name, (variable, np.nan), (y_name, floor), s.law.numbers["E"].text(3))


def _words(ax: Axes, shown: list[Series], variable: str) -> None:
    """Exponents above the panel, where no point can be hidden by them."""
    exponent = LAW[variable][1]
    outside = len({s.name for s in shown}) > 1 or shown[0].look in style.TARGETS.values()
    lines: list[tuple[str, str]] = []
    if len(shown) > LISTED:
        values = [s.law.numbers[exponent].value for s in shown if s.law and s.law.known(exponent)]
        middle = f"median {np.median(values):.2f}, " if values else ""
        lines.append((f"{fitted.NAMES[exponent]}: {middle}known for {len(values)} of {len(shown)} tasks", style.INK))
    else:
        for s in shown:
            if s.law is None:
                text = f"n = {len(s.points)}, no fit"
            else:
                number = s.law.numbers[exponent]
                r2 = f" · n {s.law.n_points} · R² {s.law.r2:.2f}" if number.known and not outside else ""
                text = number.text() + r2
            if variable == "D" and not outside:
                text = f"N {style.si(float(s.points['N'].iloc[0]))}: " + text.split(" · n")[0]
            lines.append((text, s.look.colour))
    for k, (text, colour) in enumerate(reversed(lines)):
        ax.annotate(
            text,
            (0, 1),
            xycoords="axes fraction",
            xytext=(4, 3 + 8.2 * k),
            textcoords="offset points",
            fontsize=6.5,
            color=style.legible(colour),
            va="bottom",
        )


def _legend(plate: Plate, tasks: list[str]) -> None:
    handles = [style.key((look := style.target(t)).label, look.colour, look.marker, linewidth=1.2) for t in tasks]
    handles += [
        style.key("law (Eq. 2)", **style.law_line(True)),
        style.key("not identified", **style.law_line(False)),
        style.key("floor E", **style.FLOOR),
    ]
    plate.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 6), fontsize=7.5, columnspacing=1.4
    )
