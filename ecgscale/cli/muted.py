"""A while in which a library may print whatever it likes, and only what this house says reaches the terminal."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from ecgscale.cli.terminal import err

_MOST = 20_000  # characters of what was printed that an error carries
_STREAMS = (1, 2)


@contextmanager
def muted() -> Iterator[None]:
    """Keep from stdout and stderr all that is printed but what ``say`` says, also by the C++ of a library.

    An error that leaves this block carries what was printed, as a note: it stands in its traceback, and so in the log.
    After one the C++ stays unheard, for its threads may go on while this process ends.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    before = sys.stdout, sys.stderr, err()._file
    copies = [_copy_of(sys.stdout), _copy_of(sys.stderr)]
    saved = {number: _duplicate(number) for number in _STREAMS}
    with tempfile.TemporaryFile("w+", errors="replace") as printed:
        try:
            for number in _STREAMS:
                os.dup2(printed.fileno(), number)
            sys.stdout = sys.stderr = open(os.dup(printed.fileno()), "w", buffering=1, errors="replace")  # noqa: SIM115
            err().file = copies[1]
            yield
        except BaseException as error:
            with suppress(OSError, ValueError):
                sys.stderr.flush()
                printed.seek(0)
                if said := printed.read()[-_MOST:].strip():
                    error.add_note(f"Meanwhile was printed:\n{said}")
            for number in _STREAMS:
                if copies[number - 1] is not before[number - 1]:
                    _lead(number, None)
                    saved.pop(number)
            before = copies[0], copies[1], before[2]
            raise
        finally:
            sys.stdout, sys.stderr, err()._file = before
            for number, copy in saved.items():
                _lead(number, copy)


def _lead(number: int, to: int | None) -> None:
    """Have a stream's number lead where another does, which is closed; or nowhere."""
    to = os.open(os.devnull, os.O_WRONLY) if to is None else to
    os.dup2(to, number)
    os.close(to)


def _copy_of(stream: TextIO) -> TextIO:
    """Where a stream leads, also when its number leads elsewhere; what is no file stays what it is."""
    try:
        number = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return stream
    if number not in _STREAMS:
        return stream
    return open(os.dup(number), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)


def _duplicate(number: int) -> int | None:
    """A copy of a stream's number; None for one that is closed."""
    try:
        return os.dup(number)
    except OSError:
        return None
