"""One place in a pool: it claims runs, has a worker do them, and sees to it that each ends in exactly one state.

A slot never trains and never loads torch. Its worker is a process of its own: when that is killed, the slot knows by
what, and starts another on the run's own checkpoint.
"""

import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ecgscale import leases, records
from ecgscale.home import checkpoint_files, note
from ecgscale.leases import Claims, Heartbeat, Lease, Lost
from ecgscale.pool.worker import Setup, Task
from ecgscale.redact import placeless

RETRIES = 2  # of a run whose worker died
GRACE_SECONDS = 25.0  # from the order to stop until workers are killed
MEMORY_LIMIT = 0.9  # of the machine's memory; Ray starts to kill at 0.95
_LOOK_SECONDS = 0.25


@dataclass(frozen=True)
class Cell:
    """A run as a slot needs it: identity, description, and the number of its last lease before this launch.

    ``micro_batch`` is set for a run that is done again in smaller pieces.
    """

    run_id: str
    description: str
    before: int
    micro_batch: int | None = None


@dataclass(frozen=True)
class Duty:
    """What a slot is given: its cells in the order to try them, whose launch it serves, and what its worker is told."""

    sweep: str
    launch: str
    cells: tuple[Cell, ...]
    setup: Setup


def serve(duty: Duty, slot: str) -> str:
    """Do cells until none is left that nobody holds: "empty", or "closed" if the launch was, or "full" for a disk.

    ``slot`` names the place: one that comes after it under this name goes on with the run it held.
    """
    folder = leases.folder_of(duty.setup.results, duty.sweep)
    claims = Claims(folder, duty.launch, slot)
    worker = Worker(duty.setup)
    try:
        for cell in duty.cells:
            if not leases.is_open(folder, duty.launch):
                return "closed"
            path = records.path_of(duty.setup.results, duty.sweep, cell.run_id)
            if is_over(path, cell.before):
                continue
            files = (path, *checkpoint_files(duty.setup.home, duty.sweep, cell.run_id))
            lease = claims.claim(cell.run_id, records.newest_token(path), files)
            if lease is None:
                continue
            with Heartbeat(lease) as heart:
                over = is_over(path, cell.before)  # while this slot looked
                state = "done" if over else _do(duty, cell, lease, heart, worker)
            lease.release()
            if state == "full":
                leases.close_launch(folder, duty.launch)
                return "full"
        return "empty"
    except OSError as error:
        if error.errno in records.FULL:
            leases.close_launch(folder, duty.launch)
            return "full"
        raise
    finally:
        worker.stop()


def is_over(path: Path, before: int) -> bool:
    """Whether a run is done, or has ended under a lease later than ``before``."""
    state, _ = records.state_of(path)
    ended = state in ("failed", "diverged", "oom") and records.newest_token(path) > before
    return state == "done" or ended


def _do(duty: Duty, cell: Cell, lease: Lease, heart: Heartbeat, worker: "Worker") -> str:
    """One run, with as many workers as it takes up to the limit; its state, or "paused", "lost" or "full"."""
    setup, causes, facts = duty.setup, list(lease.causes), {"attempt": "1"}
    path = records.path_of(setup.results, duty.sweep, cell.run_id)
    while len(causes) <= RETRIES:
        worker.give(Task(cell.run_id, lease, tuple(causes), cell.micro_batch))
        try:
            state = _watched(duty, heart, worker)
            if state in ("failed", "oom") and setup.device != "cpu":
                worker.stop()  # a CUDA context does not get over every error
            if state != "failed" or is_over(path, cell.before):
                return state
            return _given_up(duty, cell, lease, "failed", "it could not say why; see its log", facts)
        except Died as death:
            causes.append(str(death))
            note(setup.home, duty.sweep, cell.run_id, str(death))
            facts = {"attempt": str(len(causes)), "interruptions": records.canonical(causes)}
            if death.memory_bytes:
                facts["peak_memory_bytes"] = str(death.memory_bytes)
    status = "oom" if "memory" in causes[-1] else "failed"
    return _given_up(duty, cell, lease, status, f"{causes[-1]}, at attempt {len(causes)}", facts)


