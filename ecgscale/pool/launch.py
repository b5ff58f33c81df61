"""Ray at the door: a pool of GPUs or CPUs, and slots placed on it until every run has ended.

The only file that imports ray. What Tune places is not a run but a slot (see ``slot``), a long-lived place with its
share of a GPU that claims one run after another; so a run costs no scheduling, two launches share a results folder, and
Ray's own state is disposable: a run's file is its state, to resume is to launch again.

Ray's services listen on this machine's network interfaces, behind Ray's token authentication, which is never switched
off here; the dashboard is not started.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")  # slots look after memory: Ray's monitor aborts the sweep

import ray
from ray import cloudpickle, tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ecgscale import leases, records
from ecgscale.leases import Claims
from ecgscale.pool import preflight
from ecgscale.pool.shares import share_of, slots, smaller
from ecgscale.pool.slot import Cell, Duty, is_over, serve
from ecgscale.pool.states import Full, Infeasible, Interrupted, PoolLost, Stopped, pausing
from ecgscale.pool.watch import WATCH_SECONDS, reach, watched
from ecgscale.pool.worker import TRIAL, Setup
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep

_LOOK_SECONDS = 300.0  # that a node may take for it: storage that hangs does not hold up a launch for ever
_ABORTS = 3  # of Ray's whole loop, after which there is no use in trying again
_CONTEXT = 0.05  # of a slot's share of a GPU that the CUDA context takes, outside the cap


def launch(
    sweep: Sweep,
    runs: Sequence[Run],
    home: Path,
    results: Path,
    *,
    workers: int | None = None,
    gpus: int | None = None,
    address: str | None = None,
    memory_bytes: Callable[[Run], float] = lambda run: float("inf"),
    disk_bytes: float = 0.0,
    processes: Callable[[Run], int] = lambda run: 1,
    watch: Callable[[], None] = lambda: None,
    device: str | None = None,
    trial: str = TRIAL,
) -> None:
    """Have ``runs`` of a sweep done, in this order, as resources become free; ``watch`` is called twice a second.

    On GPUs a run takes the share of one that ``memory_bytes`` needs (all of it where that is not known), and its
    process is capped to that; without GPUs each takes one CPU and one thread. A run for which ``processes`` says
    several takes so many GPUs or CPUs of one machine. A run that another launch holds is waited for, and taken over if
    that stands still. First every node looks whether it has what the launch has, and room for ``disk_bytes`` (see
    ``preflight``).

    Raises Infeasible if the pool or a node lacks what is asked; Interrupted on SIGINT, SIGTERM or SIGUSR1, when all
    runs are checkpointed; Stopped if told by ``ecgscale stop``; Full for a full disk; PoolLost if Ray dies;
    RuntimeError if it fails again and again.
    """
    with pausing() as heard, _pool(workers, gpus, address) as pool:
        n_gpus, n_cpus = int(pool.get("GPU", 0)), int(pool.get("CPU", 0))
        if gpus is not None and n_gpus < gpus:
            raise Infeasible(f"{gpus} GPUs are asked for, the pool has {n_gpus} (and {n_cpus} CPUs)")
        # What another kind of trial needs is not known here.
        if trial == TRIAL and (problems := _looked(sweep, home.resolve(), results.resolve(), disk_bytes)):
            raise Infeasible("; ".join(problems))
        if heard.number:
            raise Interrupted(heard.number)
        device = device or ("cuda" if n_gpus else "cpu")
        most, unit = max((processes(run) for run in runs), default=1), "GPU" if n_gpus else "CPU"
        if most > 1 and most > _largest_node(unit):
            raise Infeasible(f"a run is to have {most} {unit}s of one machine, the largest has {_largest_node(unit)}")
        total = _gpu_bytes() if n_gpus and device != "cpu" else 1.0
        folder = leases.folder_of(results, sweep.name)
        name = leases.open_launch(folder)
        try:
            cells = [_cell(run, sweep, results) for run in runs]
            shares = {
                r.run_id: float(n) if (n := processes(r)) > 1 or not n_gpus else share_of(memory_bytes(r) / total)
                for r in runs
            }
            sent = cloudpickle.dumps(sweep)

            def duty(some: Sequence[Cell], share: float) -> Duty:
                cap = min(share, 1.0) * (1 - _CONTEXT)
                setup = Setup(sent, home.resolve(), results.resolve(), device, cap, max(1, int(share)), trial)
                return Duty(sweep.name, name, tuple(some), setup)

            def waited(work: Callable[[], Any]) -> Any:
                return watched(work, lambda: leases.close_launch(folder, name), watch, heard, _services())

            rounds, aborts, claims = 0, 0, Claims(folder, name, "driver")
            while left := _left(cells, sweep, results):
                free = [c for c in left if not claims.held(c.run_id)]
                if not free:
                    waited(partial(_until_free, claims, left, folder, name))
                    if not leases.is_open(folder, name):
                        raise Stopped("ecgscale stop")
                    continue
                places = slots({c.run_id: shares[c.run_id] if not c.micro_batch else 1.0 for c in free}, n_gpus, n_cpus)
                by_id = {c.run_id: c for c in free}
                duties = {share: duty([by_id[i] for i in ids], share) for share, _, ids in places}
                rounds += 1
                storage = home / "ray" / name / str(rounds)
                try:
                    full = _fit(places, duties, storage, bool(n_gpus), waited)
                except RuntimeError as error:
                    aborts += 1
                    if isinstance(error, PoolLost) or aborts == _ABORTS:
                        raise
                    continue
                if full:
                    raise Full("the disk is full")
                if not leases.is_open(folder, name):
                    raise Stopped("ecgscale stop")
                cells = smaller(cells, runs, sweep, results)
        finally:
            leases.close_launch(folder, name)
            shutil.rmtree(home / "ray" / name, ignore_errors=True)


def _fit(
    places: Sequence[tuple[float, int, list[str]]],
    duties: Mapping[float, Duty],
    storage: Path,
    on_gpus: bool,
    waited: Callable[[Callable[[], Any]], Any],
) -> bool:
    """Let Tune place the slots and wait until all are empty; whether the disk was full."""

    def place(config: dict[str, Any]) -> None:
        tune.report({"ended": serve(duties[config["slot"]["share"]], config["slot"]["name"])})

    def resources(config: dict[str, Any]) -> dict[str, float]:
        share = config["slot"]["share"]
        return {"cpu": max(1, int(share))} | ({"gpu": share} if on_gpus else {})

    named = [{"name": f"{s:.3f}-{i}", "share": s} for s, n, _ in places for i in range(n)]
    tuner = tune.Tuner(
        tune.with_resources(place, resources),
        param_space={"slot": tune.grid_search(named)},
        run_config=tune.RunConfig(
            name="slots",
            storage_path=str(storage.resolve()),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=10),
        ),
    )
    ended = waited(tuner.fit)
    errors = [result.error for result in ended if result.error is not None]
    if errors:
        raise RuntimeError(f"a slot failed again and again: {str(errors[0]).strip().splitlines()[-1]}")
    return any((result.metrics or {}).get("ended") == "full" for result in ended)


def _cell(run: Run, sweep: Sweep, results: Path) -> Cell:
    path = records.path_of(results, sweep.name, run.run_id)
    return Cell(run.run_id, run.description, records.newest_token(path))


def _left(cells: Sequence[Cell], sweep: Sweep, results: Path) -> list[Cell]:
    return [c for c in cells if not is_over(records.path_of(results, sweep.name, c.run_id), c.before)]


def _until_free(claims: Claims, cells: Sequence[Cell], folder: Path, name: str) -> None:
    """Wait until one of these runs, all held by other launches, is free again, or this launch is closed."""
    while leases.is_open(folder, name) and all(claims.held(cell.run_id) for cell in cells):
        time.sleep(WATCH_SECONDS)


@contextmanager
def _pool(workers: int | None, gpus: int | None, address: str | None) -> Iterator[dict[str, float]]:
    """A Ray cluster, joined by address or started here; yields its resources.

    Without an address it is one of its own, whatever else of Ray runs on this machine, unless RAY_ADDRESS names one, as
    it does inside a Ray job.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {"num_cpus": workers, "num_gpus": gpus, "include_dashboard": False, "address": "local"}
    if address:
        reach(address)
    hears = signal.getsignal(signal.SIGTERM)
    ray.init(log_to_driver=False, logging_level="ERROR", **({"address": address} if address else own))
    signal.signal(signal.SIGTERM, hears)  # Ray has put its own there, which ends this process with code 15
    try:
        yield ray.cluster_resources()
    except PoolLost:
        raise  # there is nobody to say goodbye to
    except BaseException:
        ray.shutdown()
        raise
    else:
        ray.shutdown()


