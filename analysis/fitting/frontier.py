"""The compute frontier: the law of the checkpoints that no other beats with less compute, and how well it is known.

A run is on the front partly by luck, so that the front lies below the law of all runs, and scatters less about it than
runs do. Resamples of a sweep therefore draw the noise of all its runs and find the front anew. To draw runs instead,
with replacement, would leave the smallest out of every third resample, and with it all that is known of an offset;
sweeps choose their runs.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgscale.analysis.fitting.identifiability import BadPoints, clean
from ecgscale.analysis.fitting.laws import LAWS
from ecgscale.analysis.fitting.options import Options
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.result import Fit
from ecgscale.analysis.fitting.run_noise import RunNoise, noise_of, unit_noise
from ecgscale.analysis.fitting.shifted import fit_curved, jacobian_at, optima

RESAMPLES = 200
LEAST = 5  # points of a front that its law is fitted to
TRIES = 20  # of a resample, until its front has as many
SIMULATED = 200  # fronts, of which two rounds tell what luck does
CALIBRATIONS = 2
FARTHEST = 30.0  # of ln(loss) from its curve: no resample has to be worse
LOUDER = 2.0  # at most, than the front shows, is the noise of runs


def pareto(flops: Array, loss: Array) -> NDArray[np.bool_]:
    """Which points no other beats with less or equal compute."""
    order = np.lexsort((loss, flops))
    best = np.minimum.accumulate(loss[order])
    front = np.zeros(len(loss), bool)
    front[order] = loss[order] < np.r_[np.inf, best[:-1]]
    return front


def frontier(table: pd.DataFrame, bootstrap: int = RESAMPLES, level: float = 0.95, seed: int = 0) -> Fit:
    """Compute frontier ``E + k (C + C0)^-gamma`` through the Pareto points of all runs' checkpoints (Fig. 5a).

    ``table``: columns C, loss and, where runs left several checkpoints, run_id. Intervals: percentiles of the fits to
    resamples (parametric bootstrap; Davison & Hinkley 1997, sections 6.3 and 5.2). A short frontier identifies gamma, E
    and C0 poorly: bounds hit are flagged.
    """
    points, _ = clean(table, ["C", "loss"])
    flops, loss = points["C"].to_numpy(float), points["loss"].to_numpy(float)
    run = points["run_id"].factorize()[0] if "run_id" in points else np.arange(len(points))
    front = pareto(flops, loss)
    if front.sum() < LEAST:
        raise BadPoints(f"the compute frontier has {front.sum()} points; its law needs five")
    options = Options(level=level, bootstrap=bootstrap, seed=seed)
    return fit_curved(LAWS["frontier"], points[front], options, partial(_resampled, flops, loss, run, front))


def _resampled(
    flops: Array,
    loss: Array,
    run: NDArray[np.intp],
    front: NDArray[np.bool_],
    values: Mapping[str, float],
    options: Options,
    n_resamples: int,
) -> pd.DataFrame:
    """Coefficients of the laws of resampled fronts.

    The runs on the front are put on its law, the others stay where they were measured. What luck does to a front is
    taken off twice, once for the front that was found and once for that of the resample: what is left lies about the
    law of the runs as fits of other sweeps do about theirs.
    """
    law, rng, n_runs = LAWS["frontier"], np.random.default_rng(options.seed), int(run.max()) + 1
    curve = np.asarray(law(values, C=flops), float)
    residual = np.log(loss / curve)
    count = np.bincount(run[front], minlength=n_runs)
    middle = np.bincount(run[front], residual[front], n_runs) / np.maximum(count, 1)
    base = np.where(front, np.log(curve), np.log(loss) - middle[run])
    noise = noise_of(
        residual[front], jacobian_at(law, values, {"C": flops[front]}), np.unique(run[front], return_inverse=True)[1]
    )
    louder, luck = _luck(base, flops, run, noise, rng)
    raised = np.where(count > 0, -2 * luck, 0.0)[run]
    which, scale = noise.drawn(n_resamples, rng)
    logs = np.empty((n_resamples, len(loss)))
    fronts = np.zeros(logs.shape, bool)
    todo = np.arange(n_resamples)
    for _ in range(TRIES):
        unit = unit_noise(noise.shares[which[todo]], run, rng)
        logs[todo] = base + np.clip(louder * scale[todo, None] * (unit + raised), -FARTHEST, FARTHEST)
        fronts[todo] = _fronts(flops, logs[todo])
        todo = todo[fronts[todo].sum(1) < LEAST]
        if not len(todo):
            break
    used = fronts.any(0)
    weights = fronts[:, used].astype(float)
    return pd.DataFrame(optima(law, flops[used], np.exp(logs[:, used]), weights, options.scale, exact=False)[0])


def _luck(
    base: Array, flops: Array, run: NDArray[np.intp], noise: RunNoise, rng: np.random.Generator
) -> tuple[float, Array]:
    """What luck does to a front: by what factor the noise of runs is more than it shows, and the mean noise of each run
    [runs] where it is on the front, in standard deviations: such that simulated fronts scatter as that one does."""
    unit = unit_noise(noise.shares[rng.choice(len(noise.shares), SIMULATED, p=noise.probabilities)], run, rng)
    member = (run[:, None] == np.arange(run.max() + 1)).astype(float)
    louder, luck = 1.0, np.zeros(member.shape[1])
    for _ in range(CALIBRATIONS):
        fronts = _fronts(flops, base + louder * np.sqrt(noise.variance) * unit)
        count = fronts @ member
        mean = (fronts * unit) @ member / np.maximum(count, 1)
        on, n_on = count > 0, (count > 0).sum(1)
        middle = mean.sum(1) / n_on
        scatter = np.where(on, (mean - middle[:, None]) ** 2, 0.0).sum(1)[n_on > 1] / (n_on[n_on > 1] - 1)
        luck = mean.sum(0) / np.maximum(on.sum(0), 1)
        louder = float(np.clip(1 / np.sqrt(scatter.mean()), 1.0, LOUDER)) if len(scatter) else 1.0
    return louder, luck


def _fronts(flops: Array, logs: Array) -> NDArray[np.bool_]:
    """``pareto`` of each row of losses [R, n]."""
    order = np.argsort(flops, kind="stable")
    place = np.unique(flops[order], return_inverse=True)[1]
    least = np.minimum.reduceat(logs[:, order], np.flatnonzero(np.r_[True, np.diff(place) > 0]), axis=1)
    best = np.minimum.accumulate(least, axis=1)
    lower = np.column_stack([np.ones(len(logs), bool), least[:, 1:] < best[:, :-1]])
    fronts = np.empty(logs.shape, bool)
    fronts[:, order] = lower[:, place] & (logs[:, order] == least[:, place])
    return fronts
