"""One table for print: a header, rows of text, a caption and its source, as Markdown, LaTeX (booktabs) or CSV."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from ecgscale.analysis.fitting.status import interval_text
from ecgscale.analysis.table.markup import latex, markdown, tabular

FORMATS = {"md": "md", "latex": "tex", "csv": "csv"}
BOUND = "*"  # after a value at a bound of its fit


@dataclass(frozen=True)
class Sheet:
    """A table as it is printed. ``rows`` are text, ``**bold**`` marks emphasis; ``data`` are the same as numbers.

    ``missing``: what could not be filled, in words; ``source``: where the numbers come from.
    """

    name: str
    title: str
    data: pd.DataFrame
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    source: str
    note: str = ""
    missing: tuple[str, ...] = ()

    def render(self, format: str) -> str:
        """The table in one of ``FORMATS``."""
        return {"md": self._markdown, "latex": self._latex, "csv": self._csv}[format]()

    @property
    def caption(self) -> str:
        """Title, note, what is missing and the source."""
        parts = [f"{self.title}.", self.note, *(f"Missing: {m}." for m in self.missing), f"Source: {self.source}."]
        return " ".join(p for p in parts if p)

    def numeric(self) -> list[bool]:
        """Which columns hold numbers only, and so are set flush right."""
        return [bool(self.rows) and all(_is_number(row[i]) for row in self.rows) for i in range(len(self.header))]

    def _markdown(self) -> str:
        caption = f"**Table {_printed(self.name)}.** {self.caption}\n\n"
        return caption + (markdown(self.header, self.rows, self.numeric()) if self.rows else "")

    def _latex(self) -> str:
        kind = "table*" if len(self.header) > 7 else "table"  # over both columns of a page
        lines = [rf"\begin{{{kind}}}[t]", r"\centering", r"\footnotesize", rf"\caption{{{latex(self.caption)}}}"]
        lines += [r"\setlength{\tabcolsep}{3pt}"] if kind == "table*" else []
        lines.append(rf"\label{{tab:{self.name}}}")
        if self.rows:
            wide = r"p{0.4\linewidth}"
            long = [max(len(row[i]) for row in self.rows) > 60 for i in range(len(self.header))]
            columns = "".join("r" if n else wide if w else "l" for n, w in zip(self.numeric(), long, strict=True))
            lines.append(tabular(self.header, self.rows, columns).rstrip("\n"))
        return "\n".join([*lines, rf"\end{{{kind}}}"]) + "\n"

    def _csv(self) -> str:
        return self.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def number(value: float, digits: int = 3) -> str:
    """A number with fixed decimals; "–" where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def interval(row: Mapping[Any, Any], name: str = "value", digits: int = 2, mark: str = "") -> str:
    """ "0.19 [0.05, 0.40]", one-sided "0.19 (≤ 0.40)", alone without an interval; ``mark`` behind the value."""
    kinds = [row.get(k) for k in ("low_end", "high_end")]
    low_end, high_end = (k if isinstance(k, str) else "" for k in kinds)
    ends = interval_text(row["low"], row["high"], low_end, high_end, partial(number, digits=digits))
    if not math.isfinite(row["low"] + row["high"]) and not (low_end or high_end):
        ends = ""
    shown = f" ({ends})" if ends[:1] in ("≤", "≥") else f" {ends}" if ends else ""
    return number(row[name], digits) + mark + shown


def lowest_bold(values: Sequence[float], digits: int) -> list[str]:
    """Numbers, the lowest in bold."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return [
        f"**{number(v, digits)}**" if known and v == min(known) and len(known) > 1 else number(v, digits)
        for v in values
    ]


def _is_number(text: str) -> bool:
    return bool(re.match(r"^[*≤≥−\d.–]*$|^[*−\d.]+[KMG%]?\*{0,2}( [\[(].*[\])])?$", text))


def _printed(name: str) -> str:
    return name.upper().replace("S", "S.", 1)
