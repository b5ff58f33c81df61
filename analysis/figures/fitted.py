"""Laws as figures need them: read back from the exponents table, with what may be said of each number."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.figures.style import number
from analysis.fitting.laws import LAWS
from analysis.fitting.shifted import SHIFTS

NAMES = {"alpha": "α", "beta": "β", "kappa": "κ", "gamma": "γ"}
UNKNOWN = "not identified"
NEARLY_ALL = 0.9  # of the (logarithmic) range that the bounds allow: an interval that wide says nothing


@dataclass(frozen=True)
class Number:
    """A fitted number as the table holds it; not ``known`` at a bound, or if its interval covers nearly all allowed."""

    name: str
    value: float
    low: float
    high: float
    at_bound: str
    status: str
    note: str
    known: bool
    least: float = -math.inf  # what the fit allowed
    most: float = math.inf

    def text(self, digits: int = 2) -> str:
        """For a panel: "α = 0.31 [0.12, 0.55]", or that it is at a bound or not identified."""
        name = NAMES.get(self.name, self.name)
        if self.at_bound:
            sign = "≤" if self.at_bound == "low" else "≥"
            return f"{name} {sign} {number(self.value, 3 if self.value < 0.1 else digits)} (bound)"
        if not self.known:
            return f"{name} {UNKNOWN}"
        return f"{name} = {number(self.value, digits)}{self.interval(digits)}"

    def interval(self, digits: int = 2) -> str:
        """ " [0.12, 0.55]"; an end that is only the fit's bound reads "≥ 3.00"; empty if there is no interval."""
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return ""
        low = f"≤{number(self.least, digits + 1)}" if self.low <= self.least * 1.02 > 0 else number(self.low, digits)
        high = f"≥{number(self.most, digits)}" if self.high >= self.most * 0.98 else number(self.high, digits)
        return f" [{low}, {high}]"


@dataclass(frozen=True)
class Fitted:
    """One fit of the table: a law on one group, with its coefficients."""

    law: str
    at: str
    numbers: Mapping[str, Number]
    n_points: int
    r2: float
    note: str

    def __call__(self, **x: Any) -> Any:
        """Predicted loss."""
        return LAWS[self.law](self.values(), **x)

    def values(self) -> dict[str, float]:
        """Coefficients; an exponent whose term vanishes is of no consequence and reads 1."""
        return {
            c: self.numbers[c].value if math.isfinite(self.numbers[c].value) else 1.0
            for c in LAWS[self.law].coefficients
        }

    def known(self, *names: str) -> bool:
        """Whether all these numbers are known."""
        return all(n in self.numbers and self.numbers[n].known for n in names)


def find(table: pd.DataFrame, law: str, configuration: str, target: str) -> list[Fitted]:
    """Fits of a law to a configuration on a target, as the table orders them; failed ones are left out."""
    if table.empty:
        return []
    rows = table[(table["law"] == law) & (table["configuration"] == configuration) & (table["target"] == target)]
    found = []
    for at, part in rows.groupby("at", sort=False, dropna=False):
        numbers = {str(r["coefficient"]): number_of(law, r) for r in part.to_dict("records")}
        if law in LAWS and not set(LAWS[law].coefficients) <= set(numbers):
            continue
        first = part.iloc[0]
        notes = dict.fromkeys(n.note for n in numbers.values() if n.note)
        found.append(Fitted(law, str(at), numbers, int(first["n_points"]), float(first["r2"]), "; ".join(notes)))
    return found


def failure(table: pd.DataFrame, law: str, configuration: str, target: str) -> str:
    """Why the table has no fit of a law to a group, in words."""
    if table.empty:
        return "no fits"
    rows = table[(table["law"] == law) & (table["configuration"] == configuration) & (table["target"] == target)]
    notes = [str(n) for n in rows["note"].dropna().unique() if n]
    return notes[0] if notes else "not fitted"


def number_of(law: str, row: Mapping[Any, Any]) -> Number:
    """A row of the exponents table as a number with what may be said of it."""
    name, at, status = str(row["coefficient"]), str(row["at_bound"] or ""), str(row["status"])
    value, low, high = (float(row[k]) for k in ("value", "low", "high"))
    known = status == "ok" and not at and math.isfinite(value)
    least, most = _allowed(law, name)
    if known and math.isfinite(most) and least > 0 and 0 < low <= high:
        known = math.log(high / low) < NEARLY_ALL * math.log(most / least)
    if known and law == "frontier" and name == "gamma":
        known = high < most * 0.98  # a short frontier leaves its exponent open above
    return Number(name, value, low, high, at, status, str(row["note"] or ""), known, least, most)


def _allowed(law: str, name: str) -> tuple[float, float]:
    """Bounds that the fit of a coefficient kept to; infinite for what is no coefficient of the law."""
    if law in SHIFTS and name == SHIFTS[law].exponent:
        return SHIFTS[law].bounds
    if law in LAWS and name in LAWS[law].coefficients:
        return LAWS[law].bound(name)
    return -math.inf, math.inf
