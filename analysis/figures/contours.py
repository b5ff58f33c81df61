"""Iso-loss planes of every task that Fig. 5 does not show: the shape of the paper's Fig. S.5."""

import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import isoloss, observed, style
from ecgscale.analysis.figures.compute import most_known
from ecgscale.analysis.figures.figure import NothingToShow, Page, source_of
from ecgscale.analysis.figures.grid import Panel, grid

CAPTION = (
    "Lines of equal loss under the joint law (Eq. 1) in the plane of compute C (FLOP, across) and parameters N "
    "(up), one row a task, one column a configuration, D following from C = κ N D with κ the median over runs. "
    "The thick line is the optimal size N*(C), dashed where it extrapolates; the words say where a marginal FLOP "
    "goes, with the 95 % interval. Dots are runs; grey lies outside the measured frame. Where the joint law is "
    "not identified, the panel says why and draws no contour. The task of Fig. 5 stands there."
)
MANY = 4  # rows: more of them are low and share their axes


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """One row a task (all but the one of Fig. 5), one column a configuration."""
    best = observed.best(points, table)
    looks, tasks = observed.configurations(best), observed.targets(best)
    if not tasks:
        raise NothingToShow("no task was probed")
    if len(tasks) > 1:
        tasks.remove(most_known(table, looks, tasks))
    many = len(tasks) > MANY
    words = {task: style.target(task).label for task in tasks}
    source = source_of(best, observed.selection(table))

    def panel(look: style.Look, task: str) -> Panel:
        runs = best[(best["configuration"] == look.name) & (best["target"] == task) & (best["C"] > 0)]
        if runs.empty:
            return "no finished runs"

        def plane(page: Page, ax: Axes) -> None:
            isoloss.plane(page, ax, look, runs, table, task, f"{look.label}, {words[task]}", short=True)
            if task != tasks[0]:
                ax.set_title("", pad=12 if ax.texts else None)

        return plane

    def page(rows: int) -> Page:
        height = 0.75 + (0.86 if rows > MANY else 1.25) * rows
        return Page(style.TWO_COLUMNS, height, "Where compute goes, task by task", CAPTION, source)

    return grid(
        looks,
        tasks,
        panel,
        page,
        ylabels={t: w.replace(" ", "\n", 1) if many else f"{w}\nparameters N" for t, w in words.items()},
        xlabel="compute C (FLOP)",
        header={"fontsize": 8},
        lettered=False,
        inner_ticks=not many,
    )
