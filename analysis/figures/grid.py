"""A grid of panels, one column a configuration: four to a page, with headers, letters, axis labels and a legend."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from matplotlib.axes import Axes

from ecgscale.analysis.figures import style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter
from ecgscale.analysis.figures.style import Line2D, Look

PER_PAGE = 4  # configurations
Panel = Callable[[Page, Axes], None] | str  # how a panel is drawn, or why it has nothing to show


def batches(looks: Sequence[Look]) -> Iterator[list[Look]]:
    """The configurations of each page."""
    for first in range(0, len(looks), PER_PAGE):
        yield list(looks[first : first + PER_PAGE])


def grid(
    looks: Sequence[Look],
    rows: Sequence[str],
    panel: Callable[[Look, str], Panel],
    page: Callable[[int], Page],
    *,
    ylabels: Mapping[str, str],
    xlabel: str = "",
    keys: Callable[[list[Look]], list[Line2D]] | None = None,
    legend: Mapping[str, Any] | None = None,
    columns: int = 6,
    header: Mapping[str, Any] | None = None,
    lettered: bool = True,
    inner_ticks: bool = True,
    heights: Mapping[str, float] | None = None,
    **subplots: Any,
) -> list[Page]:
    """Pages of panels: a row each of ``rows``, a column each of the configurations ``looks``, at most four on a page.

    ``panel`` tells how one is drawn, or in words why there is nothing to draw; such a panel shows the words, and a row
    or a page of nothing else is left out. ``page`` makes an empty page for so many rows. ``ylabels``: words on the left
    of each row (a row without any has no letter), ``xlabel``: under the last. ``keys``: the legend for the
    configurations of a page, in so many ``columns`` at most. Raises NothingToShow where no panel has anything.
    """
    panels = {(look.name, row): panel(look, row) for look in looks for row in rows}
    shown = [row for row in rows if any(callable(panels[look.name, row]) for look in looks)]
    if not shown:
        raise NothingToShow(why_not(panels.values()))
    pages = []
    for batch in batches(looks):
        if not any(callable(panels[look.name, row]) for look in batch for row in shown):
            continue
        drawn = page(len(shown))
        if heights:
            subplots["height_ratios"] = [heights[row] for row in shown]
        axes = drawn.subplots(len(shown), len(batch), squeeze=False, **subplots)
        for j, look in enumerate(batch):
            colour = style.legible(look.colour)
            axes[0, j].set_title(
                look.label, color=colour, **{"fontweight": "semibold", "fontsize": 9, **(header or {})}
            )
        for (i, row), (j, look) in product(enumerate(shown), enumerate(batch)):
            ax, how = axes[i, j], panels[look.name, row]
            if lettered and ylabels[row]:
                panel_letter(ax, letter(i * len(batch) + j))
            if callable(how):
                how(drawn, ax)
            elif ylabels[row]:
                style.blank(ax, how)
            else:
                ax.set_axis_off()
            if j == 0:
                ax.set_ylabel(ylabels[row])
            if row != shown[-1] and not inner_ticks:
                ax.tick_params(labelbottom=False)
            if row == shown[-1] and xlabel:
                ax.set_xlabel(xlabel)
        if keys:
            handles = keys(batch)
            looking = {"fontsize": 7.5, "ncols": style.columns(len(handles), columns), **(legend or {})}
            drawn.legend(handles=handles, loc="outside upper center", **looking)
        pages.append(drawn)
    for (name, row), how in panels.items():
        if isinstance(how, str):
            pages[0].note_missing(f"{style.label(name)}, {row}: {how}".replace("\n", " "))
    return pages


def why_not(panels: Any) -> str:
    """Why there is nothing in any panel, each reason once."""
    return "; ".join(dict.fromkeys(how.replace("\n", " ") for how in panels if isinstance(how, str)))
