"""Laws as figures need them: read back from the exponents table, with what may be said of each number."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ecgscale.analysis.figures.style import number
from ecgscale.analysis.fitting.laws import LAWS
from ecgscale.analysis.fitting.status import MEASURED, interval_text

NAMES = {"alpha": "α", "beta": "β", "kappa": "κ", "gamma": "γ"}
UNKNOWN = "not identified"


@dataclass(frozen=True)
class Number:
    """A fitted number as the table holds it; not ``known`` where its status says so."""

    name: str
    value: float
    low: float
    high: float
    at_bound: str
    status: str
    note: str
    known: bool
    low_end: str = ""
    high_end: str = ""

    def text(self, digits: int = 2) -> str:
        """For a panel: "α = 0.31 [0.12, 0.55]", or that it is at a bound or not identified."""
        name = NAMES.get(self.name, self.name)
        if self.at_bound:
            sign = "≤" if self.at_bound == "low" else "≥"
            shown = number(self.value, 3 if self.value < 0.1 else digits)
            limit = interval_text(self.low, self.high, self.low_end, self.high_end, lambda v: number(v, digits))
            return f"{name} {limit} (at bound {shown})" if limit else f"{name} {sign} {shown} (bound)"
        if not self.known:
            return f"{name} {UNKNOWN if self.status in ('ok', 'unidentified') else self.status}"
        return f"{name} = {number(self.value, digits)}{self.interval(digits)}"

    @property
    def ends(self) -> tuple[float, ...]:
        """The interval to draw: up to the value where an end is open; empty if there is none."""
        if math.isnan(self.low + self.high):
            return ()
        return (
            self.low if math.isfinite(self.low) else self.value,
            self.high if math.isfinite(self.high) else self.value,
        )

    def interval(self, digits: int = 2) -> str:
        """ " [0.12, 0.55]"; one-sided " (at least 0.12)"; empty if there is no interval."""
        text = interval_text(self.low, self.high, self.low_end, self.high_end, lambda v: number(v, digits))
        words = {"≥": "at least", "≤": "at most"}
        return f" ({words[text[0]]}{text[1:]})" if text[:1] in words else f" {text}" if text else ""


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


CONVENTIONS = {
    "transfer": "E_OOD fitted with K and κ on the pairs, E_ID from the joint law",
    "transfer_joint": "both floors from joint laws, the paper's convention",
}


FLOORS = {"transfer": "floor of the OOD loss fitted on the pairs", "transfer_joint": "both floors from joint laws"}


def convention(table: pd.DataFrame) -> str:
    """The law of Eq. 4 that figures draw: the default convention, or the paper's where a table has that alone."""
    laws = set() if table.empty else set(table["law"])
    return "transfer_joint" if "transfer_joint" in laws and "transfer" not in laws else "transfer"


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
    kinds = [str(row.get(k) or "") for k in ("low_end", "high_end")]
    known = status in MEASURED and not at and math.isfinite(value)
    return Number(name, value, low, high, at, status, str(row["note"] or ""), known, *kinds)
