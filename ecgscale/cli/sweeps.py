"""Verbs of a sweep: launch it, do again what failed, and do one run by itself."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ecgscale.cli.devices import ChosenDevice, chosen
from ecgscale.cli.door import FAILED, RESULTS, Home, Refused, Results, RunId, SweepName, app, home_of, not_below_0
from ecgscale.cli.selecting import Changes, Only, TasksAvailable, changed, ids_of, selected
from ecgscale.cli.terminal import never_silent, say, table, where

if TYPE_CHECKING:
    from ecgscale.attempt import Place
    from ecgscale.pool.shares import Pool
    from ecgscale.spec.sweep import Sweep

Workers = Annotated[int | None, typer.Option(min=1, help="CPU workers on this machine.")]
Gpus = Annotated[int | None, typer.Option(min=1, help="GPUs of this machine, all if left out; refused if it has less.")]
Address = Annotated[str | None, typer.Option(help="Join the Ray cluster at this address.")]
Processes = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that do each run together, on a GPU or CPU each; as many as it needs."),
]
NoCompile = Annotated[
    bool, typer.Option("--no-compile", help="Train uncompiled on GPUs too: slower, and needs no C compiler.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go on with corpora that were prepared without some of their files.")
]


@app.command(rich_help_panel="Sweeps: run and watch")
def launch(
    sweep: SweepName,
    results: Results = RESULTS,
    home: Home = None,
    only: Only = None,
    changes: Changes = None,
    workers: Workers = None,
    gpus: Gpus = None,
    address: Address = None,
    processes: Processes = None,
    max_device_hours: Annotated[float, typer.Option(help="Ask for --yes above this.", callback=not_below_0)] = 24.0,
    yes: Annotated[bool, typer.Option("--yes", help="Launch whatever it costs.")] = False,
    allow_missing: AllowMissing = False,
    tasks_available: TasksAvailable = False,
    no_compile: NoCompile = False,
) -> None:
    """Schedule every run that is not done, through Ray. The same command resumes; nothing done is repeated.

    Several launches of one sweep into one results folder share its runs. SIGINT, SIGTERM or SIGUSR1 stop at the next
    step; a second one at once.
    """
    _reached(address)
    loaded = changed(sweep, changes)
    from ecgscale.attempt import Place
    from ecgscale.pool.shares import Pool

    if changes:
        new = {run.run_id for run in loaded.runs} - {run.run_id for run in changed(sweep, None).runs}
        say(f"{sweep}: {len(new)} runs differ from the sweep's by {', '.join(changes)} and have ids of their own")
    pool, guards = (
        Pool(workers, gpus, address),
        Guards(max_device_hours, yes, allow_missing, no_compile, tasks_available),
    )
    _launch(loaded, Place(home_of(home), results), Chosen(only or ()), pool, processes, guards)


@app.command(rich_help_panel="Sweeps: run and watch")
def retry(
    sweep: SweepName,
    results: Results = RESULTS,
    home: Home = None,
    only: Only = None,
    changes: Changes = None,
    workers: Workers = None,
    gpus: Gpus = None,
    address: Address = None,
    processes: Processes = None,
    allow_missing: AllowMissing = False,
    tasks_available: TasksAvailable = False,
    no_compile: NoCompile = False,
) -> None:
    """Do again what ended as failed, diverged or out of memory; each run from its last checkpoint."""
    _reached(address)
    from ecgscale.attempt import Place
    from ecgscale.pool.shares import Pool

    which = Chosen(only or (), ("failed", "diverged", "oom"))
    guards = Guards(allow_missing=allow_missing, no_compile=no_compile, tasks_available=tasks_available)
    _launch(
        changed(sweep, changes), Place(home_of(home), results), which, Pool(workers, gpus, address), processes, guards
    )


@dataclass(frozen=True)
class Chosen:
    """Which runs of a sweep: those whose plan meets every FIELD=VALUE, in these states (none named: all not done)."""

    only: Sequence[str] = ()
    states: Sequence[str] = ()


@dataclass(frozen=True)
class Guards:
    """What a launch is refused for: more device hours than this without a yes, corpora that lack files.

    With ``no_compile`` not for nodes without a C compiler, with ``tasks_available`` not for tasks whose corpora are
    not prepared.
    """

    max_device_hours: float = float("inf")
    yes: bool = False
    allow_missing: bool = False
    no_compile: bool = False
    tasks_available: bool = False


def _launch(
    loaded: "Sweep", place: "Place", chosen: Chosen, pool: "Pool", processes: int | None, guards: Guards
) -> None:
    """Launch the chosen runs of a sweep and say how it ended."""
    from ecgscale import records
    from ecgscale.cli.muted import muted
    from ecgscale.cli.terminal import Watch
    from ecgscale.pool.states import (
        Full,
        Interrupted,
        PoolLost,
        Stopped,
        counts,
        outdated,
        outstanding,
        outstanding_in_words,
        set_aside_damaged,
    )
    from ecgscale.pool.states import states as states_of
    from ecgscale.pool.surroundings import Infeasible
    from ecgscale.pricing import plan as pricing
    from ecgscale.pricing.obstacles import begun_without, left_in_words, same_people_in_words, unlaunchable
    from ecgscale.spec.sweep import stages

    home, results = place.home, place.results
    if guards.tasks_available:
        loaded = begun_without(loaded, home)
        for sentence in left_in_words(loaded):
            say(f"  {sentence}")
    for sentence in same_people_in_words(loaded):
        say(f"  {sentence}")
    for sentence in set_aside_damaged(loaded, results):
        say(f"  {sentence}")
    for sentence in outdated(loaded, results):
        say(f"  {sentence}")
    with never_silent(f"counting what the runs of {loaded.name} cost ..."):
        on = pricing.device_named("here", home)
        priced = pricing.plan(loaded, home, results, on, processes=processes)
        lines = priced[priced["run_id"].isin(ids_of(loaded, chosen.only, lambda: priced))]
    to_do = lines["state"].isin(chosen.states) if chosen.states else lines["state"] != "done"
    left = lines[to_do].sort_values("flops", ascending=False, kind="stable")
    runs = [loaded.run(run_id) for run_id in left["run_id"]]
    obstacles = unlaunchable(loaded, home, results, runs, allow_missing=guards.allow_missing) if runs else []
    if obstacles:
        raise Refused("; ".join(obstacles))
    for reason, those in left[left["not_measured"] != ""].groupby("not_measured", sort=False):
        say(f"  not measured on all tasks: {len(those)} runs: {reason}")
    if not pool.address:  # what this machine has no room for, a cluster may have
        for reason, those in left[left["infeasible"] != ""].groupby("infeasible", sort=False):
            say(f"left out, for they cannot be done here: {len(those)} runs: {reason}")
        left = left[left["infeasible"] == ""]
    hours, n_done = float(left["device_hours"].sum()), int((lines["state"] == "done").sum())
    unit = on.name if on.gpu else "core"
    say(f"{loaded.name}: {n_done} of {len(lines)} runs are done, {len(left)} to do in {hours:.2g} {unit} hours")
    if hours > guards.max_device_hours and not guards.yes:
        raise Refused(f"that is more than --max-device-hours {guards.max_device_hours:g}; add --yes to launch it")
    again = f"the same command goes on from there: {' '.join(['ecgscale', *sys.argv[1:]])}"
    if len(left):
        if pool.gpus and not pool.address:
            import torch

            if pool.gpus > torch.cuda.device_count():
                raise Refused(f"--gpus {pool.gpus}: this machine has {torch.cuda.device_count()} that torch can use")
        from ecgscale.pool.launch import launch as schedule
        from ecgscale.pool.shares import Needs

        watch = Watch(lambda: states_of(loaded, results), counts)
        at_once = pool.workers or os.cpu_count() or 1
        disk = 1e9 * float(left["disk_gb"].nlargest(at_once).sum() + left["kept_gb"].sum())
        compiled = False if guards.no_compile else None
        needs = Needs(pricing.shares(loaded, left, home, results), lambda run: processes or 1, disk)
        try:
            with muted():
                try:
                    with watch.context():
                        for stage in stages([loaded.run(run_id) for run_id in left["run_id"]]):
                            schedule(loaded, stage, place, pool, needs, watch=watch.look, say=say, compile=compiled)
                except PoolLost as error:
                    say(f"ecgscale: {error}; what is measured is kept, {again}")
                    os._exit(FAILED)  # Ray would wait for what is gone
            watch.look()
        except Infeasible as error:
            raise Refused(str(error)) from None
        except Stopped as error:
            say(f"ecgscale: stopped by {error}; what is measured is kept, {again}")
            if isinstance(error, Interrupted):  # a scheduler kills soon, and Python takes seconds to take torch down
                sys.stdout.flush()
                os._exit(error.exit_code)
            raise typer.Exit(error.exit_code) from None
        except Full:
            say("ecgscale: the disk is full, so nothing more was started; what is measured is kept")
            say(f"when there is room, {again}")
            raise typer.Exit(FAILED) from None
        records.compact(results, loaded.name)
    after = states_of(loaded, results)
    after = after[after["run_id"].isin(lines["run_id"])]
    say("  ".join(f"{n} {state}" for state, n in counts(after).items() if n))
    for sentence in outstanding_in_words(loaded, outstanding(loaded, results)):
        say(sentence)
    complete = bool((after["state"] == "done").all())
    say(f"next: ecgscale fit {loaded.name}" if complete else f"next: ecgscale failures {loaded.name}")
    raise typer.Exit(0 if complete else FAILED)


def _reached(asked: str | None) -> None:
    """See that somebody listens where a cluster was named, before the seconds that importing torch and Ray takes."""
    from ecgscale.pool.surroundings import Infeasible, address_of, reach

    try:
        if address := address_of(asked):
            reach(address)
    except Infeasible as error:
        raise Refused(str(error)) from None


@app.command(rich_help_panel="Sweeps: run and watch")
def run(
    sweep: SweepName,
    run_id: RunId,
    results: Results = RESULTS,
    home: Home = None,
    device: ChosenDevice = None,
    processes: Annotated[int, typer.Option(min=1, help="This one and others, on a CPU thread or GPU each.")] = 1,
    allow_missing: AllowMissing = False,
    tasks_available: TasksAvailable = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Do one run in this process, without Ray, on one CPU thread or one GPU (or with others, on as many)."""
    import torch

    from ecgscale import leases, records
    from ecgscale.attempt import Attempt, Place, Resources
    from ecgscale.home import checkpoint_files, note
    from ecgscale.pool.states import pausing
    from ecgscale.pricing.obstacles import begun_without, left_in_words, unlaunchable
    from ecgscale.trial import trial

    loaded, place = selected(sweep, changes, only, home, results), Place(home_of(home), results)
    one = loaded.run(run_id)
    path = records.path_of(results, loaded.name, one.run_id)
    if records.state_of(path)[0] == "done":
        say(f"{one.run_id} ({one.name}) is done already: {where(path)}")
        return
    if tasks_available:
        loaded = begun_without(loaded, place.home)
        for sentence in left_in_words(loaded):
            say(f"  {sentence}")
    obstacles = unlaunchable(loaded, place.home, results, [one], allow_missing=allow_missing)
    if obstacles:
        raise Refused("; ".join(obstacles))
    device = chosen(device)
    if processes > 1 and device != "cpu" and (device != "cuda" or processes > torch.cuda.device_count()):
        there = torch.cuda.device_count()
        raise Refused(f"--processes {processes}: they take the first GPUs of {there} (--device cuda), one each")
    torch.set_num_threads(1)
    say(f"{one.run_id}  {one.name}")
    claims = leases.Claims(leases.folder_of(results, loaded.name), f"run of {os.getpid()}")
    files = (path, *checkpoint_files(place.home, loaded.name, one.run_id))
    lease = claims.claim_patiently(one.run_id, records.newest_token(path), files)
    if lease is None:
        raise Refused(
            f"another launch of {loaded.name} is doing this run; watch it with: ecgscale status {loaded.name}"
        )
    try:
        with leases.Heartbeat(lease), pausing() as pause:
            log = partial(note, place.home, loaded.name, one.run_id)
            attempt = Attempt(lease, pause=lambda: pause.number is not None, note=log)
            state = trial(one, loaded, place, Resources(device, processes), attempt)
    finally:
        lease.release()
    if state == "paused":
        say("ecgscale: stopped; what is measured is kept, the same command goes on from there")
        raise typer.Exit(pause.exit_code)
    file = records.read(path)
    last = file.rows[(file.rows["step"] == file.rows["step"].max()) & (file.rows["split"] == "test")]
    table(["target", "metric", "test value"], [(r.target, r.metric, f"{r.value:.4f}") for r in last.itertuples()])
    say(f"{state}: {file.facts['why']}; rows in {where(path)}")
    raise typer.Exit(0 if state == "done" else FAILED)
