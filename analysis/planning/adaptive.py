"""Which runs to do next: those that narrow the interval of an exponent most per FLOP.

Near a law the log losses are linear in the logs of its coefficients, so what a run would teach is known before it is
trained: with J the sensitivities of its log loss, V the covariance so far and s the noise, it takes
``(J V g)^2 / (s^2 + J V J')`` from the variance ``g' V g`` of a quantity with gradient g (c-optimal design; Fedorov
1972, Chaloner & Verdinelli 1995). Runs are taken greedily by gain per FLOP, a batch is trained, the law is fitted
again. A weak prior stands in for what no run has said yet; it steers the design and never enters a fit or an interval
that is reported as measured.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special

from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.problem import Array
from ecgscale.phrases import did_you_mean

# The prior: at the centre of the candidates the floor and both power laws are a third of the loss each and both
# exponents are 0.35; every coefficient may be wrong by these factors (standard deviations of its logarithm).
PRIOR_MEAN = np.log([1 / 3, 1 / 3, 0.35, 1 / 3, 0.35])
PRIOR_SPREAD = np.array([1.0, 1.0, 0.6, 1.0, 0.6])
PRIOR_NOISE, PRIOR_WEIGHT = 0.01, 4.0  # of ln(loss), and how many runs it counts as
PRIOR = "E, A N^-alpha and B D^-beta a third of the loss each, alpha = beta = 0.35, noise 1 %"
SEEDS = 3  # runs of one cell at most: seed noise falls with more, what a law leaves out does not
ROUNDS = 20  # of exchanges at most; two or three are the rule
LEVEL = 0.95

_E, _A, _ALPHA, _B, _BETA = range(5)


@dataclass(frozen=True)
class Quantity:
    """What an interval is wanted of: its value, and its gradient in the logs of E, A, alpha, B, beta."""

    value: Callable[[Array], float]
    gradient: Callable[[Array], Array]


def _exponent(place: int) -> Quantity:
    return Quantity(lambda c: float(c[place]), lambda c: c[place] * np.eye(5)[place])


def _share(c: Array) -> float:
    return float(c[_BETA] / (c[_ALPHA] + c[_BETA]))


def _share_gradient(c: Array) -> Array:
    share = _share(c)
    return share * (1 - share) * (np.eye(5)[_BETA] - np.eye(5)[_ALPHA])


QUANTITIES: dict[str, Quantity] = {
    "alpha": _exponent(_ALPHA),
    "beta": _exponent(_BETA),
    "allocation": Quantity(_share, _share_gradient),  # a = beta / (alpha + beta)
}
WANTED = ("alpha", "beta")


@dataclass(frozen=True)
class Knowledge:
    """What runs say of a joint law: ``c`` holds E, A, alpha, B, beta with A and B at the centre (ln N, ln D).

    ``covariance`` [5, 5] is that of the logs of ``c``; ``noise`` the standard deviation of ln(loss).
    """

    c: Array
    covariance: Array
    noise: float
    n_runs: int
    centre: tuple[float, float]

    def spread(self, name: str) -> float:
        """Half the expected interval of a quantity."""
        gradient = QUANTITIES[name].gradient(self.c)
        return _reach(self.n_runs) * float(np.sqrt(gradient @ self.covariance @ gradient))

    def interval(self, name: str) -> tuple[float, float]:
        """Expected interval, formed in logs (of odds, for the allocation), so that it stays where it can be.

        NaN below six runs: five coefficients leave nothing to judge the noise by.
        """
        if self.n_runs <= 5:
            return np.nan, np.nan
        value, half = QUANTITIES[name].value(self.c), self.spread(name)
        if name == "allocation":
            ends = special.expit(special.logit(value) + np.array([-1, 1]) * half / (value * (1 - value)))
        else:
            ends = value * np.exp(np.array([-1, 1]) * half / value)
        return float(ends[0]), float(ends[1])


def known(runs: pd.DataFrame, centre: tuple[float, float]) -> Knowledge:
    """The law that runs (columns N, D, loss; none are fine) and the prior make likeliest, and how well it is known."""
    n, d = (np.log(runs[v].to_numpy(float)) - c for v, c in zip(("N", "D"), centre, strict=True))
    loss = np.log(runs["loss"].to_numpy(float))
    scale = loss.mean() if len(loss) else 0.0
    mean = PRIOR_MEAN + np.array([scale, scale, 0, scale, 0])

    def excess(phi: Array, noise: float) -> Array:
        return np.r_[(_log_loss(phi, n, d) - loss) / noise, (phi - mean) / PRIOR_SPREAD]

    phi, noise = mean, PRIOR_NOISE
    for _ in range(3 if len(loss) else 0):  # the noise and the law follow from each other
        phi = optimize.least_squares(excess, phi, args=(noise,), x_scale=PRIOR_SPREAD).x
        squares = float(((_log_loss(phi, n, d) - loss) ** 2).sum())
        freedom = max(len(loss) - len(phi), 0)
        noise = float(np.sqrt((PRIOR_WEIGHT * PRIOR_NOISE**2 + squares) / (PRIOR_WEIGHT + freedom)))
    sensitivity = _sensitivity(phi, n, d)
    information = np.diag(PRIOR_SPREAD**-2.0) + sensitivity.T @ sensitivity / noise**2
    return Knowledge(np.exp(phi), np.asarray(np.linalg.inv(information), float), noise, len(loss), centre)


def propose(
    candidates: pd.DataFrame,
    knowledge: Knowledge,
    budget: float,
    wanted: Sequence[str] = WANTED,
    *,
    n_runs: int | None = None,
    batch: int | None = None,
) -> tuple[pd.DataFrame, Knowledge]:
    """Runs to buy with a budget (FLOP), best gain per FLOP first, and what would be known after them.

    ``candidates``: columns N, D, flops and ``left``, how many runs of the cell may be bought. The rows bought come back
    in order, one a run, with the expected interval of every wanted quantity after it (``alpha_low``, ``alpha_high``).
    With ``n_runs``, runs are scarce too: the price is a run's share of what is left of either. ``batch``: stop there.
    Raises BadPoints for a quantity that is not in ``QUANTITIES`` or a budget that buys nothing.
    """
    for name in wanted:
        if name not in QUANTITIES:
            raise BadPoints(f"no design for '{name}'{did_you_mean(name, list(QUANTITIES))}")
    cost, left = candidates["flops"].to_numpy(float), candidates["left"].to_numpy(int).copy()
    if not (cost[left > 0] <= budget).any():
        cheapest = f"the cheapest costs {cost[left > 0].min():.3g}" if (left > 0).any() else "there is none left"
        raise BadPoints(f"a budget of {budget:.3g} FLOP buys no run: {cheapest}")
    n, d = (np.log(candidates[v].to_numpy(float)) - c for v, c in zip(("N", "D"), knowledge.centre, strict=True))
    sensitivity = _sensitivity(np.log(knowledge.c), n, d)
    gradients = np.array([QUANTITIES[name].gradient(knowledge.c) for name in wanted])
    chosen: list[int] = []
    start = knowledge
    while (open_ := (left > 0) & (cost <= budget)).any() and n_runs != 0 and len(chosen) != batch:
        v, noise, runs = knowledge.covariance, knowledge.noise, knowledge.n_runs
        spoken = sensitivity @ v  # [m, 5]
        total = noise**2 + np.einsum("mp,mp->m", spoken, sensitivity)
        share = (spoken @ gradients.T) ** 2 / total[:, None] / np.einsum("qp,pr,qr->q", gradients, v, gradients)
        narrower = -0.5 * np.log1p(-np.minimum(share, 1 - 1e-12)).sum(1)
        gain = narrower + len(wanted) * np.log(_reach(runs) / _reach(runs + 1))
        price = cost if n_runs is None else cost / budget + 1 / n_runs
        best = int(np.where(open_, gain / price, -np.inf).argmax())
        after = v - np.outer(spoken[best], spoken[best]) / total[best]
        knowledge = Knowledge(knowledge.c, after, noise, runs + 1, knowledge.centre)
        budget, left[best] = budget - cost[best], left[best] - 1
        n_runs = None if n_runs is None else n_runs - 1
        chosen.append(best)
    return _told(candidates, start, chosen, wanted)


def exchanged(
    candidates: pd.DataFrame, knowledge: Knowledge, bought: pd.DataFrame, budget: float, wanted: Sequence[str] = WANTED
) -> tuple[pd.DataFrame, Knowledge]:
    """Runs bought one by one, each exchanged for another where all of them together then say more (Fedorov 1972).

    What was bought first was the best at the time; beside the runs that came later another may be better. As many runs
    as before, within the budget (FLOP) and what is left of each cell. Returns what ``propose`` does.
    """
    cost = candidates["flops"].to_numpy(float)
    n, d = (np.log(candidates[v].to_numpy(float)) - c for v, c in zip(("N", "D"), knowledge.centre, strict=True))
    sensitivity = _sensitivity(np.log(knowledge.c), n, d) / knowledge.noise
    gradients = np.array([QUANTITIES[name].gradient(knowledge.c) for name in wanted])
    cell = {key: i for i, key in enumerate(zip(candidates["N"], candidates["D"], strict=True))}
    chosen = [cell[key] for key in zip(bought["N"], bought["D"], strict=True)]
    left = candidates["left"].to_numpy(int) - np.bincount(chosen, minlength=len(cost))
    prior = np.linalg.inv(knowledge.covariance)
    information = prior + sensitivity[chosen].T @ sensitivity[chosen]

    def doubt(others: Array) -> Array:
        """Sum of the log variances of what is wanted, with each candidate [m] beside the others."""
        v = np.linalg.inv(others)
        spoken = sensitivity @ v
        total = 1 + np.einsum("mp,mp->m", spoken, sensitivity)
        variance = np.einsum("qp,pr,qr->q", gradients, v, gradients) - (spoken @ gradients.T) ** 2 / total[:, None]
        return np.log(np.maximum(variance, 1e-300)).sum(1)

    for _ in range(ROUNDS):
        swapped = False
        for place, run in enumerate(chosen):
            others = information - np.outer(sensitivity[run], sensitivity[run])
            after = doubt(others)
            spare = budget - sum(cost[i] for i in chosen) + cost[run]
            allowed = (cost <= spare) & (left > 0)
            allowed[run] = True
            best = int(np.where(allowed, after, np.inf).argmin())
            if after[best] < after[run] - 1e-6:
                information = others + np.outer(sensitivity[best], sensitivity[best])
                left[run], left[best] = left[run] + 1, left[best] - 1
                chosen[place], swapped = best, True
        if not swapped:
            break
    return _told(candidates, knowledge, chosen, wanted)


def _told(
    candidates: pd.DataFrame, knowledge: Knowledge, chosen: Sequence[int], wanted: Sequence[str]
) -> tuple[pd.DataFrame, Knowledge]:
    """Candidates in the order given, with the expected intervals after each, and what is known after all."""
    n, d = (np.log(candidates[v].to_numpy(float)) - c for v, c in zip(("N", "D"), knowledge.centre, strict=True))
    sensitivity = _sensitivity(np.log(knowledge.c), n, d)
    rows: list[dict[Any, Any]] = []
    for run in chosen:
        spoken = sensitivity[run] @ knowledge.covariance
        total = knowledge.noise**2 + float(spoken @ sensitivity[run])
        after = knowledge.covariance - np.outer(spoken, spoken) / total
        knowledge = Knowledge(knowledge.c, after, knowledge.noise, knowledge.n_runs + 1, knowledge.centre)
        ends = {name: knowledge.interval(name) for name in wanted}
        intervals = {f"{name}_{end}": ends[name][i] for name in wanted for i, end in enumerate(("low", "high"))}
        rows.append({**candidates.drop(columns="left").iloc[run].to_dict(), **intervals})
    return pd.DataFrame(rows), knowledge


def suggest(
    runs: pd.DataFrame,
    candidates: pd.DataFrame,
    budget: float,
    wanted: Sequence[str] = WANTED,
    n_runs: int | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The next runs for a budget (``propose``, then ``exchanged``), and each wanted interval now and after them.

    ``runs``: those done, columns N, D, loss. Columns of the second table: quantity, value, n_runs, noise,
    measured_low/high (the fit's profile interval, NaN where there is none yet), now_low/high and after_low/high
    (expected: what the design reckons with, from runs and prior).
    """
    knowledge = known(runs, centre_of(candidates))
    bought, _ = propose(candidates, knowledge, budget, wanted, n_runs=n_runs)
    bought, after = exchanged(candidates, knowledge, bought, budget, wanted)
    measured = _measured(runs)
    rows = []
    for name in wanted:
        low, high = measured.get(name, (np.nan, np.nan))
        ends = {"measured_low": low, "measured_high": high}
        for when, what in (("now", knowledge), ("after", after)):
            ends |= dict(zip((f"{when}_low", f"{when}_high"), what.interval(name), strict=True))
        value = QUANTITIES[name].value(knowledge.c)
        rows.append({"quantity": name, "value": value, "n_runs": len(runs), "noise": knowledge.noise, **ends})
    return bought, pd.DataFrame(rows)


