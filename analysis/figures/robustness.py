"""Robustness: macro AUROC of a task's probe against signal to noise, by kind of noise, and against leads."""

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of

CAPTION = (
    "Macro AUROC on test recordings with recorded noise of one kind added at a ratio of powers (NSTDB's stretch that "
    "nothing was trained on), and with fewer leads; probes are those of clean recordings with all leads. Full lines: "
    "the largest model of each configuration, mean over its runs; thin dashed lines: the same before training; "
    "dotted: clean."
)
KINDS = {"bw": "baseline wander", "em": "electrode motion", "ma": "muscle", "leads": "number of leads"}
_CONDITION = re.compile(r"(?P<task>.*)\+(?:(?P<kind>bw|em|ma)(?P<snr>-?\d+)dB|(?P<leads>\d+)leads?)")
_ALL_LEADS, _PER_PAGE = 12, 3


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


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """A row a task, three a page; a column a kind of noise, and one for the number of leads."""
    best = observed.best(points, table)
    looks = observed.configurations(best)
    best = best[best["domain"] == "OOD"]
    found = [_CONDITION.fullmatch(str(target)) for target in best["target"]]
    best = best.assign(
        task=[m["task"] if m else t for m, t in zip(found, best["target"], strict=True)],
        kind=[(m["kind"] or "leads") if m else "" for m in found],
        at=[float(m["snr"] or m["leads"]) if m else np.nan for m in found],
    )
    under = best[best["kind"] != ""]
    tasks = style.in_order(under["task"].unique(), style.TARGETS)
    kinds = {kind: title for kind, title in KINDS.items() if kind in set(under["kind"])}
    if not tasks:
        raise NothingToShow("no task was measured under noise or with fewer leads")
    pages = []
    for first in range(0, len(tasks), _PER_PAGE):
        rows = tasks[first : first + _PER_PAGE]
        source = source_of(best, observed.selection(table))
        page = Page(style.TWO_COLUMNS, 0.7 + 1.75 * len(rows), "Robustness", CAPTION, source)
        axes = page.subplots(len(rows), len(kinds), squeeze=False, sharey="row")
        for i, task in enumerate(rows):
            for j, (kind, title) in enumerate(kinds.items()):
                ax = axes[i, j]
                panel_letter(ax, letter(i * len(kinds) + j))
                if i == 0:
                    ax.set_title(title, fontsize=8)
                if j == 0:
                    ax.set_ylabel(f"macro AUROC\n{style.target(task).label}")
                if i == len(rows) - 1:
                    ax.set_xlabel("leads" if kind == "leads" else "SNR (dB)")
                _panel(page, ax, best[best["task"] == task], task, kind, looks)
        measured = set(best["configuration"])
        handles = [style.key(k.label, k.colour, k.marker) for k in looks if k.name in measured]
        handles.append(style.key("before training", linestyle=(0, (3, 2)), linewidth=0.8))
        page.legend(handles=handles, loc="outside upper center", ncols=style.columns(len(handles)), fontsize=7.5)
        pages.append(page)
    return pages


def _panel(page: Page, ax: Axes, part: pd.DataFrame, task: str, kind: str, looks: list[style.Look]) -> None:
    shown = False
    for look in looks:
        own = part[part["configuration"] == look.name]
        own = own[own["N"] == own["N"].max()]
        under, clean = own[own["kind"] == kind], own[own["kind"] == ""]
        if under.empty:
            continue
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
            page.record(
                f"{task}, {kind}", measure, look.name, (kind, mean.index), (measure, mean), f"clean {level:.4f}"
            )
            if kind != "leads" and measure == "auroc" and np.isfinite(level):
                ax.axhline(level, color=look.colour, linewidth=0.7, linestyle=(0, (1, 1.6)), zorder=1)
    if not shown:
        style.blank(ax, "not measured")
        page.note_missing(f"{task}: {KINDS[kind]}")
        return
    ax.set_xticks(sorted({*part.loc[part["kind"] == kind, "at"], *([_ALL_LEADS] if kind == "leads" else [])}))
    style.linear(ax.yaxis, 4)
