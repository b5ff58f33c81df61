"""A wish to pause that is heard in the midst of an evaluation: between its batches, steps of a probe, and replicates.

What is measured in pieces asks ``check_pause`` between them; who measures says by ``may_pause`` whom to ask.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Paused(Exception):
    """An evaluation was asked to stop; nothing of it counts."""


def _never() -> bool:
    return False


_asked: ContextVar[Callable[[], bool]] = ContextVar("asked", default=_never)


@contextmanager
def may_pause(asked: Callable[[], bool]) -> Iterator[None]:
    """Have ``check_pause`` raise Paused in this block as soon as ``asked`` says so."""
    before = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(before)


def check_pause() -> None:
    """Raise Paused if that is asked for."""
    if _asked.get()():
        raise Paused
