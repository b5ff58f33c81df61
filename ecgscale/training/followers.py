"""The processes of a run: the leader (rank 0) starts the followers (the other ranks), and they end together.

Followers hear by their stdin that the leader is gone. When one of them dies, the leader ends as if it had been killed
itself, so that whoever watches over it (``pool.slot``) starts them all anew on the run's checkpoint.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ecgscale.processes import Child, Parent

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 2.0  # in which a process that dies together with this one is seen to


@dataclass(frozen=True)
class Job:
    """What a follower is told: its rank, how many processes there are, where they meet, and the function it is to do.

    The function, named "module:name", is called with this and finds in ``told`` what it is about.
    """

    rank: int
    size: int
    meeting: Path
    function: str
    told: Any


class Follower(Child):
    """A process of another rank than 0."""

    def __init__(self, job: Job) -> None:
        super().__init__("ecgscale.training.followers", job)


class Followers:
    """The followers of a process. If one of them dies, so does this one, with a sentence on stderr and exit code 1.

    ``meeting`` is the file at which all ranks are to meet.
    """

    def __init__(self, size: int, function: str, told: Any, meeting: Path) -> None:
        self.meeting, self._size = meeting, size
        self._ranks = {rank: Follower(Job(rank, size, meeting, function, told)) for rank in range(1, size)}
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._watched, name="followers", daemon=True)
        self._watch.start()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Have them end with this block; where they exchange anything, before the exchange does, or they would fail."""
        try:
            yield
        except Exception:
            until = time.monotonic() + _GRACE_SECONDS  # when one dies the others' exchange with it fails at once
            while self._ranks and time.monotonic() < until and not any(one.failed for one in self._ranks.values()):
                time.sleep(_LOOK_SECONDS / 2)
            self._end_with()
            raise
        finally:
            self._over.set()
            self._watch.join()
            for follower in self._ranks.values():
                follower.stop()
            self._ranks = {}

    def _watched(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self._end_with()

    def _end_with(self) -> None:
        """End this process if a follower has died."""
        for rank, follower in self._ranks.items():
            if follower.failed:
                print(f"process {rank + 1} of {self._size} {follower.cause()}", file=sys.stderr, flush=True)
                os._exit(1)


@contextmanager
def start_followers(size: int, function: str, told: Any) -> Iterator[Followers]:
    """Have ``size - 1`` followers call a function. At the end of the block they end."""
    with tempfile.TemporaryDirectory(prefix="ecgscale-") as folder:
        followers = Followers(size, function, told, Path(folder) / "meeting")
        with followers.ending():
            yield followers


def main() -> None:
    """Do what the leader says; end when there is no leader any more."""
    leader = Parent()
    job: Job = leader.heard()
    threading.Thread(target=leader.end_with, daemon=True).start()
    module, _, name = job.function.partition(":")
    function: Callable[[Job], None] = getattr(import_module(module), name)
    function(job)


if __name__ == "__main__":
    main()
