"""All configurations on the same axes, absolute loss task by task: the shape of the paper's Fig. 4 and S.3."""

from itertools import count

import pandas as pd

from analysis.figures import observed, style
from analysis.figures.figure import Plate, letter, panel_letter, source_of
from analysis.figures.series import AXES, draw_series, frame, law_keys, lost_key, mark_lost, series_of

CAPTION = (
    "Absolute test loss on each task, all configurations overlaid: against parameters N at full data (above) and "
    "against recordings D at the largest size that saw several amounts of data (below). Lines are the marginal "
    "laws (Eq. 2) with 95 % bands, dashed on grey ground where they extrapolate, thin and dashed where the "
    "exponent is at a bound or not identified; the grey line is always predicting the prevalence; crosses on an "
    "axis are failed runs."
)
ACROSS = 4  # tasks beside each other


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Two rows (N and D) for every four tasks, one column a task."""
    best = observed.best(points, table)
    names, tasks = observed.configurations(best), observed.targets(best)
    across = min(ACROSS, max(1, len(tasks)))
    blocks = max(1, -(-len(tasks) // ACROSS))
    height = 0.5 + blocks * (2.75 if blocks > 1 else 3.3 if across > 2 else 4.2)
    plate = Plate(style.TWO_COLUMNS, height, "All configurations, task by task", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(2 * blocks, across, squeeze=False)
    letters = map(letter, count())
    any_lost = False
    for block in range(blocks):
        for row, variable in enumerate("ND"):
            for column in range(across):
                ax = axes[2 * block + row, column]
                k = block * across + column
                if k >= max(1, len(tasks)):
                    ax.set_axis_off()
                    continue
                panel_letter(ax, next(letters))
                ax.set_xlabel(AXES[variable])
                if column == 0:
                    ax.set_ylabel("test loss (nats)")
                task = tasks[k] if tasks else ""
                if row == 0:
                    title = style.target(task).label if task else "no task was probed"
                    ax.set_title(title, fontweight="semibold")
                shown = []
                for name in names:
                    part = best[(best["configuration"] == name) & (best["target"] == task)]
                    lines = series_of(part, table, name, task, variable, style.configuration(name))[:1]
                    shown += [(name, line) for line in lines]
                    if not lines:
                        plate.lacks(f"{style.configuration(name).label} on {style.target(task).label} over {variable}")
                if not shown:
                    style.blank(ax, "no finished runs" if variable == "N" else "no size saw several\namounts of data")
                    continue
                frame(ax, [line for _, line in shown])
                baseline = best.loc[best["target"] == task, "prevalence_loss"].median()
                if ax.get_ylim()[0] < baseline < ax.get_ylim()[1]:
                    ax.axhline(baseline, color=style.FAINT, linewidth=0.8, zorder=1)
                for name, line in shown:
                    draw_series(plate, ax, f"{style.target(task).label}, {name}, over {variable}", line, "loss")
                    any_lost |= mark_lost(plate, ax, style.target(task).label, best, name, variable)
    looks = [style.configuration(n) for n in names]
    handles = [style.key(look.label, look.colour, look.marker, linewidth=1.2) for look in looks]
    handles += (law_keys() if len(table) else []) + [lost_key()] * any_lost
    plate.legend(
        handles=handles,
        loc="outside upper center",
        ncols=style.columns(len(handles), 7),
        fontsize=7.5,
        columnspacing=1.2,
    )
    return plate
