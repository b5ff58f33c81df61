"""Verbs of the pictures: figures and the report, drawn from the rows in results."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from ecgscale.cli import completing
from ecgscale.cli.door import RESULTS, Home, Results, app, existing, home_of, name_bad
from ecgscale.cli.selecting import Changes, Only, narrowing, refuse
from ecgscale.cli.terminal import say, where
from ecgscale.phrases import did_you_mean

_LOOK_SECONDS, _RELOAD_SECONDS = 5, 30


@app.command(rich_help_panel="Pictures: draw and tell")
def figures(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="All if left out.", autocompletion=completing.figures),
    ] = None,
    results: Results = RESULTS,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this sweep; two make a comparison. All if left out.", autocompletion=completing.measured
        ),
    ] = None,
    reference: Annotated[bool, typer.Option("--reference", help="From the paper's printed tables instead.")] = False,
    formats: Annotated[str, typer.Option("--format", help="Any of png, pdf, svg, separated by commas.")] = "png",
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Regenerate figures from results, each with its data as CSV beside it; four configurations to a page.

    With two sweeps the figure "comparison" sets them side by side. --reference draws those that the paper's printed
    tables can feed, into figures/reference.
    """
    from ecgscale.analysis.study import figures as drawn
    from ecgscale.analysis.study.figures import reference as printed

    wanted = formats.split(",")
    if reference:
        refuse("printed tables", changes, only)
        for name in names or printed.FIGURES:
            for path in drawn.save_reference(name, results / "figures" / "reference", wanted):
                print(where(path))
        return
    from ecgscale.analysis.observations import trajectories
    from ecgscale.analysis.report import exponents_in

    points = trajectories(existing(results), _named(results, sweep), narrowing(sweep, changes, only))
    table = exponents_in(results, points)
    two = len(points) and points["sweep"].nunique() == 2
    for name in names or [*drawn.fitting(points), *(drawn.ACROSS if two else ())]:
        paths, absent = drawn.save(name, points, table, results / "figures", wanted)
        for path in paths:
            print(where(path))
        for line in absent:
            say(line)
    if table.empty:
        say("nothing is fitted yet, so the figures show points alone; next: ecgscale fit")
    name_bad(points.attrs["bad"])


def _named(results: Path, sweeps: list[str] | None) -> list[str] | None:
    """The sweeps asked for. Raises ValueError, with the nearest name, for one that results do not hold."""
    folder = results / "runs"
    known = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    for name in sweeps or ():
        if name not in known:
            raise ValueError(f"no results of a sweep called '{name}'{did_you_mean(name, known)}")
    return sweeps


@app.command(rich_help_panel="Pictures: draw and tell")
def tables(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="s1 to s11; all if left out.")] = None,
    results: Results = RESULTS,
    home: Home = None,
    sweep: Annotated[
        str | None,
        typer.Option(help="Results of this sweep; the only one if left out.", autocompletion=completing.measured),
    ] = None,
    reference: Annotated[bool, typer.Option("--reference", help="As the paper prints them.")] = False,
    formats: Annotated[str, typer.Option("--format", help="Any of md, latex, csv, by commas.")] = "md,latex,csv",
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Tables S.1-S.11: ours where results can fill them, else as printed; as Markdown, LaTeX and CSV."""
    from ecgscale.analysis.study.claims import in_results
    from ecgscale.analysis.study.tables import TABLES, Material, make, save

    material = None
    if reference:
        refuse("printed tables", changes, only)
    else:
        from ecgscale import records

        narrow = narrowing([sweep] if sweep else None, changes, only)
        evidence = in_results(existing(results), sweep, narrow)
        loaded = narrow(records.load(results, list(evidence.points["sweep"].unique())))
        cards = _cards(loaded, home_of(home))
        material = Material(
            evidence, loaded.runs, loaded.rows, cards, _as_frame(_tasks(loaded.rows["target"], loaded.runs))
        )
    folder = results / "tables" / ("reference" if reference else "")
    for name in names or TABLES:
        sheet = make(name, material)
        for path in save(sheet, folder, formats.split(",")):
            print(where(path))
        for missing in sheet.missing:
            say(f"{name}: {missing}")
    say("next: ecgscale report" if not reference else "next: ecgscale tables, of your own results")


@app.command(rich_help_panel="Pictures: draw and tell")
def report(
    results: Results = RESULTS,
    home: Home = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(help="Only this sweep; repeatable. All if left out.", autocompletion=completing.measured),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Where to write it; results/report.html if left out.")] = None,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Write it again as runs are measured, until none is open; it reloads itself."),
    ] = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """One self-contained HTML page: figures, tables, claims, data cards, sweep state, provenance; opens offline."""
    import time

    from ecgscale import records
    from ecgscale.analysis.report import report as written

    seen, sweeps, narrow = None, _named(existing(results), sweep), narrowing(sweep, changes, only)

    def write(**facts: Any) -> None:
        loaded = narrow(records.load(results, sweeps))
        cards = _cards(loaded, home_of(home))
        print(where(written(results, sweeps=sweeps, path=output, cards=cards, narrow=narrow, **facts)), flush=True)
        name_bad(list(loaded.bad))

    while watch:
        found, pending, at_work = _progress(results, sweeps)
        if not at_work:
            break
        if found != seen:
            write(pending=pending, refresh=_RELOAD_SECONDS)
            seen = found
        time.sleep(_LOOK_SECONDS)
    write()


def _progress(results: Path, sweeps: list[str] | None) -> tuple[dict[str, int], int, bool]:
    """When each file of the runs was last written, how many planned runs have none, and whether any run is open."""
    from ecgscale.pool.states import states
    from ecgscale.spec.sweep import load, sweep_files

    folder = results / "runs"
    found = {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
    begun = {name.split("/")[0] for name in found} & set(sweeps or sweep_files())
    known = [load(name) for name in sweep_files() if name in begun]
    now = [state for sweep in known for state in states(sweep, results)["state"]]
    return found, now.count("pending"), bool({"pending", "running"} & set(now))


def _tasks(targets: Iterable[str], runs: Any) -> list[dict[str, str]]:
    """What training knows of the tasks that were measured, as data; of one's own what their runs say."""
    from ecgscale.spec.tasks import DOMAINS, TASKS, own_tasks

    said = runs["own_tasks"].dropna().unique() if "own_tasks" in runs else ()
    there = dict(TASKS) | {name: task for text in said for name, task in own_tasks(text).items()}
    known = [there[name] for name in sorted(set(targets)) if name in there]
    return [{**vars(task), "domain_name": DOMAINS[task.domain]} for task in known]


def _as_frame(tasks: list[dict[str, str]]) -> Any:
    import pandas as pd

    from ecgscale.analysis.study.tables.material import TASK

    return pd.DataFrame(tasks, columns=list(TASK))


def _cards(loaded: Any, home: Path) -> dict[str, dict[str, Any]]:
    """Croissant cards of the corpora that results are about, where ecgscale knows them by name."""
    from ecgscale import data

    found, rows = {}, loaded.rows
    for name in sorted({*rows["corpus"], *(task["corpus"] for task in _tasks(rows["target"], loaded.runs))}):
        try:
            found[name] = data.card(name, home)
        except ValueError:
            continue  # planted or foreign: it has no card
    return found
