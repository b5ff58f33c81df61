"""What the labels of a corpus are: findings that are there or not, and numbers in their units, in sets by name.

A label set is asked for by its name ("rhythm"), by some of it ("diagnostic/mi", "measurements/qt"), or as several in
one ("rhythm+age").
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# Set -> label -> its unit ("" where nobody says it).
Units = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Number:
    """A label that is a number: its unit, and mean and standard deviation of the training recordings that have it.

    Models and probes learn (value - mean) / deviation; so the loss of whoever always says the mean is about 1.
    """

    unit: str = ""
    mean: float = 0.0
    deviation: float = 1.0
    n: int = 0  # recordings that mean and deviation are of

    def standardised(self, values: np.ndarray) -> np.ndarray:
        """Values in their unit as models learn them."""
        return (values - self.mean) / self.deviation

    def in_unit(self, values: np.ndarray) -> np.ndarray:
        """What models say, in the label's unit."""
        return values * self.deviation + self.mean


@dataclass(frozen=True)
class Label:
    """One label: its name, its column in a corpus' ``labels``, or in ``numbers`` if it is one."""

    name: str
    column: int
    number: Number | None = None


def known_sets(
    label_sets: Mapping[str, Sequence[str]],
    label_subsets: Mapping[str, Sequence[str]],
    number_sets: Mapping[str, Mapping[str, Any]],
) -> dict[str, tuple[str, ...]]:
    """Names of the labels of every set that a corpus has, and of the parts of one; not of several in one."""
    parts = {f"{name}/{one}": (one,) for name, some in number_sets.items() if len(some) > 1 for one in some}
    whole = {name: tuple(some) for name, some in {**label_sets, **number_sets}.items()}
    return whole | {name: tuple(some) for name, some in label_subsets.items()} | parts


def apart(label_set: str, known: Mapping[str, object]) -> list[str]:
    """The sets that a name is of: itself, or "a+b" both; those that are not among the known are returned as well."""
    return [label_set] if label_set in known else label_set.split("+")


def labels_of(
    label_set: str,
    label_sets: Mapping[str, Sequence[str]],
    label_subsets: Mapping[str, Sequence[str]],
    number_sets: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> tuple[Label, ...]:
    """The labels of a set, or of several, in order. Raises KeyError for a set that is not there or a label twice."""
    known = known_sets(label_sets, label_subsets, number_sets)
    found: list[Label] = []
    for name in apart(label_set, known):
        if name not in known:
            raise KeyError(name)
        whole = name if name in label_sets or name in number_sets else name.rpartition("/")[0]
        of = number_sets if whole in number_sets else label_sets
        places = _places(of)[whole]
        for label in known[name]:
            said = number_sets[whole][label] if whole in number_sets else None
            found.append(Label(label, places[label], None if said is None else Number(**said)))
    if len({label.name for label in found}) < len(found):
        raise KeyError(f"{label_set} (a label is in it twice)")
    return tuple(found)


def _places(sets: Mapping[str, Sequence[str] | Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Column of each label of each set: sets stand one after the other."""
    found, first = {}, 0
    for name, some in sets.items():
        found[name] = {label: first + i for i, label in enumerate(some)}
        first += len(some)
    return found


def scaled(units: Units, numbers: np.ndarray, chosen: np.ndarray) -> dict[str, dict[str, dict[str, Any]]]:
    """The number sets of a manifest: unit, mean, deviation and n of the ``chosen`` rows (bool [n]) of each column.

    ``numbers`` float [n, n_numbers] in their units, NaN where missing.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name, places in _places(units).items():
        found[name] = {
            label: asdict(_number(units[name][label], np.asarray(numbers[:, at], dtype=np.float64)[chosen]))
            for label, at in places.items()
        }
    return found


def _number(unit: str, values: np.ndarray) -> Number:
    values = values[np.isfinite(values)]
    if not len(values):
        return Number(unit)
    mean, deviation = float(f"{values.mean():.9g}"), float(f"{values.std():.9g}")
    return Number(unit, mean, deviation if deviation > 0 else 1.0, len(values))


# Of usual quantities, by bare name: the unit that is meant where none is said, and the least and most that can be.
_AGE = ("years", 0.0, 125.0)
_EJECTION = ("%", 2.0, 100.0)
_RATE = ("1/min", 5.0, 500.0)
_QT, _SHORT, _RR = ("ms", 50.0, 2000.0), ("ms", 10.0, 2000.0), ("ms", 100.0, 10_000.0)
PLAUSIBLE: Mapping[str, tuple[str, float, float]] = {
    **dict.fromkeys(("age", "ageyears", "patientage", "ageatecg"), _AGE),
    **dict.fromkeys(("ejectionfraction", "lvef", "ef", "lvefvalue"), _EJECTION),
    **dict.fromkeys(("heartrate", "hr", "ventricularrate", "ventrate"), _RATE),
    **dict.fromkeys(("qt", "qtinterval", "qtc", "qtcinterval"), _QT),
    **dict.fromkeys(("pr", "printerval", "qrs", "qrsduration", "qrsinterval"), _SHORT),
    **dict.fromkeys(("rr", "rrinterval"), _RR),
    "potassium": ("mmol/L", 0.5, 20.0),
    "sodium": ("mmol/L", 50.0, 250.0),
    "height": ("cm", 20.0, 260.0),
    "weight": ("kg", 0.2, 650.0),
    "bmi": ("kg/m2", 4.0, 200.0),
}
_LARGEST = 1e12  # what no unit makes sense of, and float32 squares still hold


def why_absurd(name: str, unit: str, value: float) -> str:
    """What is wrong with a number (NaN: missing, nothing is), in words that follow it; or ""."""
    if math.isnan(value):
        return ""
    if not math.isfinite(value) or abs(value) > _LARGEST:
        return "is no measurement"
    usual = PLAUSIBLE.get("".join(filter(str.isalnum, name.casefold())))
    if usual is None or (unit and unit != usual[0]) or usual[1] <= value <= usual[2]:
        return ""
    return f"is no {name} in {usual[0]} ({usual[1]:g} to {usual[2]:g})"
