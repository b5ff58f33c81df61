"""Coverage of the compute frontier's bootstrap: its exponent and floor, and the loss at 1 and 10 times the compute."""

import math
from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.frontier import frontier
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.laws import LAWS
from tests.benchmarks.coverage import Cell

PLANTED = {"E": 0.05, "k": 60.0, "gamma": 0.2, "C0": 1e12}
DECADES = (12.0, 16.0)  # of compute
CHECKPOINTS = 6  # of a run, each twice the compute of the one before


def cells() -> Iterator[Cell]:
    """Runs whose last checkpoints lie on the frontier, the earlier ones above it."""
    for runs, noise in ((20, 0.01), (42, 0.01), (20, 0.04)):
        measure = partial(_measure, runs, noise)
        yield Cell("frontier", f"{runs} runs", runs * CHECKPOINTS, "offset power law", f"{noise:.1%}", measure)


def sweep(runs: int, noise: float, rng: np.random.Generator) -> pd.DataFrame:
    """Checkpoints of runs (run_id, C, loss): a run's noise is its own; early checkpoints lie well above the frontier,
    but for those of the smallest run, which nothing beats."""
    last = np.repeat(np.geomspace(10 ** DECADES[0], 10 ** DECADES[1], runs), CHECKPOINTS)
    back = np.tile(np.arange(CHECKPOINTS), runs)
    flops = last / 2.0**back
    late = np.where(np.arange(len(last)) < CHECKPOINTS, 1.0, 1 + 0.3 * back)
    loss = np.asarray(LAWS["frontier"](PLANTED, C=flops)) * late
    own = np.repeat(noise * rng.standard_normal(runs), CHECKPOINTS)
    return pd.DataFrame({"run_id": np.repeat(np.arange(runs), CHECKPOINTS), "C": flops, "loss": loss * np.exp(own)})


def _measure(runs: int, noise: float, n_sweeps: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    asked = {
        "E": PLANTED["E"],
        "gamma": PLANTED["gamma"],
        **{f"predict_{t}x": _log_loss(PLANTED, t) for t in (1, 10)},
    }
    hits: dict[str, list[bool]] = {name: [] for name in asked}
    sided: dict[str, list[bool]] = {name: [] for name in asked}
    for _ in range(n_sweeps):
        try:
            found = frontier(sweep(runs, noise, rng))
        except BadPoints:  # a front of fewer than five points: nothing is printed
            continue
        for name, true in asked.items():
            if name in found.coefficients:
                c = found.coefficients[name]
            else:
                c = found.quantity(partial(_log_loss, times=int(name.removeprefix("predict_").removesuffix("x"))))
            if math.isnan(c.low + c.high):
                continue
            low = c.low if c.low_end == "reached" else -math.inf
            high = c.high if c.high_end == "reached" else math.inf
            hits[name].append(low <= true <= high)
            sided[name].append(math.isinf(low) or math.isinf(high))
    return pd.DataFrame(
        {
            "quantity": name,
            "truth": true,
            "coverage": float(np.mean(hits[name])),
            "one_sided": float(np.mean(sided[name])),
            "at_bound": False,
            "n_sweeps": len(hits[name]),
        }
        for name, true in asked.items()
    )


def _log_loss(c: dict[str, float], times: int) -> float:
    value: float = np.log(LAWS["frontier"](c, C=times * 10 ** DECADES[1]))
    return value
