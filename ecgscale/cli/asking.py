"""Verbs that ask a law: the loss at a size and data, the best use of a budget, which law it is.

Each asks the results of a sweep, or anybody's table (--points).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecgscale.cli import completing
from ecgscale.cli.door import RESULTS, Json, Results, above_0, app, existing, name_bad
from ecgscale.cli.points import (
    TABLE,
    By,
    LawText,
    LossColumn,
    MaxExponent,
    Metric,
    PointsFile,
    Where,
    answer_each,
    no_points,
    say_all,
    table_of,
)
from ecgscale.cli.selecting import Changes, Only, narrowing, refuse
from ecgscale.cli.terminal import say, show, where
from ecgscale.phrases import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from ecgscale.analysis.fitting.laws import Law

Configuration = Annotated[
    str | None, typer.Option(help="R-SL, R-SSL, T-SL, T-SSL (or resnet-sl, ...), or another by name.")
]
Target = Annotated[str | None, typer.Option(help="A pretraining corpus (ID) or a probe task (OOD).")]
OneSweep = Annotated[str | None, typer.Option(help="Results of this sweep alone.", autocompletion=completing.measured)]
Select = Annotated[str, typer.Option(help="Split that picks the best step: val (clean), or test (as the paper does).")]


@app.command(rich_help_panel="Laws: fit and ask")
def predict(
    configuration: Configuration = None,
    target: Target = None,
    n_params: Annotated[float | None, typer.Option(help="N, backbone parameters.", callback=above_0)] = None,
    n_samples: Annotated[float | None, typer.Option(help="D, unique pretraining recordings.", callback=above_0)] = None,
    at: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="With --points: another column of the law, C=1e18.")
    ] = None,
    points: PointsFile = None,
    law: LawText = None,
    loss_column: LossColumn = None,
    metric: Metric = None,
    by: By = None,
    condition: Where = None,
    max_exponent: MaxExponent = 3.0,
    results: Results = RESULTS,
    sweep: OneSweep = None,
    select: Select = "val",
    as_json: Json = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """The loss at a model and data size, with an interval; says when it extrapolates, and how far."""
    from ecgscale.analysis.fitting.fit import fit
    from ecgscale.analysis.fitting.forecast import predict as of_group
    from ecgscale.analysis.fitting.forecast import predicted

    if points is None:
        n, d = _asked(n_params=n_params), _asked(n_samples=n_samples)
        no_points(law=law, loss_column=loss_column, metric=metric, by=by, where=condition, at=at)
        _ask(lambda observed, name, task: of_group(observed, name, task, n, d), configuration, target, results, sweep,
             select, as_json, only, changes)  # fmt: skip
        return
    refuse(TABLE, changes, only)
    table = table_of(points, loss_column, metric, by, condition)
    chosen = table.law(law)
    place = _place(chosen, n_params, n_samples, at or [])
    say_all(table.said(chosen))
    answer_each(table, lambda part: [predicted(fit(chosen, part, max_exponent=max_exponent), place)], as_json)


@app.command(rich_help_panel="Laws: fit and ask")
def allocate(
    flops: Annotated[float, typer.Option(help="C, training compute in FLOP.", callback=above_0)],
    configuration: Configuration = None,
    target: Target = None,
    points: PointsFile = None,
    law: LawText = None,
    loss_column: LossColumn = None,
    metric: Metric = None,
    by: By = None,
    condition: Where = None,
    max_exponent: MaxExponent = 3.0,
    results: Results = RESULTS,
    sweep: OneSweep = None,
    select: Select = "val",
    as_json: Json = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Compute-optimal N, D and loss for a budget, with intervals, and the share of marginal compute to data."""
    from ecgscale.analysis.fitting.allocation import allocate as allocated
    from ecgscale.analysis.fitting.allocation import compute_law
    from ecgscale.analysis.fitting.fit import fit
    from ecgscale.analysis.fitting.forecast import allocate_group

    if points is None:
        no_points(law=law, loss_column=loss_column, metric=metric, by=by, where=condition)
        _ask(lambda observed, name, task: allocate_group(observed, name, task, flops), configuration, target, results,
             sweep, select, as_json, only, changes)  # fmt: skip
        return
    refuse(TABLE, changes, only)
    table = table_of(points, loss_column, metric, by, condition)
    chosen = table.law(law or "joint")
    measured = "C" in table.table
    say_all([*table.said(chosen), "" if measured else "no column C: compute is 6 N D"])

    def answer(part: "pd.DataFrame") -> list[dict[Any, Any]]:
        found = fit(chosen, part, max_exponent=max_exponent)
        return list(allocated(found, flops, compute_law(part) if measured else None).to_dict("records"))

    answer_each(table, answer, as_json)


