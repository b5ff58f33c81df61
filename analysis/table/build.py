"""The exponents table: every law fitted to every group of observations, one row a coefficient.

Laws of a group (see ``groups``): the joint law; its marginals over N at full
data and over D at each size that saw several fractions, with and without a floor; transfer from the in-distribution
loss to each target, by two conventions of where its floors come from; the compute frontier; allocation exponents from
the joint law.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ecgscale.analysis.fitting.allocation import frontier
from ecgscale.analysis.fitting.effective_data import replaced
from ecgscale.analysis.fitting.fit import fits, tuned
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.laws import EXPONENT, LAWS
from ecgscale.analysis.fitting.options import Options
from ecgscale.analysis.fitting.result import Coefficient, Fit
from ecgscale.analysis.fitting.status import worst
from ecgscale.analysis.fitting.transfer import CONVENTIONS, Floors, disagree, loss_to_loss, paired
from ecgscale.analysis.observations import Narrow, best_over_steps, trajectories
from ecgscale.analysis.table.groups import Facts, groups_of, prepared
from ecgscale.analysis.table.query import COLUMNS, FILE, as_markdown, read
from ecgscale.analysis.table.where import BadQuery
from ecgscale.phrases import did_you_mean
from ecgscale.records import sealed, write_whole

LEVELS = 4  # sizes or fractions below which a marginal law is not tried
SIZES_AND_DATA = ("joint", "size", "pure_size", "data", "pure_data")
ALLOCATION = ("a", "b", "gamma")


def exponents(
    points: pd.DataFrame,
    *,
    objective: str = "log-ls",
    delta: float = 1e-3,
    bootstrap: int | None = None,
    max_exponent: float = EXPONENT[1],
    weights: str = "equal",
    bounds: Mapping[str, tuple[float, float]] | None = None,
    paths: pd.DataFrame | None = None,
    on_fit: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Fit all laws to all groups of ``points`` (see ``observations``); columns ``analysis.table.query.COLUMNS``.

    ``paths`` are the checkpoints of all runs (see ``trajectories``), from which the frontier is drawn; without them it
    is drawn from the points. ``bootstrap`` resamples stand beside the intervals (log-ls) or make them (huber,
    transfer_joint, frontier); ``bounds`` are those of coefficients, in the laws of sizes and data that have them. A law
    that cannot be fitted to a group has one row with status "failed" and the reason.
    """
    known = dict.fromkeys(c for law in SIZES_AND_DATA for c in LAWS[law].boundable)
    for name in bounds or {}:
        if name not in known:
            raise BadPoints(f"no law of sizes and data bounds '{name}'{did_you_mean(name, known)}")
    options = Options(
        objective=objective, delta=delta, bootstrap=bootstrap, max_exponent=max_exponent, weights=weights, bounds=bounds
    )
    resamples = {} if bootstrap is None else {"bootstrap": bootstrap}
    rows: list[Facts] = []
    floors: Floors = {}
    points = prepared(points)
    groups = groups_of(points, paths)
    of_sizes_and_data = _of_sizes_and_data([group.points for group in groups], options)
    for group, found in zip(groups, of_sizes_and_data, strict=True):
        facts = group.facts
        if on_fit:
            on_fit(f"{facts['configuration']} on {facts['target']}")
        joint = None
        for law, at, one in found:
            fitted = facts | {"law": law, "at": at}
            rows += rows_of(fitted, one) if isinstance(one, Fit) else [_failed(fitted, one)]
            joint = one if law == "joint" and isinstance(one, Fit) else joint
        if joint is not None:
            rows += _allocation(facts, joint)
        whole = group.runs if group.checkpoints is None else group.checkpoints
        # A front of the lowest test losses is selected on them, whatever picked the steps of the other laws.
        front = partial(_frontier, whole, group.points, **resamples)
        rows += _rows(facts | {"law": "frontier", "at": "", "select": "test"}, front)[1]
        if facts["domain"] != "ID" and len(group.inside):
            both = paired(group.inside, group.runs)
            rows += _transfer(facts, partial(loss_to_loss, both, floors_found=floors, bootstrap=bootstrap))
    for facts, attempt in replaced(points):
        rows += _rows(facts | {"law": "replaced", "at": ""}, attempt)[1]
    if weights != "equal":
        _say_alike(rows)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table.attrs = {}
    return table


