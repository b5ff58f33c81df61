"""IsoFLOP parabolas beside the joint law: two ways to the size that a budget calls for (Hoffmann et al. 2022)."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import fitted, isoloss, observed, style
from ecgscale.analysis.figures.compute import most_known
from ecgscale.analysis.figures.figure import NothingToShow, Page, source_of
from ecgscale.analysis.figures.grid import Panel, grid
from ecgscale.analysis.fitting.allocation import IsoFlop, compute_law, isoflop
from ecgscale.analysis.fitting.fit import BadPoints

CAPTION = (
    "First row: test loss on {target} of runs in {bins} slices of like compute C = κ N D (one pass over the "
    "recordings, κ the median over runs, as in the joint law's allocation), with parabolas in ln N and their "
    "minima. Second row: the minima against compute (open where they lie outside the sizes of their slice) with a "
    "power law C^a through them, and N*(C) of the joint law (Eq. S.7), dashed where it extrapolates. Parabolas "
    "are biased when slices or grid are wide or off-centre, or when α differs from β: they stand beside the joint "
    "fit, not for it."
)
BINS = 6
STAR: dict[str, Any] = {"markersize": 6, "markeredgewidth": 0.7, "zorder": 5}


@dataclass(frozen=True)
class Subject:
    """What a column is about: a configuration's runs on a task, whose compute C is ``kappa`` N D."""

    look: style.Look
    target: str
    kappa: float
    runs: pd.DataFrame


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Two rows (slices, optimal sizes), one column a configuration."""
    best = observed.best(points, table)
    looks, tasks = observed.configurations(best), observed.targets(best)
    if not tasks:
        raise NothingToShow("no task was probed")
    task = most_known(table, looks, tasks)
    title = style.target(task).label
    source = source_of(best, observed.selection(table))
    columns: dict[str, tuple[Subject, IsoFlop] | None] = {}
    for look in looks:
        runs = best[(best["configuration"] == look.name) & (best["target"] == task) & (best["C"] > 0)]
        kappa = compute_law(runs).kappa if len(runs) else 1.0
        about = Subject(look, task, kappa, runs.assign(C=kappa * runs["N"] * runs["D"]))
        found = _parabolas(about.runs)
        columns[look.name] = (about, found) if found is not None else None

    def panel(look: style.Look, row: str) -> Panel:
        column = columns[look.name]
        if column is None:
            return "no slice of compute\nholds four sizes"
        about, found = column
        if row == "slices":
            return partial(_slices, about=about, minima=found.minima)
        return partial(_sizes, about=about, found=found, table=table)

    def page(rows: int) -> Page:
        caption = CAPTION.format(target=title, bins=BINS)
        return Page(style.TWO_COLUMNS, 3.9, "IsoFLOP beside the joint law", caption, source)

    keys = [
        style.key("slice of like compute", marker="o", markersize=3, linewidth=0.8),
        style.key("minimum of a parabola", marker="*", markersize=6, linestyle=""),
        style.key("outside its sizes", marker="*", markersize=6, markerfacecolor="white", linestyle=""),
        style.key("N*(C), joint law", linewidth=1.8),
        style.key("power law through minima", linewidth=0.9, linestyle=(0, (1, 1))),
    ]
    ylabels = {
        "slices": f"loss, {title} ({observed.loss_unit(best[best['target'] == task])})",
        "sizes": "optimal parameters N*",
    }
    legend = {"fontsize": style.SMALL}
    return grid(looks, list(ylabels), panel, page, ylabels=ylabels, keys=lambda _: keys, legend=legend)


def _parabolas(runs: pd.DataFrame) -> IsoFlop | None:
    try:
        found = isoflop(runs, BINS) if len(runs) else None
    except BadPoints:
        return None
    return found if found is not None and len(found.minima) else None


def _slices(page: Page, ax: Axes, about: Subject, minima: pd.DataFrame) -> None:
    """Loss against size within each slice of like compute, its parabola, and the minimum that lies inside."""
    runs, label = about.runs, about.look.label
    edges = np.linspace(np.log(runs["C"]).min(), np.log(runs["C"]).max() + 1e-9, BINS + 1)
    for row, shade in _shaded(about, minima):
        place = np.digitize(np.log(row["C"]), edges)
        part = runs[np.digitize(np.log(runs["C"]), edges) == place].sort_values("N")
        ax.plot(part["N"], part["loss"], "o", color=shade, markersize=2.2, markeredgewidth=0, zorder=3)
        n = np.geomspace(part["N"].min(), part["N"].max(), 40)
        curve = row["loss"] * np.exp(row["curvature"] * np.log(n / row["N"]) ** 2)
        ax.plot(n, curve, color=shade, linewidth=0.9, zorder=2)
        page.record(f"{label}, slices", "run", f"C = {row['C']:.3g}", ("N", part["N"]), ("loss", part["loss"]))
        if row["inside"]:
            ax.plot(row["N"], row["loss"], "*", color=shade, markerfacecolor=shade, **STAR)
    style.logarithmic(ax.xaxis, runs["N"].min(), runs["N"].max())
    ax.set_xlabel("parameters N")
    low, high, above = style.without_outliers(runs["loss"].tolist())
    ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    style.say_above(ax, above, "run")
    style.linear(ax.yaxis)


def _sizes(page: Page, ax: Axes, about: Subject, found: IsoFlop, table: pd.DataFrame) -> None:
    """The minima against compute with their power law, and the optimal size of the joint law."""
    look, runs = about.look, about.runs
    for row, shade in _shaded(about, found.minima):
        face = shade if row["inside"] else "white"
        ax.plot(row["C"], row["N"], "*", color=shade, markerfacecolor=face, **STAR)
    page.record(f"{look.label}, minima", "minimum", look.label, ("C", found.minima["C"]), ("N", found.minima["N"]))
    c = np.geomspace(runs["C"].min(), runs["C"].max(), 60)
    words = []
    minima = found.minima[found.minima["inside"].astype(bool)]
    if np.isfinite(found.a.value):
        middle = np.exp(np.log(minima["C"]).mean()), np.exp(np.log(minima["N"]).mean())
        line = middle[1] * (c / middle[0]) ** found.a.value
        ax.plot(c, line, color=look.colour, linewidth=0.9, linestyle=(0, (1, 1)), zorder=3)
        low, high = (style.number(v) for v in (found.a.low, found.a.high))
        words.append(f"isoFLOP a = {style.number(found.a.value)} [{low}, {high}]")
    else:
        words.append(f"isoFLOP: {len(minima)} minima, a takes 3")
    law, why = isoloss.joint(table, look.name, about.target)
    if law is not None:
        best, a = isoloss.optimum(law, about.kappa, c)
        inside = (best >= runs["N"].min()) & (best <= runs["N"].max())
        ax.plot(c, best, color=look.colour, linewidth=1, linestyle=(0, (2, 1.5)), zorder=4)
        ax.plot(c[inside], best[inside], color=look.colour, linewidth=1.8, zorder=4)
        shares = fitted.find(table, "allocation", look.name, about.target)
        data = shares[0].numbers.get("a") if shares else None
        words.append(f"joint a = {style.number(a)}{data.interval() if data else ''}")
        page.record(f"{look.label}, minima", "joint law", look.label, ("C", c), ("N", best))
    else:
        words.append(f"joint: {why}".replace("\n", " "))
        page.note_missing(f"N*(C) of {look.label}: {why}".replace("\n", " "))
    style.logarithmic(ax.xaxis, c[0], c[-1])
    style.logarithmic(ax.yaxis, runs["N"].min() / 3, runs["N"].max() * 3)
    ax.set_xlabel("compute C (FLOP)")
    ax.set_title("\n".join(words), fontsize=style.SMALL, linespacing=1.15)


def _shaded(about: Subject, minima: pd.DataFrame) -> Iterator[tuple[dict[Hashable, Any], tuple[float, ...]]]:
    """Each minimum and the shade of its slice: the more compute, the darker."""
    colour = about.look.colour
    for k, row in enumerate(minima.to_dict("records")):
        yield row, style.shade(colour, 0.2 + 0.8 * k / max(1, len(minima) - 1))