def _given_up(duty: Duty, cell: Cell, lease: Lease, status: str, why: str, facts: Mapping[str, str]) -> str:
    """Write the final state of a run that could not do it itself."""
    path = records.path_of(duty.setup.results, duty.sweep, cell.run_id)
    try:
        records.give_up(path, cell.description, status, why, facts, lease.token, lease.check)
    except Lost:
        return "lost"
    note(duty.setup.home, duty.sweep, cell.run_id, f"{status}: {why}")
    return status


def _watched(duty: Duty, heart: Heartbeat, worker: "Worker") -> str:
    """Wait for what a worker says. Raises Died if it never will."""
    folder, closed_at = leases.folder_of(duty.setup.results, duty.sweep), 0.0
    while True:
        said = worker.said(_LOOK_SECONDS)
        if said is not None:
            return said
        if heart.lost.is_set():
            worker.stop()
            return "lost"
        if closed_at and time.monotonic() - closed_at > GRACE_SECONDS:
            worker.stop()
            return "paused"
        if not closed_at and not leases.is_open(folder, duty.launch):
            closed_at = time.monotonic()
            worker.pause()
        if memory_used() > MEMORY_LIMIT and worker.is_largest():
            held = worker.memory_bytes()
            worker.stop()
            raise Died(f"its worker was stopped for want of host memory, holding {held / 1e9:.1f} GB", held)


class Died(Exception):
    """A worker is no more; in words why."""

    def __init__(self, why: str, memory_bytes: int = 0) -> None:
        super().__init__(why)
        self.memory_bytes = memory_bytes


class Worker:
    """The process that does a slot's runs; started when it is first needed, and again when it has died."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.process: subprocess.Popen[bytes] | None = None
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as this

    def give(self, task: Task) -> None:
        """Hand over a run."""
        if self.process is None or self.process.poll() is not None:
            self._start()
        self._tell(task)

    def pause(self) -> None:
        """Ask for a stop at the next step."""
        self._tell("pause")

    def said(self, seconds: float) -> str | None:
        """What came of the run; None if nothing within this time. Raises Died."""
        assert self.process is not None
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        try:
            return str(pickle.load(self.process.stdout))
        except (EOFError, pickle.UnpicklingError):
            raise Died(self._cause(self.process.wait())) from None

    def memory_bytes(self) -> int:
        return psutil.Process(self.process.pid).memory_info().rss if self.process else 0

    def is_largest(self) -> bool:
        """Whether no other worker of this node's slots holds more memory."""
        held = memory_of_workers()
        return self.process is not None and max(held, key=lambda pid: held[pid], default=0) == self.process.pid

    def stop(self) -> None:
        """End the process, whatever it does: what counts of it is on disk."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def _start(self) -> None:
        self.stop()
        self.errors.truncate(0)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        environment.setdefault("OMP_NUM_THREADS", "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ecgscale.pool.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            start_new_session=True,  # an interrupt typed at the terminal is the launch's to hear
        )
        self._tell(self.setup)

    def _tell(self, what: object) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(pickle.dumps(what))
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it has died, and `said` will say so

    def _cause(self, code: int) -> str:
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip().splitlines()
        last = f" ({placeless(said[-1][:200], self.setup.home, self.setup.results)})" if said else ""
        if code < 0:
            return f"its worker was killed by {signal.Signals(-code).name}{last}"
        return f"its worker ended with exit code {code}{last}"


def memory_used() -> float:
    """Share of the memory in use: of this machine, or of the control group this process is confined to."""
    host = psutil.virtual_memory()
    used = 1 - host.available / host.total
    try:
        group = Path("/sys/fs/cgroup")
        limit = (group / "memory.max").read_text().strip()
        if limit != "max":
            counted = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
            held = int((group / "memory.current").read_text()) - int(counted["inactive_file"])
            used = max(used, held / int(limit))
    except (OSError, KeyError, ValueError):
        pass
    return used


def memory_of_workers() -> dict[int, int]:
    """Bytes that each worker holds, by process id: of the slots with this one's parent, not of other people's."""
    held = {}
    for process in psutil.Process(os.getppid()).children(recursive=True):
        with suppress(psutil.Error):  # it ended meanwhile
            if "ecgscale.pool.worker" in process.cmdline():
                held[process.pid] = process.memory_info().rss
    return held
