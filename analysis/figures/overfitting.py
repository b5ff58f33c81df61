"""How training and validation part when data are few, and how the excess collapses: the paper's Figs. S.7 and S.8."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import fitted, observed, style
from ecgscale.analysis.figures.figure import Page, source_of
from ecgscale.analysis.figures.grid import Panel, grid
from ecgscale.analysis.fitting import bands
from ecgscale.analysis.fitting.overfitting import TOLERATED, collapse, extent, minimum_data
from ecgscale.analysis.fitting.result import Fit
from ecgscale.analysis.observations import own

CAPTION = (
    "One column a configuration. First row: validation loss (full) and the mean training loss since the "
    "checkpoint before (dotted) at the largest size that saw several amounts of data; paler lines saw fewer "
    "recordings. Where the dotted line falls below the full one, the model fits what it has seen better than what "
    "it has not. Second row: what finite data cost, δ = L(N, D) / L(N, ∞) − 1 (Eq. S.8), with L(N, ∞) = E + A "
    "N^−α of the joint law of the in-distribution loss; darker for larger models, lines are the law. Third row: "
    "the same against u = D^β L(N, ∞) / B, where the law has all runs on δ = 1/u; R² is that of ln δ. Below: the "
    "recordings under which data cost more than a tenth, D_min(N, 0.1), with 95 % intervals. Runs with δ ≤ 0 are "
    "left out and counted."
)
LEAST = 2  # checkpoints that make a line
LISTED = 5  # amounts of data that fit into the legend
TABLE = 4  # sizes in the table of D_min
ROWS = {"training": "ID loss ({unit})", "cost": "δ, cost of finite data", "collapse": "δ", "minimum data": ""}
HEIGHTS = {"training": 1, "cost": 1, "collapse": 1, "minimum data": 0.42}


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Trajectories by amount of data, the cost of finite data, its collapse, and the data that avoid it."""
    best = observed.best(points, table)
    source = source_of(best, observed.selection(table))
    amounts = sorted(best["D"].unique())

    def panel(look: style.Look, row: str) -> Panel:
        if row == "training":
            return _trajectories(
                own(points[(points["configuration"] == look.name) & (points["step"] > 0)]), look, amounts
            )
        return _cost(row, own(best[best["configuration"] == look.name]), table, look)

    def page(rows: int) -> Page:
        return Page(style.TWO_COLUMNS, {1: 2.3, 3: 4.7, 4: 6.6}[rows], "Training and validation", CAPTION, source)

    looks, keys = observed.configurations(best), _keys(amounts)
    ylabels = {row: words.format(unit=observed.loss_unit(observed.inside(best))) for row, words in ROWS.items()}
    return grid(looks, list(ROWS), panel, page, ylabels=ylabels, keys=lambda _: keys, columns=7, heights=HEIGHTS)


def _keys(amounts: list[float]) -> list[style.Line2D]:
    handles = [
        style.key("validation", linewidth=1.3),
        style.key("training", linewidth=1, linestyle=(0, (1, 1.2))),
    ]
    for d in amounts if len(amounts) <= LISTED else (amounts[0], amounts[-1]):
        handles.append(style.key(f"D = {style.si(d)}", linewidth=2, alpha=_strength(d, amounts)))
    return handles


def _trajectories(inside: pd.DataFrame, look: style.Look, amounts: list[float]) -> Panel:
    """Validation and training loss at the largest size that saw several amounts of data, a line an amount."""
    sizes = observed.sizes_with_fractions(inside) if len(inside) else []
    lacking = not sizes or "loss_val" not in inside or inside["loss_val"].isna().all()
    if lacking or inside["step"].nunique() < LEAST:
        return "no finished runs" if inside.empty else "no size saw several\namounts of data"
    return partial(_lines, part=inside[inside["N"] == sizes[0]], look=look, amounts=amounts)


