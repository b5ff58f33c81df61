"""What comes of testing a claim: numbers with intervals beside the paper's, and whether it holds."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.study.claims.evidence import Evidence

RESAMPLES = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Number:
    """One measured number of a claim, its interval, and what the paper has for it (NaN where there is none)."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    paper: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """``holds``: True, False, or None where these numbers cannot tell; ``why`` in a sentence; the headline first."""

    holds: bool | None
    why: str
    numbers: tuple[Number, ...] = ()

    @property
    def word(self) -> str:
        return {True: "holds", False: "does not hold", None: "not testable"}[self.holds]


@dataclass(frozen=True)
class Claim:
    """A headline claim: a short name, the statement that is tested, and its test."""

    name: str
    statement: str
    test: Callable[[Evidence], Verdict]


def untestable(why: str, *numbers: Number) -> Verdict:
    """These results cannot speak to the claim."""
    return Verdict(None, why, numbers)


def above(low: float, high: float, threshold: float) -> bool | None:
    """Whether a number exceeds a threshold: None if its interval covers it or is not known."""
    if low > threshold:
        return True
    return False if high < threshold else None


def all_of(answers: Iterable[bool | None]) -> bool | None:
    """False if one is, else None if one is, else True."""
    answers = list(answers)
    if any(a is False for a in answers):
        return False
    return None if not answers or any(a is None for a in answers) else True


def together(parts: Iterable[Verdict]) -> Verdict:
    """A claim that holds where all of its parts do; their words and numbers in turn."""
    parts = list(parts)
    numbers = tuple(number for part in parts for number in part.numbers)
    return Verdict(all_of(part.holds for part in parts), "; ".join(part.why for part in parts), numbers)


def over_targets(values: Any, statistic: Callable[[Array], Array], seed: int = 0) -> tuple[float, float]:
    """95 % interval of ``statistic`` (over axis 0 of [targets, S, ...]) under a bootstrap over targets.

    NaN with fewer than three targets. ``statistic`` sees S resamples at once.
    """
    values = np.asarray(values, float)
    n = len(values)
    if n < 3:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(0, n, (n, RESAMPLES))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = statistic(values[drawn])
    tail = 50 * (1 - LEVEL)
    low, high = np.nanpercentile(found, [tail, 100 - tail])
    return float(low), float(high)


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Names in a sentence, the first few."""
    shown = ", ".join(names[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown or "none"
