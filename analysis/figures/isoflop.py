"""IsoFLOP parabolas beside the joint law: two ways to the size that a budget calls for (Hoffmann et al. 2022)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.allocation import IsoFlop, compute_law, isoflop
from analysis.figures import fitted, isoloss, observed, style
from analysis.figures.compute import most_known
from analysis.figures.plate import Plate, panel_letter, source_of
from analysis.fit import BadPoints

CAPTION = (
    "First row: test loss on {target} of runs in {bins} slices of like compute C = κ N D (one pass over the "
    "recordings, κ the median over runs, as in the joint law's allocation), with parabolas in ln N and their "
    "minima. Second row: the minima against compute (open where they lie outside the sizes of their slice) with a "
    "power law C^a through them, and N*(C) of the joint law (Eq. S.7), dashed where it extrapolates. Parabolas "
    "are biased when slices or grid are wide or off-centre, or when α differs from β: they stand beside the joint "
    "fit, not for it."
)
BINS = 6


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Two rows (slices, optimal sizes), one column a configuration."""
    best = observed.best(points, table)
    names, tasks = observed.configurations(best)[:4], observed.targets(best)
    task = most_known(table, names, tasks) if tasks else ""
    title = style.target(task).label if task else "a task"
    plate = Plate(style.TWO_COLUMNS, 3.9, "IsoFLOP beside the joint law", CAPTION.format(target=title, bins=BINS))
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(2, len(names), squeeze=False)
    for j, name in enumerate(names):
        look = style.configuration(name)
        axes[0, j].set_title(look.label, color=style.legible(look.colour), fontweight="semibold", fontsize=9)
        for i in range(2):
            panel_letter(axes[i, j], "abcdefgh"[i * len(names) + j])
        runs = best[(best["configuration"] == name) & (best["target"] == task) & (best["C"] > 0)]
        kappa = compute_law(runs).kappa if len(runs) else 1.0
        _column(plate, axes[0, j], axes[1, j], runs.assign(C=kappa * runs["N"] * runs["D"]), kappa, table, name, task)
    axes[0, 0].set_ylabel(f"loss, {title} (nats)")
    axes[1, 0].set_ylabel("optimal parameters N*")
    handles = [
        style.key("slice of like compute", marker="o", markersize=3, linewidth=0.8),
        style.key("minimum of a parabola", marker="*", markersize=6, linestyle=""),
        style.key("outside its sizes", marker="*", markersize=6, markerfacecolor="white", linestyle=""),
        style.key("N*(C), joint law", linewidth=1.8),
        style.key("power law through minima", linewidth=0.9, linestyle=(0, (1, 1))),
    ]
    plate.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=style.SMALL)
    return plate


def _column(
    plate: Plate,
    slices: Axes,
    sizes: Axes,
    mine: pd.DataFrame,
    kappa: float,
    table: pd.DataFrame,
    name: str,
    task: str,
) -> None:
    look = style.configuration(name)
    found = _parabolas(mine)
    if found is None:
        why = "no finished runs" if mine.empty else "no slice of compute\nholds four sizes"
        for ax in (slices, sizes):
            style.blank(ax, why)
        plate.lacks(f"isoFLOP slices of {look.label}")
        return
    edges = np.linspace(np.log(mine["C"]).min(), np.log(mine["C"]).max() + 1e-9, BINS + 1)
    minima = found.minima
    for k, row in enumerate(minima.to_dict("records")):
        place = np.digitize(np.log(row["C"]), edges)
        part = mine[np.digitize(np.log(mine["C"]), edges) == place].sort_values("N")
        shade = style.shade(look.colour, 0.2 + 0.8 * k / max(1, len(minima) - 1))
        slices.plot(part["N"], part["loss"], "o", color=shade, markersize=2.2, markeredgewidth=0, zorder=3)
        n = np.geomspace(part["N"].min(), part["N"].max(), 40)
        curve = row["loss"] * np.exp(row["curvature"] * np.log(n / row["N"]) ** 2)
        slices.plot(n, curve, color=shade, linewidth=0.9, zorder=2)
        plate.record(f"{look.label}, slices", "run", f"C = {row['C']:.3g}", ("N", part["N"]), ("loss", part["loss"]))
        for ax, x, y in ((slices, row["N"], row["loss"]), (sizes, row["C"], row["N"])):
            if ax is sizes or row["inside"]:
                face = shade if row["inside"] else "white"
                ax.plot(x, y, "*", color=shade, markerfacecolor=face, markersize=6, markeredgewidth=0.7, zorder=5)
    plate.record(f"{look.label}, minima", "minimum", look.label, ("C", minima["C"]), ("N", minima["N"]))
    style.logarithmic(slices.xaxis, mine["N"].min(), mine["N"].max())
    slices.set_xlabel("parameters N")
    low, high, above = style.without_outliers(mine["loss"].tolist())
    slices.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    style.say_above(slices, above, "run")
    style.linear(slices.yaxis)
    _sizes(plate, sizes, found, mine, kappa, table, name, task)


def _parabolas(mine: pd.DataFrame) -> IsoFlop | None:
    try:
        found = isoflop(mine, BINS) if len(mine) else None
    except BadPoints:
        return None
    return found if found is not None and len(found.minima) else None


def _sizes(
    plate: Plate,
    ax: Axes,
    found: IsoFlop,
    mine: pd.DataFrame,
    kappa: float,
    table: pd.DataFrame,
    name: str,
    task: str,
) -> None:
    look = style.configuration(name)
    c = np.geomspace(mine["C"].min(), mine["C"].max(), 60)
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
    law, why = isoloss.joint(table, name, task)
    if law is not None:
        best, a = isoloss.optimum(law, kappa, c)
        inside = (best >= mine["N"].min()) & (best <= mine["N"].max())
        ax.plot(c, best, color=look.colour, linewidth=1, linestyle=(0, (2, 1.5)), zorder=4)
        ax.plot(c[inside], best[inside], color=look.colour, linewidth=1.8, zorder=4)
        shares = fitted.find(table, "allocation", name, task)
        data = shares[0].numbers.get("a") if shares else None
        words.append(f"joint a = {style.number(a)}{data.interval() if data else ''}")
        plate.record(f"{look.label}, minima", "joint law", look.label, ("C", c), ("N", best))
    else:
        words.append(f"joint: {why}".replace("\n", " "))
        plate.lacks(f"N*(C) of {look.label}: {why}".replace("\n", " "))
    style.logarithmic(ax.xaxis, c[0], c[-1])
    style.logarithmic(ax.yaxis, mine["N"].min() / 3, mine["N"].max() * 3)
    ax.set_xlabel("compute C (FLOP)")
    ax.set_title("\n".join(words), fontsize=style.SMALL, linespacing=1.15)
