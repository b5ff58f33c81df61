"""One process at a time prepares a corpus of a home; from a dead one the next takes over."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ecgscale.leases import Claims, Heartbeat, Lost


class Busy(Exception):
    """Another process prepares the corpus."""


@contextmanager
def alone(home: Path, name: str) -> Iterator[Callable[[], None]]:
    """Hold the lease on corpus ``name``; gives a function to ask, before each write, whether it is still held.

    Raises Busy, and so does that function once another process holds it: this one must have stood still for long.
    """
    busy = Busy(f"another process is preparing {name} in this home; wait for it, or prepare it in another --home")
    lease = Claims(home / "leases", uuid.uuid4().hex).claim_patiently(name)
    if lease is None:
        raise busy

    def check() -> None:
        try:
            lease.check()
        except Lost:
            raise busy from None

    try:
        with Heartbeat(lease):
            yield check
    finally:
        lease.release()
