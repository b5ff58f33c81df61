"""How training and validation part when data are few: the shape of the paper's Figs. S.7 and S.8."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import observed, style
from analysis.figures.plate import Plate, panel_letter, source_of
from analysis.observations import own

CAPTION = (
    "Validation loss (full) and the mean training loss since the checkpoint before (dotted), one panel a "
    "configuration, at the largest size that saw several amounts of data; paler lines saw fewer recordings. Where "
    "the dotted line falls below the full one, the model fits what it has seen better than what it has not."
)
LEAST = 2  # checkpoints that make a line
LISTED = 5  # amounts of data that fit into the legend


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """One panel a configuration, one colour strength an amount of data."""
    best = observed.best(points, table)
    names = observed.configurations(best)[:4]
    plate = Plate(style.TWO_COLUMNS, 2.3, "Training and validation", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    for k, (ax, name) in enumerate(zip(plate.subplots(1, 4), names, strict=True)):
        look = style.configuration(name)
        ax.set_title(look.label, color=style.legible(look.colour), fontweight="semibold", fontsize=9)
        panel_letter(ax, "abcd"[k])
        if k == 0:
            ax.set_ylabel("ID loss (nats)")
        inside = own(points[(points["configuration"] == name) & (points["step"] > 0)])
        _panel(plate, ax, inside, look, sorted(best["D"].unique()) if len(best) else [])
    handles = [
        style.key("validation", linewidth=1.3),
        style.key("training", linewidth=1, linestyle=(0, (1, 1.2))),
    ]
    amounts = sorted(best["D"].unique()) if len(best) else []
    for d in amounts if len(amounts) <= LISTED else (amounts[0], amounts[-1]):
        handles.append(style.key(f"D = {style.si(d)}", linewidth=2, alpha=_strength(d, amounts)))
    plate.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7.5)
    return plate


def _panel(plate: Plate, ax: Axes, inside: pd.DataFrame, look: style.Look, amounts: list[float]) -> None:
    sizes = observed.sizes_with_fractions(inside) if len(inside) else []
    lacking = not sizes or "loss_val" not in inside or inside["loss_val"].isna().all()
    if lacking or inside["step"].nunique() < LEAST:
        style.blank(ax, "no finished runs" if inside.empty else "no size saw several\namounts of data")
        plate.lacks(look.label)
        return
    part = inside[inside["N"] == sizes[0]]
    for d in sorted(part["D"].unique()):
        line = part[part["D"] == d].groupby("step")[["loss_val", "loss_train"]].mean()
        strength = _strength(d, amounts)
        ax.plot(line.index, line["loss_val"], color=look.colour, alpha=strength, linewidth=1.3)
        ax.plot(line.index, line["loss_train"], color=look.colour, alpha=strength, linewidth=1, linestyle=(0, (1, 1.2)))
        for kind in ("loss_val", "loss_train"):
            plate.record(look.label, kind, f"D = {d:.0f}", ("step", line.index), ("loss", line[kind]))
    values = part[["loss_val", "loss_train"]].to_numpy(float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    steps = part["step"]
    ax.set_xlim(steps.min() - 0.04 * np.ptp(steps), steps.max() + 0.04 * np.ptp(steps))
    style.linear(ax.yaxis)
    style.linear(ax.xaxis)
    ax.set_xlabel(f"step (N = {style.si(sizes[0])})")


def _strength(d: float, amounts: list[float]) -> float:
    """Opacity of a line: pale for the fewest recordings, full for the most."""
    return 0.3 + 0.7 * (amounts.index(d) + 1) / len(amounts)