def _measured(runs: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Profile intervals of the joint fit, where runs are enough for one."""
    try:
        found = fit("joint", runs)
    except BadPoints:
        return {}
    there = {**found.coefficients, "allocation": found.derived.get("a")}
    return {name: (c.low, c.high) for name in QUANTITIES if (c := there.get(name)) is not None}


def centre_of(candidates: pd.DataFrame) -> tuple[float, float]:
    """Means of ln N and ln D over a table of cells: where the prior holds."""
    return float(np.log(candidates["N"]).mean()), float(np.log(candidates["D"]).mean())


def _reach(n_runs: int) -> float:
    """Student's t of an interval after so many runs."""
    return float(special.stdtrit(max(n_runs - 5, 1), 0.5 + LEVEL / 2))


def _terms(phi: Array, n: Array, d: Array) -> tuple[Array, Array, Array]:
    floor = np.broadcast_to(np.exp(phi[_E]), n.shape)
    return floor, np.exp(phi[_A] - np.exp(phi[_ALPHA]) * n), np.exp(phi[_B] - np.exp(phi[_BETA]) * d)


def _log_loss(phi: Array, n: Array, d: Array) -> Array:
    return np.log(sum(_terms(phi, n, d)))


def _sensitivity(phi: Array, n: Array, d: Array) -> Array:
    """Derivatives [m, 5] of ln(loss) in the logs of E, A, alpha, B, beta, at centred ln N and ln D [m]."""
    floor, size, data = _terms(phi, n, d)
    total = floor + size + data
    return (
        np.stack([floor, size, -np.exp(phi[_ALPHA]) * n * size, data, -np.exp(phi[_BETA]) * d * data], 1)
        / (total[:, None])
    )
