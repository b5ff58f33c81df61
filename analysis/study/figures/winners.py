"""Which configuration has the lowest loss on each task, by model size and by amount of data (Tables S.5 and S.6)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from analysis.figures import observed, style
from analysis.figures.figure import Plate, panel_letter, source_of

CAPTION = (
    "The configuration with the lowest test loss on each task: by size of the model at full data (a) and by "
    "amount of pretraining data at the largest size that saw several (b). Colour and marker name the winner, the "
    "number says by how many per cent the runner-up's loss is higher; above each column, in how many tasks each "
    "configuration wins. Ties go to neither, and a cell that fewer than two configurations reached is left white."
)
EDGES = (0.0, 1e5, 1e6, 1e7, 5e7, np.inf)  # the size bins of Table S.4
NAMES = ("<100K", "100K–1M", "1M–10M", "10M–50M", ">50M")


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Two panels, one row a task: columns are size bins, and amounts of data."""
    best = observed.best(points, table)
    names = observed.configurations(best)[:4]
    tasks = observed.targets(best) or [""]
    plate = Plate(style.TWO_COLUMNS, 1.55 + 0.2 * len(tasks), "Lowest loss by size and data", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    outside = best[best["domain"] == "OOD"] if len(best) else best
    left, right = plate.subplots(1, 2, sharey=True)
    _panel(plate, left, "by size", _by_size(outside), tasks, names)
    _panel(plate, right, "by data", _by_data(outside), tasks, names)
    for name in names:
        if outside.empty or name not in set(outside["configuration"]):
            plate.lacks(style.configuration(name).label)
    left.set_xlabel("parameters N, all the data")
    right.set_xlabel("recordings D, one size")
    for ax, letter in ((left, "a"), (right, "b")):
        panel_letter(ax, letter)
    left.set_yticks(range(len(tasks)), [style.target(t).label for t in tasks])
    left.set_ylim(len(tasks) - 0.5, -0.5)
    handles = [style.key((look := style.configuration(n)).label, look.colour, look.marker) for n in names]
    for handle in handles:
        handle.set_linestyle("")
    handles.append(style.key("wins by column, in this order", linestyle=""))
    plate.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7.5)
    return plate


def _by_size(outside: pd.DataFrame) -> pd.DataFrame:
    """Lowest loss of each configuration in each size bin at full data: columns place, label, target, loss."""
    if outside.empty:
        return pd.DataFrame(columns=["place", "label", "configuration", "target", "loss"])
    full = outside[outside["D"] == outside.groupby("configuration")["D"].transform("max")]
    place = np.digitize(full["N"], EDGES) - 1
    return full.assign(place=place, label=[NAMES[p] for p in place])


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


def _panel(plate: Plate, ax: Axes, panel: str, cells: pd.DataFrame, tasks: list[str], names: list[str]) -> None:
    ax.grid(False)
    ax.tick_params(length=0)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    if cells.empty:
        style.say(
            ax, "no finished runs" if not len(cells) and panel == "by size" else "no size saw several\namounts of data"
        )
        ax.set_xticks([])
        plate.lacks(f"winners {panel}")
        return
    places = sorted(cells["place"].unique())
    labels = [str(cells.loc[cells["place"] == p, "label"].iloc[0]) for p in places]
    for x, place in enumerate(places):
        wins = dict.fromkeys(names, 0)
        for y, task in enumerate(tasks):
            here = cells[(cells["place"] == place) & (cells["target"] == task)]
            losses = here.groupby("configuration")["loss"].min().reindex(names).dropna().sort_values(kind="stable")
            if len(losses) < 2:
                plate.lacks(f"{style.target(task).label} at {labels[x]}: fewer than two configurations")
                continue
            margin = 100 * (losses.iloc[1] / losses.iloc[0] - 1)
            winner = str(losses.index[0])
            if margin <= 0:
                ax.text(x, y, "tie", ha="center", va="center", fontsize=style.SMALL, color=style.MUTED)
                continue
            wins[winner] += 1
            look = style.configuration(winner)
            ax.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=look.colour, alpha=0.22, linewidth=0))
            ax.plot(x - 0.26, y, look.marker, color=look.colour, markersize=3.6)
            text = f"{margin:.0f} %" if margin >= 0.95 else "<1 %"
            ax.text(x + 0.42, y, text, ha="right", va="center", fontsize=style.SMALL)
            note = f"{winner} before {losses.index[1]} by {margin:.3g} %"
            plate.record(panel, "winner", task, (labels[x], x), ("loss", losses.iloc[0]), note)
        counts = "/".join(str(wins[n]) for n in names)
        ax.text(x, -0.62, counts, ha="center", va="bottom", fontsize=style.SMALL)
        plate.record(panel, "wins", labels[x], ("column", x), ("", np.nan), f"{'/'.join(names)}: {counts}")
    ax.set_xticks(range(len(places)), labels)
    ax.set_xlim(-0.5, len(places) - 0.5)
