"""All configurations on the same axes, absolute loss task by task: the shape of the paper's Fig. 4 and S.3."""

from itertools import count

import pandas as pd

from ecgscale.analysis.figures import observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of
from ecgscale.analysis.figures.series import AXES, draw_series, frame, law_keys, lost_key, mark_lost, series_of

CAPTION = (
    "Absolute test loss on each task, all configurations overlaid: against parameters N at full data (above) and "
    "against recordings D at the largest size that saw several amounts of data (below). Lines are the marginal "
    "laws (Eq. 2) with 95 % bands, dashed on grey ground where they extrapolate, thin and dashed where the "
    "exponent is at a bound or not identified, dash-dotted where the joint law (Eq. 1) knows it instead; the grey "
    "line is always predicting the prevalence; crosses on an axis are failed runs."
)
ACROSS = 4  # tasks beside each other


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Two rows (N and D) for every four tasks, one column a task."""
    best = observed.best(points, table)
    looks, tasks = observed.configurations(best), observed.targets(best)
    if not tasks:
        raise NothingToShow("no task was probed")
    lines = {
        (task, variable): [
            (look, line)
            for look in looks
            for line in series_of(
                best[(best["configuration"] == look.name) & (best["target"] == task)],
                table, look.name, task, variable, look,
            )[:1]
        ]
        for task in tasks
        for variable in "ND"
    }  # fmt: skip
    variables = [v for v in "ND" if any(lines[task, v] for task in tasks)]
    across = min(ACROSS, len(tasks))
    blocks = -(-len(tasks) // ACROSS)
    height = 0.5 + blocks * (2.75 if blocks > 1 else 3.3 if across > 2 else 4.2) * len(variables) / 2
    source = source_of(best, observed.selection(table))
    page = Page(style.TWO_COLUMNS, height, "All configurations, task by task", CAPTION, source)
    axes = page.subplots(len(variables) * blocks, across, squeeze=False)
    letters = map(letter, count())
    any_lost = False
    for block in range(blocks):
        for row, variable in enumerate(variables):
            for column in range(across):
                ax, k = axes[len(variables) * block + row, column], block * across + column
                if k >= len(tasks):
                    ax.set_axis_off()
                    continue
                task, title = tasks[k], style.target(tasks[k]).label
                panel_letter(ax, next(letters))
                ax.set_xlabel(AXES[variable])
                if column == 0:
                    ax.set_ylabel(f"test loss ({observed.loss_unit(best[best['target'].isin(tasks)])})")
                if row == 0:
                    ax.set_title(title, fontweight="semibold")
                shown = lines[task, variable]
                for look in looks:
                    if look not in [of for of, _ in shown]:
                        page.note_missing(f"{look.label} on {title} over {variable}")
                if not shown:
                    style.blank(ax, "no finished runs" if variable == "N" else "no size saw several\namounts of data")
                    continue
                frame(ax, [line for _, line in shown])
                baseline = best.loc[best["target"] == task, "prevalence_loss"].median()
                if ax.get_ylim()[0] < baseline < ax.get_ylim()[1]:
                    ax.axhline(baseline, color=style.FAINT, linewidth=0.8, zorder=1)
                for look, line in shown:
                    draw_series(page, ax, f"{title}, {look.name}, over {variable}", line, "loss")
                    any_lost |= mark_lost(page, ax, title, best, look.name, variable)
    handles = [style.key(look.label, look.colour, look.marker, linewidth=1.2) for look in looks]
    handles += (law_keys(line for of in lines.values() for _, line in of) if len(table) else []) + [
        lost_key()
    ] * any_lost
    page.legend(
        handles=handles,
        loc="outside upper center",
        ncols=style.columns(len(handles), 7),
        fontsize=7.5,
        columnspacing=1.2,
    )
    return [page]
