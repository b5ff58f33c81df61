"""Observations: from logged rows to one point a run and target, the best over training steps.

Of the settings that were tried in one cell the best by validation stands for it (see ``tuning``). Per run and target
the step with the lowest loss on the selecting split is chosen among all steps after the first; what
is reported is the TEST loss at that step. ``select="val"`` is clean; ``select="test"`` is what the paper does, it
biases losses down.
"""

import json
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from ecgscale import records
from ecgscale.analysis.tuning import best_of_tried, settings_of

RUN_COLUMNS = (
    "sweep",
    "run_id",
    "configuration",
    "architecture",
    "objective",
    "paradigm",
    "corpus",
    "fraction",
    "label_set",
    "n_labels",
    "seed",
    "initial",
    "n_params",
    "n_samples",
    "n_patients",
    "macs_per_sample",
    "batch_size",
)
COLUMNS = (
    *RUN_COLUMNS,
    "N",
    "D",
    "C",
    "target",
    "domain",
    "loss",
    "auroc",
    "f1",
    "r2",
    "mae",
    "loss_unit",
    "mae_unit",
    "step",
    "selected_by",
    "loss_untrained",
    "auroc_untrained",
    "r2_untrained",
    "prevalence_loss",
    "macs_per_param",
    "n_tried",
    "at_edge",
)
SELECTING = ("val", "test")
NATS = "nats"  # of losses, unless labels are numbers
ABSURD = 50.0  # times the loss of predicting each label's rate: above that a trained network's loss is no measurement
MOST = 1_000.0  # nats, where there is no such loss, and of an untrained network: no objective here begins above 20

Narrow = Callable[[records.Results], records.Results]


def every(loaded: records.Results) -> records.Results:
    return loaded


def trajectories(results: Path, sweeps: Iterable[str] | None = None, narrow: Narrow = every) -> pd.DataFrame:
    """Losses along training: one row a run x target x step.

    Columns: those of the run, N, D, C (floats), target, domain, step, loss, auroc, f1, r2 and mae (test split),
    loss_val, loss_train, prevalence_loss, loss_unit ("nats", or what it is of numbers), mae_unit. Only runs with status
    "done" enter; ``attrs["runs"]`` counts runs by status and ``attrs["lost"]`` holds those that ended otherwise (sweep,
    configuration, N, D, status, where they measured
    anything), ``attrs["bad"]`` names files that could not be believed, and ``attrs["flagged"]`` counts by reason the
    losses that cannot be and were left out (see ``without_absurd``). ``narrow`` chooses among the runs first.
    """
    loaded = narrow(records.load(results, sweeps))
    status = loaded.runs["status"] if len(loaded.runs) else pd.Series(dtype=str)
    done = loaded.runs.loc[status == "done", ["sweep", "run_id"]] if len(loaded.runs) else loaded.runs
    rows = loaded.rows.merge(done[["sweep", "run_id"]], on=["sweep", "run_id"]) if len(done) else loaded.rows.iloc[:0]
    rows = rows.assign(measure=rows["metric"].astype(str) + "_" + rows["split"].astype(str))
    keys = ["sweep", "run_id", "target", "domain", "step"]
    wide = rows.pivot_table(index=keys, columns="measure", values="value", aggfunc="first").reset_index()
    facts = rows.drop_duplicates(["sweep", "run_id", "step"])[[*RUN_COLUMNS, "step", "flops"]]
    described = loaded.runs.reindex(columns=["sweep", "run_id", "run"]).fillna({"run": ""})
    facts = facts.merge(
        described.assign(settings=described["run"].map(settings_of)).drop(columns="run"), on=["sweep", "run_id"]
    )
    table = wide.merge(facts, on=["sweep", "run_id", "step"], how="left")
    table = table.merge(_units(loaded.runs), on=["sweep", "run_id", "target"], how="left")
    table = table.fillna({"loss_unit": NATS, "mae_unit": ""})
    renamed = {
        "loss_test": "loss",
        "auroc_test": "auroc",
        "f1_test": "f1",
        "r2_test": "r2",
        "mae_test": "mae",
        "loss_val": "loss_val",
        "loss_train": "loss_train",
        "prevalence_loss_test": "prevalence_loss",
    }
    for old, new in renamed.items():
        table[new] = table[old] if old in table else float("nan")
    table = table.assign(
        N=table["n_params"].astype(float),
        D=table["n_samples"].astype(float),
        C=table["flops"].astype(float),
        macs_per_param=table["macs_per_sample"].astype(float) / table["n_params"].astype(float),
    )
    kept = [*RUN_COLUMNS, "N", "D", "C", "target", "domain", "step", *renamed.values(), "macs_per_param", "settings"]
    kept += ["loss_unit", "mae_unit"]
    table = table[kept].sort_values(["sweep", "configuration", "N", "D", "run_id", "target", "step"], ignore_index=True)
    table, flagged = without_absurd(table)
    nans = rows["value"].isna() & (rows["metric"] == "loss") & rows["split"].isin(SELECTING)  # no pivot keeps them
    table.attrs["flagged"] = {reason: n for reason, n in {"not a number": int(nans.sum()), **flagged}.items() if n}
    table.attrs["runs"] = {str(k): int(v) for k, v in status.value_counts().items()}
    table.attrs["lost"] = _lost(loaded)
    table.attrs["bad"] = Aside(loaded.bad)
    return table


