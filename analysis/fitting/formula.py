"""A law from a formula that somebody types: ``E + A*N**-alpha + B*D**-beta`` over the columns of a table.

A formula holds numbers, columns, coefficients, + - * / ** and a few functions, and nothing else: it is checked node by
node, then evaluated by lmfit's expression model (asteval), which knows no builtins. Its coefficients are what is no
column. A sum of power laws becomes a law with terms (one of the registry, if it is one), for the batched solver; of any
other, ``structure`` says how each coefficient enters.
"""

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from ecgscale.analysis.fitting.identifiability import BadPoints, law_named
from ecgscale.analysis.fitting.laws import LAWS, Law, Term
from ecgscale.analysis.fitting.structure import roles_of
from ecgscale.phrases import did_you_mean, nearest

FUNCTIONS = ("exp", "log", "log10", "log2", "log1p", "expm1", "sqrt", "tanh")
SYMBOLS = ("N", "D", "C", "U", "epochs", "loss_id")  # what the house calls the columns that laws read
LOSSES = ("loss", "loss_ood")
LONGEST, SHOWN = 500, 80  # characters of a formula, and of one in a sentence
EXPONENTS = 3  # of a law that the batched solver's grid takes
ALIKE = 0.8  # share of letters from which on a name is taken for a column's typo
_NODES = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.Name, ast.Call)
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.Pow, ast.UAdd, ast.USub)


def is_formula(text: str) -> bool:
    """Whether a law is written out: it is no single name."""
    return not re.fullmatch(r"\w+", text.strip())


def law_of(text: str | Law, columns: Mapping[str, str]) -> Law:
    """The law that a name or a formula asks for; ``columns`` maps the names that a table's columns have had to those
    they have.

    Raises BadPoints in one sentence that names the place and the nearest known name.
    """
    if isinstance(text, Law):
        return text
    if text.replace("-", "_") in LAWS or not is_formula(text):
        return law_named(text.replace("-", "_"))
    tree, written = _parsed(text)
    tree, names = _named(tree, written, columns)
    variables = tuple(dict.fromkeys(v for v in names.values() if v))
    coefficients = tuple(name for name, variable in names.items() if not variable)
    if not variables:
        known = list(dict.fromkeys(columns.values()))
        raise BadPoints(f"the formula '{written}' reads no column of the points; there are {', '.join(known)}")
    if not coefficients:
        raise BadPoints(f"the formula '{written}' has no coefficient to fit: every name in it is a column")
    variables = tuple(sorted(variables, key=lambda v: (SYMBOLS.index(v) if v in SYMBOLS else len(SYMBOLS), v)))
    _told_apart(tree, written, variables, columns)
    terms = _power_laws(tree, variables)
    function = _evaluator(ast.unparse(tree), variables, coefficients)
    name = " ".join(written.split())
    if terms is not None:
        for law in LAWS.values():
            if set(law.coefficients) == set(coefficients) and _same_terms(law.terms, terms):
                return replace(law, written=name)
        return Law(name, function, variables, coefficients, terms, source="formula")
    roles = roles_of(tree, variables, coefficients)
    powers = tuple(c for c in coefficients if roles[c].kind in ("exponent", "signed exponent"))
    return Law(
        name,
        function,
        variables,
        coefficients,
        bounds=MappingProxyType({c: (-3.0, 3.0) for c in powers if roles[c].kind == "signed exponent"}),
        source="formula",
        powers=powers,
        scales=MappingProxyType({c: r.unit for c, r in roles.items() if r.kind == "scale"}),
        signed=tuple(c for c in coefficients if roles[c].kind == "signed"),
    )


def _parsed(text: str) -> tuple[ast.expr, str]:
    """The tree of a formula, checked, and the formula as it is read (^ is **, what stands before = is left out)."""
    written = re.sub(r"^\s*(L|loss|loss_ood)\s*(\([\w\s,]*\))?\s*=(?!=)", "", text.replace("^", "**")).strip()
    if not written:
        raise BadPoints("the formula is empty; one is E + A*N**-alpha + B*D**-beta")
    if len(written) > LONGEST:
        raise BadPoints(f"the formula has {len(written)} characters; {LONGEST} are the most")
    try:
        tree = ast.parse(written, mode="eval").body
    except SyntaxError as error:
        at = min((error.offset or len(written) + 1) - 1, len(written))
        rest = f", '{written[at : at + 12]}'" if written[at : at + 12].strip() else ", its end"
        shown = written if len(written) <= SHOWN else written[:SHOWN] + "..."
        raise BadPoints(f"the formula '{shown}' cannot be read at character {at + 1}{rest}") from None
    except (ValueError, RecursionError, MemoryError):
        raise BadPoints("the formula cannot be read: it is nested too deeply, or has characters of no text") from None
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and id(node) not in called:
            _check(node, written)
    return tree, written


