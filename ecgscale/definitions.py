"""A digest of the code that defines a class which is not ours: of its definition and all that this reaches.

It follows names through the modules beside a sweep file, or through the package that the class is installed with, so
that another run in the sweep file, a comment or a docstring changes nothing.
"""

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from ecgscale import beside
from ecgscale.records import canonical

_DIGITS = 16
_Place = tuple[str, str]  # a module and a name in it; "" stands for all of it


def code_facts(parts: Iterable[object]) -> dict[str, str]:
    """What a results file says of the code of values whose classes are not ours: a digest a class; or nothing."""
    classes = {type(part) for part in parts}
    found = {cls.__qualname__: digest(cls) for cls in classes if not cls.__module__.startswith("ecgscale.")}
    known = {name: text for name, text in found.items() if text}
    return {"own_code": canonical(known)} if known else {}


def digest(cls: type) -> str:
    """Of the definitions that a class consists of; "" if its source is not known, as in a notebook."""
    found: dict[tuple[str, str], None] = {}
    todo: list[_Place] = [(cls.__module__, cls.__qualname__.partition(".")[0])]
    seen, trees = set(todo), dict[str, ast.Module | None]()
    while todo:
        module, name = todo.pop()
        if module not in trees:
            trees[module] = _tree(module, cls)
        tree = trees[module]
        for node in tree.body if tree else ():
            if name and name not in _defined(node):
                continue
            found[module, ast.unparse(node)] = None
            for place in _reached(node, module):
                if place not in seen:
                    seen.add(place)
                    todo.append(place)
    text = "\n".join(f"{module}: {code}" for module, code in sorted(found))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] if found else ""


def _tree(module: str, cls: type) -> ast.Module | None:
    """The code of a module that belongs to a class' own, without docstrings."""
    source = beside.source(module)
    text = source.text if source else None
    if text is None and module.partition(".")[0] == cls.__module__.partition(".")[0]:
        text = _installed(module)
    if text is None:
        return None
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            body[:1] = [] if len(body) > 1 or isinstance(node, ast.Module) else [ast.Pass()]
    return tree


def _installed(module: str) -> str | None:
    try:
        known = sys.modules.get(module)
        spec = getattr(known, "__spec__", None) or find_spec(module)
        loader: Any = spec.loader if spec else None
        return loader.get_source(module) if loader else None
    except (ImportError, ValueError, AttributeError):
        return None


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _defined(node: ast.stmt) -> set[str]:
    """Names that a statement of a module gives a meaning to; of ``Net.forward = f`` it is Net."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    names: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in part.names}
        elif isinstance(part, ast.ClassDef | ast.FunctionDef):
            names.add(part.name)
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            names.add(part.id)
        elif isinstance(part, ast.Attribute | ast.Subscript) and isinstance(part.ctx, ast.Store):
            names |= {root.id for root in ast.walk(part) if isinstance(root, ast.Name)}
    return names


def _reached(node: ast.stmt, module: str) -> Iterator[_Place]:
    """What a statement speaks of: names of its module, and what it imports."""
    source: Any = beside.source(module)
    is_package = source.is_package if source else hasattr(sys.modules.get(module), "__path__")
    package = module if is_package else module.rpartition(".")[0]
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield module, part.id
        elif isinstance(part, ast.Import):
            yield from ((alias.name, "") for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - part.level + 1] if part.level else []
            base = ".".join([*above, *([part.module] if part.module else [])])
            for alias in part.names:
                yield base, "" if alias.name == "*" else alias.name
                yield f"{base}.{alias.name}", ""
