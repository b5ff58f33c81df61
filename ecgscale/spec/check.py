"""Mistakes in a sweep file that can be seen without running it: all of them at once, with the nearest right name."""

import ast
import dataclasses
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from ecgscale.data.corpus import Slice
from ecgscale.models import ARCHITECTURES, Codebook
from ecgscale.objectives import OBJECTIVES
from ecgscale.phrases import did_you_mean
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.tasks import Task

_NAMES = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", NoneType: "None"}


def mistakes(source: str) -> list[str]:
    """One sentence for every field that a description does not have, and every literal that is of a wrong type.

    Raises SyntaxError for what is no Python.
    """
    described: dict[str, type] = {cls.__name__: cls for cls in (*ARCHITECTURES.values(), *OBJECTIVES.values())}
    described |= {cls.__name__: cls for cls in (Slice, Codebook, Schedule, Evaluation, Run, Task)}
    nodes = list(ast.walk(ast.parse(source)))
    for node in nodes:  # what only has the name of ours
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            described.pop(node.name, None)
        elif isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("ecgscale"):
            for alias in node.names:
                described.pop(alias.asname or alias.name, None)
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    found: list[tuple[int, str]] = []
    for call in calls:
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if name in described:
            found += [(argument.lineno, text) for argument, text in _wrong(described[name], call)]
    return [f"line {line}: {text}" for line, text in sorted(found)]


def _wrong(cls: type, call: ast.Call) -> list[tuple[ast.expr, str]]:
    hints, names = get_type_hints(cls), [field.name for field in dataclasses.fields(cls) if field.init]
    given = [(name, value) for name, value in zip(names, call.args, strict=False) if not isinstance(value, ast.Starred)]
    given += [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg is not None]
    wrong = []
    for name, value in given:
        if name not in names:
            wrong.append((value, f"{cls.__name__} has no field {name!r}{did_you_mean(name, names)}"))
        elif isinstance(value, ast.Constant):
            kinds = _plain(hints[name])
            fits = type(value.value) in kinds or (type(value.value) is int and float in kinds)
            if kinds and not fits:
                expected = " or ".join(_NAMES[kind] for kind in kinds)
                wrong.append((value, f"{cls.__name__}.{name} is {value.value!r}, expected {expected}"))
    return wrong


def _plain(hint: Any) -> list[type]:
    """The plain types that a field may hold; none if it holds something else."""
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    return list(kinds) if all(kind in _NAMES for kind in kinds) else []
