"""Fit a law to points and say how far to believe it: global optimum, intervals, health.

The default objective is least squares on log losses, with profile-likelihood intervals: our losses come from our own
runs, their errors are multiplicative seed noise without gross outliers, and there the Huber sum with delta = 1e-3 of
the literature (offered as ``objective="huber"``) behaves like absolute deviations, loses 30-40 % of the efficiency
and is no likelihood. Huber fits get pairs-bootstrap intervals.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.analysis import tuning
from ecgscale.analysis.fitting.alike import refitted_together, solved_together
from ecgscale.analysis.fitting.description import bound_hit, described
from ecgscale.analysis.fitting.health import Health, Reached, largest_tenth
from ecgscale.analysis.fitting.identifiability import BadPoints, clean, identifiable, law_named
from ecgscale.analysis.fitting.laws import LAWS, Law, Term
from ecgscale.analysis.fitting.newton import Solution, hessian_at
from ecgscale.analysis.fitting.noise import replicate_weights
from ecgscale.analysis.fitting.nonlinear_fit import fit_nonlinear
from ecgscale.analysis.fitting.options import Options
from ecgscale.analysis.fitting.problem import Array, Problems, natural, problems_of, terms_of
from ecgscale.analysis.fitting.resampling import resample_counts
from ecgscale.analysis.fitting.residuals import lack_of_fit
from ecgscale.analysis.fitting.result import Coefficient, Fit
from ecgscale.analysis.fitting.shifted import SHIFTS, fit_curved
from ecgscale.analysis.fitting.starts import refit
from ecgscale.analysis.fitting.status import with_edge
from ecgscale.analysis.observations import worse_than_prevalence

__all__ = ["BadPoints", "Coefficient", "Fit", "Health", "Options", "fit"]

RESAMPLES = 1000  # of a bootstrap that was not asked for but is the only interval there is


def fit(law: str | Law, data: pd.DataFrame, **options: Any) -> Fit:
    """Fit a law to points: columns of the law's variables and its response (``loss``), optionally ``weight``.

    ``options`` are those of ``Options``, by name. Points that agree in all variables are replicates of one cell, and
    intervals go by cells. Raises BadPoints for points that cannot be fitted and for options that are wrong.
    """
    found = fits(law, [data], Options(**options))[0]
    if isinstance(found, BadPoints):
        raise found
    return found


def fits(law: str | Law, parts: Sequence[pd.DataFrame], options: Options) -> list[Fit | BadPoints]:
    """``fit`` of a law to many tables of points, those that share a design as one batch.

    What is wrong with the points of one stands in the place of its fit. Raises BadPoints for options that the law does
    not have.
    """
    law = law_named(law)
    if law.name == "transfer_joint":
        raise BadPoints("the transfer_joint law is fitted to pairs with N and D: use loss_to_loss, or fit --points")
    law = law.up_to(options.max_exponent).within(_checked(law, options.bounds or {}))
    if not law.terms and options.weights != "equal":
        raise BadPoints(f"the {law.name} law is fitted with equal weights alone")
    if not law.terms:
        own: Callable[[Law, pd.DataFrame, Options], Fit] = fit_curved if law.name in SHIFTS else fit_nonlinear
        return [_attempt(partial(own, law, data, options), data) for data in parts]
    posed: dict[int, _Posed] = {}
    answer: dict[int, Fit | BadPoints] = {}
    for i, data in enumerate(parts):
        try:
            posed[i] = _posed(law, data, options)
        except BadPoints as error:
            answer[i] = error
    optima = dict(zip(posed, solved_together([p.problem for p in posed.values()], options.n_starts), strict=True))
    fewer = {i: less for i, p in posed.items() if (less := _without_vanished(p, optima[i][0]))}
    posed |= fewer
    optima |= zip(fewer, solved_together([p.problem for p in fewer.values()], options.n_starts), strict=True)
    bootstrap = options.resamples(RESAMPLES)
    found: dict[int, Fit] = {}
    held = {i: _held(p.problem, optima[i][0], p.reasons) for i, p in posed.items()}
    holdouts = _holdouts(posed, held, {i: solution for i, (solution, _) in optima.items()}) if options.intervals else {}
    for i, p in posed.items():
        solution, agree = optima[i]
        problem = held[i]
        draws = None
        if bootstrap:
            places = p.points[list(law.variables)]
            draws = _bootstrap(p.solved, problem, solution, places, bootstrap, options.seed)
        health = _health(p.solved, problem, solution, agree, p.loss, p.x, p.excluded, holdouts.get(i, math.nan))
        found[i] = Fit(
            law=law.name,
            coefficients={},
            derived={},
            health=replace(health, n_cells=len(p.loss) if problem.cells is None else int(problem.cells.max()) + 1),
            objective=options.objective,
            delta=options.scale,
            interval=options.kind_of_interval(bool(bootstrap)),
            level=options.level,
            status="ok",
            note="",
            fitted={k: float(v[0]) for k, v in natural(p.solved, problem.design.centre, solution.theta).items()},
            draws=draws,
            solved_law=p.solved,
            posed=problem,
            solution=solution,
            ranges={v: (float(z.min()), float(z.max())) for v, z in p.x.items()},
            form=None if law.name in LAWS else law,
        )
    told = described(list(found.values()), law, [p.reasons for p in posed.values()])
    answer |= {i: tuned(one, posed[i].points) for i, one in zip(found, told, strict=True)}
    return [answer[i] for i in range(len(parts))]


def _checked(law: Law, bounds: Mapping[str, tuple[float, float]]) -> Mapping[str, tuple[float, float]]:
    """Bounds that a law can be given. Raises BadPoints for others."""
    for name, (low, high) in bounds.items():
        if law.name in SHIFTS or name not in law.boundable:
            others = ", ".join(law.boundable) if law.name not in SHIFTS else "none"
            raise BadPoints(f"{name} of the {law.name} law can't be given bounds; those that can: {others}")
        if not low < high:
            raise BadPoints(f"the bounds {low:g} and {high:g} of {name} hold nothing; the lower one comes first")
        if low < 0 and law.terms:
            raise BadPoints(f"the bound {low:g} of {name} is negative; what the {law.name} law has is positive")
    return bounds


def _attempt(fitting: Callable[[], Fit], data: pd.DataFrame) -> Fit | BadPoints:
    try:
        return tuned(fitting(), data)
    except BadPoints as error:
        return error


@dataclass(frozen=True)
class _Posed:
    """Points that are posed for a fit: what of the law they can tell (``solved``), and why not the rest."""

    points: pd.DataFrame
    excluded: dict[str, int]
    x: dict[str, Array]
    loss: Array
    weighing: Array | None
    solved: Law
    reasons: dict[str, str]
    problem: Problems


def _posed(law: Law, data: pd.DataFrame, options: Options) -> _Posed:
    points, excluded = clean(data, [*law.variables, law.response, *(["weight"] if "weight" in data else [])])
    solved, reasons = identifiable(law, points)
    x = {v: points[v].to_numpy(float) for v in law.variables}
    loss = points[law.response].to_numpy(float)
    weighing = points["weight"].to_numpy(float) if "weight" in points else None
    if options.weights == "replicates":
        weighing = replicate_weights(points, law.variables, law.response) * (1.0 if weighing is None else weighing)
    problem = problems_of(solved, x, loss, weighing, options.scale)
    return _Posed(points, excluded, x, loss, weighing, solved, reasons, problem)


def _without_vanished(p: _Posed, solution: Solution) -> _Posed | None:
    """The same without the terms that went to zero; None if none did."""
    vanished, solved, reasons = _vanished(p.solved, p.problem, solution), p.solved, dict(p.reasons)
    for term in vanished:
        reasons |= {e: f"{e} can't be known: the loss does not fall with {v}" for e, (v, _) in term.powers.items()}
        reasons[term.amplitude] = f"{term.amplitude} is zero, and the intervals of the others are without it"
        solved = solved.without(term.amplitude)
    problem = problems_of(solved, p.x, p.loss, p.weighing, p.problem.delta)
    return replace(p, solved=solved, reasons=reasons, problem=problem) if vanished else None


def tuned(found: Fit, points: pd.DataFrame) -> Fit:
    """A fit with what is said of its points: notes, and a status of its own where the best settings lie at an edge."""
    said = "; ".join(text for text in (tuning.said(points), worse_than_prevalence(points)) if text)
    if not said:
        return found
    note = "; ".join(text for text in (found.note, said) if text)
    if "at_edge" not in points or not (points["at_edge"] != "").any():
        return replace(found, note=note)
    flagged = [
        {name: replace(c, status=with_edge(c.status)) for name, c in part.items()}
        for part in (found.coefficients, found.derived)
    ]
    return replace(found, coefficients=flagged[0], derived=flagged[1], status=with_edge(found.status), note=note)


def _vanished(law: Law, posed: Problems, solution: Solution) -> list[Term]:
    """Terms with exponents of their own whose amplitude went to zero (the faces A = 0, B = 0); one term is left."""
    gone = []
    for term in law.terms:
        others = {e for t in law.terms if t is not term for e in t.powers}
        own = term.powers and not set(term.powers) & others
        if own and bound_hit(law, posed, solution, term.amplitude):
            gone.append(term)
    return gone if len(gone) < sum(bool(t.powers) for t in law.terms) else gone[1:]


def _held(posed: Problems, solution: Solution, reasons: Mapping[str, str]) -> Problems:
    """The same problems with the exponents that can't be known held, so that the rest is fitted and profiled well."""
    moot = np.array(
        [k == "exponent" and n in reasons for n, k in zip(posed.design.names, posed.design.kinds, strict=True)]
    )
    fixed = solution.theta[0]
    return replace(posed, low=np.where(moot, fixed, posed.low), high=np.where(moot, fixed, posed.high))


