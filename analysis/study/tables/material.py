"""What tables of own results are made from: runs, points and fits, and what only training knows, given as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from ecgscale.analysis.study.claims.evidence import Evidence

TASK = ("name", "corpus", "label_set", "domain", "domain_name")


@dataclass(frozen=True)
class Material:
    """``evidence``: of one sweep. ``runs``: its files' facts, with the run as JSON; ``rows``: everything measured.

    ``cards``: Croissant cards of corpora by name. ``tasks``: columns ``TASK``, one row a task.
    """

    evidence: Evidence
    runs: pd.DataFrame
    rows: pd.DataFrame
    cards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tasks: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(TASK)))

    @property
    def source(self) -> str:
        """Which runs the numbers come from."""
        p = self.evidence.points
        if p.empty:
            return "no finished run"
        n = p.drop_duplicates(["sweep", "run_id"])
        return f"{len(n)} runs of sweep {p['sweep'].iloc[0]}, test loss at the best step on {_selected(p)}"


def _selected(points: pd.DataFrame) -> str:
    names = {"val": "validation", "test": "test"}
    return " or ".join(sorted(names.get(s, str(s)) for s in points["selected_by"].dropna().unique()))
