"""What pretraining is worth in downstream data: fine-tuned against from-scratch curves, and Eq. S.9.

``D_T = D_E - D_F`` is the data that fine-tuning on D_F recordings saves: D_E from-scratch recordings reach the same
loss (Hernandez et al. 2021). Curves are made monotone and joined by PCHIP, in logs.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from ecgscale.analysis.fitting.health import Health
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.result import Coefficient, Fit
from ecgscale.analysis.observations import own

if TYPE_CHECKING:
    from scipy import interpolate

SAMPLES = 40  # of each smoothed curve
FINENESS = 128  # places between two points where a curve is looked up
ONE_TASK = ("cpsc2018", "csn", "echonext")  # corpora that are called like their only task
STATES = ("ok", "censored", "above", "no gain")  # of a pair: see ``effective_data``


@dataclass(frozen=True)
class Curve:
    """A loss that falls with data: its closest non-increasing sequence, PCHIP between the points, in logs."""

    log_d: Array  # rising
    log_loss: Array  # falling, equal values kept

    @property
    def _joined(self) -> "interpolate.PchipInterpolator":
        from scipy import interpolate

        return interpolate.PchipInterpolator(self.log_d, self.log_loss, extrapolate=False)

    def loss(self, D: Any) -> Any:
        """Loss at D recordings within the curve's range, NaN outside."""
        return np.exp(self._joined(np.log(D)))

    def data(self, loss: Any) -> Any:
        """The fewest recordings that reach a loss, NaN for one that the curve never has."""
        places = np.arange(len(self.log_d) - 1 + 1e-9, step=1 / FINENESS)
        x = np.interp(places, np.arange(len(self.log_d)), self.log_d)
        y, wanted = np.minimum.accumulate(self._joined(x)), np.log(np.atleast_1d(loss))
        first = np.searchsorted(-y, -wanted)  # the first place at or below each loss
        inside = (first < len(y)) & (wanted <= y[0])
        at = np.clip(first, 1, len(y) - 1)
        step = y[at - 1] - y[at]
        share = np.where(step > 0, (y[at - 1] - wanted) / np.where(step > 0, step, 1), 1.0)
        return np.where(inside, np.exp(x[at - 1] + np.clip(share, 0, 1) * (x[at] - x[at - 1])), math.nan)

    @property
    def lowest(self) -> float:
        return math.exp(self.log_loss[-1])

    @property
    def highest(self) -> float:
        return math.exp(self.log_loss[0])


def curve(points: pd.DataFrame) -> Curve:
    """The curve of one size (columns D, loss); seeds are averaged. Raises BadPoints with fewer than two D."""
    from scipy import optimize

    mean = points.groupby("D")["loss"].mean()
    if len(mean) < 2:
        raise BadPoints(f"a curve over data needs two amounts of data, there is {len(mean)}")
    falling = optimize.isotonic_regression(mean.to_numpy(float), increasing=False).x
    return Curve(np.log(mean.index.to_numpy(float)), np.log(falling))


def effective_data(tuned: Curve, scratch: Curve, D_F: Any) -> pd.DataFrame:
    """Effective data at ``D_F``: columns D_F, loss (tuned), D_E, D_T, state.

    States: "ok"; "censored": the loss is below all from scratch, so D_E is more than was measured; "above": it is above
    all from scratch, so D_E is less than was measured; "no gain": as much or less data from scratch reaches it.
    """
    loss = np.atleast_1d(tuned.loss(D_F))
    table = pd.DataFrame(
        {"D_F": np.atleast_1d(D_F).astype(float), "loss": loss, "D_E": np.atleast_1d(scratch.data(loss))}
    )
    table["D_T"] = table["D_E"] - table["D_F"]
    below, above = loss < scratch.lowest * (1 - 1e-12), loss > scratch.highest * (1 + 1e-12)
    table["state"] = np.select([below, above, ~(table["D_T"] > 0)], ["censored", "above", "no gain"], "ok")
    return table


