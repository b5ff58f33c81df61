"""Verbs of the pictures: figures and the report, drawn from the rows in results."""

from pathlib import Path
from typing import Annotated

import typer

from ecgscale.cli.door import RESULTS, Results, app, existing, name_bad
from ecgscale.terminal import say, where

_LOOK_SECONDS, _RELOAD_SECONDS = 5, 30


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
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Write it again as runs are measured, until none is open; it reloads itself."),
    ] = False,
) -> None:
    """One self-contained HTML page: figures, tables, sweep state, provenance; opens offline."""
    import time

    from analysis.report import report as written
    from ecgscale import records

    seen = None
    while watch:
        found, pending, at_work = _progress(existing(results))
        if not at_work:
            break
        if found != seen:
            print(where(written(results, path=output, pending=pending, refresh=_RELOAD_SECONDS)), flush=True)
            seen = found
        time.sleep(_LOOK_SECONDS)
    print(where(written(existing(results), path=output)))
    name_bad(list(records.load(results).bad))


def _progress(results: Path) -> tuple[dict[str, int], int, bool]:
    """When each file of the runs was last written, how many planned runs have none, and whether any run is open."""
    from ecgscale.states import states
    from ecgscale.sweep import load, sweep_folder

    folder = results / "runs"
    found = {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    begun = {name.split("/")[0] for name in found}
    known = [load(path.stem) for path in sorted(sweep_folder().glob("*.py")) if path.stem in begun]
    now = [state for sweep in known for state in states(sweep, results)["state"]]
    return found, now.count("pending"), bool({"pending", "running"} & set(now))