def _bootstrap(
    law: Law, posed: Problems, solution: Solution, cells: pd.DataFrame, n_resamples: int, seed: int
) -> pd.DataFrame:
    """Coefficients of so many resamples, each at its own optimum: from the fit, and from starts of its own."""
    counts = resample_counts(cells, n_resamples, seed)
    resampled = replace(posed, weights=counts * posed.weights)
    smooth = math.isinf(posed.delta)
    found = refit(resampled, solution.theta[0], 1 if smooth else 4)  # Huber's kinks make several valleys
    return pd.DataFrame(natural(law, posed.design.centre, found.theta))


def _health(
    law: Law,
    posed: Problems,
    solution: Solution,
    agree: float,
    loss: Array,
    x: Mapping[str, Array],
    excluded: Mapping[str, int],
    holdout: float,
) -> Health:
    values = {k: v[0] for k, v in natural(law, posed.design.centre, solution.theta).items()}
    hessian, free = hessian_at(posed, solution.theta)
    return Health.of(
        loss,
        np.asarray(law(values, **x), float),
        len(law.coefficients),
        excluded,
        likelihood=math.isinf(posed.delta),
        reached=Reached(
            converged=bool(solution.converged[0]),
            decrement=float(solution.decrement[0]),
            starts_agree=agree,
            condition=float(np.linalg.cond(hessian[0][np.ix_(free[0], free[0])])),
            objective_value=float(solution.objective[0]),
        ),
        holdout=holdout,
        lack_of_fit=_lack_of_fit(posed, solution, x),
    )