def _looked(sweep: Sweep, home: Path, results: Path, disk_bytes: float) -> list[str]:
    """What keeps any node of the pool from doing runs of this sweep, in sentences; this one looks by itself."""
    here = ray.get_runtime_context().get_node_id()
    with preflight.expecting(sweep, home, results, disk_bytes) as expected:
        asked, n_gpus = [], 0.0
        for node in ray.nodes():
            if node["NodeID"] == here:
                n_gpus = node["Resources"].get("GPU", 0)
            elif node["Alive"]:
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                look = ray.remote(num_cpus=0, scheduling_strategy=there)(preflight.look)
                sent = look.remote(home, results, expected, node["Resources"].get("GPU", 0))
                asked.append((node["NodeManagerHostname"], sent))
        own = preflight.look(home, results, expected, n_gpus)
        return preflight.refusals([own, *(_report(name, sent) for name, sent in asked)])


def _report(node: str, sent: Any) -> Mapping[str, Any]:
    """What another node found; that it cannot look, for want of our code for example, is a problem too."""
    try:
        return ray.get(sent, timeout=_LOOK_SECONDS)
    except ray.exceptions.RayError as error:
        why = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
        return {"node": node, "problems": [f"it could not look at what it has ({why})"]}


def _largest_node(unit: str) -> int:
    """Most GPUs or CPUs that one machine of the pool has."""
    return max(int(node["Resources"].get(unit, 0)) for node in ray.nodes() if node["Alive"])


def _gpu_bytes() -> float:
    """Memory of one GPU of the pool."""

    @ray.remote(num_cpus=0, num_gpus=0.01)
    def asked() -> float:
        import torch

        return float(torch.cuda.get_device_properties(0).total_memory)

    return float(ray.get(asked.remote()))


def _services() -> dict[str, str]:
    """Addresses of what a launch cannot do without: Ray's head and this machine's raylet."""
    context = ray.get_runtime_context()
    here = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return {"head": context.gcs_address, "raylet": f"{here['NodeManagerAddress']}:{here['NodeManagerPort']}"}
