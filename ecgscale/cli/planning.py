"""Verbs before anything is paid: what a sweep costs, and what this machine can do."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from ecgscale.cli.door import RESULTS, Home, Json, Results, SweepName, app, home_of, print_json
from ecgscale.cli.selecting import Changes, Only, TasksAvailable, changed, ids_of, typed
from ecgscale.cli.terminal import never_silent, say, table
from ecgscale.phrases import did_you_mean, si

if TYPE_CHECKING:
    from pathlib import Path

    from ecgscale.spec.sweep import Sweep

CLUSTERS = {
    "slurm": "slurm.sh",
    "kuberay": "kuberay.yaml",
    "dockerfile": "Dockerfile",
    "ray-up": "ray-up.yaml",
    "readme": "README.md",
}
_PARTS = {"training": "training", "evaluation": "evaluation", "probes": "probe"}
_GPUS = (1, 8, 32)  # that the time on the clock is told for
_SAID = 3  # runs named for each reason why runs cannot be done


@app.command(rich_help_panel="Before: price and prepare")
def plan(
    sweep: SweepName,
    results: Results = RESULTS,
    home: Home = None,
    device: Annotated[
        str,
        typer.Option(help="Hours of: here (measured once), a100, h100, l40s, ... (reckoned), or a calibrated GPU."),
    ] = "here",
    as_json: Json = False,
    only: Only = None,
    changes: Changes = None,
    tasks_available: TasksAvailable = False,
) -> None:
    """Price a sweep before it is paid: size, data, compute, time, memory, disk and state of every run."""
    with never_silent(f"counting what the runs of {sweep} cost ..."):
        from dataclasses import replace

        from ecgscale.pool.states import outdated, outstanding, outstanding_in_words
        from ecgscale.pricing import plan as pricing
        from ecgscale.pricing.hours import wall_hours
        from ecgscale.pricing.obstacles import begun_without, left_in_words, same_people_in_words, unlaunchable

        loaded = changed(sweep, changes)
        if tasks_available:
            loaded = begun_without(loaded, home_of(home))
        on = pricing.device_named(device, home_of(home))
        priced = pricing.plan(loaded, home_of(home), results, on)
        if only:
            ids = ids_of(loaded, only, lambda: priced)
            loaded = replace(loaded, runs=tuple(run for run in loaded.runs if run.run_id in ids))
            priced = priced[priced["run_id"].isin(ids)]
    if as_json:
        print_json(json.loads(priced.to_json(orient="records")))
        return
    columns = ["run", "name", "N", "D", "MACs", "FLOPs", "hours", "memory GB", "disk GB"]
    rows = [
        (r["run_id"], r["name"], *(si(r[c]) for c in ("n_params", "n_samples", "macs_per_sample", "flops")))
        + (f"{r['device_hours']:.3g}", f"{r['memory_gb']:.2g}", f"{r['disk_gb']:.2g}")
        + ((f"{r['gpu_share']:g}",) if on.gpu else ())
        + (r["state"],)
        for r in priced.to_dict("records")
    ]
    table([*columns, *(["of a GPU"] if on.gpu else []), "state"], rows)
    unit = f"{on.name} hours" if on.gpu else "core hours"
    parts = {part: float(priced[f"{column}_hours"].sum()) for part, column in _PARTS.items()}
    parts |= pricing.shared_parts(loaded, home_of(home), on)
    say(
        f"{len(priced)} runs, {si(priced.flops.sum())}FLOP of training, {sum(parts.values()):.3g} {unit} "
        f"({', '.join(f'{part} {hours:.3g}' for part, hours in parts.items() if hours)}), "
        f"{priced.disk_gb.max():.2g} GB of disk a running run"
        + (f", {priced.kept_gb.sum():.2g} GB of kept weights" if priced.kept_gb.any() else "")
    )
    left = priced[~priced["state"].isin(["done", "infeasible"])]
    if len(left) < len(priced):
        done, lost = ((priced["state"] == state).sum() for state in ("done", "infeasible"))
        hours = f"{left.device_hours.sum():.3g} {unit}"
        say(f"{done} done, {lost} infeasible, {len(left)} to do in {hours}")
    unfinished = priced[priced["state"] != "done"]
    if on.gpu and len(unfinished):
        once = sum(parts[part] for part in ("codes", "codebook"))
        clock = ", ".join(f"{once + wall_hours(unfinished, n):.3g} h on {n}" for n in _GPUS)
        say(f"on the clock: {clock} {on.name} GPUs")
    how = "measured here" if on.measured else "reckoned as 30 % of the printed peak, a step at least 2 ms of launches"
    say(f"hours on {on.name}, {how}" + ("" if on.gpu else ", one core a run") + "; a reckoning, that no run has tested")
    for (kind, by), _ in priced[priced["counted_by"] != "fvcore"].groupby(["architecture", "counted_by"], sort=False):
        say(f"multiply-accumulates of {kind}: {'as it says itself' if by == 'itself' else 'counted by torch'}")
    for reason, runs in priced[priced["infeasible"] != ""].groupby("infeasible", sort=False):
        named = ", ".join(runs["name"].head(_SAID)) + (", ..." if len(runs) > _SAID else "")
        say(f"infeasible: {len(runs)} runs ({named}): {reason}")
    for reason, runs in priced[priced["not_measured"] != ""].groupby("not_measured", sort=False):
        say(f"not measured on all tasks: {len(runs)} runs: {reason}")
    for sentence in (
        *outdated(loaded, results),
        *left_in_words(loaded),
        *same_people_in_words(loaded),
        *outstanding_in_words(loaded, outstanding(loaded, results)),
    ):
        say(sentence)
    asked, states = typed(sweep, changes, only), set(priced["state"])
    if states <= {"done", "running"}:
        say(f"next: ecgscale {'status' if 'running' in states else 'fit'} {asked}")
        return
    _say_getting(loaded, home_of(home))
    obstacles = unlaunchable(loaded, home_of(home), results)
    for obstacle in obstacles:
        say(f"cannot be launched here yet: {obstacle}")
    if not obstacles:
        say(f"next: ecgscale launch {asked}{' --tasks-available' if loaded.left_out else ''}")


def _say_getting(sweep: "Sweep", home: "Path") -> None:
    """What it takes to get the corpora of a sweep that are not prepared here, one by one and together."""
    from ecgscale import data
    from ecgscale.spec.tasks import task_of

    asked = [name for run in sweep.runs for name in run.slice.corpora]
    asked += [task_of(task).corpus for task in (*sweep.tasks, *sweep.left_out)]
    needed = data.to_get(asked, home)
    for one in needed:
        say(f"to get {one.in_words}")
    if len(needed) > 1:
        gigabytes = sum(one.gigabytes or 0 for one in needed)
        unknown = ", ".join(one.name for one in needed if one.gigabytes is None)
        beside = f" and those of {unknown}" if unknown else ""
        say(
            f"together: {gigabytes:.3g} GB of downloads{beside}, "
            f"{sum(one.download_hours or 0 for one in needed):.2g} hours at {data.MBIT_A_SECOND:g} Mbit/s, "
            f"{sum(one.prepare_hours for one in needed):.2g} core hours of preparation, "
            f"{sum(one.disk_gb for one in needed):.3g} GB of disk beside the raw files"
        )


@app.command(rich_help_panel="Before: price and prepare")
def doctor(
    results: Results = RESULTS,
    home: Home = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this machine's training speed anew, for plans.")
    ] = False,
    as_json: Json = False,
) -> None:
    """What this machine can do: GPUs, Ray, disk, memory, limits, datasets found."""
    from ecgscale.pricing import doctor as examining

    if calibrate:
        from ecgscale.pricing.calibration import calibrate as measure

        found = measure(home_of(home))
        for kind, points in found.speeds.items():
            told = ", ".join(f"{si(speed)}FLOP/s at {si(macs)} MACs" for macs, speed in points)
            say(f"{found.name}: {kind} {told}")
    facts = examining.examine(home_of(home), results)
    if as_json:
        print_json(facts)
        return
    table(["what", "found", "advice"], [(name, fact["found"], fact["advice"]) for name, fact in facts.items()])


@app.command(rich_help_panel="Before: price and prepare")
def cluster(
    name: Annotated[str, typer.Argument(metavar="NAME", help="slurm, kuberay, dockerfile, ray-up, or readme.")],
) -> None:
    """Print what starts Ray on a cluster: a Slurm script, a KubeRay job and its image, a file for `ray up`."""
    from importlib.resources import files

    if name not in CLUSTERS:
        raise ValueError(f"there is nothing for a cluster {name!r}{did_you_mean(name, CLUSTERS)}")
    print(files("ecgscale").joinpath("clusters", CLUSTERS[name]).read_text(), end="")
