"""How in-distribution gains carry over to other tasks: the shape of the paper's Fig. 3."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import fitted, observed, style
from analysis.figures.plate import Plate, panel_letter, source_of
from analysis.transfer import pairs

CAPTION = (
    "Out-of-distribution loss against the in-distribution loss above its floor, one point a run, one panel a "
    "configuration. Lines are the loss-to-loss law (Eq. 4), L_OOD = K (L_ID − E_ID)^κ + E_OOD, with κ and its 95 "
    "% interval (both floors refitted in every resample). κ below 1: gains in distribution return less and less "
    "elsewhere. Thin dashed lines: κ at its bound or not identified."
)
LISTED = 5


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """One panel a configuration, one line a task."""
    best = observed.best(points, table)
    names, tasks = observed.configurations(best), observed.targets(best)
    scales, label = observed.scale(best)
    rows = -(-len(names) // 2)
    height = 0.45 + rows * (2.0 + 0.12 * min(len(tasks), LISTED))
    plate = Plate(style.TWO_COLUMNS, height, "From in-distribution to out-of-distribution loss", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(rows, 2, squeeze=False).ravel()
    for k, ax in enumerate(axes):
        if k >= len(names):
            ax.set_axis_off()
            continue
        _panel(plate, ax, names[k], best[best["configuration"] == names[k]], table, tasks, scales, label)
        panel_letter(ax, "abcdefghijkl"[k])
        if k % 2 == 0:
            ax.set_ylabel(label)
    return plate


def _panel(
    plate: Plate,
    ax: Axes,
    name: str,
    part: pd.DataFrame,
    table: pd.DataFrame,
    tasks: list[str],
    scales: dict[str, float],
    label: str,
) -> None:
    look = style.configuration(name)
    fits = {t: next(iter(fitted.find(table, "transfer", name, t)), None) for t in tasks}
    lines, floors, xs_all, ys_all = [], set[float](), [], []
    for task in tasks:
        both = pairs(part, task) if len(part) else part
        fit, of_task, scale = fits[task], style.target(task), scales.get(task, 1.0)
        floor = fit.numbers["E_id"].value if fit else 0.0
        both = both[both["loss_id"] > floor] if len(both) else both
        if both.empty:
            continue
        floors.add(floor)
        x, y = both["loss_id"].to_numpy(float) - floor, both["loss_ood"].to_numpy(float) / scale
        xs_all.append(x)
        ys_all.append(y)
        ax.plot(x, y, of_task.marker, color=of_task.colour, alpha=0.85, markeredgewidth=0, zorder=3)
        plate.record(look.label, "run", task, ("ID loss above its floor", x), (label, y), list(both["run_id"]))
        text, line = f"{of_task.label}: no fit", style.law_line(False)
        if fit:
            kappa = fit.numbers["kappa"]
            line = style.law_line(kappa.known)
            xs = np.geomspace(x.min(), x.max(), 80)
            ys = fit(loss_id=xs + floor) / scale
            ax.plot(xs, ys, color=of_task.colour, zorder=2, **line)
            plate.record(look.label, "law", task, ("ID loss above its floor", xs), (label, ys), kappa.text())
            text = f"{of_task.label}: {kappa.text()}" + (
                f" · n {fit.n_points} · R² {fit.r2:.2f}" if kappa.known else ""
            )
        lines.append(style.key(text, of_task.colour, of_task.marker, **line))
    listed = lines if len(lines) <= LISTED else []
    ax.set_title(
        look.label, color=style.legible(look.colour), fontweight="semibold", fontsize=9, pad=5 + 10.4 * len(listed)
    )
    if not lines:
        style.say(ax, "no finished runs measured both in and out of distribution")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        plate.lacks(look.label)
        return
    everywhere = np.concatenate(xs_all)
    style.logarithmic(ax.xaxis, everywhere.min(), everywhere.max())
    low, high, above = style.without_outliers(np.concatenate(ys_all).tolist())
    style.say_above(ax, above, "run")
    ax.set_ylim(low - 0.08 * (high - low), high + 0.1 * (high - low))
    style.linear(ax.yaxis)
    if label.endswith("prevalence"):
        ax.axhline(1, color=style.FAINT, linewidth=0.6, zorder=1)
    which = "E of each fit" if len(floors) > 1 else f"E = {floor:.3f}" if (floor := floors.pop()) > 5e-4 else "E = 0"
    ax.set_xlabel(f"ID loss − E (nats; {which})")
    if listed:
        ax.legend(handles=listed, loc="lower left", bbox_to_anchor=(-0.01, 0.99), fontsize=7, handlelength=1.6)
