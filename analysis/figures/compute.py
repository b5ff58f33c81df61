"""Loss against compute, its frontier, and how to spend more of it: the shape of the paper's Fig. 5."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from analysis.allocation import compute_law, pareto
from analysis.figures import fitted, observed, style
from analysis.figures.plate import Plate, panel_letter, source_of
from analysis.fit import BadPoints

CAPTION = (
    "(a) Test loss on {target} against training compute: every checkpoint faint, the Pareto frontier of each "
    "configuration in full, its law L = E + k (C + C₀)^−γ as a line. (b–e) Lines of equal loss under the joint "
    "law (Eq. 1) in the plane of compute and parameters, D following from C = κ N D with κ the median over runs; "
    "the thick line is the optimal size N*(C), and the words say where a marginal FLOP goes. Dots are runs, the "
    "frame is what was measured; outside it the law extrapolates. Where the joint law is not identified the panel "
    "says why and draws no contour."
)
LEVELS = 9


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Frontier of all configurations on one task, and the iso-loss plane of each."""
    best = observed.best(points, table)
    names, tasks = observed.configurations(best)[:4], observed.targets(best)
    task = _most_known(table, names, tasks) if tasks else ""
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
        _plane(plate, ax, name, runs, table, task)
        panel_letter(ax, "bcde"[k])
    return plate


def _most_known(table: pd.DataFrame, names: list[str], tasks: list[str]) -> str:
    """The task whose joint law is identified in most configurations: the one with something to show."""
    return max(tasks, key=lambda t: (sum(_joint(table, n, t)[0] is not None for n in names), -tasks.index(t)))


def _joint(table: pd.DataFrame, name: str, task: str) -> tuple[fitted.Fitted | None, str]:
    """The joint law if both its exponents and both its terms are known; else None and why not."""
    found = fitted.find(table, "joint", name, task)
    if not found:
        return None, fitted.failure(table, "joint", name, task)
    law = found[0]
    if law.known("alpha", "beta") and not any(law.numbers[c].at_bound for c in ("A", "B")):
        return law, ""
    hit = [
        f"{fitted.NAMES[c]} at its {law.numbers[c].at_bound}er bound".replace("higher", "upper")
        for c in ("alpha", "beta")
        if law.numbers[c].at_bound
    ]
    open_ = [fitted.NAMES[c] for c in ("alpha", "beta") if not law.numbers[c].at_bound and not law.numbers[c].known]
    reasons = hit + ([f"{' and '.join(open_)} {fitted.UNKNOWN}"] if open_ else [])
    if not reasons:
        reasons = [f"the term of {c} vanishes" for c, a in (("N", "A"), ("D", "B")) if law.numbers[a].at_bound]
    return None, ",\n".join(reasons) or law.note


def _frontier(plate: Plate, ax: Axes, cloud: pd.DataFrame, table: pd.DataFrame, names: list[str], task: str) -> None:
    panel = "frontier"
    if cloud.empty:
        style.say(ax, "no finished runs")
        ax.set_xticks([])
        ax.set_yticks([])
        plate.lacks("the frontier")
        return
    lines = []
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
        ax.plot(c[front], loss[front], look.marker, color=look.colour, markersize=4.2, zorder=4)
        plate.record(panel, "checkpoint", name, ("C", c), ("loss", loss), np.where(front, "frontier", "").tolist())
        if known:
            xs = np.geomspace(c[front].min(), c[front].max(), 100)
            ys = fits[0](C=xs)
            ax.plot(xs, ys, color=look.colour, zorder=3, **line)
            plate.record(panel, "law", name, ("C", xs), ("loss", ys), fits[0].numbers["gamma"].text())
            text = f"{look.label}: {fits[0].numbers['gamma'].text()}, R² {fits[0].r2:.2f}"
        else:
            ax.step(c[front][order], loss[front][order], where="post", color=look.colour, zorder=3, **line)
            text = f"{look.label}: γ {fitted.UNKNOWN}" if fits else f"{look.label}: {front.sum()} points, too few"
        lines.append(style.key(text, look.colour, look.marker, **line))
    c = cloud.loc[cloud["C"] > 0, "C"].to_numpy(float)
    style.logarithmic(ax.xaxis, c.min(), c.max())
    low, top, above = style.without_outliers(cloud["loss"].tolist())
    style.say_above(ax, above, "checkpoint")
    ax.set_ylim(low - 0.05 * (top - low), top + 0.06 * (top - low))
    style.linear(ax.yaxis, 6)
    ax.set_xlabel("training compute C (FLOP)")
    ax.set_ylabel(f"test loss, {style.target(task).label} (nats)")
    plate.legend(handles=lines, loc="outside upper left", ncols=len(lines), fontsize=7, columnspacing=1.6)


