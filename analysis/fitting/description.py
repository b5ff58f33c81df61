"""What a fit's coefficients are told as: values with intervals, bounds that are hit, statuses and notes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ecgscale.analysis.fitting.alike import profiled_together
from ecgscale.analysis.fitting.descent import HARMONIC, SHARE
from ecgscale.analysis.fitting.intervals import Interval
from ecgscale.analysis.fitting.laws import Law
from ecgscale.analysis.fitting.newton import Solution
from ecgscale.analysis.fitting.problem import Array, Problems
from ecgscale.analysis.fitting.quantities import Formula, Parameter, Quantity
from ecgscale.analysis.fitting.result import Coefficient, Fit, concluded, intervals_of, sided
from ecgscale.analysis.fitting.status import of_number


def derived_quantities(law: Law, centre: Mapping[str, float]) -> dict[str, Quantity]:
    """What follows from a law: loss of each term at the geometric mean of the points, allocation exponents (of which b
    is what a leaves of one: see ``remainder``)."""
    quantities: dict[str, Quantity] = {}
    for term in law.terms:
        if term.powers:

            def at_centre(c: Mapping[str, Array], term: Any = term) -> Array:
                power = sum(sign * centre[v] * c[e] for e, (v, sign) in term.powers.items())
                return c[term.amplitude] * np.exp(power)

            quantities[f"{term.amplitude}_centre"] = Parameter(term.amplitude, at_centre)
    if law.name == "joint" and {"alpha", "beta"} <= set(law.coefficients):
        quantities["a"] = Formula(SHARE, "alpha", "beta")
        quantities["gamma"] = Formula(HARMONIC, "alpha", "beta")
    return quantities


def described(results: Sequence[Fit], law: Law, reasons: Sequence[Mapping[str, str]]) -> list[Fit]:
    """Fits of a law with their coefficients, statuses and notes; intervals over one design are one search.

    ``reasons`` say of each fit which coefficients can't be known, and why.
    """
    asked = [_asked(result) for result in results]
    ends: dict[int, Interval] = {}
    wanted = [i for i, r in enumerate(results) if r.interval == "profile" and r.health.freedom >= 1]
    for level in {results[i].level for i in wanted}:
        fits = [(i, *_parts(results[i])) for i in wanted if results[i].level == level]
        if fits:
            members, laws, posed, solutions = zip(*fits, strict=True)
            quantities = [list(asked[i].values()) for i in members]
            ends |= zip(members, profiled_together(laws, posed, solutions, quantities, level), strict=True)
    return [_described(result, law, reasons[i], asked[i], ends.get(i)) for i, result in enumerate(results)]


def _parts(result: Fit) -> tuple[Law, Problems, Solution]:
    assert result.solved_law is not None
    assert result.posed is not None
    assert result.solution is not None
    return result.solved_law, result.posed, result.solution


def _asked(result: Fit) -> dict[str, Quantity]:
    """What a fit is asked for: floors and exponents, terms at the centre, what follows from them."""
    solved, posed, _ = _parts(result)
    amplitudes = {t.amplitude for t in solved.terms if t.powers}
    names = [c for c in solved.coefficients if c not in amplitudes]
    return {**{name: Parameter(name) for name in names}, **derived_quantities(solved, posed.design.centre)}


def _described(
    result: Fit, law: Law, because: Mapping[str, str], asked: Mapping[str, Quantity], ends: Interval | None
) -> Fit:
    """Coefficients with intervals, bounds and status, and the fit's own status and note."""
    solved, posed, solution = _parts(result)
    values, amplitudes = result.fitted, {t.amplitude for t in solved.terms if t.powers}
    n, p, reasons = result.health.n_cells, len(solved.coefficients), dict(because)
    if n <= p:
        places = "points" if n == result.health.n_points else "cells"
        reasons |= {c: f"{n} {places} for {p} coefficients" for c in solved.coefficients if c not in reasons}
    derived = derived_quantities(solved, posed.design.centre)
    found = dict(zip(asked, intervals_of(result, list(asked.values()), result.level, ends), strict=True))
    coefficients = {}
    for name in law.coefficients:
        if name not in values:
            coefficients[name] = Coefficient(
                0.0 if name not in law.exponents else math.nan, status="unidentified", note=reasons.get(name, "")
            )
            continue
        if name in amplitudes:
            whole = found[f"{name}_centre"]
            c = Coefficient(values[name], status=whole.status, note=f"its interval is that of {name}_centre")
        else:
            c = found[name]
            c = replace(c, note=f"{name}: {c.note}" if c.note else "")
        at = bound_hit(solved, posed, solution, name)
        if at:
            status = of_number(c.low, c.high, c.low_end, c.high_end, at, result.tested)
            c = replace(c, at_bound=at, status=status, note=_hit(solved, name, at))
        if name in reasons:
            c = Coefficient(c.value, status="unidentified", note=reasons[name])
        coefficients[name] = c
    if any(name in reasons for name in solved.exponents):
        found = {k: replace(v, status="unidentified") if k in ("a", "b", "gamma") else v for k, v in found.items()}
    silent = amplitudes - set(reasons)  # their intervals are those of the terms at the centre
    known = {k: found[k] for k in derived}
    if "a" in known:
        known["b"] = remainder(known["a"], result.tested)
    return concluded(result, coefficients, known, "relative Newton decrement", silent)


def remainder(share: Coefficient, tested: str) -> Coefficient:
    """What a share leaves of one, with the share's interval turned round; ``tested`` as ``Health`` says of the fit."""
    kinds = share.high_end, share.low_end
    low, high = 1 - share.high, 1 - share.low
    settled = share.status in ("unidentified", "few points")
    return Coefficient(
        value=1 - share.value,
        low=low,
        high=high,
        status=share.status if settled else of_number(low, high, *kinds, fit=tested),
        note=sided(*kinds) if share.note else "",
        bootstrap_low=1 - share.bootstrap_high,
        bootstrap_high=1 - share.bootstrap_low,
        low_end=kinds[0],
        high_end=kinds[1],
    )


def _hit(law: Law, name: str, at: str) -> str:
    """That a coefficient is at a bound, and at which."""
    if name not in law.exponents:
        return f"{name} at its {'lower' if at == 'low' else 'upper'} bound"
    least, most = law.bound(name)
    return f"{name} at its lower bound {least:g}" if at == "low" else f"{name} at its upper bound {most:g}"


def bound_hit(law: Law, posed: Problems, solution: Solution, name: str) -> str:
    i = posed.design.names.index(name)
    value = solution.theta[0, i]
    if posed.design.kinds[i] == "amplitude":
        return "low" if value < -20 else ""
    low, high = posed.low[i], posed.high[i]
    return "low" if value <= low + 1e-9 else "high" if value >= high - 1e-9 else ""
