"""Mistakes in a sweep file that can be seen without running it: all of them at once, with the nearest right name."""

import ast
from dataclasses import fields

from ecgscale.data.corpus import Slice
from ecgscale.models import ARCHITECTURES, Codebook
from ecgscale.objectives import OBJECTIVES
from ecgscale.phrases import did_you_mean
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.tasks import Task
from ecgscale.spec.types import hints, misfit


def mistakes(source: str, *others: type) -> list[str]:
    """One sentence for every field that a description does not have, and every literal that is of a wrong type.

    ``others`` are dataclasses that a file may use beside the parts of a run. Raises SyntaxError for what is no Python.
    """
    described: dict[str, type] = {cls.__name__: cls for cls in (*ARCHITECTURES.values(), *OBJECTIVES.values())}
    described |= {cls.__name__: cls for cls in (Slice, Codebook, Schedule, Evaluation, Run, Task, *others)}
    nodes = list(ast.walk(ast.parse(source)))
    ours = dict(described)
    for node in nodes:  # what only has the name of ours, and ours under other names
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            described.pop(node.name, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                described.pop(alias.asname or alias.name, None)
                if (node.module or "").startswith("ecgscale") and alias.name in ours:
                    described[alias.asname or alias.name] = ours[alias.name]
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    found: list[tuple[int, str]] = []
    for call in calls:
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if name in described:
            found += [(argument.lineno, text) for argument, text in _wrong(described[name], call)]
    return [f"line {line}: {text}" for line, text in sorted(found)]


def _wrong(cls: type, call: ast.Call) -> list[tuple[ast.expr, str]]:
    known = hints(cls)
    places = [one.name for one in fields(cls) if one.init and not one.kw_only]
    given = [(name, one) for name, one in zip(places, call.args, strict=False) if not isinstance(one, ast.Starred)]
    given += [(keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg is not None]
    wrong = []
    for name, value in given:
        if name not in known:
            wrong.append((value, f"{cls.__name__} has no field {name!r}{did_you_mean(name, known)}"))
        elif isinstance(value, ast.Constant) and (said := misfit(value.value, known[name])):
            wrong.append((value, f"{cls.__name__}.{name} {said}"))
    return wrong
