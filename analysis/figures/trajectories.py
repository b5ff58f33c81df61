"""Loss along training, in and out of distribution: the shape of the paper's Fig. S.4."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D

from analysis.figures import observed, style
from analysis.figures.figure import Plate, letter, panel_letter, source_of

CAPTION = (
    "Test loss (nats) of every run along training, against the compute spent: in distribution (first row) and on each "
    "task. One line a run, darker for more parameters; dashed lines saw only a part of the data. The open marker "
    "is the step that was selected."
)


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """One row a target, one column a configuration, one line a run."""
    best = observed.best(points, table)
    names = observed.configurations(best)[:4]
    targets = [*observed.targets(best, "ID"), *observed.targets(best)] or [""]
    many = len(targets) > 5
    plate = Plate(style.TWO_COLUMNS, 0.6 + (0.7 if many else 1.35) * len(targets), "Loss along training", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(len(targets), len(names), squeeze=False)
    sizes = best["N"] if len(best) else pd.Series([1.0, 10.0])
    norm = LogNorm(sizes.min() / 6, sizes.max())
    for i, target in enumerate(targets):
        for j, name in enumerate(names):
            ax, look = axes[i, j], style.configuration(name)
            mine = (points["configuration"] == name) & (points["target"] == target)
            panel_letter(ax, letter(i * len(names) + j))
            if i == 0:
                ax.set_title(look.label, color=style.legible(look.colour), fontweight="semibold", fontsize=9)
            if j == 0:
                inside = len(best) and (best.loc[best["target"] == target, "domain"] == "ID").any()
                label = "in\ndistribution" if inside else style.target(target).label.replace(" ", "\n", 1)
                ax.set_ylabel(label if many else "ID loss (nats)" if inside else f"{label}\nloss (nats)")
            chosen = best[(best["configuration"] == name) & (best["target"] == target)]
            _panel(plate, ax, f"{look.label}, {target}", points[mine & (points["step"] > 0)], chosen, look, norm)
            if i == len(targets) - 1:
                ax.set_xlabel("compute C (FLOP)")
            elif many:  # a column shares its axis
                ax.tick_params(labelbottom=False)
    few = [
        Line2D([], [], color=_shade("#5C6670", norm, v), linewidth=1.4, label=f"N = {style.si(v)}")
        for v in _range(sizes)
    ]
    few.append(style.key("part of the data", linewidth=1, linestyle=(0, (2, 1.5))))
    few.append(style.key("selected step", marker="o", markerfacecolor="white", linestyle=""))
    plate.legend(handles=few, loc="outside upper center", ncols=len(few), fontsize=7.5)
    return plate


def _panel(
    plate: Plate, ax: Axes, panel: str, part: pd.DataFrame, chosen: pd.DataFrame, look: style.Look, norm: LogNorm
) -> None:
    part = part[part["C"] > 0] if len(part) else part
    if part.empty:
        style.blank(ax, "no finished runs")
        plate.lacks(panel)
        return
    most = part["D"].max()
    part = part.sort_values(["run_id", "C"], kind="stable")
    numbers = part[["C", "loss", "N", "D", "step"]].to_numpy(float)
    ids, first = np.unique(part["run_id"].to_numpy(str), return_index=True)
    lines = np.split(numbers, first[1:])
    for run, line in zip(ids, lines, strict=True):
        note = f"step {line[-1, 4]:.0f}"
        plate.record(panel, "run", str(run), ("C", line[:, 0]), ("loss", line[:, 1]), note)
    looks = {
        "colors": [_shade(look.colour, norm, line[0, 2]) for line in lines],
        "linestyles": ["-" if line[0, 3] == most else (0, (2, 1.5)) for line in lines],
    }
    ax.add_collection(LineCollection([line[:, :2] for line in lines], linewidths=0.9, zorder=2, **looks))
    at = chosen[["C", "loss"]].to_numpy(float)
    edges = [_shade(look.colour, norm, n) for n in chosen["N"].to_numpy(float)]
    ax.scatter(at[:, 0], at[:, 1], s=2.6**2, facecolors="white", edgecolors=edges, linewidths=0.7, zorder=3)
    style.logarithmic(ax.xaxis, part["C"].min(), part["C"].max())
    low, high, above = style.without_outliers(part["loss"].tolist())
    ax.set_ylim(low - 0.08 * (high - low), high + 0.1 * (high - low))
    style.say_above(ax, above, "checkpoint")
    style.linear(ax.yaxis)


def _shade(colour: str, norm: LogNorm, n: float) -> tuple[float, ...]:
    return style.shade(colour, float(norm(n)))


def _range(sizes: pd.Series) -> list[float]:
    return [float(sizes.min()), float(sizes.max())] if len(sizes) else []
