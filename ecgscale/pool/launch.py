"""Ray at the door: a pool of GPUs or CPUs, and slots placed on it until every run has ended.

The only file that imports ray. What Tune places is not a run but a slot (see ``slot``), a long-lived place with its
share of a GPU that claims one run after another; so a run costs no scheduling, two launches share a results folder, and
Ray's own state is disposable: a run's file is its state, to resume is to launch again.

Ray's services listen on this machine's network interfaces, behind Ray's token authentication, which is never switched
off here; the dashboard is not started.
"""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ecgscale import leases, records
from ecgscale.attempt import Place, Resources
from ecgscale.leases import Claims
from ecgscale.pool import places as pool_places
from ecgscale.pool import preflight
from ecgscale.pool.kinds import Kind, Offer, kinds_of, not_shared, offers, without_room
from ecgscale.pool.shares import Needs, Pool, spared
from ecgscale.pool.slot import QueuedRun, SlotJob, is_over, serve
from ecgscale.pool.states import Full, Interrupted, NoPlaceLeft, NotStarted, PoolLost, Stopped, pausing
from ecgscale.pool.surroundings import Infeasible, address_of, give_token, reach, sockets_folder, token_there
from ecgscale.pool.watch import WATCH_SECONDS, watched
from ecgscale.pool.worker import TRIAL, WorkerSetup
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep

_LOOK_SECONDS = 300.0  # that a node may take for it: storage that hangs does not hold up a launch for ever
_ANSWER_SECONDS = 8.0  # that a cluster may take to say who it is
_ABORTS = 3  # of Ray's whole loop without a run that ended between them, after which there is no use in trying again
_ABORT_SECONDS = 5.0  # until it is tried again: Ray takes as long to see that a node is gone
ALL, WHOLE = Pool(), Needs()
_PINNED = 0.001  # of a node's label, of which it has one: a slot is placed on nodes of its kind
_LENGTH = 200  # of Ray's words in a sentence


def launch(
    sweep: Sweep,
    runs: Sequence[Run],
    place: Place,
    pool: Pool = ALL,
    needs: Needs = WHOLE,
    *,
    watch: Callable[[], None] = lambda: None,
    say: Callable[[str], None] = lambda _: None,
    device: str | None = None,
    compile: bool | None = None,
    trial: str = TRIAL,
) -> None:
    """Have ``runs`` of a sweep done, in this order, as resources become free; ``watch`` is called twice a second, and
    ``say`` hears what takes time before the first run.

    On GPUs a run takes the share of one that it needs, and its process' memory is capped to that; without GPUs each
    takes one CPU and one thread. A run that another launch holds is waited for, and taken over if that stands still.
    First every node looks whether it has what the launch has, and room on disk (see ``preflight``).

    Raises Infeasible if the pool or a node lacks what is asked; Interrupted on SIGINT, SIGTERM or SIGUSR1, when all
    runs are checkpointed; Stopped if told by ``ecgscale stop``; Full for a full disk; PoolLost if Ray dies;
    NoPlaceLeft if every GPU or node is at fault; RuntimeError if Ray fails again and again.
    """
    place = Place(place.home.resolve(), place.results.resolve())
    with pausing() as heard, _joined(pool) as found:
        n_gpus, n_cpus = _units(found)
        if pool.gpus is not None and n_gpus < pool.gpus:
            raise Infeasible(f"{pool.gpus} GPUs are asked for, the pool has {n_gpus} (and {n_cpus} CPUs)")
        # What another kind of trial needs is not known here.
        if trial == TRIAL and (problems := _looked(sweep, place, needs.disk_bytes, say, compile)):
            raise Infeasible("; ".join(problems))
        if heard.number:
            raise Interrupted(heard.number)
        device = device or ("cuda" if n_gpus else "cpu")
        kinds = _kinds(device)
        if lacking := without_room(kinds, runs, needs):
            raise Infeasible(lacking)
        if separate := not_shared(offers(kinds, runs, needs)):
            say(separate)
        folder = leases.folder_of(place.results, sweep.name)
        for dead in leases.sweep_dead(folder):
            shutil.rmtree(place.home / "ray" / dead, ignore_errors=True)
        pool_places.forget(folder)
        name = leases.open_launch(folder)
        sources = sweep.sources
        named: set[pool_places.Retired] = set()

        def look() -> None:
            watch()
            for retired in pool_places.retired(folder, name):
                if retired not in named:
                    named.add(retired)
                    say(str(retired))

        sent = cloudpickle.dumps(sweep)

        def job(offer: Offer, free: Mapping[str, QueuedRun]) -> SlotJob:
            fraction = offer.kind.fraction(offer.share)
            taken = Resources(device, max(1, int(offer.share)), fraction, compile=compile)
            queued = tuple(free[run_id] for run_id in offer.run_ids)
            return SlotJob(sweep.name, name, queued, WorkerSetup(sent, place, taken, trial, sources))

        def waited(work: Callable[[], Any]) -> Any:
            return watched(work, lambda: leases.close_launch(folder, name), look, heard, _services())

        try:
            queue = [_queued(run, sweep, place.results) for run in runs]
            rounds, aborts, least, claims = 0, 0, len(queue) + 1, Claims(folder, name, "driver")
            while left := _left(queue, sweep, place.results):
                if len(left) < least:
                    least, aborts = len(left), 0
                free = {queued.run_id: queued for queued in left if not claims.held(queued.run_id)}
                if not free:
                    waited(partial(_until_free, claims, left, folder, name))
                    if not leases.is_open(folder, name):
                        raise Stopped("ecgscale stop")
                    continue
                asked = [run for run in runs if run.run_id in free]
                alone = {run_id for run_id, queued in free.items() if queued.sparing.alone}
                whole = bool(named)  # then the slots take every place
                offered = offers(kinds, asked, needs, alone, spare=whole)
                jobs = {offer.name: job(offer, free) for offer in offered}
                rounds += 1
                storage = place.home / "ray" / name / str(rounds)
                try:
                    ended = _fit(offered, jobs, storage, waited)
                except RuntimeError as error:
                    aborts += 1
                    if isinstance(error, PoolLost) or aborts == _ABORTS:
                        raise
                    waited(partial(time.sleep, _ABORT_SECONDS))
                    kinds = _kinds(device)
                    continue
                look()
                if "full" in ended:
                    raise Full("the disk is full")
                if not leases.is_open(folder, name):
                    raise Stopped("ecgscale stop")
                if ended == {"retired"} and whole and _left(queue, sweep, place.results):
                    where = ", ".join(sorted(retired.name for retired in named))
                    raise NoPlaceLeft(
                        f"no place is left that works ({where}): {len(_left(queue, sweep, place.results))} runs are "
                        "to do; what is measured is kept, and when one is mended the same command goes on"
                    )
                queue = spared(queue, runs, sweep, place.results, partial(_may_be_cut, sweep, trial))
        finally:
            leases.close_launch(folder, name)
            shutil.rmtree(place.home / "ray" / name, ignore_errors=True)


