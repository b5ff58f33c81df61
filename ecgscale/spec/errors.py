"""What went wrong in a sweep file, in one sentence: where, what, and the nearest right name."""

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from ecgscale import beside
from ecgscale.phrases import did_you_mean
from ecgscale.spec.types import misfits

_UNKNOWN = re.compile(r"^([\w.<>]+)\(\) got an unexpected keyword argument '(\w+)'")
_LACKING = re.compile(r"^([\w.<>]+)\(\) missing \d+ required (?:positional|keyword-only) arguments?: (.+)$")
_MANY = re.compile(r"^([\w.<>]+)\(\) takes .*positional arguments? but (\d+) were given")


def described(error: BaseException, path: Path) -> str:
    """An error that arose in the code of a file or beside it, in one sentence: what, and in which line."""
    line = line_of(error, path).removeprefix(", ")
    return f"{type(error).__name__}: {what(error)}" + (f" ({line})" if line else "")


def what(error: BaseException) -> str:
    """An error in a sweep file as one sentence: about the fields of a description where it is about them."""
    frames = list(_frames(error))
    for frame in frames:  # a description that computed with a value of another type
        made = frame.f_locals.get("self")
        if frame.f_code.co_name == "__post_init__" and dataclasses.is_dataclass(made) and (wrong := misfits(made)):
            return "; ".join(wrong)
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (_of_call(said, frames) or _of_name(error, said, frames)) if frames else said


def line_of(error: BaseException, path: Path) -> str:
    """The line of the sweep file where an error arose, and that of the module beside it, if it arose there."""
    files = {source.file: Path(source.file).name for source in beside.open_sources().values()}
    files[str(path)] = ""
    lines: dict[str, int] = {}
    trace = error.__traceback__
    while trace:
        if (name := files.get(trace.tb_frame.f_code.co_filename)) is not None:
            lines[name] = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        lines[files.get(error.filename or "", "")] = error.lineno
    return "".join(f", {name}{' ' if name else ''}line {line}" for name, line in lines.items())


def _of_call(said: str, frames: list[FrameType]) -> str:
    """Arguments that what was called does not have, or lacks; "" if the error is about something else."""
    if not (found := _UNKNOWN.match(said) or _LACKING.match(said) or _MANY.match(said)):
        return ""
    called, of_call = _called(found[1], frames), found[1].removesuffix(".__init__")
    taken = inspect.signature(called).parameters.values() if called is not None else ()
    many = found.re is _MANY  # by place
    names = [one.name for one in taken if not (many and one.kind is one.KEYWORD_ONLY)]
    kind = "field" if isinstance(called, type) else "argument"
    if found.re is _UNKNOWN:
        return f"{of_call} has no {kind} {found[2]!r}{did_you_mean(found[2], names) if names else ''}"
    if found.re is _LACKING:
        return f"{of_call} is not given its {kind}{'s' * (' and ' in found[2])} {found[2]}"
    n_given = int(found[2]) - (of_call != found[1])  # without self
    return f"{of_call} has {len(names)} {kind}s ({', '.join(names)}), and is given {n_given}" if names else ""


def _of_name(error: BaseException, said: str, frames: list[FrameType]) -> str:
    """The sentence of an error, and where it is about a name that is not there the nearest that is."""
    if isinstance(error, NameError) and error.name:
        return said + _near(error.name, {*frames[0].f_locals, *frames[0].f_globals})
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        return said + _near(str(error.name), dir(error.obj))
    if isinstance(error, ImportError) and (found := re.match(r"cannot import name '(\w+)' from '([\w.]+)'", said)):
        return found[0] + _near(found[1], dir(sys.modules.get(found[2])))  # without the path of the module's file
    return said


def _near(name: str, names: Any) -> str:
    found = did_you_mean(name, [one for one in names if not one.startswith("_")])
    return found if "did you mean" in found else ""


def _called(name: str, frames: list[FrameType]) -> Any:
    """The class or function of this qualified name that code of these frames could see; None if it is not found."""
    name = name.removesuffix(".__init__")
    for frame in frames:
        seen = [*frame.f_locals.values(), *frame.f_globals.values()]
        of_modules = [thing for module in seen if isinstance(module, ModuleType) for thing in vars(module).values()]
        for thing in (*seen, *(type(one) for one in seen), *of_modules):
            if callable(thing) and getattr(thing, "__qualname__", "") == name:
                return thing
    return None


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Where an error arose, and what called that, from within outwards."""
    trace, found = error.__traceback__, []
    while trace:
        found.append(trace.tb_frame)
        trace = trace.tb_next
    return reversed(found)
