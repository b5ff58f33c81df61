"""A child process: a module of ours that is told values through its stdin, answers, and ends when its parent does.

A ``Child`` is what the parent holds, a ``Parent`` what the child does. What travels is pickled.
"""

import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ecgscale.place_faults import fault_in
from ecgscale.redact import without_paths

_COMPILING = 4  # processes, at most, in which torch.compile of a child has kernels compiled; its own default is 32
_LAST_WORDS = 200  # characters of its last line on stderr
_TOLD = 8000  # characters at the end in which a fault of its place is looked for


class Child:
    """``python -m module`` in a process of its own, on one CPU thread unless OMP_NUM_THREADS says otherwise."""

    def __init__(self, module: str, first: object) -> None:
        """Start it; ``first`` is what it is told first."""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        environment.setdefault("OMP_NUM_THREADS", "1")
        environment.setdefault(
            "TORCHINDUCTOR_COMPILE_THREADS", str(max(1, min(_COMPILING, (os.cpu_count() or 1) // 8)))
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            start_new_session=True,  # an interrupt typed at the terminal is the parent's to hear
        )
        self.tell(first)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    @property
    def failed(self) -> bool:
        """Whether it has ended, and not because it was through."""
        return bool(self._process.poll())

    def tell(self, what: object) -> None:
        """Send a value; one that has died hears nothing, and ``said`` and ``failed`` will tell."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(pickle.dumps(what))
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def said(self, seconds: float) -> Any:
        """Its next answer; None if there is none within this time. Raises EOFError if there never will be."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return None
        try:
            return pickle.load(self._process.stdout)
        except pickle.UnpicklingError:
            raise EOFError from None

    def cause(self, *roots: Path) -> str:
        """Why it ended, in words, with the last that it said; what lies below ``roots`` is named from there. Waits.

        If it told of a fault of its place (``place_faults``), that is the last that counts.
        """
        code = self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        fault = fault_in(text[-_TOLD:])
        said = fault.said if fault else text.rpartition("\n")[2][:_LAST_WORDS]
        return how + (f" ({without_paths(said, *roots)})" if said else "")

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


class Parent:
    """Who started this process, as it is seen from here. What libraries print goes to stderr: it is no answer."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def heard(self) -> Any:
        """The next value; without a parent this process ends."""
        try:
            return pickle.load(sys.stdin.buffer)
        except EOFError:
            os._exit(1)

    def answer(self, what: object) -> None:
        pickle.dump(what, self._answers)
        self._answers.flush()

    def end_with(self) -> None:
        """Wait for the parent's end, and end with it; nothing more is heard."""
        while os.read(0, 4096):  # not through sys.stdin, whose lock would be missed at this process' own end
            pass
        os._exit(1)
