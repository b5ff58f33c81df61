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
    sweep: Annotated[
        list[str] | None, typer.Option(help="Only this sweep; two make a comparison. All if left out.")
    ] = None,
    reference: Annotated[bool, typer.Option("--reference", help="From the paper's printed tables instead.")] = False,
    formats: Annotated[str, typer.Option("--format", help="Any of png, pdf, svg, separated by commas.")] = "png",
) -> None:
    """Regenerate figures from results, each with its data as CSV beside it.

    With two sweeps the figure "comparison" sets them side by side. --reference draws those that the paper's printed
    tables can feed, into figures/reference.
    """
    from analysis import figures as drawn
    from analysis.figures import reference as printed

    wanted = formats.split(",")
    if reference:
        for name in names or printed.FIGURES:
            for path in drawn.save_reference(name, results / "figures" / "reference", wanted):
                print(where(path))
        return
    from analysis.observations import trajectories
    from analysis.report import exponents_in

    points = trajectories(existing(results), _named(results, sweep))
    table = exponents_in(results, points)
    two = len(points) and points["sweep"].nunique() == 2
    for name in names or [*drawn.FIGURES, *(drawn.ACROSS if two else ())]:
        for path in drawn.save(name, points, table, results / "figures", wanted):
            print(where(path))
    if table.empty:
        say("nothing is fitted yet, so the figures show points alone; next: ecgscale fit")
    name_bad(points.attrs["bad"])


def _named(results: Path, sweeps: list[str] | None) -> list[str] | None:
    """The sweeps asked for. Raises ValueError, with the nearest name, for one that results do not hold."""
    import difflib

    folder = results / "runs"
    known = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    for name in sweeps or ():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.4)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known) or 'none'}"
            raise ValueError(f"no results of a sweep called '{name}'; {hint}")
    return sweeps


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
