"""A sweep file and the modules beside it: imported from their folder, and carried as text to every process and node.

One folder at a time is open: its modules are importable under their plain names, those of others are put away, so that
two folders that each have a ``mymodel.py`` do not mix. What a sweep file does not import is never imported by others.
"""

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.abc import ExecutionLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import decode_source, find_spec, module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

_PREFIX = "sweep_"  # of the module that a sweep file becomes: a sweep may be called like a library
_TAKEN = {*sys.stdlib_module_names, "ecgscale"}


@dataclass(frozen=True)
class Source:
    """The text of a module, the file that it came from, and whether it is a package."""

    text: str
    file: str
    is_package: bool = False


Sources = Mapping[str, Source]
NOTHING: Sources = {}  # a mapping that can be sent to a child


@dataclass
class _Folder:
    """A folder of modules: their sources, those that were imported, and other people's that they hide while open."""

    sources: dict[str, Source] = field(default_factory=dict)
    modules: dict[str, ModuleType] = field(default_factory=dict)
    hidden: dict[str, ModuleType] = field(default_factory=dict)


class _Finder(MetaPathFinder):
    """Finds the modules of the folder that is open, before anything else does."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if _open is None or fullname not in _open.sources:
            return None
        source = _open.sources[fullname]
        return spec_from_loader(fullname, _Loader(_open, source), is_package=source.is_package)


class _Loader(ExecutionLoader):
    def __init__(self, folder: _Folder, source: Source) -> None:
        self.folder, self.source = folder, source

    def get_filename(self, fullname: str) -> str:
        return self.source.file

    def get_source(self, fullname: str) -> str:
        return self.source.text

    def is_package(self, fullname: str) -> bool:
        return self.source.is_package

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.source.text, self.source.file)

    def exec_module(self, module: ModuleType) -> None:
        with kept():  # a sweep file may load others, of other folders
            self.folder.modules[module.__name__] = module
            super().exec_module(module)


_folders: dict[str, _Folder] = {}
_open: _Folder | None = None
_finder = _Finder()


def executed(path: Path) -> ModuleType:
    """A sweep file as a module, executed anew; modules beside it are those of earlier sweeps if no file has changed.

    Raises ValueError if it imports a module from beside it that is called like one of Python's or of ours, and
    whatever the file raises.
    """
    _show(None)
    name, at = name_of(path.stem), path.resolve().parent
    found = dict(_reached(at, name, Source(_text(path), str(path))))
    folder = _folders.setdefault(str(at), _Folder())
    beside = found.keys() - {name}
    if any(folder.sources.get(one, found[one]) != found[one] for one in beside):
        folder.modules.clear()
    there = {one: source for one, source in folder.sources.items() if not source.text or Path(source.file).is_file()}
    folder.sources = there | found
    _show(folder)
    spec = _finder.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def sweep_files() -> dict[str, Path]:
    """Files that define sweeps, by their stems: those of ./sweeps, and those of the package that have other names."""
    folders = (Path(__file__).parent / "sweeps", Path("sweeps"))
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}


def name_of(stem: str) -> str:
    """What the module of a sweep file is called."""
    return _PREFIX + stem


@contextmanager
def kept() -> Iterator[None]:
    """Whatever is loaded meanwhile, the folder that is open now is open afterwards."""
    before = _open
    try:
        yield
    finally:
        if before is not None:
            _show(before)


def sources_of(classes: Iterable[type]) -> Sources:
    """What another process needs to know these classes: the sources of the folder that they come from, if any does.

    That folder is open from now on.
    """
    for cls in classes:
        for folder in _folders.values():
            if _comes_from(cls, folder):
                _show(folder)
                return dict(folder.sources)
    return NOTHING


def open_sources() -> Sources:
    """The sources of the folder that is open."""
    return dict(_open.sources) if _open else NOTHING


def receive(sources: Sources) -> None:
    """Make modules that another process has sent importable in this one, which may lack their files."""
    if sources:
        _show(_folders.setdefault("", _Folder(dict(sources))))


def source(module: str) -> Source | None:
    """The source of a module of the open folder."""
    return _open.sources.get(module) if _open else None


def _comes_from(cls: type, folder: _Folder) -> bool:
    found: Any = folder.modules.get(cls.__module__)
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls


def _show(folder: _Folder | None) -> None:
    """Open a folder, and put away the modules of the one that was."""
    global _open
    if folder is _open:
        return
    if _open is not None:
        for name, module in _open.modules.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
        sys.modules.update(_open.hidden)
        _open.hidden.clear()
    _open = folder
    if folder is not None:
        if _finder not in sys.meta_path:
            sys.meta_path.insert(0, _finder)
        for name in folder.sources:
            if name in sys.modules:
                folder.hidden[name] = sys.modules.pop(name)
        sys.modules.update(folder.modules)


def _reached(folder: Path, name: str, source: Source) -> Iterator[tuple[str, Source]]:
    """A module and those of its folder that it imports, anywhere in it, with what those import."""
    todo, seen = [(name, source)], {name}
    while todo:
        name, source = todo.pop()
        yield name, source
        for line, wanted in _imports(name, source):
            found = None if wanted in seen else _file(folder, wanted)
            if found is None:
                continue
            seen.add(wanted)
            if _is_taken(wanted, found):
                raise ValueError(
                    f"{Path(source.file).name} imports {wanted} in line {line}, which is a module of Python or "
                    "ecgscale and a file beside it too; rename that file"
                )
            if wanted.partition(".")[0] not in _TAKEN:
                todo.append((wanted, found))


def _is_taken(name: str, found: Source) -> bool:
    """Whether a file has the name of a module of Python or of ours, and is not that module."""
    if name not in _TAKEN or not found.text:
        return False
    known = find_spec(name)
    return known is None or not known.origin or Path(known.origin).resolve() != Path(found.file).resolve()


def _imports(name: str, source: Source) -> Iterator[tuple[int, str]]:
    """Every module that a source may import, packages before what is in them, with the line."""
    try:
        nodes = list(ast.walk(ast.parse(source.text)))
    except SyntaxError:
        return  # whoever imports it hears of it
    package = name if source.is_package else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            dotted = [f"{base}.{alias.name}" for alias in node.names] if base else []
        else:
            continue
        for one in dotted:
            parts = one.split(".")
            yield from ((node.lineno, ".".join(parts[:n])) for n in range(1, len(parts) + 1))


def _file(folder: Path, name: str) -> Source | None:
    """The source of a module below a folder; that of a package without ``__init__`` is empty."""
    place = folder.joinpath(*name.split("."))
    for file, is_package in ((place / "__init__.py", True), (place.with_suffix(".py"), False)):
        if file.is_file():
            return Source(_text(file), str(file), is_package)
    return Source("", str(place / "__init__.py"), True) if any(place.glob("*.py")) else None


def _text(path: Path) -> str:
    return decode_source(path.read_bytes())
