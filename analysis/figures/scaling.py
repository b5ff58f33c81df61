"""Loss against size and data, in and out of distribution: the shape of the paper's Fig. 2."""

import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import fitted, observed, style
from ecgscale.analysis.figures.figure import Page, letter, panel_letter, source_of
from ecgscale.analysis.figures.grid import batches
from ecgscale.analysis.figures.series import (
    AXES,
    LAW,
    Series,
    draw_series,
    frame,
    law_keys,
    lost_key,
    mark_lost,
    series_of,
)

CAPTION = (
    "Test loss against backbone parameters N (all the data) and against unique pretraining recordings D (one "
    "size), in distribution (left) and on tasks probed with frozen features (right). Points are runs at their "
    "best step; lines are the marginal laws (Eq. 2), L = E + A N^−α and L = E + B D^−β, with their 95 % bands, dashed "
    "on grey ground where they extrapolate, and the floor E dotted where it falls inside the panel. Exponents carry "
    "95 % intervals; crosses on an axis are runs that failed. Thin dashed lines are fits whose exponent "
    "is at a bound or not identified: they follow the points and say nothing about scaling. Where the joint law of all "
    "runs of a configuration, L = E + A N^−α + B D^−β (Eq. 1), knows an exponent that a panel's few runs leave open, "
    'its slices are drawn instead (dash-dotted, "joint").'
)
COLUMNS = (("ID", "N"), ("ID", "D"), ("OOD", "N"), ("OOD", "D"))
LISTED = 4  # tasks whose exponents fit above a panel


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Four columns (ID and OOD loss against N and D) by one row a configuration, four rows a page."""
    best = observed.best(points, table)
    looks, tasks = observed.configurations(best), observed.targets(best)
    scales, label = observed.scale(best)
    listed = len(tasks) if len(tasks) <= LISTED else 1
    sizes = 2 if any(len(observed.sizes_with_fractions(p)) > 1 for _, p in best.groupby("configuration")) else 1
    above = max(listed, sizes)  # lines of words above a panel
    series = {
        (look.name, column): _series(
            best[(best["configuration"] == look.name) & (best["domain"] == column[0])], table, look, *column, scales
        )
        for look in looks
        for column in COLUMNS
    }
    columns = [column for column in COLUMNS if any(series[look.name, column] for look in looks)]
    return [_page(best, table, batch, columns, series, tasks, label, above) for batch in batches(looks)]


def _page(
    best: pd.DataFrame,
    table: pd.DataFrame,
    looks: list[style.Look],
    columns: list[tuple[str, str]],
    series: dict[tuple[str, tuple[str, str]], list[Series]],
    tasks: list[str],
    label: str,
    above: int,
) -> Page:
    source = source_of(best, observed.selection(table))
    height = (1.2 + 0.125 * above) * len(looks) + 0.95
    page = Page(style.TWO_COLUMNS, height, "Loss against size and data", CAPTION, source)
    if observed.printed(best):
        page.source += " · in-distribution losses are not printed"
    for domain, variable in COLUMNS:
        if (domain, variable) not in columns:
            page.note_missing(f"{domain} loss against {variable}: not measured")
    axes = page.subplots(len(looks), len(columns), squeeze=False)
    any_lost = False
    own = f"ID loss ({observed.loss_unit(observed.inside(best))})"
    for i, look in enumerate(looks):
        for j, (domain, variable) in enumerate(columns):
            ax, shown = axes[i, j], series[look.name, (domain, variable)]
            panel = f"{look.label}, {domain} against {variable}"
            _panel(page, ax, panel, shown, label if domain == "OOD" else own, variable)
            if domain == "ID" or len(tasks) <= LISTED:
                any_lost |= mark_lost(page, ax, panel, best, look.name, variable) if shown else False
            panel_letter(ax, letter(i * len(columns) + j))
            if i == 0:
                _heading(ax, domain, variable, above)
            if i == len(looks) - 1:
                ax.set_xlabel(AXES[variable])
            if j == 0:
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
            if j == 0 or domain != columns[j - 1][0]:
                ax.set_ylabel(own if domain == "ID" else label)
    _legend(page, tasks, [s for look in looks for column in columns for s in series[look.name, column]], any_lost)
    return page


def _heading(ax: Axes, domain: str, variable: str, lines: int) -> None:
    """What a column shows, and its law, above the first row."""
    where = "in distribution" if domain == "ID" else "out of distribution"
    ax.annotate(
        f"{where}\n{style.FORMULAS[LAW[variable][0]]}",
        (0, 1),
        xycoords="axes fraction",
        xytext=(2, 9 + 8.6 * lines),
        textcoords="offset points",
        fontsize=7.5,
        va="bottom",
        linespacing=1.1,
        color=style.MUTED,
    )


def _series(
    part: pd.DataFrame, table: pd.DataFrame, own: style.Look, domain: str, variable: str, scales: dict[str, float]
) -> list[Series]:
    found: list[Series] = []
    for target in style.in_order(list(part["target"].unique()), style.TARGETS):
        look = own if domain == "ID" else style.target(target)
        scale = scales.get(target, 1.0) if domain == "OOD" else 1.0
        lines = series_of(part[part["target"] == target], table, own.name, target, variable, look, scale)
        found += lines if domain == "ID" else lines[:1]
    return found


def _panel(page: Page, ax: Axes, panel: str, series: list[Series], y_name: str, variable: str) -> None:
    if not series:
        style.blank(ax, "no finished runs" if variable == "N" else "no size saw several\namounts of data")
        page.note_missing(panel)
        return
    frame(ax, series)
    low, high = ax.get_ylim()
    if "÷" in y_name and low < 1 < high:
        ax.axhline(1, color=style.FAINT, linewidth=0.6, zorder=1)
    for s in series:
        draw_series(page, ax, panel, s, y_name, crowded=len(series) > LISTED)
    _words(ax, series)


def _words(ax: Axes, shown: list[Series]) -> None:
    """Exponents above the panel, where no point can be hidden by them."""
    variable, inside = shown[0].variable, shown[0].look not in style.TARGETS.values()
    name = fitted.NAMES[LAW[variable][1]]
    lines: list[tuple[str, str]] = []
    if inside and variable == "D":
        lines = _by_size(shown, name)
    elif len(shown) > LISTED:
        values = [s.exponent.value for s in shown if s.exponent and s.exponent.known]
        lines.append((style.median_of(name, values, len(shown)), style.INK))
    else:
        for s in shown:
            text = _exponent(s)
            if inside and s.joint is None and s.law and s.exponent and s.exponent.known:
                text += f" · n {s.law.n_points} · R² {s.law.r2:.2f}"
            lines.append((text, s.look.colour))
    ax.set_title(" ", fontsize=style.SMALL, pad=3 + 8.6 * (len(lines) - 1))  # keeps the height; the width is free
    for k, (text, colour) in enumerate(reversed(lines)):
        ax.annotate(
            text,
            (0, 1),
            xycoords="axes fraction",
            xytext=(2, 3 + 8.6 * k),
            textcoords="offset points",
            fontsize=style.SMALL,
            color=style.legible(colour),
            va="bottom",
            in_layout=False,
        )


def _exponent(s: Series) -> str:
    """What is known of a line's exponent, and whether the joint law knows it; short, as the next panel begins soon."""
    if s.exponent is None:
        return f"{len(s.points)} runs, no fit"
    text = s.exponent.text().replace("at least", "≥").replace("at most", "≤")
    return text if s.joint is None else f"joint {text}"


def _by_size(shown: list[Series], name: str) -> list[tuple[str, str]]:
    """The exponent over D at the largest size, and the range of those at the smaller ones."""
    first, *others = shown
    if first.joint is not None:
        return [(_exponent(first), first.look.colour)]
    text = _exponent(first)
    lines = [(f"N {style.si(float(first.points['N'].iloc[0]), 2)}: {text}", first.look.colour)]
    known = [s.exponent.value for s in others if s.exponent and s.exponent.known]
    if known:
        ends = f"{style.number(min(known))}–{style.number(max(known))}" if len(known) > 1 else style.number(known[0])
        lines.append((f"{len(known)} smaller, open: {name} {ends}", first.look.colour))
    elif others:
        lines.append((f"{len(others)} smaller, open: {name} not identified", first.look.colour))
    return lines


def _legend(page: Page, tasks: list[str], shown: list[Series], any_lost: bool) -> None:
    handles = [style.key((look := style.target(t)).label, look.colour, look.marker, linewidth=1.2) for t in tasks]
    handles += law_keys(shown) + [lost_key()] * any_lost
    page.legend(
        handles=handles, loc="outside upper center", ncols=style.columns(len(handles)), fontsize=7.5, columnspacing=1.4
    )
