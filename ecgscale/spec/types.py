"""Whether fields of a description hold what their annotations say: a value of another type is named with its field."""

import dataclasses
import inspect
import types
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

PLAIN = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", types.NoneType: "None"}
_SHOWN = 60  # letters of a value in a sentence


def misfits(description: Any) -> list[str]:
    """One sentence for every field of a dataclass, and of those in it, that holds a value of another type."""
    return [
        f"{type(part).__name__}.{name} {said}"
        for part in _parts(description)
        for name, hint in hints(type(part)).items()  # type: ignore[arg-type]
        if (said := misfit(getattr(part, name), hint))
    ]


def misfit(value: Any, hint: Any) -> str:
    """What a field is and should be, in words; empty if a value is of the annotated type."""
    if fits(value, hint):
        return ""
    among = get_args(hint)
    if get_origin(hint) is tuple and isinstance(value, tuple) and among[-1] is Ellipsis:
        wrong = next(one for one in value if not fits(one, among[0]))
        return f"holds {shown(wrong)}, expected {expected(among[0])}"
    return f"is {shown(value)}, expected {expected(hint)}"


@cache
def hints(cls: type) -> dict[str, Any]:
    """Annotations of the fields of a dataclass; without those that name what is not there to be found."""
    try:
        known = get_type_hints(cls)
    except (NameError, TypeError, AttributeError):
        known = {}
    return {field.name: known.get(field.name, Any) for field in dataclasses.fields(cls) if field.init}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated type; of what is neither plain, a tuple nor a dataclass, any value is.

    A whole number is a number too, and true or false is neither.
    """
    origin, among = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in among)
    if origin is Literal:
        return value in among
    if hint is tuple or origin is tuple:
        if not isinstance(value, tuple) or not among:
            return isinstance(value, tuple)
        if among[-1] is Ellipsis:
            return all(fits(one, among[0]) for one in value)
        return len(value) == len(among) and all(map(fits, value, among))
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    described = dataclasses.is_dataclass(hint) and not inspect.isabstract(hint)  # what is abstract is looked at by Run
    return isinstance(value, hint) if described or hint in PLAIN else True


def expected(hint: Any) -> str:
    """A type in words.

    >>> expected(float | None), expected(tuple[int, ...]), expected(tuple[float, float])
    ('a number or None', 'a tuple, each a whole number', 'a tuple (a number, a number)')
    """
    origin, among = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(map(expected, among))
    if origin is Literal:
        return " or ".join(map(repr, among))
    if hint is tuple or origin is tuple:
        if among and among[-1] is Ellipsis:
            return f"a tuple, each {expected(among[0])}"
        return f"a tuple ({', '.join(map(expected, among))})" if among else "a tuple"
    return PLAIN.get(hint, f"a {getattr(hint, '__name__', hint)}")


def shown(value: Any) -> str:
    """A value as it is written, cut short, with its type where that cannot be seen.

    >>> shown("24"), shown(2.5), shown(range(3))
    ("'24'", '2.5', 'range(0, 3)')
    """
    name = type(value).__name__
    if dataclasses.is_dataclass(value):
        return f"a {name}"
    text = repr(value)
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return text if type(value) in PLAIN or isinstance(value, tuple | list) or name in text else f"{text} ({name})"


def _parts(description: Any) -> Iterator[Any]:
    yield description
    for field in dataclasses.fields(description):
        content = getattr(description, field.name, None)
        if dataclasses.is_dataclass(content) and not isinstance(content, type):
            yield from _parts(content)
