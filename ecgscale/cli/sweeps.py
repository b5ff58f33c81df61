"""Verbs of a sweep: launch it, watch it, and do one run by itself."""

from typing import Annotated

import typer

from ecgscale.cli.door import (
    FAILED,
    RESULTS,
    Home,
    Json,
    Refused,
    Results,
    SweepName,
    app,
    existing,
    home_of,
    print_json,
)
from ecgscale.terminal import say, table, where

AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Go on with corpora that were prepared without some of their files.")
]


@app.command()
def launch(
    sweep: SweepName,
    results: Results = RESULTS,
    home: Home = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=VALUE", help="Only runs whose plan says so; repeatable.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="CPU workers on this machine.")] = None,
    address: Annotated[str | None, typer.Option(help="Join the Ray cluster at this address.")] = None,
    max_device_hours: Annotated[float, typer.Option(help="Ask for --yes above this.")] = 24.0,
    yes: Annotated[bool, typer.Option("--yes", help="Launch whatever it costs.")] = False,
    allow_missing: AllowMissing = False,
) -> None:
    """Schedule every run that is not done, through Ray. The same command resumes; nothing done is repeated."""
    from ecgscale import plan as pricing
    from ecgscale.states import Claimed, Interrupted, claimed, counts, set_aside_damaged, states
    from ecgscale.sweep import load, stages
    from ecgscale.terminal import Watch

    loaded = load(sweep)
    try:
        with claimed(loaded, results):
            for sentence in set_aside_damaged(loaded, results):
                say(f"  {sentence}")
            chosen = pricing.select(pricing.plan(loaded, home_of(home), results), only or [])
            left = chosen[chosen["state"] != "done"].sort_values("flops", ascending=False, kind="stable")
            runs = [loaded.run(run_id) for run_id in left["run_id"]]
            told = {"allow_missing": allow_missing}
            obstacles = pricing.unlaunchable(loaded, home_of(home), results, runs, **told) if runs else []
            if obstacles:
                raise Refused("; ".join(obstacles))
            hours = float(left["device_hours"].sum())
            n_done = len(chosen) - len(left)
            say(f"{sweep}: {n_done} of {len(chosen)} runs are done, {len(left)} to do in {hours:.2g} core hours")
            if hours > max_device_hours and not yes:
                raise Refused(f"that is more than --max-device-hours {max_device_hours:g}; add --yes to launch it")
            if len(left):
                from ecgscale.launch import launch as schedule

                watch = Watch(lambda: states(loaded, results), counts)
                with watch.context():
                    for stage in stages(runs):
                        schedule(
                            loaded,
                            stage,
                            home_of(home),
                            results.resolve(),
                            workers=workers,
                            address=address,
                            watch=watch.look,
                        )
                watch.look()
    except Claimed as error:
        raise Refused(str(error)) from None
    except Interrupted as error:
        say(f"ecgscale: stopped by {error}; what is measured is kept, the same command goes on from there")
        raise typer.Exit(error.exit_code) from None
    after = states(loaded, results)
    after = after[after["run_id"].isin(chosen["run_id"])]
    say("  ".join(f"{n} {state}" for state, n in counts(after).items() if n))
    complete = bool((after["state"] == "done").all())
    say(f"next: ecgscale fit {sweep}" if complete else f"next: ecgscale failures {sweep}")
    raise typer.Exit(0 if complete else FAILED)


@app.command()
def run(
    sweep: SweepName,
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="A run's id, or the beginning of it.")],
    results: Results = RESULTS,
    home: Home = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
    allow_missing: AllowMissing = False,
) -> None:
    """Do one run in this process, without Ray, on one CPU thread or one GPU."""
    import torch

    from ecgscale import records
    from ecgscale.plan import unlaunchable
    from ecgscale.states import Claimed, claimed
    from ecgscale.sweep import load
    from ecgscale.trial import trial

    loaded = load(sweep)
    one = loaded.run(run_id)
    path = records.path_of(results, loaded.name, one.run_id)
    if records.state_of(path)[0] == "done":
        say(f"{one.run_id} ({one.name}) is done already: {where(path)}")
        return
    obstacles = unlaunchable(loaded, home_of(home), results, [one], allow_missing=allow_missing)
    if obstacles:
        raise Refused("; ".join(obstacles))
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise Refused(f"--device {device}: there is no GPU here that torch {torch.__version__} can use")
    torch.set_num_threads(1)
    say(f"{one.run_id}  {one.name}")
    try:
        with claimed(loaded, results):
            state = trial(one, loaded, home_of(home), results, device)
    except Claimed as error:
        raise Refused(str(error)) from None
    file = records.read(path)
    last = file.rows[(file.rows["step"] == file.rows["step"].max()) & (file.rows["split"] == "test")]
    table(["target", "metric", "test value"], [(r.target, r.metric, f"{r.value:.4f}") for r in last.itertuples()])
    say(f"{state}: {file.facts['why']}; rows in {where(path)}")
    raise typer.Exit(0 if state == "done" else FAILED)


