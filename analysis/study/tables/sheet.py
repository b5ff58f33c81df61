"""One table for print: a header, rows of text, a caption and its source, as Markdown, LaTeX (booktabs) or CSV."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.table.query import LATEX

FORMATS = {"md": "md", "latex": "tex", "csv": "csv"}
BOUND = "*"  # after a value at a bound of its fit
_SYMBOLS = {
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "κ": r"$\kappa$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "²": "$^2$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "<": r"$<$",
    ">": r"$>$",
    "·": r"$\cdot$",
}
_SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "K"))


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
        lines = [f"**Table {_printed(self.name)}.** {self.caption}", ""]
        if self.rows:
            rule = tuple("---:" if n else "---" for n in self.numeric())
            lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in (self.header, rule)]
            lines += ["| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"

    def _latex(self) -> str:
        kind = "table*" if len(self.header) > 7 else "table"  # over both columns of a page
        lines = [rf"\begin{{{kind}}}[t]", r"\centering", r"\footnotesize", rf"\caption{{{latex(self.caption)}}}"]
        lines += [r"\setlength{\tabcolsep}{3pt}"] if kind == "table*" else []
        lines.append(rf"\label{{tab:{self.name}}}")
        if self.rows:
            wide = r"p{0.4\linewidth}"
            long = [max(len(row[i]) for row in self.rows) > 60 for i in range(len(self.header))]
            columns = "".join("r" if n else wide if w else "l" for n, w in zip(self.numeric(), long, strict=True))
            lines += [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line(self.header), r"\midrule"]
            lines += [*map(_line, self.rows), r"\bottomrule", r"\end{tabular}"]
        return "\n".join([*lines, rf"\end{{{kind}}}"]) + "\n"

    def _csv(self) -> str:
        return self.data.to_csv(index=False, float_format="%.6g", lineterminator="\n")


def latex(text: str) -> str:
    """Text with everything escaped that TeX would read otherwise; ``**bold**`` becomes \\textbf."""
    escaped = "".join(_SYMBOLS.get(c) or LATEX.get(c, c) for c in text)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", escaped)


def number(value: float, digits: int = 3) -> str:
    """A number with fixed decimals; "–" where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}".replace("-", "−")


def interval(value: float, low: float, high: float, digits: int = 2, mark: str = "") -> str:
    """ "0.19 [0.05, 0.40]", without the brackets if an end is not known; ``mark`` behind the value."""
    ends = f" [{number(low, digits)}, {number(high, digits)}]" if math.isfinite(low + high) else ""
    return number(value, digits) + mark + ends


def si(value: float) -> str:
    """A count: 1672 -> "1.67K"."""
    if value is None or not math.isfinite(value):
        return "–"
    scale, letter = next(((s, n) for s, n in _SCALES if abs(value) >= s * 0.9995), (1.0, ""))
    return f"{value / scale:.3g}{letter}"


def lowest_bold(values: Sequence[float], digits: int) -> list[str]:
    """Numbers, the lowest in bold."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return [
        f"**{number(v, digits)}**" if known and v == min(known) and len(known) > 1 else number(v, digits)
        for v in values
    ]


def _line(cells: Sequence[str]) -> str:
    return " & ".join(latex(c) for c in cells) + r" \\"


def _is_number(text: str) -> bool:
    return bool(re.match(r"^[*≤≥−\d.–]*$|^[*−\d.]+[KMG%]?\*{0,2}( \[.*\])?$", text))


def _printed(name: str) -> str:
    return name.upper().replace("S", "S.", 1)
