"""Robustness: macro AUROC of a task's probe against signal to noise, by kind of noise, and against leads."""

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import observed, style
from analysis.figures.figure import Plate, panel_letter, source_of

CAPTION = (
    "Macro AUROC on test recordings with recorded noise of one kind added at a ratio of powers (NSTDB's stretch that "
    "nothing was trained on), and with fewer leads; probes are those of clean recordings with all leads. Full lines: "
    "the largest model of each configuration, mean over its runs; thin dashed lines: the same before training; "
    "dotted: clean."
)
KINDS = {"bw": "baseline wander", "em": "electrode motion", "ma": "muscle"}
_CONDITION = re.compile(r"(?P<task>.*)\+(?:(?P<kind>bw|em|ma)(?P<snr>-?\d+)dB|(?P<leads>\d+)leads?)")
_ALL_LEADS, _MOST_TASKS = 12, 3


def has(points: pd.DataFrame) -> bool:
    """Whether tasks were measured under conditions."""
    return bool(len(points)) and any(_CONDITION.fullmatch(target) for target in points["target"].unique())


def without_conditions(points: pd.DataFrame) -> pd.DataFrame:
    """Points of the tasks themselves: what laws and other figures are about."""
    if points.empty:
        return points
    plain = points[[_CONDITION.fullmatch(str(target)) is None for target in points["target"]]]
    plain.attrs = dict(points.attrs)
    return plain


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """A row a task, a column a kind of noise, and one for the number of leads."""
    best = observed.best(points, table)
    best = best[best["domain"] == "OOD"] if len(best) else best
    found = [_CONDITION.fullmatch(str(target)) for target in best["target"]] if len(best) else []
    best = best.assign(
        task=[m["task"] if m else t for m, t in zip(found, best["target"], strict=True)],
        kind=[(m["kind"] or "leads") if m else "" for m in found],
        at=[float(m["snr"] or m["leads"]) if m else np.nan for m in found],
    )
    tasks = style.in_order(list(best.loc[best["kind"] != "", "task"].unique()), style.TARGETS)[:_MOST_TASKS]
    plate = Plate(style.TWO_COLUMNS, 0.7 + 1.75 * max(1, len(tasks)), "Robustness", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(max(1, len(tasks)), len(KINDS) + 1, squeeze=False, sharey="row")
    names = [name for name in observed.configurations(best) if name in set(best["configuration"])]
    for i, task in enumerate(tasks or [""]):
        for j, (kind, title) in enumerate((*KINDS.items(), ("leads", "number of leads"))):
            ax = axes[i, j]
            panel_letter(ax, "abcdefghijkl"[i * (len(KINDS) + 1) + j])
            if i == 0:
                ax.set_title(title, fontsize=8)
            if j == 0:
                ax.set_ylabel(f"macro AUROC\n{style.target(task).label}" if task else "macro AUROC")
            if i == len(tasks or [""]) - 1:
                ax.set_xlabel("leads" if kind == "leads" else "SNR (dB)")
            _panel(plate, ax, best[best["task"] == task], task, kind, names)
    handles = [style.key((look := style.configuration(name)).label, look.colour, look.marker) for name in names]
    handles.append(style.key("before training", linestyle=(0, (3, 2)), linewidth=0.8))
    plate.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7.5)
    return plate


def _panel(plate: Plate, ax: Axes, part: pd.DataFrame, task: str, kind: str, names: list[str]) -> None:
    shown = False
    for name in names:
        own = part[part["configuration"] == name]
        own = own[own["N"] == own["N"].max()]
        under, clean = own[own["kind"] == kind], own[own["kind"] == ""]
        if under.empty:
            continue
        look = style.configuration(name)
        lines: dict[str, dict[str, Any]] = {
            "auroc": {"linewidth": 1.2, "marker": look.marker, "markersize": 3.2},
            "auroc_untrained": {"linewidth": 0.8, "linestyle": (0, (3, 2))},
        }
        for measure, line in lines.items():
            mean = under.groupby("at")[measure].mean().dropna()
            level = float(clean[measure].mean()) if len(clean) else np.nan
            if kind == "leads" and np.isfinite(level):
                mean.loc[float(_ALL_LEADS)] = level
            if mean.empty:
                continue
            shown = True
            lone = {"marker": "_"} if len(mean) == 1 else {}  # a line needs two
            ax.plot(mean.index, mean, color=look.colour, zorder=3, **(lone | line))
            plate.record(f"{task}, {kind}", measure, name, (kind, mean.index), (measure, mean), f"clean {level:.4f}")
            if kind != "leads" and measure == "auroc" and np.isfinite(level):
                ax.axhline(level, color=look.colour, linewidth=0.7, linestyle=(0, (1, 1.6)), zorder=1)
    if not shown:
        style.blank(ax, "not measured")
        plate.lacks(f"{task or 'a task'} under {KINDS.get(kind, 'fewer leads')}")
        return
    ax.set_xticks(sorted({*part.loc[part["kind"] == kind, "at"], *([_ALL_LEADS] if kind == "leads" else [])}))
    style.linear(ax.yaxis, 4)
