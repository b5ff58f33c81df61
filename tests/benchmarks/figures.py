"""Drawing every figure from the rows of a grid of the paper's size, against the minute that a person waits."""

import shutil
import tempfile
import time
from pathlib import Path

from ecgscale import records
from ecgscale.analysis.observations import best_over_steps, trajectories
from ecgscale.analysis.study.figures import FIGURES, save
from ecgscale.analysis.table.build import exponents
from tests.benchmarks import Measurement
from tests.synthetic import write_grid

ALLOWED = 60.0  # seconds


def measure() -> list[Measurement]:
    """Read 63,000 rows of 136 runs and draw all figures as PNG with their data; the laws are fitted beforehand."""
    folder = Path(tempfile.mkdtemp())
    try:
        write_grid(folder)
        n_rows = len(records.load(folder).rows)
        points = trajectories(folder)
        table = exponents(best_over_steps(points), paths=points, bootstrap=20)
        start = time.perf_counter()
        points = trajectories(folder)
        took = {}
        for name in FIGURES:
            begun = time.perf_counter()
            save(name, points, table, folder / "figures")
            took[name] = time.perf_counter() - begun
        seconds = time.perf_counter() - start
    finally:
        shutil.rmtree(folder)
    slowest = sorted(took, key=lambda n: -took[n])[:3]
    note = f"{n_rows} rows; slowest: " + ", ".join(f"{n} {took[n]:.1f} s" for n in slowest)
    allowed = f"{ALLOWED:g} s allowed"
    return [Measurement(f"{len(FIGURES)} figures", allowed, f"{seconds:.3g} s", ALLOWED / seconds, 1, note)]