@app.command(rich_help_panel="Laws: fit and ask")
def compare(
    sweep: Annotated[
        str | None,
        typer.Argument(metavar="[SWEEP]", help="All with results if left out.", autocompletion=completing.measured),
    ] = None,
    law: Annotated[
        list[str] | None,
        typer.Option(
            "--law",
            metavar="LAW",
            help='A name or a formula, several times: --law joint --law "E + ...".',
            autocompletion=completing.laws,
        ),
    ] = None,
    held: Annotated[
        float, typer.Option(help="Share of the points, the largest runs, to predict from all others.")
    ] = 0.2,
    points: PointsFile = None,
    loss_column: LossColumn = None,
    metric: Metric = None,
    by: By = None,
    condition: Where = None,
    configuration: Configuration = None,
    target: Target = None,
    max_exponent: MaxExponent = 3.0,
    results: Results = RESULTS,
    select: Select = "val",
    as_json: Json = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Laws side by side on the same points: AICc, and the error on the largest runs, held out."""
    from ecgscale.analysis.comparison import REPEATED, compared, preferred, usual_laws
    from ecgscale.analysis.points import points_of
    from ecgscale.analysis.table.query import as_json as rendered
    from ecgscale.analysis.table.query import as_text

    bad: list[str] = []
    if points is not None:
        refuse(TABLE, changes, only)
        table = table_of(points, loss_column, metric, by, condition)
    else:
        no_points(loss_column=loss_column, by=by, where=condition)
        observed = _observed(results, sweep, select, configuration, target, only, changes)
        bad = observed.attrs["bad"]
        groups = [c for c in ("sweep", "configuration", "target") if observed[c].nunique() > 1]
        observed = observed.assign(epochs=observed["step"] * observed["batch_size"] / observed["n_samples"])
        again = any(text in REPEATED or "epochs" in text for text in law or [])
        kept = [
            "N",
            "D",
            "C",
            "loss",
            *(["epochs"] if again else []),
            *([metric] if metric in observed else []),
            *groups,
        ]
        table = points_of(observed[kept].reset_index(drop=True), metric=metric, by=groups or ["none"])
    laws = [table.law(text) for text in law or []] or usual_laws(table.table)
    for one in laws:
        table.columns.need([*one.variables, one.response])
    say_all(table.said(*laws))
    answer = compared(table.parts(), laws, held, max_exponent)
    show(rendered(answer) + "\n" if as_json else as_text(answer.drop(columns="note")), end="")
    parts = answer.groupby(list(table.by), dropna=False, sort=False) if table.by else [((), answer)]
    for key, part in parts:
        group = ", ".join(map(str, key)) + ": " if key else ""
        say_all([group + told if (told := preferred(part)) else ""])
        say_all([f"{group}{row['law']}: {row['note']}" for row in part.to_dict("records") if row["note"]])
    name_bad(bad)


def _place(law: "Law", n_params: float | None, n_samples: float | None, at: list[str]) -> dict[str, float]:
    """Where a law is asked: a value for each of its variables. Raises ValueError for one that is missing or unknown."""
    given = {"N": n_params, "D": n_samples}
    for text in at:
        name, equals, typed = text.partition("=")
        try:
            given[name.strip()] = float(typed)
        except ValueError:
            raise ValueError(f"--at {text}: it is NAME=VALUE, as in C=1e18") from None
        if not equals or name.strip() not in law.variables:
            raise ValueError(f"--at {text}: the law has no column {name.strip()!r}{did_you_mean(name, law.variables)}")
        if not 0 < float(typed) < float("inf"):
            raise ValueError(f"--at {text}: it has to be a number above 0")
    options = {"N": "--n-params", "D": "--n-samples"}
    if "U" in law.variables and given.get("U") is None:
        given["U"] = n_samples
        options["U"] = "--n-samples"
    place: dict[str, float] = {}
    for name in law.variables:
        value = given.get(name)
        if value is None:
            raise ValueError(f"the law reads {name}: say where, with {options.get(name, f'--at {name}=VALUE')}")
        place[name] = value
    unused = [o for v, o in options.items() if given.get(v) is not None and v not in law.variables and v in ("N", "D")]
    if unused and not ("U" in law.variables and unused == ["--n-samples"]):
        say(f"{', '.join(unused)}: not read, the law is of {', '.join(law.variables)}")
    return place


def _asked(**given: Any) -> Any:
    """The value of an option that has to be given. Raises ValueError if it is not."""
    for name, value in given.items():
        if value is None:
            raise ValueError(f"say --{name.replace('_', '-')}, or ask a table with --points")
        return value
    return None


def _observed(
    results: Path,
    sweep: str | None,
    select: str,
    configuration: str | None,
    target: str | None,
    only: Sequence[str] | None,
    changes: Sequence[str] | None,
) -> "pd.DataFrame":
    """Observations of a sweep (of all if left out), of one configuration and target if named."""
    from ecgscale.analysis.naming import configuration_named
    from ecgscale.analysis.observations import observations

    named = Path(sweep).stem if sweep else None
    known = sorted(p.name for p in (existing(results) / "runs").glob("*") if p.is_dir())
    if named and named not in known:
        raise ValueError(f"no results of a sweep {named!r} in {where(results)}/runs{did_you_mean(named, known)}")
    observed = observations(
        results, [named] if named else None, select, narrowing([sweep] if sweep else None, changes, only)
    )
    kept = observed
    asked = {"configuration": configuration and configuration_named(configuration), "target": target}
    for column, name in asked.items():
        if name:
            if name not in (there := sorted(kept[column].dropna().unique())):
                raise ValueError(f"no observations of {column} '{name}'{did_you_mean(name, there)}")
            kept = kept[kept[column] == name]
    if kept.empty:
        raise ValueError("there is nothing to compare: no run is done; launch a sweep first")
    kept.attrs.update(observed.attrs)
    return kept


def _ask(
    question: Callable[[Any, str, str], Any],
    configuration: str | None,
    target: str | None,
    results: Path,
    sweep: str | None,
    select: str,
    as_json: bool,
    only: Sequence[str] | None,
    changes: Sequence[str] | None,
) -> None:
    """Put a question to the observations of a configuration and print the answer."""
    from ecgscale.analysis.naming import configuration_named
    from ecgscale.analysis.observations import observations
    from ecgscale.analysis.table.query import as_json as rendered
    from ecgscale.analysis.table.query import as_text

    name, task = configuration_named(_asked(configuration=configuration)), _asked(target=target)
    observed = observations(
        existing(results), [sweep] if sweep else None, select, narrowing([sweep] if sweep else None, changes, only)
    )
    answer = question(observed, name, task)
    show(rendered(answer) if as_json else as_text(answer))
    name_bad(observed.attrs["bad"])
