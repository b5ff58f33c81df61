"""What people say of their own recordings once, where no file says it: units, rate, leads, and which column is what."""

import re
from dataclasses import dataclass, fields
from functools import cached_property

from ecgscale.data.recording import LEADS, canonical
from ecgscale.phrases import did_you_mean

_UNITS = {"V": 1e3, "mV": 1.0, "uV": 1e-3, "nV": 1e-6}
_AS_WRITTEN = {name.casefold(): name for name in _UNITS} | {"µv": "uV", "μv": "uV", "microv": "uV"}
_AS_WRITTEN |= {"volt": "V", "millivolt": "mV", "microvolt": "uV", "volts": "V", "millivolts": "mV", "microvolts": "uV"}
_NUMBER = r"(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|\.\d+)"
KNOWN_LEADS = (*LEADS, "MLII")  # the last: the modified lead of ambulatory recorders
ORDER = "order"  # instead of a column of records: the rows of the table are those of the array


@dataclass(frozen=True)
class Said:
    """Options of the table reader; empty: nothing is said. Raises ValueError, with the nearest name, for a wrong one.

    ``units`` of a value: "mV", "uV", "V", "4.88 uV" (a step) or "200/mV" (a gain). ``leads`` in the order of the files,
    "I,II,V1", or by the files' names for them, "CH1=I,CH2=II". ``signals``: the one file of many recordings, and within
    it the array ("ecg.h5:tracings"), or the folder of the files.
    """

    labels: str = ""  # the table, in the raw folder or elsewhere
    units: str = ""
    hz: float = 0.0
    leads: str = ""
    signals: str = ""
    record: str = ""  # columns
    patient: str = ""
    split: str = ""
    label_columns: str = ""  # separated by commas
    classes: str = ""  # columns of words, each of which becomes a label
    numbers: str = ""  # columns of numbers, at will with their units: "age=years,potassium=mmol/L"
    leave_out: str = ""  # columns that are no labels
    einthoven: bool = True  # limb leads obey Einthoven's law: they are checked, and eight of twelve leads stored

    def __post_init__(self) -> None:
        if self.units:
            millivolts(self.units)
        if self.hz and not 10 <= self.hz <= 10_000:
            raise ValueError(f"--hz {self.hz:g}: recordings are sampled at 10 to 10,000 Hz")
        ours = [our for _, our in self.named_leads]
        for lead in ours:
            if lead not in KNOWN_LEADS:
                raise ValueError(f"--leads: no lead {lead!r}{did_you_mean(lead, KNOWN_LEADS)}")
        if len(set(ours)) < len(ours):
            raise ValueError("--leads names a lead twice")

    @cached_property
    def named_leads(self) -> tuple[tuple[str, str], ...]:
        """(name in the files or "", our name) of each lead that is said, in order."""
        parts = [part.strip() for part in re.split(r"[,;]", self.leads) if part.strip()]
        pairs = [part.rpartition("=") for part in parts]
        return tuple((theirs.strip(), canonical(our)) for theirs, _, our in pairs)

    @cached_property
    def named_numbers(self) -> dict[str, str]:
        """Column of numbers -> its unit; "" where none is said."""
        parts = [part.strip().partition("=") for part in re.split(r"[,;]", self.numbers) if part.strip()]
        return {column.strip(): unit.strip() for column, _, unit in parts}

    def told(self) -> dict[str, str | float | bool]:
        """What is said and not at its default, as plain JSON."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}


def millivolts(unit: str) -> float:
    """Millivolts of one value in a unit, as ``Said.units`` writes them. Raises ValueError, with the nearest unit."""
    text = unit.strip()
    gain = re.fullmatch(rf"{_NUMBER}\s*/\s*(\S+)", text)
    step = re.fullmatch(rf"{_NUMBER}?\s*([^\d\s].*)", text)
    name = (gain or step or [text, "", text])[2].strip()
    said = _AS_WRITTEN.get(name.casefold().replace("_", ""))
    if said is None:
        raise ValueError(
            f"no unit {name[:20]!r}{did_you_mean(name, _UNITS)} (or a step, '4.88 uV', or a gain, '200/mV')"
        )
    number = float((gain or step or ["", ""])[1] or 1)
    if not number:
        raise ValueError(f"unit {text[:20]!r}: a value of no size")
    return _UNITS[said] / number if gain else _UNITS[said] * number
