"""Verbs of the pictures: figures and the report, drawn from the rows in results."""

from pathlib import Path
from typing import Annotated

import typer

from ecgscale.cli.door import RESULTS, Results, app, existing, name_bad
from ecgscale.terminal import say, where


@app.command()
def figures(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All if left out.")] = None,
    results: Results = RESULTS,
    formats: Annotated[str, typer.Option("--format", help="Any of png, pdf, svg, separated by commas.")] = "png",
) -> None:
    """Regenerate figures from results, each with its data as CSV beside it."""
    from analysis.figures import fitting, save
    from analysis.observations import trajectories
    from analysis.report import exponents_in

    points = trajectories(existing(results))
    table = exponents_in(results, points)
    for name in names or fitting(points):
        for path in save(name, points, table, results / "figures", formats.split(",")):
            print(where(path))
    if table.empty:
        say("nothing is fitted yet, so the figures show points alone; next: ecgscale fit")
    name_bad(points.attrs["bad"])


@app.command()
def report(
    results: Results = RESULTS,
    output: Annotated[Path | None, typer.Option(help="Where to write it; results/report.html if left out.")] = None,
) -> None:
    """One self-contained HTML page: figures, tables, sweep state, provenance; opens offline."""
    from analysis.report import report as written
    from ecgscale import records

    print(where(written(existing(results), path=output)))
    name_bad(list(records.load(results).bad))
