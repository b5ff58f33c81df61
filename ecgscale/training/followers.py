"""The processes of a run: the leader (rank 0) starts the followers (the other ranks), and they end together.

Followers hear by their stdin that the leader is gone. When one of them dies, the leader ends as if it had been killed
itself, so that whoever watches over it (``pool.slot``) starts them all anew on the run's checkpoint.
"""

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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


@contextmanager
def start_followers(size: int, function: str, told: Any) -> Iterator[Path]:
    """Have ``size - 1`` followers call a function; yields the file at which all ranks are to meet. At the end they end.

    If one of them dies meanwhile, so does this process, with a sentence on stderr and exit code 1.
    """
    with tempfile.TemporaryDirectory(prefix="ecgscale-") as folder:
        meeting, over = Path(folder) / "meeting", threading.Event()
        followers = {rank: Follower(Job(rank, size, meeting, function, told)) for rank in range(1, size)}
        watch = threading.Thread(target=_watch, args=(followers, over), name="followers", daemon=True)
        watch.start()
        try:
            yield meeting
        except Exception:
            until = time.monotonic() + _GRACE_SECONDS  # when one dies the others' exchange with it fails at once
            while time.monotonic() < until and not any(follower.failed for follower in followers.values()):
                time.sleep(_LOOK_SECONDS / 2)
            _end_with(followers)
            raise
        finally:
            over.set()
            watch.join()
            for follower in followers.values():
                follower.stop()


def _watch(followers: Mapping[int, Follower], over: threading.Event) -> None:
    while not over.wait(_LOOK_SECONDS):
        _end_with(followers)


def _end_with(followers: Mapping[int, Follower]) -> None:
    """End this process if a follower has died."""
    for rank, follower in followers.items():
        if follower.failed:
            print(f"process {rank + 1} of {len(followers) + 1} {follower.cause()}", file=sys.stderr, flush=True)
            os._exit(1)


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
