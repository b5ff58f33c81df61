"""Loss against compute, its frontier, and how to spend more of it: the shape of the paper's Fig. 5."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import fitted, isoloss, observed, style
from analysis.figures.figure import Plate, panel_letter, source_of
from analysis.fitting import bands
from analysis.fitting.allocation import frontier, pareto
from analysis.fitting.identifiability import BadPoints

CAPTION = (
    "(a) Test loss on {target} against training compute: every checkpoint faint, the Pareto frontier of each "
    "configuration in full, its law L = E + k (C + C₀)^−γ as a line with its 95 % band "
    "(bootstrap over runs), dashed on grey ground beyond the measured "
    "compute. (b–e) Lines of equal loss under the joint "
    "law (Eq. 1) in the plane of compute and parameters, D following from C = κ N D with κ the median over runs; "
    "the thick line is the optimal size N*(C), and the words say where a marginal FLOP goes. Dots are runs; in the "
    "grey outside the measured frame, where N*(C) is dashed, the law extrapolates. Where the joint law is not "
    "identified the panel says why and draws no contour."
)

BEYOND = 0.12  # of the measured decades: how far the frontier is drawn on


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Frontier of all configurations on one task, and the iso-loss plane of each."""
    best = observed.best(points, table)
    names, tasks = observed.configurations(best)[:4], observed.targets(best)
    task = most_known(table, names, tasks) if tasks else ""
    title = style.target(task).label if task else "a task"
    plate = Plate(style.TWO_COLUMNS, 3.9, "Compute and its allocation", CAPTION.format(target=title))
    plate.source = source_of(best, observed.selection(table))
    grid = plate.add_gridspec(2, 3, width_ratios=[1.25, 1, 1])
    cloud = points[(points["target"] == task) & (points["step"] > 0)] if task else points.iloc[:0]
    wide = plate.add_subplot(grid[:, 0])
    _frontier(plate, wide, cloud, table, names, task)
    panel_letter(wide, "a")
    for k, name in enumerate(names):
        ax = plate.add_subplot(grid[k // 2, 1 + k % 2])
        runs = best[(best["configuration"] == name) & (best["target"] == task)]
        isoloss.plane(plate, ax, name, runs, table, task)
        panel_letter(ax, "bcde"[k])
    return plate


def _band(plate: Plate, ax: Axes, name: str, part: pd.DataFrame, law: fitted.Fitted, x: np.ndarray) -> None:
    """The frontier's 95 % band: runs drawn anew, the front of each resample found and fitted."""
    try:
        found = frontier(part, bootstrap=bands.RESAMPLES)
    except BadPoints:
        return
    ends = bands.resampled(found, C=x)
    if ends is None or np.abs(np.log(found(C=x) / law(C=x))).max() > bands.AGREE:
        return  # the table was fitted otherwise
    ax.fill_between(x, *ends, color=style.configuration(name).colour, alpha=style.BAND, linewidth=0, zorder=1.5)
    for kind, ys in zip(("band, low", "band, high"), ends, strict=True):
        plate.record("frontier", kind, name, ("C", x), ("loss", ys), "95 %, bootstrap over runs")


def most_known(table: pd.DataFrame, names: list[str], tasks: list[str]) -> str:
    """The task whose joint law is identified in most configurations: the one with something to show."""
    return max(tasks, key=lambda t: (sum(isoloss.joint(table, n, t)[0] is not None for n in names), -tasks.index(t)))


def _frontier(plate: Plate, ax: Axes, cloud: pd.DataFrame, table: pd.DataFrame, names: list[str], task: str) -> None:
    panel = "frontier"
    if cloud.empty:
        style.blank(ax, "no finished runs")
        plate.lacks("the frontier")
        return
    lines = []
    spent = cloud.loc[cloud["C"] > 0, "C"].to_numpy(float)
    right = spent.max() * (spent.max() / spent.min()) ** BEYOND
    for name in names:
        look = style.configuration(name)
        part = cloud[(cloud["configuration"] == name) & (cloud["C"] > 0) & cloud["loss"].notna()]
        if part.empty:
            lines.append(style.key(f"{look.label}: no runs", look.colour, look.marker, linestyle=""))
            plate.lacks(f"frontier of {look.label}")
            continue
        c, loss = part["C"].to_numpy(float), part["loss"].to_numpy(float)
        front = pareto(c, loss)
        fits = fitted.find(table, "frontier", name, task)
        line = style.law_line(known := bool(fits) and fits[0].known("gamma"))
        order = np.argsort(c[front])
        ax.plot(c, loss, look.marker, color=look.colour, markersize=2.6, alpha=0.3, markeredgewidth=0, zorder=2)
        ax.plot(
            c[front], loss[front], look.marker, color=look.colour, markersize=4.2 if front.sum() < 16 else 2.4, zorder=4
        )
        plate.record(panel, "checkpoint", name, ("C", c), ("loss", loss), np.where(front, "frontier", "").tolist())
        if known:
            xs = np.geomspace(c[front].min(), c[front].max(), 100)
            ys = fits[0](C=xs)
            ax.plot(xs, ys, color=look.colour, zorder=3, **line)
            plate.record(panel, "law", name, ("C", xs), ("loss", ys), fits[0].numbers["gamma"].text())
            beyond = np.geomspace(xs[-1], right, 30)
            ax.plot(beyond, fits[0](C=beyond), color=look.colour, zorder=3, **style.BEYOND)
            _band(plate, ax, name, part, fits[0], np.r_[xs, beyond[1:]])
            text = f"{look.label}: {fits[0].numbers['gamma'].text()}, R² {fits[0].r2:.2f}"
        else:
            ax.step(c[front][order], loss[front][order], where="post", color=look.colour, zorder=3, **line)
            text = f"{look.label}: γ {fitted.UNKNOWN}" if fits else f"{look.label}: {front.sum()} points, too few"
        lines.append(style.key(text, look.colour, look.marker, **line))
    style.logarithmic(ax.xaxis, spent.min(), spent.max())
    ax.set_xlim(ax.get_xlim()[0], right)
    ax.axvspan(spent.max(), right, color=style.EXTRAPOLATED, linewidth=0, zorder=0)
    ax.text(0.98, 0.98, style.FORMULAS["frontier"], transform=ax.transAxes, ha="right", va="top", bbox=style.PAPER)
    low, top, above = style.without_outliers(cloud["loss"].tolist())
    ax.set_ylim(low - 0.05 * (top - low), top + 0.06 * (top - low))
    style.say_above(ax, above, "checkpoint")
    style.linear(ax.yaxis, 6)
    ax.set_xlabel("training compute C (FLOP)")
    ax.set_ylabel(f"test loss, {style.target(task).label} (nats)")
    columns = len(lines) if sum(len(str(line.get_label())) for line in lines) < 100 else 2
    plate.legend(handles=lines, loc="outside upper left", ncols=columns, fontsize=7, columnspacing=1.6)
