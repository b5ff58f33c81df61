"""The groups of observations that laws are fitted to: a configuration on a target (and corpus, label set, sweep).

A table is taken apart once: what a fit reads are a few columns of numbers, and pandas takes longer to pick rows out of
thirty columns than a law takes to be fitted.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.analysis.observations import own

KEYS = ["sweep", "corpus", "label_set", "configuration", "target", "domain"]
FAMILY = KEYS[:4]  # a configuration on all of its targets
# By fits; "row": alike in copies.
READ = ("N", "D", "loss", "loss_unit", "weight", "n_tried", "at_edge", "prevalence_loss", "row")
PAIRED = ("sweep", "run_id", "N", "D", "C", "n_tried", "at_edge", "loss")  # by transfer and frontier
SEEN = ("run_id", "C", "loss", "step")  # of checkpoints
Facts = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """``points`` of one group, one a run (columns ``READ``); ``runs`` are the same with their keys and their compute
    (``PAIRED``), ``inside`` what these lost in distribution, ``checkpoints`` all that they left (None: not known)."""

    facts: Facts
    points: pd.DataFrame
    runs: pd.DataFrame
    inside: pd.DataFrame
    checkpoints: pd.DataFrame | None


def prepared(points: pd.DataFrame) -> pd.DataFrame:
    """Observations with what tuning says of them, and ``row``, a number that only copies of a row share."""
    points = points.copy(deep=False)
    points.attrs = {}  # which pandas would copy with every column that is taken out
    if "n_tried" not in points:
        points = points.assign(n_tried=1, at_edge="")
    return points.assign(row=points.groupby(list(points.columns), dropna=False, sort=False).ngroup())


def groups_of(points: pd.DataFrame, paths: pd.DataFrame | None = None) -> list[Group]:
    """The groups of ``prepared`` points in the order of their names; ``paths`` are the checkpoints of all runs."""
    told = [c for c in ("selected_by", "n_tried", "at_edge") if c in points]
    inside = own(points)
    of_family = dict(_parts(inside, FAMILY, PAIRED))
    seen = None if paths is None else dict(_parts(paths[paths["step"] > 0], KEYS, SEEN))
    answer = []
    parts = (_parts(points, KEYS, columns) for columns in (READ, PAIRED, told))
    for (key, part), (_, runs), (_, said) in zip(*parts, strict=True):
        facts: Facts = {name: math.nan if value is None else value for name, value in zip(KEYS, key, strict=True)}
        facts["select"] = "+".join(sorted(said["selected_by"].unique())) if "selected_by" in said else ""
        facts |= {"n_tried": int(said["n_tried"].max()), "at_edge": _at_edge(part)}
        checkpoints = None if seen is None else seen.get(key, runs.iloc[:0])
        answer.append(Group(facts, part, runs, of_family.get(key[: len(FAMILY)], runs.iloc[:0]), checkpoints))
    return answer


def _parts(
    table: pd.DataFrame, keys: Sequence[str], columns: Sequence[str]
) -> list[tuple[tuple[Hashable, ...], pd.DataFrame]]:
    """Each group of a table, by its keys (None where one is missing), with some of its columns."""
    if table.empty:
        return []
    number = table.groupby(list(keys), dropna=False, sort=True).ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    names = table[list(keys)].iloc[order[starts]].astype(object)
    named = names.where(names.notna(), None).itertuples(index=False, name=None)
    narrow = table[[c for c in columns if c in table]]
    return [(key, narrow.iloc[rows]) for key, rows in zip(named, np.split(order, starts[1:]), strict=True)]


def _at_edge(part: pd.DataFrame) -> str:
    """In how many cells the best of the settings that were tried lies at their edge, with the first as an example."""
    if (part["at_edge"] == "").all():
        return ""
    cells = part.drop_duplicates(["N", "D"])
    edge = cells.loc[cells["at_edge"] != "", "at_edge"]
    return f"{len(edge)} of {len(cells)} cells: {edge.iloc[0]}" if len(edge) else ""