@app.command()
def status(
    sweep: Annotated[
        str | None, typer.Argument(metavar="[SWEEP]", help="A sweep; all with results if left out.")
    ] = None,
    results: Results = RESULTS,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds until all have ended.")] = False,
) -> None:
    """How many runs are done, running, pending, failed, diverged or out of memory."""
    import time

    from ecgscale.states import counts, states
    from ecgscale.sweep import load, sweep_folder

    if sweep is None:
        folder = existing(results) / "runs"
        names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        defined = {path.stem for path in sweep_folder().glob("*.py")}
        for foreign in set(names) - defined:
            say(f"results hold a sweep {foreign!r} that no file in sweeps/ defines")
        names = [name for name in names if name in defined]
    else:
        names = [sweep]
    sweeps = [load(name) for name in names]
    while True:
        by_sweep = {s.name: states(s, results) for s in sweeps}
        if as_json:
            described = [
                {"sweep": name, "runs": len(t), **counts(t), "states": dict(zip(t["run_id"], t["state"], strict=True))}
                for name, t in by_sweep.items()
            ]
            print_json(described[0] if sweep is not None else described)
        else:
            names_of = list(counts(next(iter(by_sweep.values()))) if by_sweep else {})
            table(["sweep", "runs", *names_of], [(n, len(t), *counts(t).values()) for n, t in by_sweep.items()])
        open_runs = sum(int(t["state"].isin(["pending", "running"]).sum()) for t in by_sweep.values())
        if not watch or not open_runs:
            return
        time.sleep(2)


@app.command()
def failures(sweep: SweepName, results: Results = RESULTS) -> None:
    """Runs that did not end well, grouped by cause."""
    from ecgscale.states import states
    from ecgscale.sweep import load

    loaded = load(sweep)
    bad = states(loaded, results)
    bad = bad[~bad["state"].isin(["done", "pending", "running"])]
    groups = bad.groupby(["state", "why"], sort=True)["run_id"]
    table(["state", "runs", "cause", "run ids"], [(s, len(ids), why, " ".join(ids)) for (s, why), ids in groups])
    if len(bad):
        say(f"next: ecgscale launch {sweep} (does these again), or ecgscale run {sweep} {bad['run_id'].iloc[0]}")


@app.command()
def reprobe(
    sweep: SweepName,
    task: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A task, measured anew if it was; repeatable.")
    ] = None,
    results: Results = RESULTS,
    home: Home = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Measure kept weights on more tasks, without training; without --task on those that the sweep has gained."""
    from dataclasses import replace

    import torch

    from ecgscale import kept
    from ecgscale.plan import checked
    from ecgscale.reprobe import lacking
    from ecgscale.reprobe import reprobe as measure
    from ecgscale.states import Claimed, claimed, states
    from ecgscale.sweep import load

    loaded = load(sweep)
    tasks = list(dict.fromkeys(task or loaded.tasks))
    outlines = checked(replace(loaded, runs=(), tasks=tuple(tasks), label_sets=()), home_of(home))
    absent = [name for name, outline in outlines.items() if not outline.prepared]
    if absent:
        raise Refused(f"corpus {absent[0]} is not prepared here; run: ecgscale data prepare {absent[0]} --raw DIR")
    state = states(loaded, results)
    finished = [loaded.run(run_id) for run_id in state.loc[state["state"] == "done", "run_id"]]
    wanted = {run: tasks if task else lacking(run, loaded, results, tasks) for run in finished}
    wanted = {run: names for run, names in wanted.items() if names}
    ready = [run for run in wanted if kept.is_ready(run, home_of(home))]
    if wanted and not ready:
        raise Refused(f"none of {len(wanted)} runs has kept weights here; sweeps that give keep= keep them")
    torch.set_num_threads(1)
    try:
        with claimed(loaded, results):
            for run in ready:
                steps = measure(run, loaded, wanted[run], home_of(home), results, device)
                say(f"{run.run_id}  {run.name}: {', '.join(wanted[run])} at {len(steps)} steps")
    except Claimed as error:
        raise Refused(str(error)) from None
    n_complete, n_lost = len(finished) - len(wanted), len(wanted) - len(ready)
    say(f"{len(ready)} runs probed, {n_complete} had nothing to add, {n_lost} not kept")
    if n_lost:
        say(f"next: ecgscale status {sweep}")
        raise typer.Exit(FAILED)
    unfinished = len(finished) < len(loaded.runs)
    say(f"next: ecgscale launch {sweep}" if unfinished else f"next: ecgscale fit {sweep}")