def _lines(page: Page, ax: Axes, part: pd.DataFrame, look: style.Look, amounts: list[float]) -> None:
    for d in sorted(part["D"].unique()):
        line = part[part["D"] == d].groupby("step")[["loss_val", "loss_train"]].mean()
        strength = _strength(d, amounts)
        ax.plot(line.index, line["loss_val"], color=look.colour, alpha=strength, linewidth=1.3)
        ax.plot(line.index, line["loss_train"], color=look.colour, alpha=strength, linewidth=1, linestyle=(0, (1, 1.2)))
        for kind in ("loss_val", "loss_train"):
            page.record(look.label, kind, f"D = {d:.0f}", ("step", line.index), ("loss", line[kind]))
    values = part[["loss_val", "loss_train"]].to_numpy(float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    steps = part["step"]
    ax.set_xlim(steps.min() - 0.04 * np.ptp(steps), steps.max() + 0.04 * np.ptp(steps))
    style.linear(ax.yaxis)
    style.counts(ax.xaxis)
    ax.set_xlabel(f"step (N = {style.si(part['N'].iloc[0])})")


def _cost(row: str, runs: pd.DataFrame, table: pd.DataFrame, look: style.Look) -> Panel:
    """Rows two and three and the table of one configuration."""
    unknown = _unknown(table, look.name, runs)
    law = bands.fitted("joint", runs) if not unknown else None
    if law is None or not {"beta", "B"} <= set(law.fitted):
        why = unknown or "no joint law with a term in D"
        return why if runs.empty else f"{why}:\nno δ to draw"
    if row == "minimum data":
        return partial(_table, law=law, sizes=sorted(runs["N"].unique()), look=look)
    return partial(_by_data if row == "cost" else _collapse, law=law, shown=collapse(law, runs), look=look)


def _collapse(page: Page, ax: Axes, law: Fit, shown: pd.DataFrame, look: style.Look) -> None:
    left_out, r2 = int(shown.attrs["left_out"]), float(shown.attrs["r2"])
    shown = shown[shown["delta"] > 0]
    u, delta = shown["u"].to_numpy(float), shown["delta"].to_numpy(float)
    line = np.geomspace(u.min(), u.max(), 40)
    ax.plot(line, 1 / line, color=style.MUTED, linewidth=1, zorder=2)
    for n in sorted(shown["N"].unique()):
        part, shade = shown[shown["N"] == n], _shade(look.colour, n, shown["N"])
        ax.plot(part["u"], part["delta"], look.marker, color=shade, markersize=3.4, zorder=3)
    page.record(f"{look.label}, collapse", "run", look.label, ("u", u), ("delta", delta), list(shown["run_id"]))
    style.logarithmic(ax.xaxis, u.min(), u.max())
    style.logarithmic(ax.yaxis, min(delta.min(), 1 / u.max()), max(delta.max(), 1 / u.min()))
    ax.set_xlabel("u = D$^β$ L(N, ∞) / B")
    text = f"R² {style.number(r2)} · n {len(shown)}" + (f" · {left_out} with δ ≤ 0" if left_out else "")
    at: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (2, 3), "textcoords": "offset points"}
    ax.annotate(text, (0, 1), va="bottom", fontsize=style.SMALL, linespacing=1.2, in_layout=False, **at)


def _unknown(table: pd.DataFrame, name: str, runs: pd.DataFrame) -> str:
    """Why the joint law of the in-distribution loss does not tell what data cost; empty where it does."""
    if runs.empty:
        return "no finished runs"
    target = str(runs["target"].iloc[0])
    found = fitted.find(table, "joint", name, target)
    if not found:
        return "no joint fit"
    return "" if found[0].known("beta") else found[0].numbers["beta"].text()


def _by_data(page: Page, ax: Axes, law: Fit, shown: pd.DataFrame, look: style.Look) -> None:
    shown = shown[shown["delta"] > 0]
    d_all = np.geomspace(shown["D"].min(), shown["D"].max(), 40)
    for n in sorted(shown["N"].unique()):
        part, shade = shown[shown["N"] == n], _shade(look.colour, n, shown["N"])
        ax.plot(d_all, extent(law.fitted, n, d_all), color=shade, linewidth=0.7, zorder=2)
        ax.plot(part["D"], part["delta"], look.marker, color=shade, markersize=3.4, zorder=3)
        page.record(f"{look.label}, cost", "run", f"N = {n:.0f}", ("D", part["D"]), ("delta", part["delta"]))
    style.logarithmic(ax.xaxis, d_all[0], d_all[-1])
    style.logarithmic(ax.yaxis, shown["delta"].min(), shown["delta"].max())
    if ax.get_ylim()[0] < TOLERATED < ax.get_ylim()[1]:
        ax.axhline(TOLERATED, color=style.MUTED, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    ax.set_xlabel("recordings D")


def _table(page: Page, ax: Axes, law: Fit, sizes: list[float], look: style.Look) -> None:
    """D_min for the smallest size, the largest, and some between."""
    ax.set_axis_off()
    chosen = [sizes[i] for i in np.unique(np.linspace(0, len(sizes) - 1, TABLE).round().astype(int))]
    lines = []
    for n in chosen:
        least = minimum_data(law, n)
        far = least.value > 1e4 * law.ranges["D"][1] or least.value < 1
        ends = f" [{_count(least.low)}, {_count(least.high)}]" if np.isfinite(least.low + least.high) else ""
        text = "far beyond the runs" if far else _count(least.value) + ends
        lines.append(f"{style.si(n)}: {text}")
        page.record(f"{look.label}, D_min", "minimum data", look.label, ("N", n), ("D_min", least.value), text)
    ax.text(0, 1, "N: D$_{min}$(N, 0.1)", transform=ax.transAxes, va="top", fontsize=style.SMALL, color=style.MUTED)
    at: dict[str, Any] = {"transform": ax.transAxes, "va": "top", "fontsize": style.SMALL, "linespacing": 1.25}
    ax.text(0, 0.74, "\n".join(lines), **at)


def _count(value: float) -> str:
    return style.si(value, 2) if 1 <= value < 1e15 else "<1" if value < 1 else ">1P"


def _shade(colour: str, n: float, sizes: pd.Series) -> tuple[float, ...]:
    low, high = np.log(sizes.min() / 4), np.log(sizes.max())
    return style.shade(colour, (np.log(n) - low) / (high - low))


def _strength(d: float, amounts: list[float]) -> float:
    """Opacity of a line: pale for the fewest recordings, full for the most."""
    return 0.3 + 0.7 * (amounts.index(d) + 1) / len(amounts)
