"""P6: counting a rung's multiply-accumulates, and how far every rung's count is from one by hand."""

import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from ecgscale.compute import cost
from ecgscale.models import RESNET_200M, TRANSFORMER_200M
from ecgscale.objectives import Supervised
from tests.benchmarks import Measurement
from tests.counts import LADDER, OBJECTIVES, by_hand

ROUNDS = 5
FIRST = "import ecgscale.compute as c, ecgscale.models as m, ecgscale.objectives as o, time; s = time.perf_counter(); "
FIRST += "c.cost(m.{}, o.Supervised(), 6, 1000); print(time.perf_counter() - s)"


def measure() -> Iterator[Measurement]:
    """Seconds against the one that is allowed; the first count of a process loads fvcore and torch's decompositions."""
    worst = 0.0
    for rung in LADDER:
        for objective in OBJECTIVES:
            if rung.input in objective.inputs:
                counted = cost(rung, objective, 6, 1000).macs_per_sample
                worst = max(worst, abs(counted / by_hand(rung, objective) - 1))
    yield Measurement("largest distance from a hand count (P6)", "", f"{worst:.1e}", 1e-3 / max(worst, 1e-9), 1)
    for name, rung in (("RESNET_200M", RESNET_200M), ("TRANSFORMER_200M", TRANSFORMER_200M)):
        seconds = []
        for _ in range(ROUNDS):
            cost.cache_clear()
            began = time.perf_counter()
            cost(rung, Supervised(), 6, 1000)
            seconds.append(time.perf_counter() - began)
        first = subprocess.run([sys.executable, "-c", FIRST.format(name)], capture_output=True, text=True, check=True)
        note = f"{float(first.stdout):.2f} s as the first of its process"
        took = median(seconds)
        yield Measurement(f"{name} counted (P6)", "1 s allowed", f"{took:.2f} s", 1 / took, 1, note)