def replaced_data(
    fine_tuned: pd.DataFrame, scratch: pd.DataFrame, n_samples: int = SAMPLES, level: float = 0.95
) -> tuple[Fit, pd.DataFrame]:
    """Data that pretraining replaces, ``D_T = k D_F^a_T N^b_T`` (Eq. S.9; Hernandez et al. 2021).

    Both tables have columns N, D, loss. Pairs are read off the smoothed curves at ``n_samples`` amounts of data a size,
    evenly spread over the logs of those measured, and their logs fitted by least squares. Points of one smoothed curve
    are not independent, so intervals are jackknifed: each measured loss, from scratch too, is left out once. Pairs that
    are not "ok" (see ``effective_data``) are left out and counted in ``excluded``. Returns the fit and all pairs, with
    N. Raises BadPoints if fewer than four are left.
    """
    runs = pd.concat([fine_tuned.assign(tuned=True), scratch.assign(tuned=False)])
    runs = runs.groupby(["tuned", "N", "D"])["loss"].mean().reset_index()
    sizes = {float(n): runs[runs["N"] == n] for n in sorted(runs["N"].unique())}
    of_size = {n: _sampled(part, n_samples) for n, part in sizes.items()}
    table = pd.concat([pairs.assign(N=n) for n, pairs in of_size.items()], ignore_index=True)
    excluded = {state: int((table["state"] == state).sum()) for state in STATES[1:]}
    logs = {n: _logs(pairs, n) for n, pairs in of_size.items()}
    whole = np.concatenate(list(logs.values()))
    if len(whole) < 4:
        counted = ", ".join(f"{count} {state}" for state, count in excluded.items())
        raise BadPoints(f"{len(whole)} pairs with replaced data ({counted}): four are needed")
    answers = []
    for n, part in sizes.items():
        for row in part.index:
            without = logs | {n: _logs(_sampled(part.drop(index=row), n_samples), n)}
            answers.append(_answer(np.concatenate(list(without.values()))))
    known = np.array([a for a in answers if len(a) == len(_answer(whole))])
    m = len(known)
    deviation = np.sqrt((m - 1) / m * ((known - known.mean(0)) ** 2).sum(0)) if m > 1 else math.inf
    counts = {state: count for state, count in excluded.items() if count}
    return _fit(whole, int(runs["tuned"].sum()), deviation, counts, level), table


def _sampled(runs: pd.DataFrame, n_samples: int) -> pd.DataFrame:
    """Pairs of one size, read off the smoothed curves of its runs (tuned, D, loss); none if they are too few."""
    tuned, scratch = runs[runs["tuned"]], runs[~runs["tuned"]]
    if len(tuned) < 2 or len(scratch) < 3:
        return pd.DataFrame({"D_F": [], "loss": [], "D_E": [], "D_T": [], "state": []})
    ours = curve(tuned)
    return effective_data(ours, curve(scratch), np.exp(np.linspace(ours.log_d[0], ours.log_d[-1], n_samples)))


def _logs(pairs: pd.DataFrame, n: float) -> Array:
    """ln D_F, ln N and ln D_T [n_pairs, 3] of the pairs that are "ok"."""
    used = pairs[pairs["state"] == "ok"]
    logs = np.log(used[["D_F", "D_T"]].to_numpy(float))
    return np.column_stack([logs[:, 0], np.full(len(logs), math.log(n)), logs[:, 1]])


def _answer(logs: Array) -> Array:
    """ln k, a_T and, if there are several sizes, b_T by least squares; nothing from fewer than four pairs."""
    if len(logs) < 4:
        return np.array([])
    solution, _, _, _ = np.linalg.lstsq(_design(logs), logs[:, 2], rcond=None)
    return np.asarray(solution)


def _design(logs: Array) -> Array:
    return np.column_stack([np.ones(len(logs)), logs[:, :2] if np.ptp(logs[:, 1]) > 0 else logs[:, :1]])


