"""One place in a pool: it claims runs, has a worker do them, and sees to it that each ends in exactly one state.

A slot never trains and never loads torch. Its worker is a process of its own: when that is killed, the slot knows by
what, and starts another on the run's own checkpoint.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from ecgscale import leases, records
from ecgscale.attempt import GENEROUS, Sparing
from ecgscale.home import checkpoint_files, note
from ecgscale.leases import Claims, Heartbeat, Lease, Lost
from ecgscale.place_faults import PlaceFault, fault_in
from ecgscale.pool import health
from ecgscale.pool.places import Faults, Location
from ecgscale.pool.worker import RunOrder, WorkerSetup
from ecgscale.processes import Child

RETRIES = 2  # of a run whose worker died
GRACE_SECONDS = 25.0  # from the order to stop until workers are killed
MEMORY_LIMIT = 0.9  # of the machine's memory; Ray starts to kill at 0.95
_LOOK_SECONDS = 0.25
_HOLD_SECONDS, _HOLD_LOOKS = 2.0, 5  # between looks of a retired place's slot; idle ones until it ends


_ENDED = ("done", "failed", "diverged", "oom")


@dataclass(frozen=True)
class QueuedRun:
    """A run as a slot needs it: identity, description, and the number of its last lease before this launch.

    ``sparing`` is set for a run that is done again because its device ran out of memory.
    """

    run_id: str
    description: str
    before: int
    sparing: Sparing = GENEROUS


@dataclass(frozen=True)
class SlotJob:
    """What a slot is given: runs in the order to try them, whose launch it serves, and what its worker is told."""

    sweep: str
    launch: str
    queue: tuple[QueuedRun, ...]
    setup: WorkerSetup

    @property
    def results(self) -> Path:
        return self.setup.place.results

    @property
    def home(self) -> Path:
        return self.setup.place.home


def serve(job: SlotJob, slot: str, at: Location | None = None) -> str:
    """Do runs until none is left that nobody holds: "empty", or "closed" if the launch was, or "full" for a disk.

    "retired", if the place is (see ``places``). ``slot`` names the slot: one that comes after it under this name goes
    on with the run it held. ``at``: where it is, if that is not what this process finds.
    """
    folder = leases.folder_of(job.results, job.sweep)
    claims, faults = Claims(folder, job.launch, slot), Faults(folder, job.launch, at or _here(job))
    worker = Worker(job.setup)
    try:
        for queued in job.queue:
            if not leases.is_open(folder, job.launch):
                return "closed"
            if faults.retired:
                return _hold(job, folder)
            path = records.path_of(job.results, job.sweep, queued.run_id)
            if is_over(path, queued.before):
                continue
            files = (path, *checkpoint_files(job.home, job.sweep, queued.run_id))
            lease = claims.claim(queued.run_id, records.newest_token(path), files)
            if lease is None:
                continue
            with Heartbeat(lease) as heart:
                over = is_over(path, queued.before)  # while this slot looked
                state = "done" if over else _do(job, queued, lease, heart, worker, faults)
            lease.release()
            if state in _ENDED and not over:
                faults.ended_well()
            if state == "full":
                leases.close_launch(folder, job.launch)
                return "full"
        return _hold(job, folder) if faults.retired else "empty"
    except OSError as error:
        if error.errno in records.FULL:
            leases.close_launch(folder, job.launch)
            return "full"
        raise
    finally:
        worker.stop()


def is_over(path: Path, before: int) -> bool:
    """Whether a run is done, or has ended under a lease later than ``before``."""
    state, _ = records.state_of(path)
    ended = state in ("failed", "diverged", "oom") and records.newest_token(path) > before
    return state == "done" or ended


def _here(job: SlotJob) -> Location:
    return Location.here(job.setup.resources.device)


def _hold(job: SlotJob, folder: Path) -> str:
    """Keep a retired place taken, so that no other slot is put there, as long as others are at work on its runs."""
    idle = 0
    while idle < _HOLD_LOOKS and leases.is_open(folder, job.launch):
        left = {q.run_id for q in job.queue if not is_over(records.path_of(job.results, job.sweep, q.run_id), q.before)}
        if not left:
            break
        idle = 0 if left & leases.held_runs(folder) else idle + 1
        time.sleep(_HOLD_SECONDS)
    return "retired"


def _do(job: SlotJob, queued: QueuedRun, lease: Lease, heart: Heartbeat, worker: "Worker", faults: Faults) -> str:
    """One run, with as many workers as it takes; its state, or "paused", "lost", "full" or "given back"."""
    causes, facts = list(lease.causes), {"attempt": "1"}
    path = records.path_of(job.results, job.sweep, queued.run_id)
    while len(causes) <= RETRIES:
        worker.give(RunOrder(queued.run_id, lease, tuple(causes), queued.sparing))
        try:
            state = _watched(job, heart, worker)
            if isinstance(state, PlaceFault):
                return _given_back(job, queued, lease, state, worker, faults)
            if state in ("failed", "oom") and job.setup.resources.device != "cpu":
                worker.stop()  # a CUDA context does not get over every error
            if state != "failed" or is_over(path, queued.before):
                return state
            return _given_up(job, queued, lease, "failed", "it could not say why; see its log", facts)
        except Died as death:
            if fault := fault_in(str(death)):
                return _given_back(job, queued, lease, fault, worker, faults)
            causes.append(str(death))
            note(job.home, job.sweep, queued.run_id, str(death))
            facts = {"attempt": str(len(causes)), "interruptions": records.canonical(causes)}
            if death.memory_bytes:
                facts["peak_memory_bytes"] = str(death.memory_bytes)
    status = "oom" if "memory" in causes[-1] else "failed"
    return _given_up(job, queued, lease, status, f"{causes[-1]}, at attempt {len(causes)}", facts)


def _given_back(
    job: SlotJob, queued: QueuedRun, lease: Lease, fault: PlaceFault, worker: "Worker", faults: Faults
) -> str:
    """Leave a run as it is, for its place is at fault, and test that; "failed", if the run met the same elsewhere."""
    worker.stop()
    if not faults.met(queued.run_id, fault):
        return _given_up(job, queued, lease, "failed", f"{fault}, in two places", {})
    note(job.home, job.sweep, queued.run_id, f"given back, for its place is at fault: {fault}")
    if not faults.retired and (found := health.tested(job.setup.resources.device)):
        faults.retire(fault, found)
    return "given back"


def _given_up(job: SlotJob, queued: QueuedRun, lease: Lease, status: str, why: str, facts: Mapping[str, str]) -> str:
    """Write the final state of a run that could not do it itself."""
    path = records.path_of(job.results, job.sweep, queued.run_id)
    try:
        records.give_up(path, queued.description, status, why, facts, lease.token, lease.check)
    except Lost:
        return "lost"
    note(job.home, job.sweep, queued.run_id, f"{status}: {why}")
    return status


def _watched(job: SlotJob, heart: Heartbeat, worker: "Worker") -> str | PlaceFault:
    """Wait for what a worker says. Raises Died if it never will."""
    folder, closed_at = leases.folder_of(job.results, job.sweep), 0.0
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
        if not closed_at and not leases.is_open(folder, job.launch):
            closed_at = time.monotonic()
            worker.pause()
        if memory_used() > MEMORY_LIMIT and worker.is_largest():
            held = worker.memory_bytes()
            worker.stop()
            raise Died(f"its worker was stopped for want of host memory, holding {held / 1e9:.1f} GB", held)


class Died(Exception):
    """A worker is no more; in words why. ``memory_bytes``: what it held, where that is the reason."""

    def __init__(self, why: str, memory_bytes: int = 0) -> None:
        super().__init__(why)
        self.memory_bytes = memory_bytes


class Worker:
    """The process that does a slot's runs; started when it is first needed, and again when it has died."""

    def __init__(self, setup: WorkerSetup) -> None:
        self.setup = setup
        self._child: Child | None = None

    def give(self, order: RunOrder) -> None:
        """Hand over a run."""
        if self._child is None or not self._child.runs:
            self.stop()
            self._child = Child("ecgscale.pool.worker", self.setup, self.setup.sources)
        self._child.tell(order)

    def pause(self) -> None:
        """Ask for a stop at the next step."""
        if self._child is not None:
            self._child.tell("pause")

    def said(self, seconds: float) -> str | PlaceFault | None:
        """What came of the run; None if nothing within this time. Raises Died."""
        assert self._child is not None
        try:
            return self._child.said(seconds)
        except EOFError:
            place = self.setup.place
            raise Died(f"its worker {self._child.cause(place.home, place.results)}") from None

    def memory_bytes(self) -> int:
        return psutil.Process(self._child.pid).memory_info().rss if self._child else 0

    def is_largest(self) -> bool:
        """Whether no other worker of this node's slots holds more memory."""
        held = memory_of_workers()
        return self._child is not None and max(held, key=lambda pid: held[pid], default=0) == self._child.pid

    def stop(self) -> None:
        """End the process, whatever it does: what counts of it is on disk."""
        if self._child is not None:
            self._child.stop()
            self._child = None


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
