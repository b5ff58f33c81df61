"""200 tiny runs while workers are killed every few seconds: ``python -m tests.soak [RUNS]``."""

import sys
import tempfile
import time
from pathlib import Path

from tests.pool.test_slot import soak

if __name__ == "__main__":
    n_runs, began = int((sys.argv[1:] or ["200"])[0]), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        n_killed = soak(Path(folder), n_runs, n_slots=2, seconds_between=3.0)
    print(f"{n_runs} runs, {n_killed} workers killed, each run done once, in {time.perf_counter() - began:.0f} s")
