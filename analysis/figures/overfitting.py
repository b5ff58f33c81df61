"""How training and validation part when data are few, and how the excess collapses: the paper's Figs. S.7 and S.8."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import fitted, observed, style
from analysis.figures.figure import Plate, panel_letter, source_of
from analysis.fitting import bands
from analysis.fitting.overfitting import TOLERATED, collapse, extent, minimum_data
from analysis.fitting.result import Fit
from analysis.observations import own

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
ROWS = 3


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Trajectories by amount of data, the cost of finite data, its collapse, and the data that avoid it."""
    best = observed.best(points, table)
    names = observed.configurations(best)[:4]
    plate = Plate(style.TWO_COLUMNS, 6.6, "Training and validation", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(ROWS + 1, 4, height_ratios=[1, 1, 1, 0.42])
    amounts = sorted(best["D"].unique()) if len(best) else []
    for k, name in enumerate(names):
        look = style.configuration(name)
        column = axes[:, k]
        column[0].set_title(look.label, color=style.legible(look.colour), fontweight="semibold", fontsize=9)
        for row in range(ROWS):
            panel_letter(column[row], "abcdefghijkl"[row * 4 + k])
        inside = own(points[(points["configuration"] == name) & (points["step"] > 0)])
        _trajectories(plate, column[0], inside, look, amounts)
        runs = own(best[best["configuration"] == name])
        _cost(plate, column[1:], runs, _unknown(table, name, runs), look)
    for row, words in enumerate(("ID loss (nats)", "δ, cost of finite data", "δ")):
        axes[row, 0].set_ylabel(words)
    plate.legend(handles=_keys(amounts), loc="outside upper center", ncols=7, fontsize=7.5)
    return plate


def _keys(amounts: list[float]) -> list[style.Line2D]:
    handles = [
        style.key("validation", linewidth=1.3),
        style.key("training", linewidth=1, linestyle=(0, (1, 1.2))),
    ]
    for d in amounts if len(amounts) <= LISTED else (amounts[0], amounts[-1]):
        handles.append(style.key(f"D = {style.si(d)}", linewidth=2, alpha=_strength(d, amounts)))
    return handles


def _trajectories(plate: Plate, ax: Axes, inside: pd.DataFrame, look: style.Look, amounts: list[float]) -> None:
    sizes = observed.sizes_with_fractions(inside) if len(inside) else []
    lacking = not sizes or "loss_val" not in inside or inside["loss_val"].isna().all()
    if lacking or inside["step"].nunique() < LEAST:
        style.blank(ax, "no finished runs" if inside.empty else "no size saw several\namounts of data")
        plate.lacks(look.label)
        return
    part = inside[inside["N"] == sizes[0]]
    for d in sorted(part["D"].unique()):
        line = part[part["D"] == d].groupby("step")[["loss_val", "loss_train"]].mean()
        strength = _strength(d, amounts)
        ax.plot(line.index, line["loss_val"], color=look.colour, alpha=strength, linewidth=1.3)
        ax.plot(line.index, line["loss_train"], color=look.colour, alpha=strength, linewidth=1, linestyle=(0, (1, 1.2)))
        for kind in ("loss_val", "loss_train"):
            plate.record(look.label, kind, f"D = {d:.0f}", ("step", line.index), ("loss", line[kind]))
    values = part[["loss_val", "loss_train"]].to_numpy(float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    steps = part["step"]
    ax.set_xlim(steps.min() - 0.04 * np.ptp(steps), steps.max() + 0.04 * np.ptp(steps))
    style.linear(ax.yaxis)
    style.counts(ax.xaxis)
    ax.set_xlabel(f"step (N = {style.si(sizes[0])})")


def _cost(plate: Plate, axes: list[Axes], runs: pd.DataFrame, unknown: str, look: style.Look) -> None:
    """Rows two and three and the table of one configuration."""
    by_data, collapsed, words = axes
    words.set_axis_off()
    law = bands.fitted("joint", runs) if not unknown else None
    if law is None or not {"beta", "B"} <= set(law.fitted):
        why = unknown or "no joint law with a term in D"
        for ax in (by_data, collapsed):
            style.blank(ax, why if runs.empty else f"{why}:\nno δ to draw")
        plate.lacks(f"cost of finite data of {look.label}: {why}")
        return
    shown = collapse(law, runs)
    left_out = int(shown.attrs["left_out"])
    r2 = float(shown.attrs["r2"])
    shown = shown[shown["delta"] > 0]
    _by_data(plate, by_data, law, shown, look)
    u, delta = shown["u"].to_numpy(float), shown["delta"].to_numpy(float)
    line = np.geomspace(u.min(), u.max(), 40)
    collapsed.plot(line, 1 / line, color=style.MUTED, linewidth=1, zorder=2)
    for n in sorted(shown["N"].unique()):
        part, shade = shown[shown["N"] == n], _shade(look.colour, n, shown["N"])
        collapsed.plot(part["u"], part["delta"], look.marker, color=shade, markersize=3.4, zorder=3)
    plate.record(f"{look.label}, collapse", "run", look.label, ("u", u), ("delta", delta), list(shown["run_id"]))
    style.logarithmic(collapsed.xaxis, u.min(), u.max())
    style.logarithmic(collapsed.yaxis, min(delta.min(), 1 / u.max()), max(delta.max(), 1 / u.min()))
    collapsed.set_xlabel("u = D$^β$ L(N, ∞) / B")
    text = f"R² {style.number(r2)} · n {len(shown)}" + (f" · {left_out} with δ ≤ 0" if left_out else "")
    at: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (2, 3), "textcoords": "offset points"}
    collapsed.annotate(text, (0, 1), va="bottom", fontsize=style.SMALL, linespacing=1.2, in_layout=False, **at)
    _table(plate, words, law, sorted(runs["N"].unique()), look)


def _unknown(table: pd.DataFrame, name: str, runs: pd.DataFrame) -> str:
    """Why the joint law of the in-distribution loss does not tell what data cost; empty where it does."""
    if runs.empty:
        return "no finished runs"
    target = str(runs["target"].iloc[0])
    found = fitted.find(table, "joint", name, target)
    if not found:
        return "no joint fit"
    return "" if found[0].known("beta") else found[0].numbers["beta"].text()


def _by_data(plate: Plate, ax: Axes, law: Fit, shown: pd.DataFrame, look: style.Look) -> None:
    d_all = np.geomspace(shown["D"].min(), shown["D"].max(), 40)
    for n in sorted(shown["N"].unique()):
        part, shade = shown[shown["N"] == n], _shade(look.colour, n, shown["N"])
        ax.plot(d_all, extent(law.fitted, n, d_all), color=shade, linewidth=0.7, zorder=2)
        ax.plot(part["D"], part["delta"], look.marker, color=shade, markersize=3.4, zorder=3)
        plate.record(f"{look.label}, cost", "run", f"N = {n:.0f}", ("D", part["D"]), ("delta", part["delta"]))
    style.logarithmic(ax.xaxis, d_all[0], d_all[-1])
    style.logarithmic(ax.yaxis, shown["delta"].min(), shown["delta"].max())
    if ax.get_ylim()[0] < TOLERATED < ax.get_ylim()[1]:
        ax.axhline(TOLERATED, color=style.MUTED, linewidth=0.8, linestyle=(0, (4, 2)), zorder=1)
    ax.set_xlabel("recordings D")


def _table(plate: Plate, ax: Axes, law: Fit, sizes: list[float], look: style.Look) -> None:
    """D_min for the smallest size, the largest, and some between."""
    chosen = [sizes[i] for i in np.unique(np.linspace(0, len(sizes) - 1, TABLE).round().astype(int))]
    lines = []
    for n in chosen:
        least = minimum_data(law, n)
        far = least.value > 1e4 * law.ranges["D"][1] or least.value < 1
        ends = f" [{_count(least.low)}, {_count(least.high)}]" if np.isfinite(least.low + least.high) else ""
        text = "far beyond the runs" if far else _count(least.value) + ends
        lines.append(f"{style.si(n)}: {text}")
        plate.record(f"{look.label}, D_min", "minimum data", look.label, ("N", n), ("D_min", least.value), text)
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
