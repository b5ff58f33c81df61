"""Verbs of a sweep: price it, launch it, watch it, and do one run by itself."""

import json
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
from ecgscale.terminal import say, si, table, where


@app.command()
def plan(
    sweep: SweepName,
    results: Results = RESULTS,
    home: Home = None,
    device: Annotated[str, typer.Option(help="Price in hours of: here (measured), a100, h100 (reckoned).")] = "here",
    as_json: Json = False,
) -> None:
    """Price a sweep before it is paid: size, data, compute, time, memory and state of every run."""
    from ecgscale import plan as pricing
    from ecgscale.spec import did_you_mean
    from ecgscale.sweep import load

    if device not in pricing.DEVICES:
        raise ValueError(f"no device {device!r}{did_you_mean(device, pricing.DEVICES)}")
    loaded = load(sweep)
    priced = pricing.plan(loaded, home_of(home), results, device)
    if as_json:
        print_json(json.loads(priced.to_json(orient="records")))
        return
    columns = ["run", "name", "N", "D", "MACs", "FLOPs", "hours", "memory GB", "state"]
    rows = [
        (r["run_id"], r["name"], *(si(r[c]) for c in ("n_params", "n_samples", "macs_per_sample", "flops")))
        + (f"{r['device_hours']:.3g}", f"{r['memory_gb']:.2g}", r["state"])
        for r in priced.to_dict("records")
    ]
    table(columns, rows)
    share = float((priced.device_hours * priced.evaluation_share).sum() / priced.device_hours.sum())
    unit = "core" if device == "here" else device.upper()
    say(
        f"{len(priced)} runs, {si(priced.flops.sum())}FLOP of training, {priced.device_hours.sum():.3g} {unit} hours "
        f"(of which {share:.0%} evaluation), {priced.disk_gb.max():.2g} GB of disk a running run"
    )
    obstacles = pricing.unlaunchable(loaded, home_of(home))
    for obstacle in obstacles:
        say(f"cannot be launched here yet: {obstacle}")
    if not obstacles:
        say(f"next: ecgscale launch {sweep}")


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
) -> None:
    """Schedule every run that is not done, through Ray. The same command resumes; nothing done is repeated."""
    from ecgscale import plan as pricing
    from ecgscale.states import Claimed, Interrupted, claimed, counts, set_aside_damaged, states
    from ecgscale.sweep import load
    from ecgscale.terminal import Watch

    loaded = load(sweep)
    obstacles = pricing.unlaunchable(loaded, home_of(home))
    if obstacles:
        raise Refused("; ".join(obstacles))
    try:
        with claimed(loaded, results):
            for sentence in set_aside_damaged(loaded, results):
                say(f"  {sentence}")
            chosen = pricing.select(pricing.plan(loaded, home_of(home), results), only or [])
            left = chosen[chosen["state"] != "done"].sort_values("flops", ascending=False, kind="stable")
            hours = float(left["device_hours"].sum())
            n_done = len(chosen) - len(left)
            say(f"{sweep}: {n_done} of {len(chosen)} runs are done, {len(left)} to do in {hours:.2g} core hours")
            if hours > max_device_hours and not yes:
                raise Refused(f"that is more than --max-device-hours {max_device_hours:g}; add --yes to launch it")
            if len(left):
                from ecgscale.launch import launch as schedule

                watch = Watch(lambda: states(loaded, results), counts)
                runs = [loaded.run(run_id) for run_id in left["run_id"]]
                with watch.context():
                    schedule(
                        loaded,
                        runs,
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
) -> None:
    """Do one run in this process, without Ray, on one CPU thread or one GPU."""
    import torch

    from ecgscale import records
    from ecgscale.plan import unlaunchable
    from ecgscale.states import Claimed, claimed
    from ecgscale.sweep import Sweep, load
    from ecgscale.trial import trial

    loaded = load(sweep)
    one = loaded.run(run_id)
    path = records.path_of(results, loaded.name, one.run_id)
    if records.state_of(path)[0] == "done":
        say(f"{one.run_id} ({one.name}) is done already: {where(path)}")
        return
    obstacles = unlaunchable(Sweep(loaded.name, (one,), loaded.tasks), home_of(home))
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
