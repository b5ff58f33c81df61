"""How much of an in-distribution gain arrives on each task: every kappa at a glance (the paper's Table S.7)."""

from typing import Any

import numpy as np
import pandas as pd

from ecgscale.analysis.figures import fitted, observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, source_of

CAPTION = (
    "Exponent κ of the loss-to-loss law (Eq. 4) for each task and configuration, with 95 % intervals where runs "
    "were fitted. Convention: {convention}. "
    "κ = 1: gains in distribution arrive in proportion; below, they return less and less. Arrows are "
    "at the bound of what the fit allows, open markers not identified: neither is a result. The means below are "
    "over all tasks and, in brackets, over those off the bounds; where some are not identified, over the others "
    "alone."
)


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """One row a task, one marker a configuration."""
    best = observed.best(points, table)
    looks, tasks = observed.configurations(best), observed.targets(best)
    law = fitted.convention(table)
    caption = CAPTION.format(convention=fitted.CONVENTIONS[law])
    fits = {(look.name, task): fitted.find(table, law, look.name, task) for look in looks for task in tasks}
    if not any(fits.values()):
        raise NothingToShow("no transfer law is fitted")
    height = 1.55 + 0.33 * len(tasks) * max(1, len(looks) / 4) + 0.13 * max(0, -(-len(looks) // 2) - 2)
    source = source_of(best, observed.selection(table), short=True)
    page = Page(style.ONE_COLUMN, min(style.PAGE, height), "Loss-to-loss exponents", caption, source)
    ax = page.subplots()
    numbers: dict[str, list[fitted.Number]] = {look.name: [] for look in looks}
    for row, task in enumerate(tasks):
        for k, look in enumerate(looks):
            found = fits[look.name, task]
            if not found:
                page.note_missing(f"{look.label} on {style.target(task).label}: no κ")
                continue
            kappa = found[0].numbers["kappa"]
            numbers[look.name].append(kappa)
            y = row + (k - (len(looks) - 1) / 2) * 0.8 / len(looks)
            marker = "<" if kappa.at_bound == "low" else ">" if kappa.at_bound else look.marker
            face = look.colour if kappa.known else "white"
            if kappa.ends:
                ax.plot(kappa.ends, [y, y], color=look.colour, linewidth=0.9, alpha=0.7, zorder=2)
                page.record("kappa", "interval", look.name, ("kappa", list(kappa.ends)), ("", np.nan), task)
            marks: dict[str, Any] = {
                "color": look.colour,
                "markerfacecolor": face,
                "markersize": 3.8,
                "markeredgewidth": 0.8,
            }
            ax.plot(kappa.value, y, marker, zorder=3, **marks)
            page.record("kappa", "value", look.name, ("kappa", kappa.value), ("", np.nan), f"{task}: {kappa.text(3)}")
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
    ax.set_xlabel(f"loss-to-loss exponent κ ({fitted.FLOORS[law]})")
    handles = [
        style.key(_mean(look.label, numbers[look.name]), look.colour, look.marker, linestyle="") for look in looks
    ]
    page.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=style.SMALL, columnspacing=1)
    return [page]


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
