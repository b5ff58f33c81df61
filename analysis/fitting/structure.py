"""How each coefficient enters a formula: linearly, as an exponent, or as a scale that a variable is measured by."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Role:
    """``kind``: "linear" (not negative), "signed" (linear, of either sign), "exponent" (of a power that falls with its
    variable), "signed exponent" (the formula does not say which way), or "scale", a positive number in units of
    ``unit`` ("N", "1/N", or "" for a plain number)."""

    kind: str
    unit: str = ""


@dataclass
class _Seen:
    linear: bool
    exponent: bool
    falls: bool
    unit: str


def roles_of(tree: ast.expr, variables: Sequence[str], coefficients: Sequence[str]) -> dict[str, Role]:
    """The role of each coefficient.

    Linear are those that stand once, in sums and products alone; of two that multiply each other the first. Where a
    formula calls a function of a column (``a + b*log(N)``), linear coefficients may have either sign.
    """
    seen: dict[str, list[_Seen]] = {c: [] for c in coefficients}
    known = set(variables)

    def reads(node: ast.AST) -> list[str]:
        return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in known]

    def measured(node: ast.AST) -> list[str]:
        """Variables whose units a node has: not those inside a logarithm or another function."""
        if isinstance(node, ast.Call):
            return []
        return (
            reads(node) if isinstance(node, ast.Name) else [v for n in ast.iter_child_nodes(node) for v in measured(n)]
        )

    def upside_down(node: ast.AST) -> bool:
        """Whether the variables of a base stand in its denominator: (A/N)**alpha falls."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return bool(reads(node.right)) and not reads(node.left)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
            negative = isinstance(node.right, ast.UnaryOp) and isinstance(node.right.op, ast.USub)
            return upside_down(node.left) != negative
        parts = [n for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr) and reads(n)]
        return bool(parts) and all(upside_down(n) for n in parts)

    def visit(node: ast.AST, linear: bool, exponent: bool, falls: bool, unit: str) -> None:
        if isinstance(node, ast.Name):
            if node.id in seen:
                seen[node.id].append(_Seen(linear, exponent, falls, unit))
        elif isinstance(node, ast.UnaryOp):
            visit(node.operand, linear, exponent, falls != (exponent and isinstance(node.op, ast.USub)), unit)
        elif isinstance(node, ast.Call):
            for argument in node.args:
                visit(argument, False, exponent, falls, unit)
        elif isinstance(node, ast.BinOp):
            left, right = reads(node.left), reads(node.right)
            if isinstance(node.op, ast.Pow):
                visit(node.left, False, exponent, falls, unit)
                raised = bool(left)
                turned = falls != upside_down(node.left) if raised else falls
                visit(node.right, False, exponent or raised, turned, unit)
                return
            minus, over = isinstance(node.op, ast.Sub), isinstance(node.op, ast.Div)
            inverse = "1/" if isinstance(node.op, ast.Mult) else ""
            beside_left = inverse + units[0] if (units := measured(node.right)) and not left else unit
            beside_right = inverse + units[0] if (units := measured(node.left)) and not right else unit
            visit(node.left, linear, exponent, falls, beside_left)
            inside = falls != (exponent and minus) if exponent else falls != over
            visit(node.right, linear and not over, exponent, inside, beside_right)

    visit(tree, True, False, False, "")
    called = any(isinstance(n, ast.Call) and reads(n) for n in ast.walk(tree))
    taken: set[str] = set()
    roles: dict[str, Role] = {}
    for name in coefficients:
        places = seen[name]
        if len(places) == 1 and places[0].linear and not _multiplied(tree, name, taken):
            taken.add(name)
            roles[name] = Role("signed" if called else "linear")
        elif any(p.exponent for p in places):
            roles[name] = Role("exponent" if all(p.falls for p in places if p.exponent) else "signed exponent")
        else:
            roles[name] = Role("scale", places[0].unit)
    return roles


def _multiplied(tree: ast.expr, name: str, others: set[str]) -> bool:
    """Whether a coefficient stands in a product with one of the others."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
            left, right = (
                {n.id for n in ast.walk(side) if isinstance(n, ast.Name)} for side in (node.left, node.right)
            )
            if (name in left and others & right) or (name in right and others & left):
                return True
    return False


def ratio_of_units(unit: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Variables above and below the line of a unit: "N/U" -> (N), (U); "1/N" -> (), (N); "" -> (), ()."""
    above, _, below = unit.partition("/")
    return tuple(v for v in (above,) if v not in ("", "1")), tuple(v for v in (below,) if v)
