"""How do models scale here? One row a configuration: both exponents, the floor, transfer, and what compute goes to.

Every number comes with its interval; one that the runs cannot tell says "cannot tell". Nothing is fitted here.
"""

from dataclasses import dataclass

import pandas as pd

from ecgscale.analysis.figures.fitted import Number, convention, number_of
from ecgscale.analysis.figures.style import looks, number, target
from ecgscale.analysis.fitting.status import interval_text
from ecgscale.analysis.naming import label

UNKNOWN = "cannot tell"
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
        known = [(task, text) for task, text in self.kappa if text != UNKNOWN]
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
                tuple(sorted(kappa, key=lambda pair: pair[1] == UNKNOWN)),
                _said(inside, "allocation", "b"),
            )
        )
    return found


def _said(part: pd.DataFrame, law: str, coefficient: str) -> str:
    rows = part[(part["law"] == law) & (part["coefficient"] == coefficient)]
    return _words(number_of(law, rows.iloc[0].to_dict())) if len(rows) else UNKNOWN


def _words(found: Number) -> str:
    """The number with its interval; the interval alone where the number lies at a bound or one end is open."""
    limits = interval_text(found.low, found.high, found.low_end, found.high_end, _short)
    if limits[:1] in ("≥", "≤") and found.status in ("one-sided", "bound"):
        return limits
    return f"{_short(found.value)} {limits}".strip() if found.known else UNKNOWN


def _short(value: float) -> str:
    return number(value, 3 if abs(value) < 0.1 else 2)