def _lack_of_fit(posed: Problems, solution: Solution, x: Mapping[str, Array]) -> float:
    """p of the test of the law's form (see ``residuals``), at the free parameters."""
    terms, total = terms_of(posed.design, posed.design.features, solution.theta)
    root = np.sqrt(np.broadcast_to(posed.weights[0], total[0].shape))
    jacobian = np.zeros((len(total[0]), len(posed.design.names)))
    for columns, features, term in zip(posed.design.columns, posed.design.features, terms, strict=True):
        share = 1.0 if len(columns) == 1 else np.broadcast_to(term, total.shape)[0][:, None]
        jacobian[:, columns] += share * features / total[0][:, None]
    _, free = hessian_at(posed, solution.theta)
    residual = np.log(total[0]) - posed.y[0]
    used = root > 0
    return lack_of_fit(
        (root * residual)[used],
        (root[:, None] * jacobian)[used][:, free[0]],
        {v: np.log(z[used]) for v, z in x.items()},
    )


def _holdouts(
    posed: Mapping[int, _Posed], held: Mapping[int, Problems], optima: Mapping[int, Solution]
) -> dict[int, float]:
    """Errors of predicting the largest tenth of each fit's runs (at least one) from all others; none for fits that too
    few others are left for."""
    largest, small = {}, {}
    for i, p in posed.items():
        last = largest_tenth(np.asarray(sum(np.log(v) for v in p.x.values())))
        if (~last).sum() > len(held[i].design.names):
            largest[i], small[i] = last, replace(held[i], weights=held[i].weights * ~last)
    found = refitted_together(list(small.values()), [optima[i].theta for i in small], 4)
    errors = {}
    for (i, problem), solution in zip(small.items(), found, strict=True):
        residual = np.log(terms_of(problem.design, problem.design.features, solution.theta)[1]) - problem.y
        errors[i] = float(np.sqrt((residual[0, largest[i]] ** 2).mean()))
    return errors