def _plane(plate: Plate, ax: Axes, name: str, runs: pd.DataFrame, table: pd.DataFrame, task: str) -> None:
    look = style.configuration(name)
    ax.set_title(look.label, color=style.legible(look.colour), fontweight="semibold")
    runs = runs[runs["C"] > 0] if len(runs) else runs
    if runs.empty:
        style.say(ax, "no finished runs")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        plate.lacks(f"iso-loss plane of {look.label}")
        return
    c, n = runs["C"].to_numpy(float), runs["N"].to_numpy(float)
    ax.set_xlabel("compute C (FLOP)")
    ax.set_ylabel("parameters N")
    ax.plot(c, n, look.marker, color=look.colour, markersize=3, zorder=5, markeredgecolor="white", markeredgewidth=0.4)
    plate.record(look.label, "run", name, ("C", c), ("N", n), list(runs["run_id"]))
    law, why = _joint(table, name, task)
    if law is None:
        style.logarithmic(ax.xaxis, c.min(), c.max())
        style.logarithmic(ax.yaxis, n.min(), n.max() * 12)  # room for the words
        ax.grid(False)
        ax.text(
            0.04,
            0.96,
            f"No contours to draw:\n{why}",
            transform=ax.transAxes,
            ha="left",
            va="top",
            fontsize=6.5,
            color=style.MUTED,
            style="italic",
        )
        plate.lacks(f"iso-loss contours of {look.label}: {why}".replace("\n", " "))
        return
    _contours(plate, ax, look, law, runs, table, name, task)


def _contours(
    plate: Plate,
    ax: Axes,
    look: style.Look,
    law: fitted.Fitted,
    runs: pd.DataFrame,
    table: pd.DataFrame,
    name: str,
    task: str,
) -> None:
    try:
        kappa = compute_law(runs).kappa
    except BadPoints as error:
        style.say(ax, str(error))
        return
    c, n, d = (runs[v].to_numpy(float) for v in ("C", "N", "D"))
    budgets = np.geomspace(c.min() / 3, c.max() * 10, 90)
    sizes = np.geomspace(n.min() / 3, n.max() * 10, 90)
    C, N = np.meshgrid(budgets, sizes)
    loss = law(N=N, D=C / (kappa * N))
    possible = (d.min() / 30 <= C / (kappa * N)) & (C / (kappa * N) <= d.max() * 100)
    shown = np.where(possible, loss, np.nan)
    levels = np.unique(np.quantile(shown[np.isfinite(shown)], np.linspace(0.03, 0.8, LEVELS)))
    lines = ax.contour(C, N, shown, levels=levels, colors=[to_rgba(look.colour, 0.55)], linewidths=0.7, zorder=2)
    ax.clabel(lines, levels[:: max(1, len(levels) // 4)], fontsize=5.5, fmt=lambda v: f"{v:.3g}")
    v = law.values()
    a = v["beta"] / (v["alpha"] + v["beta"])
    G = (v["alpha"] * v["A"] / (v["beta"] * v["B"])) ** (1 / (v["alpha"] + v["beta"]))
    best = G * (budgets / kappa) ** a
    ax.plot(budgets, best, color=look.colour, linewidth=1.8, zorder=4)
    plate.record(look.label, "optimal size", name, ("C", budgets), ("N", best))
    style.logarithmic(ax.xaxis, budgets.min(), budgets.max())
    style.logarithmic(ax.yaxis, sizes.min(), sizes.max())
    ax.set_xlim(budgets.min(), budgets.max())
    ax.set_ylim(sizes.min(), sizes.max())
    frame = Rectangle(
        (c.min(), n.min()),
        c.max() - c.min(),
        n.max() - n.min(),
        fill=False,
        edgecolor=style.FAINT,
        linewidth=0.6,
        zorder=1,
    )
    ax.add_patch(frame)
    ax.grid(False)
    shares = fitted.find(table, "allocation", name, task)
    data = shares[0].numbers.get("b") if shares else None
    interval = f" [{100 * data.low:.0f}, {100 * data.high:.0f}]" if data and np.isfinite(data.low) else ""
    ax.text(
        0.03,
        0.97,
        f"{100 * (1 - a):.0f} %{interval} of marginal\ncompute to data",
        transform=ax.transAxes,
        ha="left",
        va="top",
        fontsize=6.8,
        fontweight="semibold",
        color=style.legible(look.colour),
        bbox=style.PAPER,
        zorder=6,
    )
