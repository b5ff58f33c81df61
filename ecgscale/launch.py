"""Ray at the door: schedules the runs of a sweep that are not done over a pool of GPUs or CPUs.

The only file that imports ray. Ray's own state is disposable; a run's file is its state, so to resume is to launch
again.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune

from ecgscale import records
from ecgscale.spec import Run
from ecgscale.states import Interrupted
from ecgscale.sweep import Sweep
from ecgscale.trial import give_up, trial

_RETRIES = 2  # of a run whose worker died
_WATCH_SECONDS = 0.5


def launch(
    sweep: Sweep,
    runs: Sequence[Run],
    home: Path,
    results: Path,
    *,
    workers: int | None = None,
    address: str | None = None,
    gpu_share: Callable[[Run], float] = lambda run: 1.0,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Train ``runs`` of a sweep, in this order, as resources become free; ``watch`` is called twice a second meanwhile.

    On GPUs a run takes ``gpu_share`` of one; without GPUs each run takes one CPU and one thread. A run whose worker is
    killed goes on elsewhere from its checkpoint. Raises Interrupted on SIGINT or SIGTERM, RuntimeError if
    Ray fails.
    """
    with _pool(workers, address) as n_gpus:
        device = "cuda" if n_gpus else "cpu"
        by_id = {run.run_id: run for run in runs}

        def work(config: dict[str, Any]) -> None:
            tune.report({"state": _work(by_id[config["run_id"]], sweep, home, results, device)})

        def resources(config: dict[str, Any]) -> dict[str, float]:
            return {"cpu": 1, "gpu": gpu_share(by_id[config["run_id"]]) if n_gpus else 0}

        tuner = tune.Tuner(
            tune.with_resources(work, resources if n_gpus else {"cpu": 1}),
            param_space={"run_id": tune.grid_search(list(by_id))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                name=f"{sweep.name}-{os.getpid()}",
                storage_path=str((home / "ray").resolve()),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=_RETRIES),
            ),
        )
        _run_watched(tuner.fit, watch)
        for run in runs:
            if records.state_of(records.path_of(results, sweep.name, run.run_id))[0] in ("pending", "running"):
                give_up(run, sweep, results, f"its worker died {1 + _RETRIES} times")


def _work(run: Run, sweep: Sweep, home: Path, results: Path, device: str) -> str:
    """One run in a worker. Its failure is in its file; the worker lives on for the next."""
    import torch

    torch.set_num_threads(1)
    try:
        return trial(run, sweep, home, results, device)
    except Exception:
        return records.state_of(records.path_of(results, sweep.name, run.run_id))[0]


@contextmanager
def _pool(workers: int | None, address: str | None) -> Iterator[int]:
    """A Ray cluster, joined by address or started here; yields its number of GPUs."""
    options: dict[str, Any] = {"address": address} if address else {"num_cpus": workers, "include_dashboard": False}
    ray.init(log_to_driver=False, logging_level="ERROR", **options)
    try:
        yield int(ray.cluster_resources().get("GPU", 0))
    finally:
        ray.shutdown()


def _run_watched(fit: Callable[[], Any], watch: Callable[[], None]) -> None:
    """Run Ray's loop in a thread of its own, so that this one hears signals at once."""
    failure: list[BaseException] = []

    def target() -> None:
        try:
            fit()
        except BaseException as error:
            failure.append(error)

    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        thread = threading.Thread(target=target, name="ray-tune", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_WATCH_SECONDS)
            watch()
            if heard:
                raise Interrupted(heard[0])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if failure:
        raise RuntimeError(f"Ray stopped: {type(failure[0]).__name__}: {failure[0]}") from failure[0]
