"""SQL-like conditions on the exponents table, parsed and never evaluated as code.

Comparisons of columns (or of coefficients: ``alpha > 0.2`` keeps the rows of fits whose alpha is above 0.2) with
numbers, quoted texts or each other, joined by and, or, not, in, between, like, is null.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.phrases import did_you_mean

FIT = ["law", "sweep", "corpus", "label_set", "configuration", "target", "at"]  # what names one fit in the table


class BadQuery(ValueError):
    """A question that the table cannot answer: what is wrong in it, and the nearest name."""


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
    coefficients = table["coefficient"] if "coefficient" in table else pd.Series(dtype=str)
    if name in set(coefficients):
        keys = [c for c in FIT if c in table]
        own = table["value"].where(table["coefficient"] == name)
        return own.groupby([table[k] for k in keys], dropna=False).transform("first")
    known = [*table.columns, *sorted(set(coefficients.dropna()) - {""})]
    hint = did_you_mean(name, known)
    kinds = "column or coefficient" if "coefficient" in table else "column"
    raise BadQuery(f"--where: no {kinds} is called '{name}'{hint} (texts need quotes)")


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
