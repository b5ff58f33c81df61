"""Verbs of the laws: fit them, query them, test the study's claims."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgscale.cli import completing
from ecgscale.cli.asking import Select
from ecgscale.cli.door import FAILED, RESULTS, Json, Results, above_0, app, existing, name_bad, print_json
from ecgscale.cli.points import (
    TABLE,
    Bounds,
    By,
    LawText,
    LossColumn,
    MaxExponent,
    Metric,
    PointsFile,
    Where,
    bounds_of,
    no_points,
    say_all,
    table_of,
)
from ecgscale.cli.selecting import Changes, Only, narrowing, refuse
from ecgscale.cli.terminal import say, show, table, where
from ecgscale.phrases import did_you_mean


@app.command(rich_help_panel="Laws: fit and ask")
def fit(
    sweeps: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SWEEP]...", help="All with results if left out.", autocompletion=completing.measured),
    ] = None,
    results: Results = RESULTS,
    select: Select = "val",
    points: PointsFile = None,
    law: LawText = None,
    loss_column: LossColumn = None,
    metric: Metric = None,
    by: By = None,
    condition: Where = None,
    objective: Annotated[str, typer.Option(help="log-ls (least squares of logs) or huber.")] = "log-ls",
    delta: Annotated[float, typer.Option(help="Huber's delta, in log loss.", callback=above_0)] = 1e-3,
    bootstrap: Annotated[
        int | None, typer.Option(min=0, help="Resamples beside the profile intervals; 0: none at all.")
    ] = None,
    max_exponent: MaxExponent = 3.0,
    bound: Bounds = None,
    weights: Annotated[
        str, typer.Option(help="equal, or replicates: runs weigh by the noise that seeds of a cell show.")
    ] = "equal",
    as_json: Json = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Fit every law to every group of results, or one law to anybody's table."""
    if points is not None:
        refuse(TABLE, changes, only)
        from ecgscale.analysis.points import fit_points

        options: dict[str, Any] = {"objective": objective, "delta": delta, "bootstrap": bootstrap, "weights": weights}
        options["bounds"] = bounds_of(bound)
        asked = table_of(points, loss_column, metric, by, condition)
        say_all(asked.said(asked.law(law)))
        print_json(fit_points(asked, law=law, **options, max_exponent=max_exponent))
        return
    no_points(law=law, loss_column=loss_column, metric=metric, by=by, where=condition)
    from ecgscale.analysis.answer import told_apart
    from ecgscale.analysis.observations import left_out
    from ecgscale.analysis.table.build import fit_results
    from ecgscale.analysis.table.query import flagged, left_out_of_fits

    known = sorted(p.name for p in (existing(results) / "runs").glob("*") if p.is_dir())
    named = [Path(name).stem for name in sweeps or ()]
    for name in named:
        if name not in known:
            raise ValueError(f"no results of a sweep {name!r} in {where(results)}/runs{did_you_mean(name, known)}")
    fitted, observed = fit_results(
        results,
        named or None,
        select,
        narrowing(sweeps, changes, only),
        objective=objective,
        delta=delta,
        bootstrap=bootstrap,
        max_exponent=max_exponent,
        weights=weights,
        bounds=bounds_of(bound),
    )
    counted = fitted.groupby("law", sort=False).agg(fits=("coefficient", "size"))
    counted["flagged"] = flagged(fitted).groupby(fitted["law"]).sum()
    if as_json:
        from ecgscale.analysis.table.query import as_json as rendered

        show(rendered(fitted))
    else:
        table(["law", "coefficients", "flagged"], [(name, *row) for name, *row in counted.itertuples()])
    say(f"{observed['run_id'].nunique()} runs, {len(observed)} observations, best step selected on {select}")
    if lost := left_out(observed):
        say("left out: " + ", ".join(lost))
    for reason, count in left_out_of_fits(fitted).items():
        say(f"left out of {count} fit{'s' * (count > 1)}: {reason}")
    for sentence in told_apart(fitted):
        say(sentence)
    say(f"written: {where(results / 'exponents.parquet')} and .md; next: ecgscale exponents, ecgscale figures")
    name_bad(observed.attrs["bad"])