def _place(node: ast.AST, written: str) -> str:
    """What a node is in the formula, and where."""
    start = int(getattr(node, "col_offset", 0))
    end = int(getattr(node, "end_col_offset", start) or start)
    characters = written.encode()[:start].decode(errors="ignore")
    return f"'{written.encode()[start:end].decode(errors='ignore')}' (character {len(characters) + 1})"


def _check(node: ast.expr, written: str) -> None:
    """Raise BadPoints for anything but numbers, names, the four operations, powers and the functions."""
    allowed = "a formula holds numbers, columns, coefficients, + - * / ** and " + ", ".join(FUNCTIONS)
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            known = did_you_mean(node.func.id, FUNCTIONS) if isinstance(node.func, ast.Name) else f"; {allowed}"
            raise BadPoints(f"{_place(node.func, written)} is no function that a formula may call{known}")
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            raise BadPoints(f"{_place(node, written)}: {node.func.id} takes one argument")
    elif isinstance(node, ast.Constant):
        if type(node.value) not in (int, float) or not abs(node.value) < 1e300:  # type: ignore[arg-type]
            raise BadPoints(f"{_place(node, written)} is no number; {allowed}")
    elif isinstance(node, ast.Name):
        if node.id in FUNCTIONS:
            raise BadPoints(f"{_place(node, written)} is a function and needs an argument: {node.id}(N)")
    elif not isinstance(node, _NODES) or not isinstance(getattr(node, "op", ast.Add()), _OPERATORS):
        raise BadPoints(f"{_place(node, written)} has no place in a formula: {allowed}")


def _named(tree: ast.expr, written: str, columns: Mapping[str, str]) -> tuple[ast.expr, dict[str, str]]:
    """The tree with columns under the house's names, and each name in it with its column ("": a coefficient)."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in FUNCTIONS]
    nodes.sort(key=lambda node: node.col_offset)
    exact = {node.id for node in nodes} & set(columns)
    raised = {id(n) for p in ast.walk(tree) if isinstance(p, ast.BinOp) and isinstance(p.op, ast.Pow)
              for n in ast.walk(p.right)}  # fmt: skip
    in_exponents = {node.id for node in nodes if id(node) in raised}
    spelt = {name.lower(): found for name, found in columns.items()}
    names: dict[str, str] = {}
    for node in nodes:
        name = node.id
        if name in columns:
            column = columns[name]
        elif name.lower() in spelt and (len(name) > 1 or not (exact or name in in_exponents)):
            column = spelt[name.lower()]
        else:
            column = ""
            known = [c for c in columns if len(c) > 2]
            near = nearest(name, known) if len(name) > 2 else None
            if name in SYMBOLS:
                raise BadPoints(
                    f"the formula reads {_place(node, written)}, and the points have no such column"
                    f"{did_you_mean(name, dict.fromkeys(columns))}"
                )
            if near and _alike(name, near) >= ALIKE:
                raise BadPoints(f"{_place(node, written)} is no column of the points; did you mean '{near}'?")
        if column in LOSSES or name in LOSSES:
            raise BadPoints(f"{_place(node, written)} is what the law explains; a formula says the rest of it")
        names[column or name] = column
        node.id = column or name
    return tree, names


def _alike(name: str, other: str) -> float:
    import difflib

    return difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()


def _told_apart(tree: ast.expr, written: str, variables: tuple[str, ...], columns: Mapping[str, str]) -> None:
    """Raise BadPoints where a part without a column holds two coefficients that are nowhere else: one would do."""
    count: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            count[node.id] = count.get(node.id, 0) + 1

    def visit(node: ast.AST) -> None:
        names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id not in FUNCTIONS]
        if names and not set(names) & set(variables):
            own = [n for n in dict.fromkeys(names) if names.count(n) == count[n]]
            if len(own) > 1:
                meant = [(n, near) for n in own if (near := nearest(n, dict.fromkeys(columns)))]
                hint = f"; did you mean '{meant[0][1]}' by '{meant[0][0]}'?" if meant else "; one number would do"
                raise BadPoints(
                    f"{_place(node, written)} holds no column, so {', '.join(own)} can't be told from each other{hint}"
                )
            return
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)


def _power_laws(tree: ast.expr, variables: tuple[str, ...]) -> tuple[Term, ...] | None:
    """The terms of a sum of power laws, the floor first; None for anything else."""
    terms: list[Term] = []
    for part in _summands(tree):
        amplitudes: list[str] = []
        powers: dict[str, tuple[str, int]] = {}
        for factor, sign in _factors(part):
            if isinstance(factor, ast.Name) and factor.id not in variables and sign > 0:
                amplitudes.append(factor.id)
                continue
            power = _power(factor, sign, variables)
            if power is None or power[0] in powers or power[1][0] in [v for v, _ in powers.values()]:
                return None
            powers[power[0]] = power[1]
        if len(amplitudes) != 1:
            return None
        terms.append(Term(amplitudes[0], powers))
    exponents = {e for t in terms for e in t.powers}
    of = {e: {t.powers[e][0] for t in terms if e in t.powers} for e in exponents}
    amplitude_names = [t.amplitude for t in terms]
    if len(set(amplitude_names)) < len(terms) or exponents & set(amplitude_names) or len(exponents) > EXPONENTS:
        return None
    if not exponents or sum(not t.powers for t in terms) > 1 or any(len(v) > len(variables) for v in of.values()):
        return None
    return tuple(sorted(terms, key=lambda t: bool(t.powers)))


def _summands(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*_summands(node.left), *_summands(node.right)]
    return _summands(node.operand) if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd) else [node]


def _factors(node: ast.expr, sign: int = 1) -> list[tuple[ast.expr, int]]:
    """Factors of a product, each with 1, or -1 where it divides."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        other = sign if isinstance(node.op, ast.Mult) else -sign
        return [*_factors(node.left, sign), *_factors(node.right, other)]
    return [(node, sign)]