def replaced(points: pd.DataFrame) -> Iterator[tuple[dict[str, Any], Callable[[], Fit]]]:
    """For each task and kind of pretraining in ``points`` (observations): what it is, and what fits Eq. S.9 to it."""
    for facts, tuned, scratch in by_task(points):
        yield facts, partial(_replaced, tuned, scratch)


def by_task(points: pd.DataFrame) -> Iterator[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]]:
    """Fine-tuned runs of a task and their twins from random weights: what they are, and both as points (own losses).

    The task is called as it is when probed: the corpus, and the label set where the corpus has several.
    """
    if "initial" not in points or points.empty:
        return
    inside = own(points)
    started = inside["initial"].map(lambda run_id: isinstance(run_id, str) and run_id != "")
    keys = ["sweep", "corpus", "label_set", "configuration"]
    for key, tuned in inside[started].groupby(keys, sort=True):
        facts: dict[str, Any] = dict(zip(keys, key, strict=True))
        same = (inside[["sweep", "corpus", "label_set"]] == list(key[:3])).all(axis=1)
        scratch = inside[~started & same & inside["architecture"].isin(tuned["architecture"].unique())]
        facts |= {"target": task_name(facts["corpus"], facts["label_set"]), "domain": "ID"}
        if "selected_by" in tuned:
            facts["select"] = "+".join(sorted(tuned["selected_by"].unique()))
        yield facts, tuned, scratch


def task_name(corpus: str, label_set: str) -> str:
    """A fine-tuning task under the name that probes of it have: "ptbxl-form", "echonext"."""
    return corpus if corpus in ONE_TASK or not label_set else f"{corpus}-{label_set}"


def _replaced(tuned: pd.DataFrame, scratch: pd.DataFrame) -> Fit:
    several = tuned.groupby("N")["initial"].nunique()
    if (several > 1).any():
        mixed = float(several.index.to_numpy(float)[several.to_numpy() > 1][0])
        raise BadPoints(f"runs of N = {mixed:.4g} start from {several.max()} different runs; compare those of one")
    return replaced_data(tuned, scratch)[0]


def _fit(logs: Array, n_tuned: int, deviation: Any, excluded: dict[str, int], level: float) -> Fit:
    answer, design, y = _answer(logs), _design(logs), logs[:, 2]
    residual = y - design @ answer
    squares, spread = float(residual @ residual), float(((y - y.mean()) ** 2).sum())
    freedom, several = n_tuned - len(answer), len(answer) == 3
    reach = float(special.stdtrit(freedom, 0.5 + level / 2)) if freedom > 0 else math.inf
    half = np.broadcast_to(reach * deviation, len(answer))
    known = "ok" if np.isfinite(half).all() else "unidentified"
    coefficients = {}
    for name, value, h in zip(["k", "a_T", "b_T"], answer, half, strict=False):
        ends = [float(v) for v in (value, value - h, value + h)]
        if name == "k":
            ends = [math.exp(v) if v < 700 else math.inf for v in ends]
        coefficients[name] = Coefficient(ends[0], ends[1], ends[2], status=known)
    if not several:
        coefficients["b_T"] = Coefficient(math.nan, status="unidentified", note="b_T can't be known: N takes one value")
    health = Health(
        n_points=n_tuned,
        n_params=len(answer),
        excluded=excluded,
        converged=True,
        decrement=0.0,
        starts_agree=1.0,
        condition=float(np.linalg.cond(design)),
        objective_value=squares / 2,
        r2=1 - squares / spread if spread > 0 else math.nan,
        rmse_log=math.sqrt(squares / len(logs)),
        aic=math.nan,
        bic=math.nan,
        holdout=math.nan,
    )
    note = "; ".join(f"{count} of the sampled pairs {state}" for state, count in excluded.items())
    status = known if several else "unidentified"
    return Fit("replaced", coefficients, {}, health, "log-ls", math.inf, "jackknife", level, status, note)
