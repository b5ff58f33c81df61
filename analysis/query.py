"""Query the exponents table: read, filter by name or by an SQL-like condition, print in any format. No fitting here.

Conditions are parsed, never evaluated as code: comparisons of columns (or of coefficients: ``alpha > 0.2`` keeps the
rows of fits whose alpha is above 0.2) with numbers, quoted texts or each other, joined by and, or, not, in, between,
like, is null.
"""

import difflib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

COLUMNS = (
    "law",
    "sweep",
    "corpus",
    "label_set",
    "configuration",
    "target",
    "domain",
    "at",
    "coefficient",
    "value",
    "low",
    "high",
    "at_bound",
    "status",
    "note",
    "n_points",
    "r2",
    "rmse_log",
    "bootstrap_low",
    "bootstrap_high",
    "objective",
    "interval",
    "level",
    "select",
    "n_params",
    "n_excluded",
    "excluded",
    "aic",
    "bic",
    "holdout",
    "converged",
    "starts_agree",
    "condition",
)
SHOWN = (
    "law",
    "configuration",
    "target",
    "at",
    "coefficient",
    "value",
    "low",
    "high",
    "at_bound",
    "n_points",
    "r2",
    "status",
)
FIT = ["law", "sweep", "corpus", "label_set", "configuration", "target", "at"]  # what names one fit in the table
FORMATS = ("table", "csv", "json", "md", "latex", "parquet")
CONFIGURATIONS = {
    "R-SL": "resnet-sl",
    "R-SSL": "resnet-ssl",
    "T-SL": "transformer-sl",
    "T-SSL": "transformer-ssl",
}


class BadQuery(ValueError):
    """A question that the table cannot answer: what is wrong in it, and the nearest name."""


def read(results: Path) -> pd.DataFrame:
    """The fitted table of a results folder. Raises BadQuery if nothing was fitted yet."""
    path = results / "exponents.parquet"
    if not path.exists():
        raise BadQuery(f"nothing is fitted in {results.name or 'these results'} yet: run `ecgscale fit` first")
    return pd.read_parquet(path)


def query(
    table: pd.DataFrame,
    law: str | None = None,
    configuration: str | None = None,
    target: str | None = None,
    coefficient: str | None = None,
    where: str | None = None,
) -> pd.DataFrame:
    """Rows of the table that match every given name and the condition.

    Raises BadQuery for a name that is not in the table, with the nearest one, and for a condition that cannot be read.
    """
    mask = pd.Series(True, index=table.index)
    if configuration is not None:
        configuration = CONFIGURATIONS.get(configuration.upper(), configuration)
    asked = {"law": law, "configuration": configuration, "target": target, "coefficient": coefficient}
    for column, name in asked.items():
        if name is None:
            continue
        known = sorted(v for v in table[column].dropna().unique() if v)
        if name not in known:
            raise BadQuery(f"no {column} '{name}' in the table{_nearest(name, known)}")
        mask &= table[column] == name
    if where:
        mask &= condition(where)(table)
    return table[mask].reset_index(drop=True)


def flagged(table: pd.DataFrame) -> pd.Series:
    """Rows that cannot be taken at face value: not "ok", or of a fit that did not converge."""
    return (table["status"] != "ok") | ~table["converged"].fillna(True).astype(bool)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.4)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(known[:12])}" if known else ""


# ---------------------------------------------------------------------------------------------------------------------
# Conditions

TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'(?:[^']|'')*'|\"[^\"]*\")"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign><=|>=|<>|!=|==|=|<|>|\(|\)|,))"
)
WORDS = ("and", "or", "not", "in", "between", "like", "is", "null", "true", "false")
Mask = Callable[[pd.DataFrame], pd.Series]
Value = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class Token:
    kind: str  # number, text, name, sign, word
    text: str


