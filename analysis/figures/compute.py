"""Loss against compute, its frontier, and how to spend more of it: the shape of the paper's Fig. 5."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import fitted, isoloss, observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of
from ecgscale.analysis.figures.grid import batches
from ecgscale.analysis.fitting import bands
from ecgscale.analysis.fitting.frontier import frontier, pareto
from ecgscale.analysis.fitting.identifiability import BadPoints

CAPTION = (
    "(a) Test loss on {target} against training compute: every checkpoint faint, the Pareto frontier of each "
    "configuration in full, its law L = E + k (C + C₀)^−γ as a line with its 95 % band "
    "(the noise of runs drawn anew), dashed on grey ground beyond the measured "
    "compute. (From b on) Lines of equal loss under the joint "
    "law (Eq. 1) in the plane of compute and parameters, D following from C = κ N D with κ the median over runs; "
    "the thick line is the optimal size N*(C), and the words say where a marginal FLOP goes. Dots are runs; in the "
    "grey outside the measured frame, where N*(C) is dashed, the law extrapolates. Where the task's joint law is not "
    "identified, that in distribution is drawn if it is, and the title says so; else the panel says why there is none."
)

BEYOND = 0.12  # of the measured decades: how far the frontier is drawn on


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Frontiers of four configurations on one task, and the iso-loss plane of each; further ones on further pages."""
    best = observed.best(points, table)
    looks, tasks = observed.configurations(best), observed.targets(best)
    if not tasks:
        raise NothingToShow("no task was probed")
    task = most_known(table, looks, tasks)
    cloud = points[(points["target"] == task) & (points["step"] > 0) & (points["C"] > 0) & points["loss"].notna()]
    runs = best[(best["target"] == task) & (best["C"] > 0)]
    measured = [look for look in looks if look.name in set(cloud["configuration"])]
    if not measured:
        raise NothingToShow("no run says what compute it took")
    caption, source = CAPTION.format(target=style.target(task).label), source_of(best, observed.selection(table))
    pages = []
    for batch in batches(measured):
        page = Page(style.TWO_COLUMNS, 3.9, "Compute and its allocation", caption, source)
        rows, across = min(2, len(batch)), -(-len(batch) // 2)
        places = page.add_gridspec(rows, 1 + across, width_ratios=[1.25, *[1] * across])
        wide = page.add_subplot(places[:, 0])
        _frontier(page, wide, cloud, table, batch, task)
        panel_letter(wide, "a")
        for k, look in enumerate(batch):
            ax = page.add_subplot(places[k // across, 1 + k % across])
            inside = in_distribution(best, table, look, task)
            drawn = runs if inside is None else best[(best["target"] == inside) & (best["C"] > 0)]
            words = "" if inside is None else f"{look.label}, in distribution"
            drawn = drawn[drawn["configuration"] == look.name]
            isoloss.plane(page, ax, look, drawn, table, inside or task, words)
            panel_letter(ax, letter(1 + k))
        pages.append(page)
    for look in looks:
        if look not in measured:
            pages[0].note_missing(f"frontier of {look.label}")
    return pages


def _band(page: Page, ax: Axes, look: style.Look, part: pd.DataFrame, law: fitted.Fitted, x: np.ndarray) -> None:
    """The frontier's 95 % band: the noise of runs drawn anew, the front of each resample found and fitted."""
    try:
        found = frontier(part, bootstrap=bands.RESAMPLES)
    except BadPoints:
        return
    ends = bands.resampled(found, C=x)
    if ends is None or np.abs(np.log(found(C=x) / law(C=x))).max() > bands.AGREE:
        return  # the table was fitted otherwise
    ax.fill_between(x, *ends, color=look.colour, alpha=style.BAND, linewidth=0, zorder=1.5)
    for kind, ys in zip(("band, low", "band, high"), ends, strict=True):
        page.record("frontier", kind, look.name, ("C", x), ("loss", ys), "95 %, noise of runs drawn anew")


def most_known(table: pd.DataFrame, looks: list[style.Look], tasks: list[str]) -> str:
    """The task whose joint law is identified in most configurations: the one with something to show."""
    return max(
        tasks, key=lambda t: (sum(isoloss.joint(table, k.name, t)[0] is not None for k in looks), -tasks.index(t))
    )


def in_distribution(best: pd.DataFrame, table: pd.DataFrame, look: style.Look, task: str) -> str | None:
    """The target in distribution, where its joint law is identified and that of the task is not; else None."""
    if isoloss.joint(table, look.name, task)[0] is not None:
        return None
    own = observed.inside(best[best["configuration"] == look.name])["target"].unique()
    return str(own[0]) if len(own) == 1 and isoloss.joint(table, look.name, str(own[0]))[0] is not None else None


def _frontier(
    page: Page, ax: Axes, cloud: pd.DataFrame, table: pd.DataFrame, looks: list[style.Look], task: str
) -> None:
    panel, lines = "frontier", []
    cloud = cloud[cloud["configuration"].isin([look.name for look in looks])]
    spent = cloud["C"].to_numpy(float)
    right = spent.max() * (spent.max() / spent.min()) ** BEYOND
    for look in looks:
        part = cloud[cloud["configuration"] == look.name]
        c, loss = part["C"].to_numpy(float), part["loss"].to_numpy(float)
        front = pareto(c, loss)
        fits = fitted.find(table, "frontier", look.name, task)
        line = style.law_line(known := bool(fits) and fits[0].known("gamma"))
        order = np.argsort(c[front])
        ax.plot(c, loss, look.marker, color=look.colour, markersize=2.6, alpha=0.3, markeredgewidth=0, zorder=2)
        ax.plot(
            c[front], loss[front], look.marker, color=look.colour, markersize=4.2 if front.sum() < 16 else 2.4, zorder=4
        )
        page.record(panel, "checkpoint", look.name, ("C", c), ("loss", loss), np.where(front, "frontier", "").tolist())
        if known:
            xs = np.geomspace(c[front].min(), c[front].max(), 100)
            ys = fits[0](C=xs)
            ax.plot(xs, ys, color=look.colour, zorder=3, **line)
            page.record(panel, "law", look.name, ("C", xs), ("loss", ys), fits[0].numbers["gamma"].text())
            beyond = np.geomspace(xs[-1], right, 30)
            ax.plot(beyond, fits[0](C=beyond), color=look.colour, zorder=3, **style.BEYOND)
            _band(page, ax, look, part, fits[0], np.r_[xs, beyond[1:]])
            text = f"{look.label}: {fits[0].numbers['gamma'].text()}, R² {fits[0].r2:.2f}"
        else:
            ax.step(c[front][order], loss[front][order], where="post", color=look.colour, zorder=3, **line)
            text = f"{look.label}: γ {fitted.UNKNOWN}" if fits else f"{look.label}: {front.sum()} points, too few"
        lines.append(style.key(text, look.colour, look.marker, **line))
    style.logarithmic(ax.xaxis, spent.min(), spent.max())
    ax.set_xlim(ax.get_xlim()[0], right)
    ax.axvspan(spent.max(), right, color=style.EXTRAPOLATED, linewidth=0, zorder=0)
    low, top, above = style.without_outliers(cloud["loss"].tolist())
    ax.set_ylim(low - 0.05 * (top - low), top + 0.06 * (top - low))
    style.say_above(ax, above, "checkpoint")
    style.linear(ax.yaxis, 6)
    style.in_emptiest_corner(ax, style.FORMULAS["frontier"])
    ax.set_xlabel("training compute C (FLOP)")
    ax.set_ylabel(f"test loss, {style.target(task).label} ({observed.loss_unit(cloud)})")
    columns = len(lines) if sum(len(str(line.get_label())) for line in lines) < 100 else 2
    page.legend(handles=lines, loc="outside upper left", ncols=columns, fontsize=7, columnspacing=1.6)
