"""Waiting for a pool without trusting it: signals are heard at once, and services that are gone are noticed."""

import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from ecgscale.pool.slot import GRACE_SECONDS
from ecgscale.pool.states import Interrupted, Pause, PoolLost

WATCH_SECONDS = 0.5
_MISSES = 3  # in a row, after which a service is gone


def watched(
    work: Callable[[], Any],
    drain: Callable[[], None],
    watch: Callable[[], None],
    heard: Pause,
    services: Mapping[str, str],
) -> Any:
    """Do ``work`` in a thread of its own, so that this one hears signals at once; the first calls ``drain``.

    ``watch`` is called twice a second. Raises Interrupted after a signal, when the work has ended or the grace time is
    over; PoolLost if one of the ``services`` (addresses by name) does not answer any more, for which Ray itself would
    wait for ever; RuntimeError if the work fails.
    """
    failure: list[BaseException] = []
    done: list[Any] = []

    def target() -> None:
        try:
            done.append(work())
        except BaseException as error:
            failure.append(error)

    missed, drained_since = dict.fromkeys(services, 0), 0.0
    thread = threading.Thread(target=target, name="ray-tune", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(WATCH_SECONDS)
        if heard.number and not drained_since:
            drained_since = time.monotonic()
            drain()  # before anything is looked at, which may take its time
        watch()
        if drained_since and time.monotonic() - drained_since > GRACE_SECONDS + 5:
            break
        _look(services, missed)
    if heard.number:
        raise Interrupted(heard.number)
    if failure:
        raise RuntimeError(f"Ray stopped: {type(failure[0]).__name__}: {failure[0]}") from failure[0]
    return done[0]


def _look(services: Mapping[str, str], missed: dict[str, int]) -> None:
    """Count for each service how often it did not answer. Raises PoolLost if one has done so too often in a row."""
    for service, address in services.items():
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=2).close()
            missed[service] = 0
        except OSError:
            missed[service] += 1
            if missed[service] == _MISSES:
                raise PoolLost(f"Ray's {service} does not answer any more") from None
