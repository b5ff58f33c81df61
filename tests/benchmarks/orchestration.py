"""P3: what it costs to have a run done that does nothing, against Ray Tune with a trial a run.

Both peers are Tune as people use it, loggers off: a fresh actor for every run, and actors that are reused.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune

from ecgscale import records
from ecgscale.launch import launch
from tests.benchmarks import Measurement
from tests.faults import Cellular, Many

SLOTS = 2
RUNS = {"fresh": 8, "reused": 60, "ours": 120}  # a fresh actor takes seconds: fewer are enough to know it
LONG, SECONDS = 12, 1.5


def measure() -> list[Measurement]:
    """Seconds a run beyond start-up: the time of many runs less that of one a slot, over the difference."""
    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=SLOTS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        try:
            fresh = _overhead(lambda n: _tune(n, Path(folder), reuse=False), RUNS["fresh"])
            reused = _overhead(lambda n: _tune(n, Path(folder), reuse=True), RUNS["reused"])
        finally:
            ray.shutdown()
        results = Path(folder) / "ours"
        ours = _overhead(lambda n: _ours(n, results), RUNS["ours"])
        wall, ideal = _long(results)
    took = f"{1e3 * ours:.0f} ms a run"
    note = f"{RUNS['ours']} empty runs on {SLOTS} slots"
    busy = f"{LONG} runs of {SECONDS:g} s on {SLOTS} slots, after start-up"
    return [
        Measurement("Tune, fresh actors / ours (P3)", f"{1e3 * fresh:.0f} ms a run", took, fresh / ours, 20, note),
        Measurement("Tune, reused actors / ours (P3)", f"{1e3 * reused:.0f} ms a run", took, reused / ours, 1 / 1.2),
        Measurement("ideal / wall (P3)", f"{ideal:.1f} s", f"{wall:.1f} s", ideal / wall, 1 / 1.05, busy),
    ]


def _overhead(do: Callable[[int], float], n: int) -> float:
    return (do(n) - do(SLOTS)) / (n - SLOTS)


def _tune(n: int, folder: Path, reuse: bool) -> float:
    def empty(config: dict[str, Any]) -> None:
        tune.report({"done": config["number"]})

    tuner = tune.Tuner(
        tune.with_resources(empty, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(n)))},
        tune_config=tune.TuneConfig(reuse_actors=reuse),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    began = time.perf_counter()
    tuner.fit()
    return time.perf_counter() - began


def _ours(n: int, results: Path) -> float:
    sweep = Many(f"empty{n}", tuple(Cellular(number) for number in range(n)))
    began = time.perf_counter()
    launch(sweep, sweep.runs, results / "home", results, workers=SLOTS, trial="tests.faults:trial")  # type: ignore[arg-type]
    took = time.perf_counter() - began
    assert len(records.load(results, [sweep.name]).runs) == n
    return took


def _long(results: Path) -> tuple[float, float]:
    """From the first run's beginning to the last one's end, by their files; and what that would be without overhead."""
    sweep = Many("long", tuple(Cellular(number, f"sleeps {SECONDS}") for number in range(LONG)))
    launch(sweep, sweep.runs, results / "home", results, workers=SLOTS, trial="tests.faults:trial")  # type: ignore[arg-type]
    ends = sorted(os.stat(records.path_of(results, sweep.name, run.run_id)).st_mtime for run in sweep.runs)
    return ends[-1] - ends[0], SECONDS * (LONG / SLOTS - 1)
