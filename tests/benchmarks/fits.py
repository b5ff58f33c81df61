"""Law fits on the 240 Chinchilla points, against the multi-start L-BFGS-B script of the literature (P10)."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import huber, logsumexp

from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.laws import LAWS
from ecgscale.analysis.fitting.newton import minimise
from ecgscale.analysis.fitting.problem import Array, problems_of
from ecgscale.analysis.fitting.resampling import resample_counts
from ecgscale.analysis.fitting.starts import best_of, projected_starts, solve_globally
from ecgscale.analysis.table.build import exponents
from tests.benchmarks import Measurement
from tests.designs import TRUTHS, designs
from tests.paths import FIXTURES

POINTS = FIXTURES / "laws" / "chinchilla_epoch.csv"
ROUNDS = 3
RESAMPLES = 4000
GAP = 1e-8
REFERENCE = 0.0010182740178006  # the optimum, confirmed by independent multi-starts


def peer_objective(theta: Array, N: Array, D: Array, y: Array) -> float:
    """The common script: sum of Huber(1e-3) of logsumexp(a - alpha ln N, b - beta ln D, e) - ln L."""
    a, b, e, alpha, beta = theta
    parts = np.stack([a - alpha * np.log(N), b - beta * np.log(D), np.full_like(N, e)])
    return float(huber(1e-3, logsumexp(parts, axis=0) - y).sum())


def peer_starts() -> Array:
    """Its 4,500 starts."""
    grid = np.meshgrid(np.arange(0, 30, 5), np.arange(0, 30, 5), np.arange(-1, 1.5, 0.5), *[np.arange(0, 2.5, 0.5)] * 2)
    return np.stack(grid, -1).reshape(-1, 5)


def peer_fit(start: Any, N: Array, D: Array, y: Array) -> float:
    """Its optimiser: L-BFGS-B with finite differences and default tolerances."""
    return float(minimize(peer_objective, start, (N, D, y), "L-BFGS-B").fun)


def peer_fits(starts: Any, N: Array, D: Array, y: Array) -> list[float]:
    return [peer_fit(start, N, D, y) for start in starts]


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _table() -> Measurement:
    """P12: every law of four configurations on four targets of the demo's nine cells, in CPU time, imports aside."""
    grid, rng = designs()["demo"], np.random.default_rng(0)
    parts = []
    for configuration in ("resnet-sl", "resnet-ssl", "transformer-sl", "transformer-ssl"):
        for i in range(4):
            loss = LAWS["joint"](TRUTHS["slow exponents"], N=grid["N"], D=grid["D"])
            noisy = loss * np.exp(0.04 * rng.standard_normal(len(grid)))
            facts = {"sweep": "demo", "corpus": "code", "label_set": "all", "configuration": configuration}
            facts |= {"target": f"task {i}" if i else "code", "domain": "OOD" if i else "ID", "selected_by": "val"}
            run = [f"{configuration} {j}" for j in range(len(grid))]
            parts.append(grid.assign(loss=noisy, C=6 * grid["N"] * grid["D"], run_id=run, **facts))
    began = time.process_time()
    exponents(pd.concat(parts, ignore_index=True))
    took = time.process_time() - began
    why = (
        "imports aside; the largest part are 16,000 resamples of joint laws for the paper's own convention of transfer"
    )
    return Measurement("the demo's table (P12)", "3 s of CPU allowed", f"{took:.3g} s", 3 / took, 1, why)


