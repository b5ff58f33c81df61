"""Loss against size and data, in and out of distribution: the shape of the paper's Fig. 2."""

import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import fitted, observed, style
from analysis.figures.plate import Plate, panel_letter, source_of
from analysis.figures.series import AXES, LAW, Series, draw_series, frame, law_keys, series_of

CAPTION = (
    "Test loss against backbone parameters N (all the data) and against unique pretraining recordings D (one "
    "size), in distribution (left) and on tasks probed with frozen features (right). Points are runs at their "
    "best step; lines are the marginal laws (Eq. 2), L = E + A N^−α and L = E + B D^−β, with the floor E dotted "
    "where it falls inside the panel. Exponents carry 95 % intervals. Thin dashed lines are fits whose exponent "
    "is at a bound or not identified: they follow the points and say nothing about scaling."
)
COLUMNS = (("ID", "N"), ("ID", "D"), ("OOD", "N"), ("OOD", "D"))
LISTED = 4  # tasks whose exponents fit above a panel


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
            nothing = "no finished runs" if part.empty else "no size saw several\namounts of data"
            _panel(plate, ax, panel, series, label if domain == "OOD" else "ID loss (nats)", nothing)
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
    found: list[Series] = []
    for target in style.in_order(list(part["target"].unique()), style.TARGETS):
        look = style.configuration(name) if domain == "ID" else style.target(target)
        scale = scales.get(target, 1.0) if domain == "OOD" else 1.0
        lines = series_of(part[part["target"] == target], table, name, target, variable, look, scale)
        found += lines if domain == "ID" else lines[:1]
    return found


def _panel(plate: Plate, ax: Axes, panel: str, series: list[Series], y_name: str, nothing: str) -> None:
    if not series:
        style.blank(ax, nothing)
        plate.lacks(panel)
        return
    frame(ax, series)
    low, high = ax.get_ylim()
    if y_name.endswith("prevalence") and low < 1 < high:
        ax.axhline(1, color=style.FAINT, linewidth=0.6, zorder=1)
    for s in series:
        draw_series(plate, ax, panel, s, y_name)
    _words(ax, series)


def _words(ax: Axes, shown: list[Series]) -> None:
    """Exponents above the panel, where no point can be hidden by them."""
    variable, inside = shown[0].variable, shown[0].look not in style.TARGETS.values()
    name = fitted.NAMES[LAW[variable][1]]
    lines: list[tuple[str, str]] = []
    if len(shown) > LISTED:
        values = [s.exponent.value for s in shown if s.exponent and s.exponent.known]
        lines.append((style.median_of(name, values, len(shown)), style.INK))
    else:
        for s in shown:
            text = s.exponent.text() if s.exponent else f"{len(s.points)} runs, no fit"
            if inside and variable == "D":
                text = f"N {style.si(float(s.points['N'].iloc[0]), 2)}{', open' if s.hollow else ''}: {text}"
            elif inside and s.law and s.exponent and s.exponent.known:
                text += f" · n {s.law.n_points} · R² {s.law.r2:.2f}"
            lines.append((text, s.look.colour))
    ax.set_title(" ", fontsize=6.3, pad=3 + 8.2 * (len(lines) - 1))  # keeps the height; the width is free
    for k, (text, colour) in enumerate(reversed(lines)):
        ax.annotate(
            text,
            (0, 1),
            xycoords="axes fraction",
            xytext=(2, 3 + 8.2 * k),
            textcoords="offset points",
            fontsize=6.3,
            color=style.legible(colour),
            va="bottom",
            in_layout=False,
        )


def _legend(plate: Plate, tasks: list[str]) -> None:
    handles = [style.key((look := style.target(t)).label, look.colour, look.marker, linewidth=1.2) for t in tasks]
    handles += law_keys()
    plate.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 6), fontsize=7.5, columnspacing=1.4
    )
