"""Screen points before a fit: which can be used in logarithms, and what of a law they can say anything about."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ecgscale.analysis.fitting.cells import numbered
from ecgscale.analysis.fitting.laws import LAWS, Law
from ecgscale.phrases import did_you_mean, nearest


class BadPoints(ValueError):
    """Points that a law cannot be fitted to: what is wrong, and what to do."""


def law_named(name: str | Law) -> Law:
    """A law by its name; raises BadPoints with the nearest name for a typo."""
    if isinstance(name, Law):
        return name
    if name not in LAWS:
        raise BadPoints(f"no law is called '{name}'{did_you_mean(name, LAWS)}")
    return LAWS[name]


def clean(data: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Points usable in logarithms, as floats, and how many were left out for which reason; exact copies of a row are.

    Raises BadPoints if a column is missing or no point is left.
    """
    for column in columns:
        if column not in data:
            near = nearest(column, data.columns)
            hint = f" (did you mean to rename '{near}'?)" if near else ""
            raise BadPoints(f"the points have no column '{column}'{hint}; columns needed: {', '.join(columns)}")
    numbers = {c: _numbers(data[c]) for c in columns}
    keep, excluded = np.ones(len(data), bool), {}
    for column, v in numbers.items():
        if (np.isfinite(v) & (v > 0)).all():
            continue
        for reason, bad in (("not a number", np.isnan(v)), ("infinite", np.isinf(v)), ("not positive", v <= 0)):
            count = int((bad & keep).sum())
            if count:
                excluded[f"{column} {reason}"] = count
            keep &= ~bad
    if not keep.any():
        why = "; ".join(f"{n} with {r}" for r, n in excluded.items()) or "the table is empty"
        raise BadPoints(f"no point can be fitted: {why}")
    # Only points that have all numbers in common can be copies: it is soon told.
    place = numbered(list(numbers.values()))
    again = np.bincount(place)[place] > 1
    copies = keep & again
    if copies.any():
        copies[again] &= data[again].duplicated().to_numpy()
    if copies.any():
        excluded["the same values as another row"] = int(copies.sum())
        keep &= ~copies
    kept = data.copy() if keep.all() else data.loc[keep].copy()
    for column, v in numbers.items():
        if kept[column].dtype != float:
            kept[column] = v[keep]
    return kept.reset_index(drop=True), excluded


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    """A column as floats, NaN for what is no number."""
    values = column.to_numpy()
    return np.asarray(values if values.dtype == float else pd.to_numeric(column, errors="coerce"), float)


def identifiable(law: Law, points: pd.DataFrame) -> tuple[Law, dict[str, str]]:
    """The part of a law that the points can say something about, and why each other exponent can't be known."""
    reasons: dict[str, str] = {}
    solved, levels = law, {v: len(np.unique(points[v].to_numpy(float))) for v in law.variables_used()}
    for term in law.terms:
        for exponent, (variable, _) in term.powers.items():
            if levels[variable] == 1:
                reasons[exponent] = f"{exponent} can't be known: {variable} takes one value"
                if term.amplitude in solved.coefficients:
                    solved = solved.without(term.amplitude)
                    reasons[term.amplitude] = f"{term.amplitude} can't be told from E: {variable} takes one value"
    if not solved.exponents:
        raise BadPoints(f"nothing varies in these points: {' and '.join(law.variables)} take one value each")
    floor = next((t.amplitude for t in solved.terms if not t.powers), None)
    for term in solved.terms:
        for exponent, (variable, _) in term.powers.items():
            if floor and levels[variable] == 2 and len(solved.exponents) == len(solved.variables_used()):
                reasons[exponent] = f"{exponent} can't be known: {variable} takes two values, it needs three"
                reasons[floor] = f"{floor} can't be told from {term.amplitude}: {variable} takes two values"
    if len(law.variables) == 2 and not reasons:
        logs = [np.log(points[v].to_numpy(float)) for v in law.variables]
        if np.corrcoef(*logs)[0, 1] ** 2 > 1 - 1e-6:
            reasons |= {
                e: f"{e} can't be known: {law.variables[0]} and {law.variables[1]} grow together" for e in law.exponents
            }
    return solved, reasons
