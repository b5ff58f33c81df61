"""Cells of text as a Markdown table or a LaTeX tabular (booktabs)."""

import re
from collections.abc import Sequence

Row = Sequence[str]
_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
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


def markdown(header: Row, rows: Sequence[Row], numeric: Sequence[bool]) -> str:
    """A Markdown table; ``numeric`` columns are set flush right."""
    rule = ["---:" if n else "---" for n in numeric]
    return "".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |\n" for row in (header, rule, *rows))


def tabular(header: Row, rows: Sequence[Row], columns: str) -> str:
    """A booktabs tabular with this specification of its columns, such as "lrr"."""
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line(header), r"\midrule"]
    return "\n".join([*lines, *map(_line, rows), r"\bottomrule", r"\end{tabular}"]) + "\n"


def latex(text: str) -> str:
    """Text with everything escaped that TeX would read otherwise; ``**bold**`` becomes \\textbf."""
    escaped = "".join(_LATEX.get(c, c) for c in text)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", escaped)


def _line(cells: Row) -> str:
    return " & ".join(map(latex, cells)) + r" \\"
