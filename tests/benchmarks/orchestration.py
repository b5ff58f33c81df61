"""P3: what it costs to have a run done that does nothing, against Ray Tune with a trial a run.

Both peers are Tune as people use it, loggers off: a fresh actor for every run, and actors that are reused.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import ray
from ray import tune

from ecgscale import records
from ecgscale.attempt import Place
from ecgscale.pool.launch import launch
from ecgscale.pool.shares import Pool
from tests.benchmarks import Measurement
from tests.faults import Cellular, Many

SLOTS = 2
RUNS = {"fresh": 8, "reused": 60, "ours": 120}  # a fresh actor takes seconds: fewer are enough to know it
LONG, SECONDS = 12, 1.5


def measure() -> list[Measurement]:
    """Seconds a run once all is started: from the first run's end to the last one's, over the number between."""
    with tempfile.TemporaryDirectory() as folder:
        ray.init(address="local", num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            fresh = _tune(RUNS["fresh"], Path(folder), reuse=False)
            reused = _tune(RUNS["reused"], Path(folder), reuse=True)
        finally:
            ray.shutdown()
        results = Path(folder) / "ours"
        ours = _a_run(list(_ours(Many("empty", tuple(Cellular(n) for n in range(RUNS["ours"]))), results)["ended"]))
        long = _ours(Many("long", tuple(Cellular(n, f"sleeps {SECONDS}") for n in range(LONG))), results)
        gaps = long.sort_values("ended").groupby("worker")["ended"].diff().dropna()  # from run to run of a slot
        wall, ideal = float(gaps.sum()), SECONDS * len(gaps)
    took = f"{1e3 * ours:.0f} ms a run"
    note = f"{RUNS['ours']} empty runs on {SLOTS} slots"
    busy = f"{LONG} runs of {SECONDS:g} s on {SLOTS} slots, after start-up"
    return [
        Measurement("Tune, fresh actors / ours (P3)", f"{1e3 * fresh:.0f} ms a run", took, fresh / ours, 20, note),
        Measurement("Tune, reused actors / ours (P3)", f"{1e3 * reused:.0f} ms a run", took, reused / ours, 1 / 1.2),
        Measurement("ideal / wall (P3)", f"{ideal:.1f} s", f"{wall:.2f} s", ideal / wall, 1 / 1.05, busy),
    ]


def _tune(n: int, folder: Path, reuse: bool) -> float:
    def empty(config: dict[str, Any]) -> None:
        tune.report({"ended": time.time()})

    tuner = tune.Tuner(
        tune.with_resources(empty, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(n)))},
        tune_config=tune.TuneConfig(reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    return _a_run([result.metrics["ended"] for result in tuner.fit()])


def _ours(sweep: Many, results: Path) -> pd.DataFrame:
    """When each run ended, and in which worker."""
    place, pool = Place(results / "home", results), Pool(workers=SLOTS)
    launch(sweep, sweep.runs, place, pool, trial="tests.faults:empty")  # type: ignore[arg-type]
    paths = [records.path_of(results, sweep.name, run.run_id) for run in sweep.runs]
    return pd.DataFrame({"ended": [os.stat(p).st_mtime for p in paths]}).assign(
        worker=[records.read(p).facts["worker"] for p in paths]
    )


def _a_run(ends: Sequence[float]) -> float:
    return (max(ends) - min(ends)) / (len(ends) - 1)
