"""A reader of one's own in a Python file that is given by its path: two functions, and no fork of anything."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ecgscale.data.dataset import Dataset, Index
from ecgscale.data.own.completed import with_derived
from ecgscale.data.own.described import described
from ecgscale.data.own.said import KNOWN_LEADS
from ecgscale.data.recording import LEADS, Recording
from ecgscale.phrases import did_you_mean

_EINTHOVEN = 0.05


@dataclass(frozen=True)
class ScriptReader:
    """The functions of a reader's file; its text travels to other processes, which execute it once."""

    text: str
    name: str

    def index(self, raw: Path) -> Index:
        found = self._function("index")(raw)
        if not isinstance(found, Index):
            raise TypeError(f"index() of {self.name} gives {type(found).__name__}, not an ecgscale.data.Index")
        return found

    def load(self, raw: Path, where: str) -> Recording:
        found = self._function("load")(raw, where)
        if not isinstance(found, Recording):
            raise TypeError(f"load() of {self.name} gives {type(found).__name__}, not an ecgscale.data.Recording")
        return with_derived(found)

    def _function(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(_module(self.text, self.name), name)
        return found


@lru_cache(maxsize=8)
def _module(text: str, name: str) -> ModuleType:
    module = ModuleType(Path(name).stem)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


def dataset(name: str, file: Path, raw: Path) -> Dataset:
    """The dataset of a reader's file: index(raw), load(raw, where), and at will LEADS, EINTHOVEN, WINDOW, RECIPE.

    Raises ValueError in one sentence for a file that is no such reader, FileNotFoundError if it is not there.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no reader {file.name!r}: --reader is 'table', or the path of a Python file")
    text = file.read_text(encoding="utf-8")
    try:
        module = _module(text, file.name)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{file.name} cannot be executed ({type(error).__name__}: {_line(error)})") from None
    for wanted in ("index", "load"):
        if not callable(getattr(module, wanted, None)):
            raise ValueError(f"{file.name} has no function {wanted}(); a reader has index(raw) and load(raw, where)")
    leads = tuple(getattr(module, "LEADS", LEADS))
    for lead in leads:
        if lead not in KNOWN_LEADS:
            raise ValueError(f"LEADS of {file.name}: no lead {lead!r}{did_you_mean(str(lead), KNOWN_LEADS)}")
    window = getattr(module, "WINDOW", "centre")
    if window not in ("centre", "start"):
        raise ValueError(f"WINDOW of {file.name} is {window!r}; it is 'centre' or 'start'")
    checked = _EINTHOVEN if getattr(module, "EINTHOVEN", True) and leads == LEADS else None
    reader = ScriptReader(text, file.name)
    what = {"reader": file.name, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    try:
        index = reader.index(raw) if raw.is_dir() else None
    except (OSError, ValueError):
        raise
    except Exception as error:
        raise ValueError(f"index() of {file.name} ends in {type(error).__name__}: {_line(error)}") from None
    recipe = getattr(module, "RECIPE", None)
    return described(name, reader, what, leads=leads, einthoven=checked, index=index, recipe=recipe, window=window)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]