def _units(runs: pd.DataFrame) -> pd.DataFrame:
    """In what loss and absolute error are, where labels are numbers: columns sweep, run_id, target, and both."""
    found = []
    told = runs.reindex(columns=["sweep", "run_id", "numbers"]).dropna(subset="numbers")
    for sweep, run_id, said in told.itertuples(index=False):
        for target, numbers in json.loads(said).items():
            units = numbers["units"]
            of = f"SD² of {next(iter(units))}" if len(units) == 1 else "SD²"
            loss = of if len(units) == numbers["of"] else f"{NATS} and SD²"
            found.append((sweep, run_id, target, loss, " or ".join(sorted(set(units.values())))))
    return pd.DataFrame(found, columns=["sweep", "run_id", "target", "loss_unit", "mae_unit"], dtype=object)


def without_absurd(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Trajectories without the losses that cannot be, and how many those were for which reason.

    Not finite; below 0 where there is a prevalence loss (a cross-entropy then); above ``ABSURD`` times that of the
    run's target once the network is trained; above ``MOST`` nats. What was not measured (no row) is no such loss.
    """
    keys = ["sweep", "run_id", "target"]
    baseline = table.groupby(keys)["prevalence_loss"].transform("max") if len(table) else table["prevalence_loss"]
    bound = (ABSURD * baseline.where((table["step"] > 0) & (baseline > 0))).fillna(MOST).clip(upper=MOST)
    flagged: dict[str, int] = {}
    table = table.copy()
    for column in ("loss", "loss_val"):
        infinite = table[column].abs() == math.inf
        above, below = ~infinite & (table[column] > bound), ~infinite & (table[column] < 0) & baseline.notna()
        for reason, wrong in (("not finite", infinite), ("absurdly high", above), ("below 0", below)):
            if n := int(wrong.sum()):
                flagged[reason] = flagged.get(reason, 0) + n
        table[column] = table[column].mask(infinite | above | below)
    return table, flagged


def left_out(points: pd.DataFrame) -> list[str]:
    """Runs and losses of a results folder that are not among its points, counted by state and by reason."""
    runs, losses = points.attrs.get("runs", {}), points.attrs.get("flagged", {})
    states = [f"{n} {state}" for state, n in sorted(runs.items()) if state != "done" and n]
    return states + [f"{n} loss{'es' * (n > 1)} {reason}" for reason, n in losses.items()]


def own(points: pd.DataFrame) -> pd.DataFrame:
    """Each run's loss on what it was trained on: in distribution, over all of its labels."""
    inside = points["domain"] == "ID"
    return points[inside & (points["target"] == points["corpus"])] if "corpus" in points else points[inside]


class Aside(tuple[Any, ...]):
    """Things that lie beside a table and never change.

    pandas copies a table's attributes deeply whenever a column is taken out; copying these would take it longer than
    all else in a figure.
    """

    def __deepcopy__(self, memo: Any) -> Self:
        return self


def _lost(loaded: records.Results) -> Aside:
    """Where in the grid the runs lie that failed, diverged or ran out of memory after they measured something."""
    if loaded.runs.empty:
        return Aside()
    ended = loaded.runs.loc[~loaded.runs["status"].isin(("done", "running")), ["sweep", "run_id", "status"]]
    keys = ["sweep", "run_id", "configuration", "n_params", "n_samples"]
    found = loaded.rows.drop_duplicates(["sweep", "run_id"])[keys].merge(ended, on=["sweep", "run_id"])
    renamed = found.rename(columns={"n_params": "N", "n_samples": "D"}).drop(columns="run_id")
    return Aside({str(k): v for k, v in row.items()} for row in renamed.to_dict("records"))


def observations(
    results: Path, sweeps: Iterable[str] | None = None, select: str = "val", narrow: Narrow = every
) -> pd.DataFrame:
    """Best over steps: one row a run x target, columns ``COLUMNS``; test loss at the selected step.

    Runs that differ in more than their seed at one configuration, N and D are alternatives: the best by validation in
    distribution is kept, ``n_tried`` counts them and ``at_edge`` says where the best lies at the edge of those tried.
    ``C`` is the compute spent until that step. ``loss_untrained`` and ``auroc_untrained`` are the same network before
    training (step 0). Where a target has no selecting split, the test split selects and ``selected_by`` says so.
    """
    return best_over_steps(trajectories(results, sweeps, narrow), select)


def best_over_steps(table: pd.DataFrame, select: str = "val") -> pd.DataFrame:
    """Select the best step of every run and target in a table of trajectories."""
    if select not in SELECTING:
        raise ValueError(f"select is '{select}'; steps are selected on {' or '.join(SELECTING)}")
    keys = ["sweep", "run_id", "target"]
    of_twins = {name: f"{name}_untrained" for name in ("loss", "auroc", "r2") if name in table}
    untrained = table[table["step"] == 0].drop_duplicates(keys)[[*keys, *of_twins, "prevalence_loss"]]
    untrained = untrained.rename(columns=of_twins)
    trained = table[(table["step"] > 0) & table["loss"].notna()]
    has_val = trained.groupby(keys)["loss_val"].transform("count") > 0
    by_val = has_val & (select == "val")
    trained = trained.assign(
        selected_by=by_val.map({True: "val", False: "test"}),
        selecting=trained["loss_val"].where(by_val, trained["loss"]),
    )
    usable = trained.dropna(subset="selecting")
    best = usable.loc[usable.groupby(keys)["selecting"].idxmin()]
    best = best.merge(untrained.drop(columns="prevalence_loss"), on=keys, how="left")
    # The prevalence baseline is logged once a target, at step 0.
    prevalence = table.dropna(subset="prevalence_loss").drop_duplicates(keys)[[*keys, "prevalence_loss"]]
    best = best.drop(columns="prevalence_loss").merge(prevalence, on=keys, how="left")
    best = best_of_tried(best.assign(selecting=best["loss_val"].fillna(best["selecting"])))
    result = best.reindex(columns=list(COLUMNS)).sort_values(
        ["sweep", "configuration", "target", "N", "D", "seed"], ignore_index=True
    )
    result.attrs = dict(table.attrs)
    return result


def worse_than_prevalence(points: pd.DataFrame) -> str:
    """For a fit's note: how many losses are above that of predicting each label's rate, or a number's mean; or "".

    A probe starts there and keeps what validation likes best, so such a loss says that what it learned of the training
    patients does not hold for those of the test.
    """
    if not {"loss", "prevalence_loss"} <= set(points):
        return ""
    loss, prevalence = (points[c].to_numpy(float) for c in ("loss", "prevalence_loss"))
    worse = loss > prevalence
    is_nats = (
        (points["loss_unit"].fillna(NATS) == NATS).to_numpy() if "loss_unit" in points else np.full(len(points), True)
    )
    said = [
        f"{n} of {len(points)} losses are worse than {what}"
        for what, some in (("prevalence", is_nats), ("the training recordings' mean", ~is_nats))
        if (n := int((worse & some).sum()))
    ]
    return "; ".join(said)
