"""Loss along training, in and out of distribution: the shape of the paper's Fig. S.4."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm

from ecgscale.analysis.figures import observed, style
from ecgscale.analysis.figures.figure import Page, source_of
from ecgscale.analysis.figures.grid import Panel, grid

CAPTION = (
    "Test loss of every run along training, against the compute spent: in distribution (first row) and on each "
    "task. One line a run, darker for more parameters; dashed lines saw only a part of the data. The open marker "
    "is the step that was selected."
)
MANY = 5  # rows: more of them are low and share their axes


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """One row a target, one column a configuration, one line a run."""
    best = observed.best(points, table)
    inside = observed.targets(best, "ID")
    targets = [*inside, *observed.targets(best)]
    source = source_of(best, observed.selection(table))
    norm = LogNorm(best["N"].min() / 6, best["N"].max())

    def panel(look: style.Look, target: str) -> Panel:
        mine = (points["configuration"] == look.name) & (points["target"] == target)
        paths = points[mine & (points["step"] > 0) & (points["C"] > 0)]
        chosen = best[(best["configuration"] == look.name) & (best["target"] == target)]
        if paths.empty:
            return "no finished runs"
        return partial(_panel, target=target, part=paths, chosen=chosen, look=look, norm=norm)

    def page(rows: int) -> Page:
        height = 0.6 + (0.7 if rows > MANY else 1.35) * rows
        return Page(style.TWO_COLUMNS, height, "Loss along training", CAPTION, source)

    sizes = [float(best["N"].min()), float(best["N"].max())]
    keys = [style.key(f"N = {style.si(n)}", _shade(style.MUTED, norm, n), linewidth=1.4) for n in sizes]
    keys.append(style.key("part of the data", linewidth=1, linestyle=(0, (2, 1.5))))
    keys.append(style.key("selected step", marker="o", markerfacecolor="white", linestyle=""))
    return grid(
        observed.configurations(best),
        targets,
        panel,
        page,
        ylabels={
            target: _ylabel(
                target, target in inside, len(targets) > MANY, observed.loss_unit(best[best["target"] == target])
            )
            for target in targets
        },
        xlabel="compute C (FLOP)",
        keys=lambda _: keys,
        inner_ticks=len(targets) <= MANY,
    )


def _ylabel(target: str, inside: bool, many: bool, unit: str) -> str:
    words = "in\ndistribution" if inside else style.target(target).label.replace(" ", "\n", 1)
    return words if many else f"ID loss ({unit})" if inside else f"{words}\nloss ({unit})"


def _panel(
    page: Page, ax: Axes, target: str, part: pd.DataFrame, chosen: pd.DataFrame, look: style.Look, norm: LogNorm
) -> None:
    most = part["D"].max()
    part = part.sort_values(["run_id", "C"], kind="stable")
    numbers = part[["C", "loss", "N", "D", "step"]].to_numpy(float)
    ids, first = np.unique(part["run_id"].to_numpy(str), return_index=True)
    lines = np.split(numbers, first[1:])
    for run, line in zip(ids, lines, strict=True):
        note = f"step {line[-1, 4]:.0f}"
        page.record(f"{look.label}, {target}", "run", str(run), ("C", line[:, 0]), ("loss", line[:, 1]), note)
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