@app.command(rich_help_panel="Laws: fit and ask")
def exponents(
    results: Results = RESULTS,
    law: Annotated[
        str | None,
        typer.Option(
            help="joint, size, data, transfer (E_ood fitted on the pairs), transfer_joint (both floors from joint "
            "laws, as in the paper), frontier, allocation, ...",
            autocompletion=completing.laws,
        ),
    ] = None,
    configuration: Annotated[str | None, typer.Option(help="R-SL, R-SSL, T-SL, T-SSL, or another by name.")] = None,
    target: Annotated[str | None, typer.Option(help="A corpus (ID) or a probe task (OOD).")] = None,
    coefficient: Annotated[str | None, typer.Option(help="alpha, beta, E, kappa, ...")] = None,
    condition: Annotated[
        str | None, typer.Option("--where", metavar="EXPR", help='For example "alpha > 0.2 and r2 > 0.8".')
    ] = None,
    output: Annotated[str, typer.Option("--format", help="table, csv, json, md, latex or parquet.")] = "table",
    paper: Annotated[bool, typer.Option("--paper", help="Add the published values and the differences.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a selected row is flagged.")] = False,
) -> None:
    """Query the table of fitted exponents."""
    from ecgscale.analysis.table import query

    rows = query.query(query.read(existing(results)), law, configuration, target, coefficient, condition)
    if paper:
        from ecgscale.analysis.study.beside import with_paper

        rows = with_paper(rows)
    rendered = query.render(rows, output)
    if isinstance(rendered, bytes):
        sys.stdout.buffer.write(rendered)
    else:
        show(rendered.rstrip("\n"))
    if strict and (suspect := query.flagged(rows)).any():
        say(f"{int(suspect.sum())} of {len(rows)} rows are flagged")
        raise typer.Exit(FAILED)


@app.command(rich_help_panel="Laws: fit and ask")
def claims(
    sweep: Annotated[
        str | None,
        typer.Argument(
            metavar="[SWEEP]", help="Left out: the only one in results.", autocompletion=completing.measured
        ),
    ] = None,
    results: Results = RESULTS,
    reference: Annotated[
        bool, typer.Option("--reference", help="Test the paper's own printed tables instead.")
    ] = False,
    as_json: Json = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """The study's eighteen headline claims as tests: value, interval, the paper's value, holds or not, and why."""
    from ecgscale.analysis.figures.figure import mark_of
    from ecgscale.analysis.study import claims as tested

    misprints: list[tested.Misprint] = []
    if reference:
        refuse("printed tables", changes, only)
        evidence, misprints = tested.of_publication(), tested.misprints()
        source = "Tables S.5, S.6, S.7 and S.9 of arXiv 2605.17276v1; intervals: bootstrap over datasets"
    else:
        evidence = tested.in_results(
            existing(results), Path(sweep).stem if sweep else None, narrowing([sweep] if sweep else None, changes, only)
        )
        source = f"sweep {evidence.points['sweep'].iloc[0]}; intervals: from the fits; of shares: bootstrap over tasks"
        source += f". {mark}" if (mark := mark_of(evidence.points)) else ""
    verdicts = tested.judge(evidence)
    if as_json:
        found = [vars(m) for m in misprints]
        print_json({"source": source, "claims": tested.as_json(verdicts), "misprints": found})
        return
    show(tested.as_text(verdicts), end="")
    if misprints:
        show(f"\nWhat does not add up in print\n{tested.as_list(misprints)}", end="")
    say(source)
    say("next: ecgscale claims, on your own results" if reference else "next: ecgscale report, or claims --reference")
