"""Verbs of a sweep's runs once it is launched: their states, failures and logs; telling its launches to stop."""

from typing import TYPE_CHECKING, Annotated

import typer

from ecgscale.cli import completing
from ecgscale.cli.door import RESULTS, Home, Json, Results, RunId, SweepName, app, existing, home_of, print_json
from ecgscale.cli.selecting import Changes, Only, selected, typed
from ecgscale.cli.terminal import in_place, never_silent, say, show, table

if TYPE_CHECKING:
    from pathlib import Path

    from ecgscale.spec.sweep import Sweep

OPEN = ("pending", "running")


@app.command(rich_help_panel="Sweeps: run and watch")
def status(
    sweep: Annotated[
        str | None,
        typer.Argument(
            metavar="[SWEEP]", help="A sweep; all with results if left out.", autocompletion=completing.sweeps
        ),
    ] = None,
    results: Results = RESULTS,
    home: Home = None,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds until all have ended.")] = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """How many runs are done, running, pending, failed, diverged or out of memory."""
    import time

    with never_silent("reading what ran ..."):
        from ecgscale.pool.states import counts, outdated, outstanding, outstanding_in_words, states
        from ecgscale.spec.sweep import sweep_files

    if sweep is None:
        if only or changes:
            raise ValueError("--set and --only are for runs of one sweep; name it")
        folder = existing(results) / "runs"
        names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        defined = set(sweep_files())
        for foreign in set(names) - defined:
            say(f"results hold a sweep {foreign!r} that no file in sweeps/ defines")
        names = [name for name in names if name in defined]
    else:
        names = [sweep]
    sweeps = [selected(name, changes, only, home, results) for name in names]
    for one in sweeps:
        for sentence in outdated(one, results):
            say(f"{one.name}: {sentence}")
    with in_place(watch and not as_json) as show:
        while True:
            by_sweep = {s.name: states(s, results) for s in sweeps}
            left = {s.name: outstanding(s, results) for s in sweeps}
            if as_json:
                described = [
                    {
                        "sweep": name,
                        "runs": len(t),
                        **counts(t),
                        "states": dict(zip(t["run_id"], t["state"], strict=True)),
                        "tasks_left": left[name],
                    }
                    for name, t in by_sweep.items()
                ]
                print_json(described[0] if sweep is not None else described)
            else:
                names_of = list(counts(next(iter(by_sweep.values()))) if by_sweep else {})
                show(["sweep", "runs", *names_of], [(n, len(t), *counts(t).values()) for n, t in by_sweep.items()])
            open_runs = sum(int(t["state"].isin(OPEN).sum()) for t in by_sweep.values())
            if not watch or not open_runs:
                for one in sweeps:
                    for sentence in outstanding_in_words(one, left[one.name]):
                        say(f"{one.name}: {sentence}")
                _say_retired(sweeps, results)
                return
            time.sleep(2)


@app.command(rich_help_panel="Sweeps: run and watch")
def failures(
    sweep: SweepName, results: Results = RESULTS, home: Home = None, only: Only = None, changes: Changes = None
) -> None:
    """Runs that did not end well, grouped by cause, with where to read more and how to do them again."""
    loaded, again = selected(sweep, changes, only, home, results), typed(sweep, changes, only)
    from ecgscale.pool.states import states

    all_runs = states(loaded, results)
    bad = all_runs[~all_runs["state"].isin(["done", *OPEN])]
    groups = bad.groupby(["state", "why"], sort=True)["run_id"]
    table(["state", "runs", "cause", "run ids"], [(s, len(ids), why, " ".join(ids)) for (s, why), ids in groups])
    _say_retired([loaded], results)
    if len(bad):
        say(f"log: ecgscale logs {sweep} {bad['run_id'].iloc[0]}   (a file a run in logs/{sweep} of the home folder)")
        say(f"next: ecgscale retry {again}")
    else:
        say(f"none of {len(all_runs)} runs has failed; watch them with: ecgscale status {again}")


def _say_retired(sweeps: "list[Sweep]", results: "Path") -> None:
    """Name the places that the latest launches of these sweeps have retired."""
    from ecgscale import leases
    from ecgscale.pool.places import retired

    for sweep in sweeps:
        for place in retired(leases.folder_of(results, sweep.name)):
            say(f"{sweep.name}: {place}")


@app.command(rich_help_panel="Sweeps: run and watch")
def logs(
    sweep: SweepName,
    run_id: RunId,
    results: Results = RESULTS,
    home: Home = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")] = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """The log of one run: attempts, evaluations, and what went wrong."""
    import time

    from ecgscale import records
    from ecgscale.home import log_path

    loaded = selected(sweep, changes, only, home, results)
    one = loaded.run(run_id)
    path, file = log_path(home_of(home), loaded.name, one.run_id), records.path_of(results, loaded.name, one.run_id)
    at = 0
    while True:
        over = records.state_of(file)[0] not in OPEN
        if path.is_file():
            with open(path) as lines:
                lines.seek(at)
                show(lines.read(), end="")
                at = lines.tell()
        if over or not follow:
            break
        time.sleep(1)
    if not at:
        say(f"{one.run_id} ({one.name}) has no log here: it was not started yet, or with another --home")


@app.command(rich_help_panel="Sweeps: run and watch")
def stop(sweep: SweepName, results: Results = RESULTS) -> None:
    """Tell every launch of a sweep into this results folder to stop at its next step, wherever it runs."""
    from ecgscale import leases
    from ecgscale.spec.sweep import load

    n = leases.close_all(leases.folder_of(existing(results), load(sweep).name))
    say(f"told {n} launch{'es' if n != 1 else ''} of {sweep} to stop; they checkpoint first")
    if n:
        say(f"next: ecgscale launch {sweep} goes on from there")
