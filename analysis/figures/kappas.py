"""How much of an in-distribution gain arrives on each task: every kappa at a glance (the paper's Table S.7)."""

from typing import Any

import numpy as np
import pandas as pd

from analysis.figures import fitted, observed, style
from analysis.figures.figure import Plate, source_of

CAPTION = (
    "Exponent κ of the loss-to-loss law (Eq. 4) for each task and configuration, with 95 % intervals where runs "
    "were fitted. κ = 1: gains in distribution arrive in proportion; below, they return less and less. Arrows are "
    "at the bound of what the fit allows, open markers not identified: neither is a result. The means below are "
    "over all tasks and, in brackets, over those off the bounds; where some are not identified, over the others "
    "alone."
)


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """One row a task, one marker a configuration."""
    best = observed.best(points, table)
    names = observed.configurations(best)[:4]
    tasks = observed.targets(best) or [""]
    plate = Plate(style.ONE_COLUMN, 1.55 + 0.33 * len(tasks), "Loss-to-loss exponents", CAPTION)
    plate.source = source_of(best, observed.selection(table), short=True)
    ax = plate.subplots()
    numbers: dict[str, list[fitted.Number]] = {name: [] for name in names}
    for row, task in enumerate(tasks):
        for k, name in enumerate(names):
            fits = fitted.find(table, "transfer", name, task)
            look = style.configuration(name)
            if not fits:
                plate.lacks(f"{look.label} on {style.target(task).label or 'any task'}: no κ")
                continue
            kappa = fits[0].numbers["kappa"]
            numbers[name].append(kappa)
            y = row + (k - (len(names) - 1) / 2) * 0.8 / len(names)
            marker = "<" if kappa.at_bound == "low" else ">" if kappa.at_bound else look.marker
            face = look.colour if kappa.known else "white"
            if np.isfinite(kappa.low + kappa.high):
                ax.plot([kappa.low, kappa.high], [y, y], color=look.colour, linewidth=0.9, alpha=0.7, zorder=2)
                plate.record("kappa", "interval", name, ("kappa", [kappa.low, kappa.high]), ("", np.nan), task)
            marks: dict[str, Any] = {
                "color": look.colour,
                "markerfacecolor": face,
                "markersize": 3.8,
                "markeredgewidth": 0.8,
            }
            ax.plot(kappa.value, y, marker, zorder=3, **marks)
            plate.record("kappa", "value", name, ("kappa", kappa.value), ("", np.nan), f"{task}: {kappa.text(3)}")
        if row:
            ax.axhline(row - 0.5, color=style.GRID, linewidth=0.6)
    ax.axvline(1, color=style.FAINT, linewidth=0.8, zorder=1)
    ax.set_yticks(range(len(tasks)), [style.target(t).label for t in tasks])
    ax.set_ylim(len(tasks) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    style.logarithmic(
        ax.xaxis,
        0.05,
        max([2.0, *(max(n.value, n.high) if n.high > 0 else n.value for v in numbers.values() for n in v)]),
    )
    ax.set_xlabel("loss-to-loss exponent κ")
    if not any(numbers.values()):
        style.say(ax, "no finished runs" if best.empty else "no transfer law is fitted", at=(0.5, 0.5))
    handles = [
        style.key(_mean(style.configuration(n).label, numbers[n]), (look := style.configuration(n)).colour, look.marker)
        for n in names
    ]
    for handle in handles:
        handle.set_linestyle("")
    plate.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=style.SMALL, columnspacing=1)
    return plate


def _mean(label: str, numbers: list[fitted.Number]) -> str:
    """ "T-SL: mean 0.128 (0.145)": over all tasks, and over those off the bounds."""
    values = [n.value for n in numbers if np.isfinite(n.value)]
    free = [n.value for n in numbers if n.known]
    if not values:
        return label
    if any(not n.known and not n.at_bound for n in numbers):
        return (
            f"{label}: mean {np.mean(free):.3f}, {len(free)} of {len(values)} known" if free else f"{label}: none known"
        )
    return f"{label}: mean {np.mean(values):.3f}" + (
        f" ({np.mean(free):.3f})" if len(free) < len(values) and free else ""
    )
