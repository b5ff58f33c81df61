"""200 tiny runs while workers are killed every few seconds: ``python -m tests.soak [RUNS]``."""

import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd
import psutil

from ecgscale import records
from ecgscale.pool import slot
from tests.faults import STEPS, Cellular, Many, duty, row


def files(sweep: Many, results: Path) -> list[records.RunFile]:
    return [records.read(records.path_of(results, sweep.name, run.run_id)) for run in sweep.runs]


def expected(sweep: Many) -> pd.DataFrame:
    rows = [row(run, sweep, step) for run in sweep.runs for step in range(STEPS)]
    return pd.DataFrame(rows)[["run_id", "step", "value"]].sort_values(["run_id", "step"], ignore_index=True)


def measured(sweep: Many, results: Path) -> pd.DataFrame:
    loaded = records.load(results, [sweep.name])
    assert loaded.bad == ()
    return loaded.rows[["run_id", "step", "value"]].sort_values(["run_id", "step"], ignore_index=True)


def soak(folder: Path, n_runs: int, n_slots: int, seconds_between: float, seed: int = 0) -> int:
    """Two launches' slots do tiny runs while workers are killed at random; how many were.

    In the end each run is done, and its rows are as if none had been killed.
    """
    sweep = Many("s", tuple(Cellular(n, "slow") for n in range(n_runs)))
    results, draw, n_killed = folder / "results", random.Random(seed), 0
    launches = [duty(sweep, results) for _ in range(2)]
    slots = [
        threading.Thread(target=slot.serve, args=(launches[n % 2], str(n)), name=f"slot {n}") for n in range(n_slots)
    ]
    for thread in slots:
        thread.start()
    while any(thread.is_alive() for thread in slots):
        time.sleep(seconds_between * draw.uniform(0.5, 1.5))
        workers = [p for p in psutil.Process().children() if "ecgscale.pool.worker" in p.cmdline()]
        if workers:
            draw.choice(workers).kill()
            n_killed += 1
    statuses = {file.status for file in files(sweep, results)}
    if statuses != {"done"}:
        slot.serve(duty(sweep, results), "last")  # what died three times is done by the same command again
    pd.testing.assert_frame_equal(measured(sweep, results), expected(sweep))
    assert not list((results / "leases").rglob("*.lease"))
    return n_killed


if __name__ == "__main__":
    n_runs, began = int((sys.argv[1:] or ["200"])[0]), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        n_killed = soak(Path(folder), n_runs, n_slots=2, seconds_between=3.0)
    print(f"{n_runs} runs, {n_killed} workers killed, each run done once, in {time.perf_counter() - began:.0f} s")
