"""A run read back from its description, so that tests can say that the description loses nothing."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, cast

from ecgscale.data.corpus import Slice
from ecgscale.models import ARCHITECTURES, Architecture, Codebook
from ecgscale.objectives import OBJECTIVES, Objective, Supervised
from ecgscale.spec.run import Evaluation, Run, Schedule

_KINDS: dict[type, Mapping[str, type]] = {
    cast(type, Architecture): ARCHITECTURES,
    cast(type, Objective): OBJECTIVES,
}
_SAID = ("kind", "revision")  # of the class, not of a field
_PARTS = (Slice, Schedule, Evaluation, Codebook, Run, Supervised)


def described(text: str) -> Run:
    """The run that a description describes: the inverse of ``Run.description``."""
    return cast(Run, _built(Run, json.loads(text)))


def _built(cls: type, value: dict[str, Any]) -> Any:
    types = {field.name: field.type for field in fields(cls)}
    return cls(
        **{name: _value(cls, name, types[name], content) for name, content in value.items() if name not in _SAID}
    )


def _value(cls: type, name: str, expected: Any, content: Any) -> Any:
    if isinstance(content, dict) and expected in _KINDS:
        return _built(_KINDS[expected][content["kind"]], content)
    if isinstance(content, dict):
        return _built(Run if cls is Run and name == "initial" else next(p for p in _PARTS if p is expected), content)
    return _tuples(content)


def _tuples(content: Any) -> Any:
    return tuple(_tuples(part) for part in content) if isinstance(content, list) else content
