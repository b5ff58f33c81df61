"""Which runs of a sweep a verb is about: --set and --only, declared once and the same on every verb of a sweep."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgscale.cli.door import home_of
from ecgscale.cli.terminal import never_silent
from ecgscale.phrases import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from ecgscale.records import Results as Loaded
    from ecgscale.spec.sweep import Sweep


def _meant(conditions: list[str] | None) -> list[str] | None:
    """Conditions as data has them: R-SL, as people write it, is resnet-sl."""
    from ecgscale.analysis.naming import configuration_named

    name = "configuration="
    return conditions and [
        name + configuration_named(one.removeprefix(name)) if one.startswith(name) else one for one in conditions
    ]


Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=VALUE",
        help="Only runs that are so: configuration=R-SL, fraction=1; repeatable.",
        callback=_meant,
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Runs changed so (seed=1), which have ids of their own; repeatable."
    ),
]
TasksAvailable = Annotated[
    bool,
    typer.Option(
        "--tasks-available", help="Measure on the tasks whose corpora are prepared; reprobe adds the others later."
    ),
]
FIELDS = ("run_id", "configuration", "architecture", "objective", "paradigm", "corpus", "fraction", "label_set", "seed")


def changed(sweep: str, changes: Sequence[str] | None) -> "Sweep":
    """A sweep by its file or stem, with fields of its runs set. Raises ValueError in one sentence."""
    with never_silent(f"reading the sweep {sweep} ..."):
        from ecgscale.spec.override import set_fields
        from ecgscale.spec.sweep import load

        loaded = load(sweep)
        return set_fields(loaded, changes) if changes else loaded


def selected(
    sweep: str, changes: Sequence[str] | None, only: Sequence[str] | None, home: Path | None, results: Path
) -> "Sweep":
    """A sweep of the runs that are asked for, changed as asked. Raises ValueError in one sentence."""
    from dataclasses import replace

    loaded = changed(sweep, changes)
    if not only:
        return loaded

    def priced() -> "pd.DataFrame":
        from ecgscale.pricing.plan import plan

        return plan(loaded, home_of(home), results)

    ids = ids_of(loaded, only, priced)
    return replace(loaded, runs=tuple(run for run in loaded.runs if run.run_id in ids))


def ids_of(sweep: "Sweep", only: Sequence[str], priced: "Callable[[], pd.DataFrame]") -> set[str]:
    """Ids of the runs that meet every condition; ``priced`` gives their plan, if a condition asks for what is in it."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "run_id": run.run_id,
            "name": sweep.names[run.run_id],
            "configuration": run.configuration,
            "architecture": run.architecture.kind,
            "size": run.architecture.size,
            "objective": run.objective.kind,
            "paradigm": run.objective.paradigm,
            "corpus": run.slice.name,
            "fraction": run.slice.fraction,
            "label_set": run.slice.label_set,
            "seed": run.seed,
        }
        for run in sweep.runs
    )
    if any(condition.partition("=")[0] not in table for condition in only):
        lines = priced()
        table = table.merge(lines[["run_id", *(set(lines.columns) - set(table.columns))]], on="run_id")
    return set(select(table, only)["run_id"])


def narrowing(
    sweeps: Iterable[str] | None, changes: Sequence[str] | None, only: Sequence[str] | None
) -> "Callable[[Loaded], Loaded]":
    """How results become those of the runs that are asked for; ``sweeps``, as typed, are those that ``--set`` changes.

    Raises ValueError for changes without a sweep to change.
    """
    if not changes and not only:
        return lambda loaded: loaded
    names = list(sweeps or ())
    if changes and not names:
        raise ValueError("--set changes the runs of a sweep; name it")
    ids = {run.run_id for name in names for run in changed(name, changes).runs} if changes else None

    def narrow(loaded: "Loaded") -> "Loaded":
        from dataclasses import replace

        keys = ["sweep", "run_id"]
        found = loaded.rows.drop_duplicates(keys)[["sweep", *FIELDS, "n_params", "n_samples", "batch_size"]]
        if ids is not None:
            found = found[found["run_id"].isin(ids)]
        kept = select(found, only or ())[keys]
        return replace(loaded, rows=loaded.rows.merge(kept, on=keys), runs=loaded.runs.merge(kept, on=keys))

    return narrow


def select(table: "pd.DataFrame", only: Sequence[str]) -> "pd.DataFrame":
    """Lines of a table of runs that meet every FIELD=VALUE. Raises ValueError naming what no line has."""
    import pandas as pd

    for condition in only:
        field, equals, value = condition.partition("=")
        if not equals:
            raise ValueError(f"--only {condition!r}: write FIELD=VALUE, for example configuration=resnet-sl")
        if field not in table.columns:
            raise ValueError(f"--only {condition!r}: runs have no field {field!r}{did_you_mean(field, table.columns)}")
        column = table[field]
        known = column.astype(str) if not pd.api.types.is_numeric_dtype(column) else column
        try:
            met = known == (value if known is not column else float(value))
        except ValueError:
            raise ValueError(f"--only {condition!r}: {field} is a number") from None
        if not met.any():
            near = did_you_mean(value, sorted(set(map(str, known)))) if len(known) else ""
            raise ValueError(f"--only {condition!r}: no run has it{near}")
        table = table[met]
    return table


def refuse(what: str, changes: Sequence[str] | None, only: Sequence[str] | None) -> None:
    """Raise ValueError where something is asked whose runs cannot be chosen."""
    if changes or only:
        raise ValueError(f"--set and --only are for runs of a sweep, not for {what}")


def typed(sweep: str, changes: Sequence[str] | None, only: Sequence[str] | None) -> str:
    """A sweep and its options as they are typed, for the next command."""
    words = [sweep, *(f"--set={one}" for one in changes or ()), *(f"--only={one}" for one in only or ())]
    return shlex.join(words)
