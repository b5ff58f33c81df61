"""The processes of a run: the leading one starts the others, and they end together.

The others hear by their stdin that the leading one is gone. When one of them dies, the leading one ends as if it had
been killed itself, so that whoever watches over it (``pool.slot``) starts them all anew on the run's checkpoint.
"""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from ecgscale.redact import placeless

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 2.0  # in which a process that dies together with this one is seen to


@dataclass(frozen=True)
class Call:
    """What a process is told: its number, how many there are, where they meet, and the function that it is to do.

    The function, named "module:name", is called with this and ``told``.
    """

    rank: int
    size: int
    meeting: Path
    function: str
    told: Any


@contextmanager
def following(size: int, function: str, told: Any) -> Iterator[Path]:
    """Have ``size - 1`` other processes call a function; yields the file at which all are to meet. At the end they end.

    If one of them dies meanwhile, so does this process, with a sentence on stderr and exit code 1.
    """
    with tempfile.TemporaryDirectory(prefix="ecgscale-") as folder:
        meeting, over = Path(folder) / "meeting", threading.Event()
        others = {rank: _Other(Call(rank, size, meeting, function, told)) for rank in range(1, size)}
        watch = threading.Thread(target=_watch, args=(others, over), name="company", daemon=True)
        watch.start()
        try:
            yield meeting
        except Exception:
            until = time.monotonic() + _GRACE_SECONDS  # when one dies the others' exchange with it fails at once
            while time.monotonic() < until and not any(other.failed for other in others.values()):
                time.sleep(_LOOK_SECONDS / 2)
            _end_with(others)
            raise
        finally:
            over.set()
            watch.join()
            for other in others.values():
                other.stop()


class _Other:
    """One of the other processes."""

    def __init__(self, call: Call) -> None:
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        environment.setdefault("OMP_NUM_THREADS", "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ecgscale.training.followers"],
            stdin=subprocess.PIPE,
            stdout=self.errors,
            stderr=self.errors,
            env=environment,
            start_new_session=True,  # an interrupt typed at the terminal is the leading process' to hear
        )
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(pickle.dumps(call))
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died, and will be found so

    @property
    def failed(self) -> bool:
        return bool(self.process.poll())

    @property
    def cause(self) -> str:
        """Why it ended, in words; the last that it said included."""
        code = self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return how + (f": {placeless(said[-1][:200])}" if said and code > 0 else "")

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def _watch(others: dict[int, _Other], over: threading.Event) -> None:
    while not over.wait(_LOOK_SECONDS):
        if any(other.failed for other in others.values()):
            _end_with(others)


def _end_with(others: dict[int, _Other]) -> None:
    """End this process if one of the others has died."""
    for rank, other in others.items():
        if other.failed:
            print(f"process {rank + 1} of {len(others) + 1} {other.cause}", file=sys.stderr, flush=True)
            os._exit(1)


def main() -> None:
    """Do what is told through stdin; end when nobody is there any more to tell."""
    call: Call = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    module, _, name = call.function.partition(":")
    function: Callable[[Call], None] = getattr(import_module(module), name)
    function(call)


def _end_with_stdin() -> None:
    while os.read(0, 4096):  # not through sys.stdin, whose lock would be missed at the end
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