def _fit(
    offered: Sequence[Offer],
    jobs: Mapping[str, SlotJob],
    storage: Path,
    waited: Callable[[Callable[[], Any]], Any],
) -> set[str]:
    """Let Tune place the slots and wait until all have ended; how they ended (see ``slot.serve``)."""

    def place(config: dict[str, Any]) -> None:
        tune.report({"ended": serve(jobs[config["slot"]["offer"]], config["slot"]["name"])})

    def resources(config: dict[str, Any]) -> dict[str, float]:
        share, label, is_gpu = (config["slot"][key] for key in ("share", "label", "gpu"))
        return {"cpu": max(1, int(share))} | ({"gpu": share} if is_gpu else {}) | ({label: _PINNED} if label else {})

    named = [
        {"name": f"{o.name}-{i}", "offer": o.name, "share": o.share, "label": o.kind.label, "gpu": o.kind.is_gpu}
        for o in offered
        for i in range(o.n_slots)
    ]
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
    return {str((result.metrics or {}).get("ended")) for result in ended}


def _queued(run: Run, sweep: Sweep, results: Path) -> QueuedRun:
    path = records.path_of(results, sweep.name, run.run_id)
    return QueuedRun(run.run_id, run.description, records.newest_token(path))


def _left(queue: Sequence[QueuedRun], sweep: Sweep, results: Path) -> list[QueuedRun]:
    return [q for q in queue if not is_over(records.path_of(results, sweep.name, q.run_id), q.before)]


def _until_free(claims: Claims, queue: Sequence[QueuedRun], folder: Path, name: str) -> None:
    """Wait until one of these runs, all held by other launches, is free again, or this launch is closed."""
    while leases.is_open(folder, name) and all(claims.held(queued.run_id) for queued in queue):
        time.sleep(WATCH_SECONDS)


@contextmanager
def _joined(pool: Pool) -> Iterator[dict[str, float]]:
    """A Ray cluster, joined by address or started here; yields its resources.

    Without an address it is one of its own, whatever else of Ray runs on this machine, unless RAY_ADDRESS names one, as
    it does inside a Ray job. Raises NotStarted if Ray does not.
    """
    address = address_of(pool.address)
    with sockets_folder() if address is None else nullcontext() as folder:
        if address is None:
            give_token()
            own = {"num_cpus": pool.workers, "num_gpus": pool.gpus, "include_dashboard": False, "_temp_dir": folder}
            options: dict[str, Any] = {"address": "local"} | own
        else:
            reach(address)
            _ask(address)
            options = {"address": address}
        hears = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", **options)
        except Exception as error:
            ray.shutdown()
            what = f"the Ray cluster at {address} cannot be joined" if address else "Ray did not start on this machine"
            raise NotStarted(f"{what} ({_line(error)}); the same command tries again") from error
        finally:
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


