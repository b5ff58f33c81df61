"""The verb that measures kept weights on more tasks."""

import os
from typing import Annotated

import typer

from ecgscale.cli.devices import ChosenDevice, chosen
from ecgscale.cli.door import FAILED, RESULTS, Home, Refused, Results, SweepName, app, home_of
from ecgscale.cli.selecting import Changes, Only, TasksAvailable, selected, typed
from ecgscale.cli.terminal import say


@app.command(rich_help_panel="Sweeps: run and watch")
def reprobe(
    sweep: SweepName,
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A task, measured anew if it was; repeatable.")
    ] = None,
    results: Results = RESULTS,
    home: Home = None,
    device: ChosenDevice = None,
    only: Only = None,
    changes: Changes = None,
    tasks_available: TasksAvailable = False,
) -> None:
    """Measure kept weights on more tasks, without training; without --task on those that the sweep has gained."""
    from collections import Counter
    from dataclasses import replace

    import torch

    from ecgscale import leases, records
    from ecgscale.data.corpus import command_for
    from ecgscale.pool.states import outstanding, outstanding_in_words, states
    from ecgscale.pricing.obstacles import checked, why_unmeasured
    from ecgscale.probing.reprobe import lacking
    from ecgscale.probing.reprobe import reprobe as measure
    from ecgscale.training import kept_weights

    loaded, again = selected(sweep, changes, only, home, results), typed(sweep, changes, only)
    tasks = {name: loaded.task(name) for name in task or loaded.task_names}
    sizes = checked(replace(loaded, runs=(), tasks=tuple(tasks.values()), label_sets=()), home_of(home))
    absent = [name for name, size in sizes.items() if not size.prepared]
    waiting = [name for name, one in tasks.items() if one.corpus in absent]
    if waiting and not tasks_available:
        causes = [f"corpus {name} is not prepared here; run: {command_for(name)}" for name in absent]
        others = ["measure on the other tasks alone: --tasks-available"] if len(waiting) < len(tasks) else []
        raise Refused("; ".join(causes + others))
    tasks = {name: one for name, one in tasks.items() if name not in waiting}
    for name in absent:
        say(f"left for later, as corpus {name} is not prepared here; run: {command_for(name)}")
    state = states(loaded, results)
    finished = [loaded.run(run_id) for run_id in state.loc[state["state"] == "done", "run_id"]]
    wanted = {run: list(tasks) if task else lacking(run, loaded, results, [*tasks.values()]) for run in finished}
    unread = {run: {name: why_unmeasured(tasks[name], run, sizes) for name in names} for run, names in wanted.items()}
    for reason, n in Counter(why for reasons in unread.values() for why in {*reasons.values()} - {""}).items():
        say(f"{n} {'run' if n == 1 else 'runs'} not measured: {reason}")
    left = outstanding(loaded, results)
    wanted = {
        run: [name for name in names if not unread[run][name] or name in left.get(run.run_id, ())]
        for run, names in wanted.items()
    }
    wanted = {run: names for run, names in wanted.items() if names}
    ready = [run for run in wanted if kept_weights.is_ready(run, home_of(home))]
    if wanted and not ready:
        raise Refused(f"none of {len(wanted)} runs has kept weights here; sweeps that give keep= keep them")
    torch.set_num_threads(1)
    on = chosen(device) if ready else "cpu"
    claims = leases.Claims(leases.folder_of(results, loaded.name), f"reprobe of {os.getpid()}")
    for run in ready:
        path = records.path_of(results, loaded.name, run.run_id)
        lease = claims.claim_patiently(run.run_id, records.newest_token(path), (path,))
        if lease is None:
            raise Refused(f"another command is at work on run {run.run_id}; watch it with: ecgscale status {sweep}")
        try:
            with leases.Heartbeat(lease):
                asked = [tasks[name] for name in wanted[run]]
                steps = measure(run, loaded, asked, home_of(home), results, on, guard=lease.check)
        finally:
            lease.release()
        probed = [name for name in wanted[run] if not unread[run][name]]
        if probed:
            say(f"{run.run_id}  {loaded.names[run.run_id]}: {', '.join(probed)} at {len(steps)} steps")
    n_complete, n_lost = len(finished) - len(wanted), len(wanted) - len(ready)
    say(f"{len(ready)} runs probed, {n_complete} had nothing to add, {n_lost} not kept")
    if n_lost:
        say(f"next: ecgscale status {again}")
        raise typer.Exit(FAILED)
    for sentence in outstanding_in_words(loaded, outstanding(loaded, results)):
        say(sentence)
    unfinished = len(finished) < len(loaded.runs)
    say(f"next: ecgscale {'launch' if unfinished else 'fit'} {again}")
