"""Words about an error as they may be saved: of an absolute path only its last part."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def describe_error(error: BaseException, *roots: Path) -> str:
    """An error in one line; what lies below ``roots`` is named from there."""
    if isinstance(error, OSError) and error.strerror:
        name = f": {Path(str(error.filename)).name}" if error.filename else ""
        return f"{type(error).__name__}: {error.strerror}{name}"
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    return without_paths(text, *roots)


def without_paths(text: str, *roots: Path) -> str:
    """A text in which no absolute path is left."""
    for root in (*(root.resolve() for root in roots), *_usual_roots()):
        text = text.replace(f"{root}/", "")
    text = re.sub(r"""(['"])/(?:[^'"]*/)?([^/'"]*)\1""", r"\1\2\1", text)  # quoted: spaces are part of a path
    return re.sub(r"(?<![\w.])/(?:[^\s'\":,;/]+/)*([^\s'\":,;/]+)", r"\1", text)


def _usual_roots() -> Iterator[Path]:
    """The current folder and the user's, as far as there are any."""
    for root in (Path.cwd, Path.home):
        with suppress(OSError, RuntimeError):
            yield root().resolve()