def condition(text: str) -> Mask:
    """Parse a condition to a function from tables to boolean masks. Raises BadQuery where it cannot be read."""
    tokens, position = [], 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = TOKEN.match(stripped, position)
        if not match:
            raise BadQuery(f"--where cannot be read from here: {stripped[position:].strip()[:40]!r}")
        kind = str(match.lastgroup)
        content = match.group(kind)
        if kind == "name" and content.lower() in WORDS:
            kind, content = "word", content.lower()
        tokens.append(Token(kind, content))
        position = match.end()
    parser = _Parser(tokens)
    mask = parser.disjunction()
    if parser.rest():
        raise BadQuery(f"--where has something left over: {' '.join(t.text for t in parser.rest())!r}")
    return mask


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at = tokens, 0

    def rest(self) -> list[Token]:
        return self.tokens[self.at :]

    def take(self, *texts: str, kind: str | None = None) -> Token | None:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            if (token.text in texts and token.kind in ("word", "sign")) or token.kind == kind:
                self.at += 1
                return token
        return None

    def expect(self, text: str) -> None:
        if not self.take(text):
            found = self.tokens[self.at].text if self.at < len(self.tokens) else "the end"
            raise BadQuery(f"--where: expected {text!r} but found {found!r}")

    def disjunction(self) -> Mask:
        masks = [self.conjunction()]
        while self.take("or"):
            masks.append(self.conjunction())
        return lambda table: pd.Series(np.logical_or.reduce([m(table) for m in masks]), index=table.index)

    def conjunction(self) -> Mask:
        masks = [self.negation()]
        while self.take("and"):
            masks.append(self.negation())
        return lambda table: pd.Series(np.logical_and.reduce([m(table) for m in masks]), index=table.index)

    def negation(self) -> Mask:
        if self.take("not"):
            inner = self.negation()
            return lambda table: ~inner(table)
        if self.take("("):
            inner = self.disjunction()
            self.expect(")")
            return inner
        return self.comparison()

    def comparison(self) -> Mask:
        left = self.value()
        negated = bool(self.take("not"))
        if self.take("in"):
            self.expect("(")
            options = [self.value()]
            while self.take(","):
                options.append(self.value())
            self.expect(")")
            mask: Mask = lambda table: _any([_compare("=", left(table), o(table)) for o in options], table)  # noqa: E731
        elif self.take("between"):
            low = self.value()
            self.expect("and")
            high = self.value()
            mask = lambda table: (  # noqa: E731
                _series(_compare(">=", left(table), low(table)), table)
                & _series(_compare("<=", left(table), high(table)), table)
            )
        elif self.take("like"):
            token = self.take(kind="text")
            if token is None:
                raise BadQuery("--where: like needs a quoted pattern, such as target like 'ptbxl%'")
            pattern = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in token.text[1:-1])
            mask = lambda table: _series(left(table), table).astype(str).str.fullmatch(pattern, case=False)  # noqa: E731
        elif self.take("is"):
            wanted = not self.take("not")
            self.expect("null")
            mask = lambda table: _series(left(table), table).isna() == wanted  # noqa: E731
        elif sign := self.take("=", "==", "!=", "<>", "<", "<=", ">", ">="):
            right = self.value()
            mask = lambda table: _series(_compare(sign.text, left(table), right(table)), table)  # noqa: E731
        else:
            mask = lambda table: _series(left(table), table).fillna(False).astype(bool)  # noqa: E731
        return (lambda table: ~mask(table)) if negated else mask

    def value(self) -> Value:
        if token := self.take(kind="number"):
            number = float(token.text)
            return lambda table: number
        if token := self.take(kind="text"):
            quote = token.text[0]
            text = token.text[1:-1].replace(quote * 2, quote)
            return lambda table: text
        if token := self.take("true", "false"):
            truth = token.text == "true"
            return lambda table: truth
        if token := self.take(kind="name"):
            name = token.text
            return lambda table: _column(table, name)
        found = self.tokens[self.at].text if self.at < len(self.tokens) else "the end"
        raise BadQuery(f"--where: expected a column, a number or a quoted text but found {found!r}")


def _column(table: pd.DataFrame, name: str) -> pd.Series:
    if name in table:
        return table[name]
    if name in set(table["coefficient"]):
        keys = [c for c in FIT if c in table]
        own = table["value"].where(table["coefficient"] == name)
        return own.groupby([table[k] for k in keys], dropna=False).transform("first")
    known = [*table.columns, *sorted(set(table["coefficient"].dropna()) - {""})]
    raise BadQuery(f"--where: no column or coefficient is called '{name}'{_nearest(name, known)} (texts need quotes)")


def _series(value: Any, table: pd.DataFrame) -> pd.Series:
    return value if isinstance(value, pd.Series) else pd.Series(value, index=table.index)


def _any(masks: list[Any], table: pd.DataFrame) -> pd.Series:
    return pd.Series(np.logical_or.reduce([_series(m, table) for m in masks]), index=table.index)


