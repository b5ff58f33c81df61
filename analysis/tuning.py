"""Alternatives: of the settings that were tried in one cell of a sweep, those that validation prefers.

Runs of a cell (configuration, N and D) that differ in their seed alone are replicates, and all of them are points. Runs
that differ in anything else, a learning rate or the number of steps, are alternatives: the setting with the lowest
validation loss in distribution stands for the cell, since a law of the best is what a sweep is tuned for. A best value
at the edge of those tried leaves open whether there is a better one beyond.
"""

import json
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
import pandas as pd

CELL = ["sweep", "corpus", "label_set", "configuration", "initial", "N", "D"]
SEED = "seed"


def settings_of(description: str) -> str:
    """The settings of a run from its canonical JSON: all that tells it from another one but the seed."""
    told = json.loads(description) if description else {}
    return json.dumps({k: v for k, v in told.items() if k != SEED}, sort_keys=True, separators=(",", ":"))


def best_of_tried(points: pd.DataFrame) -> pd.DataFrame:
    """Points of the best setting of each cell, with how many were tried and whether the best lies at their edge.

    ``points``: one row a run x target with ``settings`` (see ``settings_of``), domain, and ``selecting``, the loss that
    selects. Adds columns n_tried and at_edge ("" or, for example, "lr 0.01 is the largest of 4"). A cell of one setting
    keeps its rows as they are; so do all where nothing was measured in distribution.
    """
    points = points.assign(n_tried=1, at_edge="")
    if points.empty or "settings" not in points:
        return points
    kept = pd.Series(True, index=points.index)
    for _, part in points.groupby([c for c in CELL if c in points], dropna=False, sort=False):
        if part["settings"].nunique() < 2:
            continue
        inside = part[(part["domain"] == "ID") & (part["target"] == part["corpus"])]
        losses = inside.groupby("settings")["selecting"].mean().dropna()
        if losses.empty:
            continue
        best, tried = str(losses.idxmin()), [str(s) for s in part["settings"].unique()]
        points.loc[part.index, "n_tried"] = len(tried)
        points.loc[part.index, "at_edge"] = "; ".join(_edges(best, tried))
        kept[part.index] = part["settings"] == best
    return points[kept]


def _edges(best: str, tried: list[str]) -> Iterator[str]:
    """In words, each number that the best setting has smallest or largest of all that were tried."""
    flat = {settings: dict(_leaves(json.loads(settings))) for settings in tried}
    for name in sorted({name for leaves in flat.values() for name in leaves}):
        numbers = [_number(leaves.get(name)) for leaves in flat.values()]
        values = np.unique([v for v in numbers if v is not None])
        own = _number(flat[best].get(name))
        if len(values) < 2 or own is None:
            continue
        if own in (values[0], values[-1]):
            which = "smallest" if own == values[0] else "largest"
            yield f"{name.rpartition('.')[2]} {own:g} is the {which} of {len(values)}"


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Hashable]]:
    """Names and values of all that is no object itself, nested names joined by dots."""
    if not isinstance(value, dict):
        yield name, value if isinstance(value, Hashable) else json.dumps(value)
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))


def _number(value: Any) -> float | None:
    """A number; None for all else, and for yes or no."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def said(points: pd.DataFrame) -> str:
    """For a fit's note: in how many cells settings were tried, and where the best lies at their edge; empty if none."""
    if "n_tried" not in points or not (points["n_tried"] > 1).any():
        return ""
    cells = points.drop_duplicates(["N", "D"])
    tuned, edge = cells[cells["n_tried"] > 1], cells[cells["at_edge"] != ""]
    text = f"the best of up to {int(tuned['n_tried'].max())} settings in {len(tuned)} of {len(cells)} cells"
    if edge.empty:
        return text
    example = str(edge["at_edge"].iloc[0])
    return f"{text}, in {len(edge)} at the edge of what was tried ({example}): there may be better beyond"
