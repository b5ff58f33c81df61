"""Iso-loss planes of every task that Fig. 5 does not show: the shape of the paper's Fig. S.5."""

import pandas as pd

from analysis.figures import isoloss, observed, style
from analysis.figures.compute import most_known
from analysis.figures.figure import Plate, source_of

CAPTION = (
    "Lines of equal loss under the joint law (Eq. 1) in the plane of compute C (FLOP, across) and parameters N "
    "(up), one row a task, one column a configuration, D following from C = κ N D with κ the median over runs. "
    "The thick line is the optimal size N*(C), dashed where it extrapolates; the words say where a marginal FLOP "
    "goes, with the 95 % interval. Dots are runs; grey lies outside the measured frame. Where the joint law is "
    "not identified, the panel says why and draws no contour. The task of Fig. 5 stands there."
)


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """One row a task (all but the one of Fig. 5), one column a configuration."""
    best = observed.best(points, table)
    names, tasks = observed.configurations(best)[:4], observed.targets(best)
    if len(tasks) > 1:
        tasks.remove(most_known(table, names, tasks))
    rows = max(1, len(tasks))
    plate = Plate(
        style.TWO_COLUMNS, 0.75 + (0.86 if rows > 4 else 1.25) * rows, "Where compute goes, task by task", CAPTION
    )
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(rows, len(names), squeeze=False)
    for i in range(rows):
        task = tasks[i] if tasks else ""
        label = style.target(task).label if task else "no task was probed"
        for j, name in enumerate(names):
            ax = axes[i, j]
            runs = best[(best["configuration"] == name) & (best["target"] == task)]
            look = style.configuration(name)
            isoloss.plane(plate, ax, name, runs, table, task, f"{look.label}, {label}", short=True)
            if i > 0:
                ax.set_title("", pad=12 if ax.texts else None)
            if j == 0:
                ax.set_ylabel(label.replace(" ", "\n", 1) if rows > 4 else f"{label}\nparameters N")
            if i == rows - 1:
                ax.set_xlabel("compute C (FLOP)")
            else:
                ax.tick_params(labelbottom=rows <= 4)
    return plate