def _compare(sign: str, left: Any, right: Any) -> Any:
    kinds = [_is_text(left), _is_text(right)]
    if kinds[0] != kinds[1]:
        raise BadQuery("--where compares a text with a number; texts need quotes, numbers none")
    match sign:
        case "=" | "==":
            return left == right
        case "!=" | "<>":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case _:
            return left >= right


def _is_text(value: Any) -> bool:
    if isinstance(value, pd.Series):
        return not (pd.api.types.is_numeric_dtype(value) or pd.api.types.is_bool_dtype(value))
    return isinstance(value, str)


# ---------------------------------------------------------------------------------------------------------------------
# Printing


def render(table: pd.DataFrame, format: str = "table") -> str | bytes:
    """The table in one of ``FORMATS``: text for people shows the main columns, data formats hold all of them."""
    match format:
        case "table":
            return as_text(table)
        case "csv":
            return table.to_csv(index=False)
        case "json":
            return as_json(table)
        case "md":
            return as_markdown(table)
        case "latex":
            return as_latex(table)
        case "parquet":
            sink = io.BytesIO()
            table.to_parquet(sink, index=False)
            return sink.getvalue()
    raise BadQuery(f"no format '{format}'{_nearest(format, list(FORMATS))}")


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]], list[bool]]:
    """Header, cells as text, and which columns are numbers, of the columns for people."""
    extra = [c for c in ("paper", "difference") if c in table]
    shown = [c for c in (*SHOWN, *extra) if c in table] if "coefficient" in table else list(table.columns)
    part = table[shown]
    numeric = [pd.api.types.is_numeric_dtype(part[c]) and not pd.api.types.is_bool_dtype(part[c]) for c in shown]
    columns = [
        [_number(v) if n else "" if v is None or v != v else str(v) for v in part[c].tolist()]
        for c, n in zip(shown, numeric, strict=True)
    ]
    return shown, [list(row) for row in zip(*columns, strict=True)], numeric


def _number(value: float) -> str:
    if value is None or value != value:
        return ""
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"


def as_text(table: pd.DataFrame) -> str:
    """Aligned columns."""
    header, rows, numeric = _cells(table)
    widths = [max([len(h), *(len(r[i]) for r in rows)]) for i, h in enumerate(header)]

    def line(cells: list[str]) -> str:
        aligned = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True))
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, rows)]) + "\n"


def as_markdown(table: pd.DataFrame) -> str:
    """A Markdown table."""
    header, rows, numeric = _cells(table)
    rule = ["---:" if n else "---" for n in numeric]
    return "".join("| " + " | ".join(c.replace("|", "\\|") for c in r) + " |\n" for r in [header, rule, *rows])


LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def as_latex(table: pd.DataFrame) -> str:
    """A booktabs tabular."""
    header, rows, numeric = _cells(table)

    def line(cells: list[str]) -> str:
        return " & ".join("".join(LATEX.get(ch, ch) for ch in c) for c in cells) + r" \\"

    body = [line(header), r"\midrule", *map(line, rows)]
    columns = "".join("r" if n else "l" for n in numeric)
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


def as_json(table: pd.DataFrame) -> str:
    """A list of rows; what is missing or not finite is null."""
    return json.dumps(
        [{k: _plain(v) for k, v in row.items()} for row in table.to_dict("records")], indent=1, ensure_ascii=False
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return None if value is pd.NA or value is pd.NaT else value


# ---------------------------------------------------------------------------------------------------------------------
# The paper's numbers

REFERENCE = Path(__file__).parent / "reference"


def task_key(name: str) -> str:
    """A task's name without case and punctuation, so that ``PTB-XL(form)`` and ``ptbxl_form`` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def with_paper(table: pd.DataFrame) -> pd.DataFrame:
    """Add what the paper printed (Table S.7: K and kappa) and the difference; NaN where it printed nothing."""
    printed = pd.read_csv(REFERENCE / "table_s7.csv")
    published = {
        (coefficient, row["configuration"], task_key(row["target"])): row[coefficient]
        for row in printed.to_dict("records")
        for coefficient in ("K", "kappa")
    }
    rows = zip(table["law"], table["coefficient"], table["configuration"], table["target"], strict=True)
    paper = [published.get((k, c, task_key(str(t))), np.nan) if law == "transfer" else np.nan for law, k, c, t in rows]
    return table.assign(paper=paper, difference=table["value"] - np.array(paper, float))