def _frontier(paths: pd.DataFrame, points: pd.DataFrame, **options: Any) -> Fit:
    """The frontier of a group's checkpoints; what tuning says of its points holds for it too."""
    return tuned(frontier(paths, **options), points)


def _of_sizes_and_data(parts: list[pd.DataFrame], options: Options) -> list[list[tuple[str, str, Fit | BadPoints]]]:
    """The laws of each group's sizes and data (law, where, fit), those of one design in one batch."""
    asked = [(i, law, at, points) for i, part in enumerate(parts) for law, at, points in _marginals(part)]
    found: dict[int, Fit | BadPoints] = {}
    for law in dict.fromkeys(law for _, law, _, _ in asked):
        members = [k for k, (_, name, _, _) in enumerate(asked) if name == law]
        own = {name: ends for name, ends in (options.bounds or {}).items() if name in LAWS[law].boundable}
        found |= zip(members, fits(law, [asked[k][3] for k in members], replace(options, bounds=own)), strict=True)
    return [
        [(law, at, found[k]) for k, (i, law, at, _) in enumerate(asked) if i == group] for group in range(len(parts))
    ]


def _marginals(part: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """The joint law on all points of a group, and marginal laws on the slices of its ragged grid."""
    yield "joint", "", part
    sizes, data = (part[v].to_numpy(float) for v in ("N", "D"))
    full = part[data == data.max()]
    if len(np.unique(sizes[data == data.max()])) >= LEVELS:
        for law in ("size", "pure_size"):
            yield law, f"D = {full['D'].iloc[0]:.4g}", full
    for n in np.unique(sizes):
        if len(np.unique(data[sizes == n])) >= LEVELS:
            row = part[sizes == n]
            for law in ("data", "pure_data"):
                yield law, f"N = {n:.4g}", row


def _transfer(facts: Facts, attempt: Callable[..., Fit]) -> list[Facts]:
    """Rows of both conventions of Eq. 4; kappas that disagree beyond their intervals are flagged in both."""
    found = [_rows(facts | {"law": law, "at": ""}, partial(attempt, law=law)) for law in CONVENTIONS]
    fits, rows = [fit for fit, _ in found if fit is not None], [row for _, part in found for row in part]
    if len(fits) == len(CONVENTIONS) and disagree(*(fit.coefficients["kappa"] for fit in fits)):
        values = ", ".join(f"{fit['kappa']:.3g} ({fit.law})" for fit in fits)
        said = f"kappa depends on the convention: {values}"
        for row in rows:
            if row["coefficient"] == "kappa":
                row["status"] = worst([row["status"], "convention"])
                row["note"] = "; ".join(note for note in (said, row["note"]) if note)
    return rows


def _rows(facts: Facts, attempt: Callable[[], Fit]) -> tuple[Fit | None, list[Facts]]:
    try:
        found = attempt()
    except BadPoints as error:
        return None, [_failed(facts, error)]
    return found, rows_of(facts, found)


def _failed(facts: Facts, why: BadPoints) -> Facts:
    return facts | {"coefficient": "", "status": "failed", "note": str(why), "at_bound": "", "n_points": 0}


def rows_of(facts: Facts, found: Fit) -> list[Facts]:
    """Rows of a fit's coefficients (and of its terms at the centre) in the table; ``facts`` say what was fitted."""
    named = {**found.coefficients, **{k: v for k, v in found.derived.items() if k not in ALLOCATION}}
    return [_row(facts, found, name, c) for name, c in named.items()]


def _allocation(facts: Facts, joint: Fit) -> list[Facts]:
    facts = facts | {"law": "allocation", "at": ""}
    return [_row(facts, joint, name, joint.derived[name]) for name in ALLOCATION if name in joint.derived]


def _row(facts: Facts, found: Fit, name: str, c: Coefficient) -> Facts:
    h = found.health
    return facts | {
        "coefficient": name,
        "value": c.value,
        "low": c.low,
        "high": c.high,
        "at_bound": c.at_bound,
        "status": "failed" if found.status == "failed" else c.status,
        "note": "; ".join(dict.fromkeys(note for note in (c.note, found.note) if note)),
        "bootstrap_low": c.bootstrap_low,
        "bootstrap_high": c.bootstrap_high,
        "low_end": c.low_end,
        "high_end": c.high_end,
        "lack_of_fit": h.lack_of_fit,
        "n_points": h.n_points,
        "n_params": h.n_params,
        "n_excluded": sum(h.excluded.values()),
        "excluded": "; ".join(f"{count} with {reason}" for reason, count in h.excluded.items()),
        "r2": h.r2,
        "rmse_log": h.rmse_log,
        "aic": h.aic,
        "bic": h.bic,
        "holdout": h.holdout,
        "converged": h.converged,
        "starts_agree": h.starts_agree,
        "condition": h.condition,
        "objective": found.objective,
        "interval": found.interval,
        "level": found.level,
    }


def _say_alike(rows: list[Facts]) -> None:
    """Say of the laws that know no weights that their runs weigh alike."""
    for row in rows:
        if row["law"] in (*CONVENTIONS, "frontier", "replaced") and row["status"] != "failed":
            row["note"] = "; ".join(text for text in (row["note"], "its runs weigh alike") if text)


def fit_results(
    results: Path,
    sweeps: list[str] | None = None,
    select: str = "val",
    narrow: Narrow = lambda loaded: loaded,
    **options: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read runs, select steps, fit everything, write ``exponents.parquet`` and ``.md``; returns table and points.

    With ``sweeps``, rows of other sweeps that were fitted before stay in the table that is written; ``narrow`` chooses
    among the runs.
    Raises BadPoints if no run is done.
    """
    paths = trajectories(results, sweeps, narrow)
    if paths.empty:
        counts = ", ".join(f"{n} {status}" for status, n in paths.attrs["runs"].items()) or "no run"
        where = f"sweeps {', '.join(sweeps)}" if sweeps else "the results"
        damaged = "".join(f"; {sentence}" for sentence in paths.attrs["bad"])
        raise BadPoints(f"nothing to fit: {where} hold {counts}; launch a sweep first{damaged}")
    points = best_over_steps(paths, select)
    table = exponents(points, paths=paths, **options)
    write(_with_others(table, results) if sweeps else table, results)
    return table, points


def _with_others(table: pd.DataFrame, results: Path) -> pd.DataFrame:
    """A table with the rows that were there before of sweeps that it says nothing of, first."""
    if not (results / "exponents.parquet").exists():
        return table
    try:
        before = read(results)
    except BadQuery:  # what is damaged is written anew
        return table
    kept = before[~before["sweep"].isin(table["sweep"].unique())].reindex(columns=list(COLUMNS))
    return pd.concat([kept, table], ignore_index=True) if len(kept) else table


def write(table: pd.DataFrame, results: Path) -> None:
    """Write the table as ``exponents.parquet``, sealed, and, for reading, ``exponents.md``."""
    columns = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {key.decode(): value.decode() for key, value in (columns.schema.metadata or {}).items()}
    write_whole(results / FILE, sealed(columns, metadata))
    write_whole(results / "exponents.md", as_markdown(table).encode())


def summary(table: pd.DataFrame, by: str = "configuration", coefficient: str = "kappa") -> pd.DataFrame:
    """Mean, population standard deviation and median of a coefficient over targets, with and without bound hits."""
    rows = []
    for key, part in table[table["coefficient"] == coefficient].groupby(by):
        for label, values in (("all", part["value"]), ("off the bounds", part.loc[part["at_bound"] == "", "value"])):
            v = values.dropna().to_numpy(float)
            rows.append(
                {
                    by: key,
                    "rows": label,
                    "n": len(v),
                    "mean": v.mean() if len(v) else math.nan,
                    "std": np.std(v) if len(v) else math.nan,
                    "median": np.median(v) if len(v) else math.nan,
                }
            )
    return pd.DataFrame(rows)
