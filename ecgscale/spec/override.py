"""Changing fields of a sweep's runs by name: the result is other runs, under ids of their own."""

import dataclasses
from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Any, get_args, get_type_hints

from ecgscale.spec.run import did_you_mean
from ecgscale.spec.sweep import Sweep


def set_fields(sweep: Sweep, changes: Sequence[str]) -> Sweep:
    """The sweep with FIELD=VALUE set in every run that has the field, for example ``schedule.steps=100`` or ``seed=1``.

    Raises ValueError that names every change which no run can take, and the nearest field there is.
    """
    fields = {name: type_ for run in sweep.runs for name, type_ in fields_of(run)}
    wrong, settings = [], {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            wrong.append(f"--set {change!r}: write FIELD=VALUE, for example schedule.steps=100")
        elif name not in fields:
            near = [known for known in fields if known.rpartition(".")[2] == name]
            hint = f"; did you mean {near[0]!r}?" if near else did_you_mean(name, fields)
            wrong.append(f"--set {change!r}: runs have no field {name!r}{hint}")
        else:
            try:
                settings[name] = _parsed(text, fields[name])
            except ValueError as error:
                wrong.append(f"--set {change!r}: {name} is {text!r}, expected {error}")
    if wrong:
        raise ValueError("; ".join(wrong))
    try:
        runs = tuple(dict.fromkeys(_changed(run, settings) for run in sweep.runs))
    except ValueError as error:
        raise ValueError(f"--set {' '.join(changes)}: {error}") from None
    return dataclasses.replace(sweep, runs=runs)


def fields_of(part: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and types of all fields of a run that hold one value."""
    hints = get_type_hints(type(part))
    for field in dataclasses.fields(part):
        content = getattr(part, field.name)
        if dataclasses.is_dataclass(content):
            yield from fields_of(content, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, hints[field.name]


def _changed(part: Any, settings: dict[str, Any], prefix: str = "") -> Any:
    own = {name for name, _ in fields_of(part, prefix)} & set(settings)
    if not own:
        return part
    new: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        name, content = prefix + field.name, getattr(part, field.name)
        if dataclasses.is_dataclass(content):
            new[field.name] = _changed(content, settings, f"{name}.")
        elif name in settings:
            new[field.name] = settings[name]
    return dataclasses.replace(part, **new)


def _parsed(text: str, type_: Any) -> Any:
    """A value of this type, as typed on a command line. Raises ValueError saying what is expected."""
    choices = get_args(type_) if isinstance(type_, UnionType) else (type_,)
    if NoneType in choices and text.lower() == "none":
        return None
    if bool in choices and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        if kind in choices:
            try:
                return kind(text)
            except ValueError:
                continue
    if str in choices:
        return text
    names = {int: "a whole number", float: "a number", bool: "true or false", NoneType: "none"}
    raise ValueError(" or ".join(names.get(kind, str(kind)) for kind in choices))
