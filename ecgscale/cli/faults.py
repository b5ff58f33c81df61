"""What people see when something is wrong: one sentence and a code; of what nobody foresaw the rest is in a log."""

import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from ecgscale.cli.terminal import where
from ecgscale.redact import without_paths

FAILED, USAGE, REFUSED = 1, 2, 3
_HOUSE = tuple(str(Path(__file__).parents[2] / room) + os.sep for room in ("ecgscale", "analysis"))
_LENGTH = 300  # of a sentence


class Refused(Exception):
    """A guard said no; exit code 3."""


def told(error: BaseException, home: Path) -> tuple[str, int]:
    """The sentence about an error and the exit code; the traceback of one that nobody foresaw goes to a log in home.

    Foreseen is what this house raises itself as a refusal, a ValueError or a RuntimeError, and what the system says of
    a file.
    """
    from ecgscale.leases import Lost
    from ecgscale.records import FULL

    if isinstance(error, Refused):
        return f"refused: {error}", REFUSED
    if isinstance(error, Lost):
        return f"{error}; what is measured is kept, watch it with: ecgscale status", FAILED
    if isinstance(error, OSError) and error.errno in FULL:
        name = f" ({where(Path(os.fsdecode(error.filename)))})" if error.filename else ""
        return f"the disk is full{name}; make room, then the same command goes on", FAILED
    if isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError | FileExistsError):
        return _sentence(error), USAGE
    if isinstance(error, OSError) and error.strerror:
        return _sentence(error), FAILED
    if isinstance(error, ValueError) and _is_ours(error):
        return _sentence(error), USAGE
    if isinstance(error, RuntimeError | OSError) and _is_ours(error):
        return _sentence(error), FAILED
    if isinstance(error, MemoryError):
        what = "there is not enough memory for this"
    else:
        words = f": {_sentence(error)}" if str(error) else ""
        what = f"something that nobody foresaw: {type(error).__name__}{words}"
    return f"{what}; how it came to this is in {log(error, home)}", FAILED


def log(error: BaseException, home: Path) -> str:
    """Write the traceback of an error into home's logs, or where that cannot be into the temporary folder; its name.

    Of absolute paths only the last part is written, and of an error in somebody's data only its kind.
    """
    lines = traceback.format_exception(error)
    if "data" in sys.argv[1:2]:  # its words may be those of a table of patients
        lines = [*traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"]
    text = without_paths("".join(lines), home)
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    for folder in (home / "logs" / "faults", Path(tempfile.gettempdir()) / "ecgscale-faults"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"ecgscale {' '.join(sys.argv[1:2])}\n{text}")
        except OSError:
            continue
        return where(folder / name)
    return "no log, for nothing can be written"


def _is_ours(error: BaseException) -> bool:
    """Whether an error was raised by a line of this house, and not in the depths of a library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(_HOUSE)


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {where(Path(os.fsdecode(error.filename)))}" if error.filename else "")
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first if isinstance(error, ValueError | RuntimeError | OSError) else first[:_LENGTH]