def _power(node: ast.expr, sign: int, variables: tuple[str, ...]) -> tuple[str, tuple[str, int]] | None:
    """Exponent, variable and sign of ``variable**-exponent`` (or a divisor ``variable**exponent``), which falls."""
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and isinstance(node.left, ast.Name)):
        return None
    exponent = node.right
    while isinstance(exponent, ast.UnaryOp):
        sign, exponent = (-sign if isinstance(exponent.op, ast.USub) else sign), exponent.operand
    if node.left.id not in variables or not isinstance(exponent, ast.Name) or exponent.id in variables or sign > 0:
        return None
    return exponent.id, (node.left.id, -1)


def _same_terms(one: tuple[Term, ...], other: tuple[Term, ...]) -> bool:
    def told(terms: tuple[Term, ...]) -> set[Any]:
        return {(t.amplitude, frozenset(t.powers.items())) for t in terms}

    return told(one) == told(other)


@lru_cache(maxsize=64)
def _evaluator(text: str, variables: tuple[str, ...], coefficients: tuple[str, ...]) -> Callable[..., Any]:
    """The formula as a law's function, through lmfit's expression model; what cannot be reckoned is NaN.

    Names are replaced (x0, c0), so that none meets one that asteval knows; numbers are floats.
    """
    renamed = {v: f"x{i}_" for i, v in enumerate(variables)} | {c: f"c{i}_" for i, c in enumerate(coefficients)}
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = renamed.get(node.id, node.id)
        elif isinstance(node, ast.Constant):
            node.value = float(node.value)  # type: ignore[arg-type]
    expression = ast.unparse(tree)
    models: list[Any] = []

    def function(*x: Any, **c: Any) -> Any:
        if not models:
            from lmfit.models import ExpressionModel

            models.append(ExpressionModel(expression, independent_vars=[renamed[v] for v in variables]))
        given = {renamed[v]: np.asarray(z) for v, z in zip(variables, x, strict=True)}
        given |= {renamed[name]: np.asarray(value) for name, value in c.items()}
        models[0].asteval.error = []  # of an evaluation before; it would spoil this one
        try:
            with np.errstate(all="ignore"):
                answer = models[0].func(**given)
        except (RuntimeError, ArithmeticError, ValueError):
            answer = None
        return np.full(np.broadcast_shapes(*(v.shape for v in given.values())), np.nan) if answer is None else answer

    return function
