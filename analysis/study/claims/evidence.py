"""What a claim is tested on: losses in cells, fitted numbers and checkpoints, of one sweep or of printed tables."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.observations import COLUMNS, Narrow, best_over_steps, trajectories
from ecgscale.analysis.study import published
from ecgscale.analysis.study.constants import SIZE_EDGES
from ecgscale.analysis.table.query import COLUMNS as FITTED
from ecgscale.analysis.table.query import read


def _nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=list(COLUMNS))


@dataclass(frozen=True)
class Evidence:
    """Tables that claims read. ``sizes`` and ``amounts`` are losses in cells: target, bin, configuration, loss.

    ``points``: observations (one row a run and target), ``every`` the same with all label sets, ``paths``: checkpoints,
    ``table``: exponents, ``benchmark``: fine-tuned models. What is not there is empty. ``printed``: published numbers,
    whose intervals are a bootstrap over datasets; those of own results come from the fits.
    """

    sizes: pd.DataFrame
    amounts: pd.DataFrame
    table: pd.DataFrame
    points: pd.DataFrame = field(default_factory=_nothing)
    every: pd.DataFrame = field(default_factory=_nothing)
    paths: pd.DataFrame = field(default_factory=_nothing)
    benchmark: pd.DataFrame = field(default_factory=pd.DataFrame)
    printed: bool = False


def of_results(paths: pd.DataFrame, table: pd.DataFrame, select: str = "val") -> Evidence:
    """Evidence of one sweep: its checkpoints (``analysis.observations.trajectories``) and its exponents table.

    Where a configuration was trained on several corpora or label sets, the pair with most runs speaks for it.
    """
    every = best_over_steps(paths, select) if len(paths) else _nothing()
    points = _one_corpus(every)
    outside = points[points["domain"] == "OOD"]
    kept = paths.merge(points[["sweep", "run_id"]].drop_duplicates()) if len(points) else paths
    if len(points):
        chosen = points[["sweep", "corpus", "label_set", "configuration"]].drop_duplicates()
        # What fine-tuning replaces is fitted to runs on the task itself, whatever pretraining is looked at here.
        replaced = table[table["law"] == "replaced"]
        table = pd.concat([table[table["law"] != "replaced"].merge(chosen, how="inner"), replaced], ignore_index=True)
    return Evidence(_by_size(outside), _by_data(outside), table, points, every, kept)


def in_results(results: Path, sweep: str | None = None, narrow: Narrow = lambda loaded: loaded) -> Evidence:
    """Evidence of a sweep in a results folder; of the only one there if none is named; ``narrow`` chooses its runs.

    Steps are selected as the exponents table says; without a table only claims about losses can be tested. Raises
    BadPoints if there is no finished run, or several sweeps and none was named.
    """
    paths = trajectories(results, [sweep] if sweep else None, narrow)
    known = sorted(paths["sweep"].unique())
    if len(known) != 1:
        problem = f"hold several sweeps: {', '.join(known)}; name one" if known else "hold no finished run"
        raise BadPoints(f"the results {problem}")
    file = results / "exponents.parquet"
    table = read(results) if file.exists() else pd.DataFrame(columns=list(FITTED))
    table = table[table["sweep"] == known[0]].reset_index(drop=True)
    chosen = set(table["select"].dropna())
    return of_results(paths, table, "test" if chosen == {"test"} else "val")


def of_publication() -> Evidence:
    """Evidence of the paper's own tables: S.5 and S.6 (losses), S.7 (transfer), refits of both, S.9 (benchmark)."""
    sizes = published.losses_by_size().rename(columns={"param_bin": "bin"})
    amounts = published.losses_by_data().rename(columns={"data_bin": "bin"})
    return Evidence(sizes, amounts, published.exponents(), benchmark=published.benchmark(), printed=True)


def _one_corpus(points: pd.DataFrame) -> pd.DataFrame:
    """Points of the corpus with most runs and, for each configuration, its label set with most runs."""
    if points.empty:
        return points
    runs = points.drop_duplicates(["sweep", "run_id"])
    points = points[points["corpus"] == runs["corpus"].value_counts().index[0]]
    runs = runs[runs["corpus"] == points["corpus"].iloc[0]]
    chosen = runs.groupby("configuration")["label_set"].agg(lambda c: c.value_counts().index[0])
    return points[points["label_set"] == points["configuration"].map(chosen)]


def _by_size(points: pd.DataFrame) -> pd.DataFrame:
    """At full data, the lowest loss of each size bin of Table S.4; seeds are averaged."""
    if points.empty:
        return pd.DataFrame(columns=["target", "bin", "configuration", "loss"])
    full = points[points["D"] == points.groupby("configuration")["D"].transform("max")]
    sizes = full.groupby(["target", "configuration", "N"], as_index=False)["loss"].mean()
    sizes["bin"] = np.digitize(sizes["N"], SIZE_EDGES)
    return sizes.groupby(["target", "bin", "configuration"], as_index=False)["loss"].min()


def _by_data(points: pd.DataFrame) -> pd.DataFrame:
    """Over fractions, the largest size of each configuration that saw most of them; seeds are averaged."""
    parts = []
    for _, part in points.groupby("configuration"):
        seen = part.groupby("N")["fraction"].nunique()
        size = seen[seen == seen.max()].index.max()
        if seen.max() > 1:
            parts.append(part[part["N"] == size])
    if not parts:
        return pd.DataFrame(columns=["target", "bin", "configuration", "loss"])
    table = pd.concat(parts).groupby(["target", "fraction", "configuration"], as_index=False)["loss"].mean()
    return table.rename(columns={"fraction": "bin"})
