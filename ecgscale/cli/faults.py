"""What people see when something is wrong: one sentence and a code; of what nobody foresaw the rest is in a log."""

import dis
import errno
import os
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from ecgscale.cli.terminal import where
from ecgscale.redact import without_paths

FAILED, USAGE, REFUSED = 1, 2, 3
_HOUSE = tuple(str(Path(__file__).parents[2] / room) + os.sep for room in ("ecgscale", "analysis"))
_LENGTH = 300  # of a library's sentence
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNFIT = FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError


class Refused(Exception):
    """A guard said no; exit code 3."""


def told(error: BaseException, home: Path | None) -> tuple[str, int]:
    """The sentence about an error and the exit code; the traceback of one that nobody foresaw goes to a log in home.

    Foreseen is what a line of this house raises as a refusal, a ValueError or a RuntimeError, a full disk, and what the
    system says of a place that was typed or is home. All else is not, with or without words of its own: its code is 1.
    """
    if isinstance(error, Refused):
        return f"refused: {error}", REFUSED
    if isinstance(error, OSError) and error.errno in _FULL:
        name = f" ({where(Path(os.fsdecode(error.filename)))})" if error.filename else ""
        return f"the disk is full{name}; make room, then the same command goes on", FAILED
    ours = _is_ours(error)
    if isinstance(error, OSError) and (_is_chosen(error, home) if error.errno else ours):
        return _sentence(error), USAGE if isinstance(error, _UNFIT) else FAILED
    if isinstance(error, ValueError) and ours:
        return _sentence(error), USAGE
    if isinstance(error, RuntimeError) and ours and error.__cause__ is None:
        return _sentence(error), FAILED
    return f"{_unforeseen(error, ours)}; how it came to this is in {log(error, home)}", FAILED


def log(error: BaseException, home: Path | None) -> str:
    """Write the traceback of an error into home's logs, or where that cannot be into a temporary folder; its name.

    Of absolute paths only the last part is written, and of an error in somebody's data only its kind.
    """
    lines = traceback.format_exception(error)
    if _reads_patients():
        steps = traceback.format_tb(error.__traceback__)
        lines = ["Traceback (most recent call last):\n", *steps, f"{type(error).__name__}\n"]
    text = f"ecgscale {' '.join(sys.argv[1:2])}\n{without_paths(''.join(lines), *filter(None, [home]))}"
    try:
        return _kept(text, home / "logs" / "faults" if home else None)
    except OSError:
        try:
            return _kept(text, None)
        except OSError:
            return "no log, for nothing can be written"


def _kept(text: str, folder: Path | None) -> str:
    """Write a log into a folder, or into a new temporary one that is this user's alone; its name."""
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="ecgscale-fault-"))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    file.write_text(text)
    return where(file)


def _unforeseen(error: BaseException, ours: bool) -> str:
    """What nobody foresaw, as one sentence."""
    leases = sys.modules.get("ecgscale.leases")  # not loaded: not lost
    if leases and isinstance(error, leases.Lost):
        return f"{error}; what is measured is kept, watch it with: ecgscale status"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this"
    if isinstance(error, SystemExit):
        return "something called exit in the middle of it"
    if (isinstance(error, RuntimeError) and ours) or (isinstance(error, OSError) and error.strerror):
        return _sentence(error)
    if isinstance(error, ImportError) and (lacking := unmet()):
        return f"{'; '.join(lacking)}; what was installed later may have replaced it, so install ecgscale again"
    words = f": {_sentence(error)}" if str(error) and not _reads_patients() else ""
    return f"something that nobody foresaw: {type(error).__name__}{words}"


def unmet() -> list[str]:
    """Packages that are not in the version that ecgscale needs, each in words; none if all are."""
    from importlib.metadata import PackageNotFoundError, requires, version

    found = []
    with suppress(PackageNotFoundError, ImportError):
        from packaging.requirements import Requirement

        for needed in map(Requirement, requires("ecgscale") or ()):
            if needed.marker and not needed.marker.evaluate({"extra": ""}):
                continue
            try:
                here = version(needed.name)
            except PackageNotFoundError:
                found.append(f"ecgscale needs {needed.name}{needed.specifier}, which is not installed")
                continue
            if not needed.specifier.contains(here, prereleases=True):
                found.append(f"ecgscale needs {needed.name}{needed.specifier}, and {here} is installed")
    return found


def _reads_patients() -> bool:
    """Whether the command reads raw data, so that the words of an error may be those of a table of patients."""
    return "data" in sys.argv[1:2]


def _is_ours(error: BaseException) -> bool:
    """Whether a line of this house says ``raise``, and not a library's, or the interpreter at a line of ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not trace.tb_frame.f_code.co_filename.startswith(_HOUSE):
        return False
    at = (step.opname for step in dis.get_instructions(trace.tb_frame.f_code) if step.offset == trace.tb_lasti)
    return next(at, "") == "RAISE_VARARGS"


def _is_chosen(error: OSError, home: Path | None) -> bool:
    """Whether the system says what people can mend: of a place that they typed, or in home or a results folder.

    A file that is missing in home or in results is not of this kind, for people put none there.
    """
    kinds = _UNFIT | PermissionError
    if not isinstance(error, kinds) or not isinstance(error.filename, str | bytes | os.PathLike):
        return False
    place, missing = _absolute(os.fsdecode(error.filename)), isinstance(error, FileNotFoundError)
    words = [word.partition("=")[2] if word.startswith("--") else word for word in sys.argv[1:]]
    typed = [_absolute(word) for word in words if word]
    kept = [_absolute("results"), *filter(None, [home])]
    return any(place.is_relative_to(one) for one in (typed if missing else [*typed, *kept])) or any(
        one.is_relative_to(place) for one in (*typed, *kept)
    )


def _absolute(name: str) -> Path:
    try:
        return Path(os.path.abspath(os.path.expanduser(name)))
    except OSError:  # the current folder is gone
        return Path(name)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else None
        if path and isinstance(error, NotADirectoryError | FileExistsError):
            for one in (path, *path.parents):
                if one.is_file():
                    return f"{where(one)} is a file, and has to be a folder"
        return error.strerror + (f": {where(path)}" if path else "")
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first if isinstance(error, ValueError | RuntimeError | OSError) else first[:_LENGTH]
