"""Which configuration has the lowest loss on each task, by model size and by amount of data (Tables S.5 and S.6)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ecgscale.analysis.figures import observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of
from ecgscale.analysis.study.constants import SIZE_BINS, SIZE_EDGES

CAPTION = (
    "The configuration with the lowest test loss on each task: by size of the model at full data (a) and by "
    "amount of pretraining data at the largest size that saw several (b). Colour and marker name the winner, the "
    "number says by how many per cent the runner-up's loss is higher; above each column, in how many tasks each "
    "configuration wins. Ties go to neither, and a cell that fewer than two configurations reached is left white."
)
WINS = 4  # counts that fit side by side over a column


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Two panels, one row a task: columns are size bins, and amounts of data."""
    best = observed.best(points, table)
    if best.empty:
        raise NothingToShow("no finished runs")
    looks, tasks = observed.configurations(best), observed.targets(best)
    outside = best[best["domain"] == "OOD"]
    panels = {"by size": _by_size(outside), "by data": _by_data(outside)}
    shown = {name: cells for name, cells in panels.items() if _contested(cells)}
    if not shown:
        raise NothingToShow("fewer than two configurations were measured on a task at like size or data")
    height, source = 1.55 + 0.2 * len(tasks), source_of(best, observed.selection(table))
    page = Page(style.TWO_COLUMNS, height, "Lowest loss by size and data", CAPTION, source)
    axes = page.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for k, (ax, (name, cells)) in enumerate(zip(axes, shown.items(), strict=True)):
        _panel(page, ax, name, cells, tasks, looks)
        ax.set_xlabel("parameters N, all the data" if name == "by size" else "recordings D, one size")
        panel_letter(ax, letter(k))
    for name in panels:
        if name not in shown:
            page.note_missing(f"winners {name}: no two configurations have like cells")
    axes[0].set_yticks(range(len(tasks)), [style.target(t).label for t in tasks])
    axes[0].set_ylim(len(tasks) - 0.5, -0.5)
    handles = [style.key(look.label, look.colour, look.marker, linestyle="") for look in looks]
    handles.append(style.key("wins by column, in this order", linestyle=""))
    page.legend(handles=handles, loc="outside upper center", ncols=style.columns(len(handles)), fontsize=7.5)
    return [page]


def _contested(cells: pd.DataFrame) -> bool:
    """Whether two configurations share a cell."""
    return bool(len(cells)) and bool((cells.groupby(["place", "target"])["configuration"].nunique() > 1).any())


def _by_size(outside: pd.DataFrame) -> pd.DataFrame:
    """Lowest loss of each configuration in each size bin at full data: columns place, label, target, loss."""
    if outside.empty:
        return pd.DataFrame(columns=["place", "label", "configuration", "target", "loss"])
    full = outside[outside["D"] == outside.groupby("configuration")["D"].transform("max")]
    place = np.digitize(full["N"], SIZE_EDGES)
    return full.assign(place=place, label=[SIZE_BINS[p] for p in place])


def _by_data(outside: pd.DataFrame) -> pd.DataFrame:
    """Loss of each configuration at its largest size with fractions, D to two digits."""
    parts = []
    for _, part in outside.groupby("configuration"):
        sizes = observed.sizes_with_fractions(part)
        parts += [part[part["N"] == sizes[0]]] if sizes else []
    if not parts:
        return pd.DataFrame(columns=["place", "label", "configuration", "target", "loss"])
    found = pd.concat(parts)
    return found.assign(place=[float(f"{d:.2g}") for d in found["D"]], label=[style.si(d, 2) for d in found["D"]])


def _panel(page: Page, ax: Axes, panel: str, cells: pd.DataFrame, tasks: list[str], looks: list[style.Look]) -> None:
    of_name = {look.name: look for look in looks}
    names = list(of_name)
    ax.grid(False)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    places = sorted(cells["place"].unique())
    labels = [str(cells.loc[cells["place"] == p, "label"].iloc[0]) for p in places]
    for x, place in enumerate(places):
        wins = dict.fromkeys(names, 0)
        for y, task in enumerate(tasks):
            here = cells[(cells["place"] == place) & (cells["target"] == task)]
            losses = here.groupby("configuration")["loss"].min().reindex(names).dropna().sort_values(kind="stable")
            if len(losses) < 2:
                page.note_missing(f"{style.target(task).label} at {labels[x]}: fewer than two configurations")
                continue
            margin = 100 * (losses.iloc[1] / losses.iloc[0] - 1)
            winner = str(losses.index[0])
            if margin <= 0:
                ax.text(x, y, "tie", ha="center", va="center", fontsize=style.SMALL, color=style.MUTED)
                continue
            wins[winner] += 1
            look = of_name[winner]
            ax.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=look.colour, alpha=0.22, linewidth=0))
            ax.plot(x - 0.26, y, look.marker, color=look.colour, markersize=3.6)
            text = f"{margin:.0f} %" if margin >= 0.95 else "<1 %"
            ax.text(x + 0.42, y, text, ha="right", va="center", fontsize=style.SMALL)
            note = f"{winner} before {losses.index[1]} by {margin:.3g} %"
            page.record(panel, "winner", task, (labels[x], x), ("loss", losses.iloc[0]), note)
        counts = "/".join(str(wins[n]) for n in names)
        lines = ["/".join(str(wins[n]) for n in names[k : k + WINS]) for k in range(0, len(names), WINS)]
        ax.text(x, -0.62, "\n".join(lines), ha="center", va="bottom", fontsize=style.SMALL)
        page.record(panel, "wins", labels[x], ("column", x), ("", np.nan), f"{'/'.join(names)}: {counts}")
    ax.set_xticks(range(len(places)), labels)
    ax.set_xlim(-0.5, len(places) - 0.5)
