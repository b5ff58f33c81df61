"""What figures take from the points: the best step of every run, slices of the ragged grid, losses on one scale."""

import pandas as pd

from ecgscale.analysis.figures import style
from ecgscale.analysis.observations import NATS, best_over_steps

LEVELS = 3  # distinct values that make a line worth looking at


def best(points: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """One row a run and target: observations as they are; of trajectories, the best steps, chosen as ``table`` says."""
    if points.empty or "loss_val" not in points:
        return points
    return best_over_steps(points, selection(table))


def selection(table: pd.DataFrame) -> str:
    """The split on which the fitted table chose steps: "val" or "test"."""
    chosen = set(table["select"].dropna()) if "select" in table else set()
    return "test" if chosen == {"test"} else "val"


def configurations(points: pd.DataFrame) -> list[style.Look]:
    """Every configuration there is in the points, as figures list and draw it."""
    return style.looks(points["configuration"].astype(str).unique())


def targets(points: pd.DataFrame, domain: str = "OOD") -> list[str]:
    """Targets of a domain in the order in which figures list them."""
    return style.in_order(list(points.loc[points["domain"] == domain, "target"].unique()), style.TARGETS)


def printed(points: pd.DataFrame) -> bool:
    """Whether the points are the paper's printed numbers."""
    return set(points["sweep"]) == {"published"}


def at_full_data(part: pd.DataFrame) -> pd.DataFrame:
    """Points of the largest D, by N."""
    return part[part["D"] == part["D"].max()].sort_values("N")


def sizes_with_fractions(part: pd.DataFrame) -> list[float]:
    """Sizes that saw several amounts of data, largest first."""
    levels = part.groupby("N")["D"].nunique()
    return sorted((float(n) for n in levels.index[levels >= LEVELS]), reverse=True)


def scale(points: pd.DataFrame) -> tuple[dict[str, float], str]:
    """What to divide each OOD target's loss by, and what to call the result.

    Where every target has a prevalence baseline, losses are shown relative to it, so that tasks of different entropy
    share an axis and 1 is no skill; else in nats.
    """
    outside = points[points["domain"] == "OOD"]
    baseline = outside.groupby("target")["prevalence_loss"].median() if len(outside) else pd.Series(dtype=float)
    names = [str(t) for t in outside["target"].unique()] if len(outside) else []
    if names and baseline.reindex(names).notna().all() and (baseline > 0).all():
        of = {NATS: "prevalence"}.get(loss_unit(outside), "prevalence or mean")
        return {str(t): float(v) for t, v in baseline.items()}, f"OOD loss ÷ {of}"
    return dict.fromkeys(names, 1.0), f"OOD loss ({loss_unit(outside)})"


def loss_unit(points: pd.DataFrame) -> str:
    """In what the losses of these points are: nats, squared standard deviations where labels are numbers, or both."""
    units = sorted(set(points["loss_unit"].dropna())) if "loss_unit" in points else []
    if len(units) > 1:
        units = sorted({part.partition(" of ")[0] for unit in units for part in unit.split(" and ")})
    return ", ".join(sorted(map(str, units), key=lambda unit: (unit != NATS, unit))) or NATS


def inside(points: pd.DataFrame) -> pd.DataFrame:
    """The points in distribution."""
    return points[points["domain"] == "ID"]


def lost(points: pd.DataFrame, configuration: str | None = None) -> pd.DataFrame:
    """Runs of these points' sweeps that failed, diverged or ran out of memory: configuration, N, D, status."""
    table = pd.DataFrame(points.attrs.get("lost", []), columns=["sweep", "configuration", "N", "D", "status"])
    table = table[table["sweep"].isin(points["sweep"].unique())] if len(points) else table
    return table if configuration is None else table[table["configuration"] == configuration]


def never_finished(points: pd.DataFrame) -> list[str]:
    """A line for every configuration of these sweeps that no finished run is of."""
    gone = set(lost(points)["configuration"]) - set(points["configuration"])
    return [f"{look.label}: no finished runs" for look in style.looks(gone)]


def one_group(points: pd.DataFrame, table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Each configuration as pretrained most often: points, fits, and which other corpora or label sets were left out.

    A sweep over label sets or corpora has several groups of runs a configuration, which no line may run through.
    """
    keys = ["configuration", "corpus", "label_set"]
    if points.empty or not {"label_set", "corpus"} <= set(points):
        return points, table, []
    groups = points.fillna({"label_set": ""}).groupby(keys)["run_id"].nunique().reset_index(name="runs")
    largest = groups.sort_values("runs", ascending=False, kind="stable").drop_duplicates("configuration")
    rest = groups.drop(largest.index)
    if rest.empty:
        return points, table, []
    kept = largest[keys]
    left_out = [f"{r.configuration} pretrained on {r.corpus} {r.label_set} ({r.runs} runs)" for r in rest.itertuples()]
    return _of_groups(points, kept), _of_groups(table, kept) if len(table) else table, left_out


def _of_groups(frame: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    wanted = set(kept.itertuples(index=False, name=None))
    found = frame[["configuration", "corpus", "label_set"]].fillna("").itertuples(index=False, name=None)
    part = frame[[key in wanted for key in found]]
    part.attrs = dict(frame.attrs)
    return part
