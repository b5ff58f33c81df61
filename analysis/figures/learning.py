"""Did training help: trained backbones beside their untrained twins and the prevalence baseline."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of
from ecgscale.analysis.learning import learning

CAPTION = (
    "Linear probes on frozen features of each configuration's largest model at full data (filled) and of the same "
    "network before any training (open); the arrow is what pretraining changed. Left: test loss, the dashed line "
    "is always predicting each label's prevalence (a number's mean). Right: macro AUROC, the dashed line is chance "
    "(of numbers R², the dashed line is their mean). A cross marks a model that training did not improve by that "
    "measure."
)
DOWN = 7  # tasks under each other
MEASURES = (
    ("loss", "loss_untrained", "lower_loss", "test loss ({unit})"),
    ("auroc", "auroc_untrained", "higher_auroc", "macro AUROC"),
)
OF_NUMBERS = ("r2", "r2_untrained", "higher_r2", "R²")  # instead of the last, where labels are numbers


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """A pair of panels a task, loss on the left and AUROC on the right; many tasks stand in two columns."""
    best = observed.best(points, table)
    tasks, looks = observed.targets(best), observed.configurations(best)
    if not tasks:
        raise NothingToShow("no task was probed")
    across = 1 if len(tasks) <= DOWN else 2
    rows = -(-len(tasks) // across)
    source = source_of(best, observed.selection(table))
    frame = learning(best)
    outside = frame[frame["domain"] == "OOD"]
    of_numbers = set(outside.loc[outside["r2"].notna() & outside["auroc"].isna(), "target"])
    measures = [m for m in MEASURES if outside[m[0]].notna().any() or (m[0] != "loss" and of_numbers)]
    wide = len(measures)
    height = min(style.PAGE, 0.75 + rows * (0.45 + 0.17 * len(looks) + 0.2 * bool(of_numbers)))
    page = Page(style.TWO_COLUMNS, height, "Trained, untrained, blind", CAPTION, source)
    axes = page.subplots(rows, wide * across, squeeze=False)
    for i in range(rows * across):
        pair = axes[i % rows, wide * (i // rows) : wide * (i // rows + 1)]
        if i >= len(tasks):
            for ax in pair:
                ax.set_axis_off()
            continue
        task = tasks[i]
        part = {str(r["configuration"]): r for r in frame[frame["target"] == task].to_dict("records")}
        unit = observed.loss_unit(best[best["target"] == task])
        for j, measure in enumerate(measures):
            after, before, verdict, words = OF_NUMBERS if measure[0] == "auroc" and task in of_numbers else measure
            measure = (after, before, verdict, words.format(unit=unit))
            _panel(page, pair[j], part, looks, task, measure)
            panel_letter(pair[j], letter(wide * i + j))
            if across > 1:
                style.linear(pair[j].xaxis, 3)
            if of_numbers or i % rows == rows - 1 or i == len(tasks) - 1:
                pair[j].set_xlabel(measure[3])
    handles = [
        style.key("untrained twin", marker="o", markerfacecolor="white", linestyle=""),
        style.key("trained", marker="o", linestyle=""),
        style.key("not improved", style.WARNING, "x", markersize=5, markeredgewidth=1.4, linestyle=""),
        style.key("prevalence baseline or chance", linewidth=0.9, linestyle=(0, (4, 2))),
    ]
    page.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=7.5)
    return [page]


def _panel(
    page: Page,
    ax: Axes,
    part: Mapping[str, Mapping[Any, Any]],
    looks: list[style.Look],
    task: str,
    measure: tuple[str, str, str, str],
) -> None:
    after, before, verdict, axis = measure
    title = style.target(task).label
    ax.set_title(title, fontsize=8, fontweight="semibold")
    ax.set_yticks(range(len(looks)), [look.label for look in looks])
    for tick, look in zip(ax.get_yticklabels(), looks, strict=True):
        tick.set_color(style.legible(look.colour))
        tick.set_fontweight("semibold")
        tick.set_verticalalignment("center_baseline")
    ax.set_ylim(len(looks) - 0.4, -0.6)
    ax.grid(False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    seen = []
    for y, look in enumerate(looks):
        if look.name not in part or not np.isfinite(part[look.name][after]):
            ax.text(
                0.5,
                y,
                "not measured",
                transform=ax.get_yaxis_transform(),
                ha="center",
                va="center",
                fontsize=style.SMALL,
                color=style.FAINT,
            )
            page.note_missing(f"{look.label} on {title}")
            continue
        row = part[look.name]
        new, old = float(row[after]), float(row[before])
        seen += [v for v in (new, old) if np.isfinite(v)]
        page.record(f"{title}, {axis}", "trained", look.name, (axis, new), ("", np.nan), str(row[verdict]))
        if np.isfinite(old):
            page.record(f"{title}, {axis}", "untrained", look.name, (axis, old), ("", np.nan))
            ax.annotate(
                "",
                (new, y),
                (old, y),
                arrowprops={
                    "arrowstyle": "-|>,head_width=0.12,head_length=0.25",
                    "color": look.colour,
                    "lw": 1,
                    "shrinkA": 3,
                    "shrinkB": 3.5,
                },
                zorder=2,
            )
            ax.plot(old, y, look.marker, color=look.colour, markerfacecolor="white", markersize=5, zorder=3)
        ax.plot(new, y, look.marker, color=look.colour, markersize=5.5, zorder=4)
        if row[verdict] == "no":
            ax.plot(
                0.985,
                y,
                "x",
                transform=ax.get_yaxis_transform(),
                color=style.WARNING,
                markersize=5,
                markeredgewidth=1.4,
                clip_on=False,
            )
    if part:
        chance = 0.5 if after == "auroc" else 0.0
        line = float(np.median([r["prevalence_loss"] for r in part.values()])) if after == "loss" else chance
        if np.isfinite(line):
            ax.axvline(line, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
            page.record(
                f"{title}, {axis}",
                "baseline",
                "prevalence" if after == "loss" else "chance",
                (axis, line),
                ("", np.nan),
            )
            seen.append(line)
    if seen:
        width = max(max(seen) - min(seen), 1e-3)
        crossed = any(r[verdict] == "no" for r in part.values())
        ax.set_xlim(min(seen) - 0.06 * width, max(seen) + (0.14 if crossed else 0.06) * width)  # beside the marks
        style.linear(ax.xaxis, 6)
    else:
        ax.set_xticks([])
