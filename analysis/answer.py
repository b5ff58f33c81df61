"""How do models scale here? One row a configuration: both exponents, the floor, transfer, and what compute goes to.

Every number comes with its interval; one that the runs cannot tell says "cannot tell", and one of
a law whose form they contradict "law misfits". Nothing is fitted here.
"""

import math
from dataclasses import dataclass

import pandas as pd

from ecgscale.analysis.figures.fitted import Number, convention, number_of
from ecgscale.analysis.figures.style import looks, number, target
from ecgscale.analysis.fitting.status import MISFIT, interval_text, limits
from ecgscale.analysis.naming import label

UNKNOWN, OTHERWISE = SILENT = "cannot tell", "law misfits"
HEADS = ("configuration", "α: loss with N", "β: loss with D", "E: floor", "κ: transfer", "b: compute to data")


@dataclass(frozen=True)
class Answer:
    """How one configuration of a sweep scales, in words: "0.31 [0.24, 0.40]", "≥ 0.24", "cannot tell".

    ``alpha``, ``beta``, ``floor``: of the joint law in distribution (Eq. 1); ``kappa``: pairs of a task and its
    exponent of transfer (Eq. 4), those that are known first; ``to_data``: b of D* ∝ C^b (Eq. 6), the share of each
    further decade of compute that goes into recordings and not parameters.
    """

    sweep: str
    configuration: str
    alpha: str
    beta: str
    floor: str
    kappa: tuple[tuple[str, str], ...]
    to_data: str

    @property
    def name(self) -> str:
        return label(self.configuration)

    @property
    def cells(self) -> tuple[str, ...]:
        """The row under ``HEADS``; transfer to several tasks on one line."""
        known = [(task, text) for task, text in self.kappa if text not in SILENT]
        shown = "; ".join(f"{task} {text}" for task, text in known[:3]) or UNKNOWN
        more = f" (known on {len(known)} of {len(self.kappa)} tasks)" if len(self.kappa) > len(known) > 0 else ""
        return self.name, self.alpha, self.beta, self.floor, shown + more, self.to_data


def answers(table: pd.DataFrame) -> list[Answer]:
    """Answers of an exponents table (see ``analysis.table``), configurations in the order of figures."""
    found = []
    place = {look.name: i for i, look in enumerate(looks(table["configuration"].unique()))}
    groups = table.groupby(["sweep", "configuration"], sort=False)
    for (sweep, configuration), part in sorted(groups, key=lambda g: (str(g[0][0]), place[str(g[0][1])])):
        inside, outside = part[part["domain"] == "ID"], part[part["domain"] == "OOD"]
        exponents = {
            task: _said(fits, convention(part), "kappa") for task, fits in outside.groupby("target", sort=False)
        }
        kappa = [(target(str(task)).label, text) for task, text in exponents.items()]
        found.append(
            Answer(
                str(sweep),
                str(configuration),
                _said(inside, "joint", "alpha"),
                _said(inside, "joint", "beta"),
                _said(inside, "joint", "E"),
                tuple(sorted(kappa, key=lambda pair: pair[1] in SILENT)),
                _said(inside, "allocation", "b"),
            )
        )
    return found


def told_apart(table: pd.DataFrame) -> list[str]:
    """Which family of architectures is more parameter- or data-efficient, as far as intervals tell: a sentence each.

    Of every sweep and paradigm with several architectures, alpha and beta of the joint law in distribution; one is
    above another if their intervals do not meet. A larger exponent says that the loss falls faster, not that it is
    lower.
    """
    said = []
    joint = table[(table["domain"] == "ID") & (table["law"] == "joint")]
    paradigm = joint["configuration"].map(lambda name: str(name).rpartition("-")[2])
    for (sweep, kind), part in joint.groupby([joint["sweep"], paradigm]):
        where = f"{sweep}, " if table["sweep"].nunique() > 1 else ""
        for coefficient, head, fewer in (("alpha", HEADS[1], "parameters"), ("beta", HEADS[2], "recordings")):
            rows = part[part["coefficient"] == coefficient].drop_duplicates("configuration")
            if len(rows) < 2:
                continue
            ends = {label(r["configuration"]): _ends(number_of("joint", r)) for r in rows.to_dict("records")}
            above = [f"{a} above {b}" for a, (low, _) in ends.items() for b, (_, high) in ends.items() if low > high]
            overlap = f"intervals overlap: these runs cannot tell which family needs fewer {fewer}"
            said.append(f"{where}{head}, {str(kind).upper()}: {', '.join(sorted(above)) or overlap}")
    return said


def _ends(found: Number) -> tuple[float, float]:
    """The interval; all numbers where nothing is known."""
    low, high = limits(found.low, found.high, found.low_end, found.high_end)
    nothing = not found.known and found.status not in ("one-sided", "bound")
    return (-math.inf if nothing or low != low else low), (math.inf if nothing or high != high else high)


def _said(part: pd.DataFrame, law: str, coefficient: str) -> str:
    rows = part[(part["law"] == law) & (part["coefficient"] == coefficient)]
    return _words(number_of(law, rows.iloc[0].to_dict())) if len(rows) else UNKNOWN


def _words(found: Number) -> str:
    """The number with its interval; the interval alone where the number lies at a bound or one end is open."""
    if found.status == MISFIT:
        return OTHERWISE
    limits = interval_text(found.low, found.high, found.low_end, found.high_end, _short)
    if limits[:1] in ("≥", "≤") and found.status in ("one-sided", "bound"):
        return limits
    return f"{_short(found.value)} {limits}".strip() if found.known else UNKNOWN


def _short(value: float) -> str:
    return number(value, 3 if abs(value) < 0.1 else 2)