def _ask(address: str) -> None:
    """Raise Infeasible if what listens at an address is no Ray, or one that asks for another token.

    A token is given only to a cluster that asks for one: with it, Ray's workers in one that does not would never start.
    ``ray.init`` would ask twenty times, and wait for a minute for one that hangs.
    """
    if address.startswith("ray://"):
        return
    error = _refusal(address)
    if isinstance(error, ray.exceptions.AuthenticationError) and token_there():
        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
        error = _refusal(address)
    if isinstance(error, ray.exceptions.AuthenticationError):
        raise Infeasible(
            f"the Ray cluster at {address} asks for another token; set RAY_AUTH_TOKEN_PATH to a copy of its head's "
            "~/.ray/auth_token"
        )
    if error is not None:
        raise Infeasible(f"what listens at {address} is no Ray cluster ({_line(error)})")


def _refusal(address: str) -> Exception | None:
    """What a cluster says to this process instead of who it is. Raises Infeasible if it says nothing."""
    ended: list[Exception | None] = []

    def ask() -> None:
        try:
            ray._raylet.GcsClient(address=address)
            ended.append(None)
        except Exception as error:
            ended.append(error)

    asking = threading.Thread(target=ask, name="ask-ray", daemon=True)
    asking.start()
    asking.join(_ANSWER_SECONDS)
    if not ended:
        raise Infeasible(f"what listens at {address} does not answer as Ray does within {_ANSWER_SECONDS:g} s")
    return ended[0]


def _line(error: BaseException) -> str:
    """The first sentence of an error of Ray's, whose words take many lines."""
    return re.split(r"\.\s|Traceback", " ".join(str(error).split()))[0][:_LENGTH].strip() or type(error).__name__


def _looked(
    sweep: Sweep, place: Place, disk_bytes: float, say: Callable[[str], None], compile: bool | None
) -> list[str]:
    """What keeps any node of the pool from doing runs of this sweep, in sentences; this one looks by itself."""
    here, home, results = ray.get_runtime_context().get_node_id(), place.home, place.results
    with preflight.expecting(sweep, home, results, disk_bytes, say, compile is not False) as expected:
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
        reports = (_report(name, sent) for name, sent in asked)
        return preflight.refusals([own, *(report for report in reports if report is not None)])


def _report(node: str, sent: Any) -> Mapping[str, Any] | None:
    """What another node found; that it cannot look, for want of our code for example, is a problem too.

    None for a node that was lost meanwhile: it keeps nobody from anything, for the pool is what is left.
    """
    try:
        return ray.get(sent, timeout=_LOOK_SECONDS)
    except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
        return None
    except ray.exceptions.RayError as error:
        why = f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"
        return {"node": node, "problems": [f"it could not look at what it has ({why})"]}


def _units(resources: Mapping[str, float] | None = None) -> tuple[int, int]:
    """GPUs and CPUs of the pool as it is now, or as Ray said it was."""
    found = ray.cluster_resources() if resources is None else resources
    return int(found.get("GPU", 0)), int(found.get("CPU", 0))


def _kinds(device: str) -> list[Kind]:
    """The kinds of GPU of the pool as it is now, every node with GPUs asked what they are; without GPUs its CPUs."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    with_gpus = [node for node in alive if node["Resources"].get("GPU", 0)]
    if not with_gpus and device != "cpu":
        return []
    if not with_gpus:
        counts = [int(node["Resources"].get("CPU", 0)) for node in alive]
        return [Kind("", 1.0, sum(counts), max(counts, default=0), is_gpu=False)]

    def asked() -> float:
        import torch

        return float(torch.cuda.get_device_properties(0).total_memory)

    memory: list[Any] = [1.0] * len(with_gpus)
    if device != "cpu":
        there = (NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in with_gpus)
        ask = (ray.remote(num_cpus=0, num_gpus=0.01, scheduling_strategy=at)(asked) for at in there)
        memory = ray.get([each.remote() for each in ask])
    labels = (next((r for r in node["Resources"] if r.startswith("accelerator_type:")), "") for node in with_gpus)
    counts = [int(node["Resources"]["GPU"]) for node in with_gpus]
    return kinds_of(list(zip(labels, memory, counts, strict=True)))


def _may_be_cut(sweep: Sweep, trial: str, run: Run) -> bool:
    """Whether micro-batches leave a run what it is; where BatchNorm sees them, only if its sweep says that they may."""
    if not run.objective.cuts_batches or trial != TRIAL:
        return run.objective.cuts_batches
    from ecgscale.compute import has_batch_norm

    return sweep.micro_batches or not has_batch_norm(run.architecture)


def _services() -> dict[str, str]:
    """Addresses of what a launch cannot do without: Ray's head and this machine's raylet."""
    context = ray.get_runtime_context()
    here = next(node for node in ray.nodes() if node["NodeID"] == context.get_node_id())
    return {"head": context.gcs_address, "raylet": f"{here['NodeManagerAddress']}:{here['NodeManagerPort']}"}