def measure() -> list[Measurement]:
    """One fit, cold and warm resampling, and a table of 44 groups."""
    table = pd.read_csv(POINTS).rename(columns={"L": "loss"})
    points = table[table["used240"] == 1]
    N, D, loss = (points[c].to_numpy(float) for c in ("N", "D", "loss"))
    rng = np.random.default_rng(0)
    law, x = LAWS["joint"], {"N": N, "D": D}
    fit("joint", points, objective="huber", bootstrap=0)  # warm the imports
    posed = problems_of(law, x, loss, delta=1e-3)
    optimum = solve_globally(posed)[0]
    counts = resample_counts(points[["N", "D"]], RESAMPLES)
    resampled = problems_of(law, x, loss, counts, 1e-3)
    starts = peer_starts()
    y = np.log(loss)
    # Its loop fits every resample from one start, the best of the script's; started at the fit to all points instead it
    # is faster, for its default tolerances are met at once: the note says how far from the optimum it stops.
    peer_optimum = [6.169, 7.670, 0.5973, 0.3473, 0.3672]
    peer_start = min(starts, key=lambda t: peer_objective(t, N, D, y))
    seconds: dict[str, list[float]] = {key: [] for key in ("one", "cold", "warm")}
    peer: dict[str, list[float]] = {key: [] for key in seconds}
    gaps, lowest, stopped, stopping = [], np.inf, [], []

    def loop(start: Any, draws: Any) -> tuple[float, list[float]]:
        took, found = timed(lambda: [peer_fit(start, N[i], D[i], y[i]) for i in draws])
        return took / len(draws) * RESAMPLES, found

    for _ in range(ROUNDS):
        sample = starts[rng.choice(len(starts), 12, replace=False)]
        took, found = timed(partial(peer_fits, sample, N, D, y))
        peer["one"].append(took / len(sample) * len(starts))
        lowest = min(lowest, *found)
        took, result = timed(lambda: fit("joint", points, objective="huber", bootstrap=0, intervals=False))
        seconds["one"].append(took)
        chosen = rng.choice(RESAMPLES, 12, replace=False)
        draws = [np.repeat(np.arange(len(N)), counts[i].astype(int)) for i in chosen]
        peer["cold"].append(loop(peer_start, draws)[0])
        peer["warm"].append(peer["cold"][-1])
        took, (many, _) = timed(lambda: best_of(resampled, projected_starts(resampled, 4)))
        seconds["cold"].append(took)
        took, single = timed(lambda: minimise(resampled, np.repeat(optimum.theta, RESAMPLES, 0)))
        seconds["warm"].append(took)
        least = np.minimum(many.objective, single.objective)
        took, reached = loop(peer_optimum, draws)
        stopping.append(took)
        stopped += [value / least[i] - 1 for i, value in zip(chosen, reached, strict=True)]
        gaps += [(many.objective / least - 1).max(), (single.objective / least - 1).max()]
    grid = designs()["ragged"]
    noisy = [
        grid.assign(loss=law(truth, N=grid["N"], D=grid["D"]) * np.exp(0.01 * rng.standard_normal(len(grid))))
        for _ in range(11)
        for truth in TRUTHS.values()
    ]
    groups, _ = timed(lambda: [fit("joint", part, bootstrap=1000) for part in noisy])
    objective = result.health.objective_value
    note_one = f"objective {objective:.13g}, gap {max(objective / min(lowest, REFERENCE) - 1, 0):.1e}"
    note_many = f"largest gap {max(gaps):.1e}" + ("" if max(gaps) <= GAP else " ABOVE 1e-8")
    note_warm = f"peer from the fit: {median(stopping):.3g} s, stops at a median gap of {median(stopped):.1e}"
    rows = (
        ("one", "one fit, 240 points; peer: 4,500 starts", 1000, note_one),
        ("cold", "4,000 resamples, four starts each; peer: one", 15, note_many),
        ("warm", "4,000 resamples from the fit to all points", 100, f"{note_many}; {note_warm}"),
    )
    measured = []
    for key, name, goal, note in rows:
        ratios = [p / o for p, o in zip(peer[key], seconds[key], strict=True)]
        took_peer, took_ours = (f"{median(v):.3g} s" for v in (peer[key], seconds[key]))
        measured.append(Measurement(name, took_peer, took_ours, median(ratios), goal, note))
    allowed = Measurement(
        "44 groups x 1,000 resamples", "60 s allowed", f"{groups:.3g} s", 60 / groups, 1, "with profiles"
    )
    return [*measured, allowed, _table()]
