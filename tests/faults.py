"""Runs that do nothing but what a test wants of them, done by real slots and workers without loading torch."""

import errno
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgscale import leases, records
from ecgscale.pool.slot import Cell, Duty, serve
from ecgscale.pool.worker import Setup
from ecgscale.records import canonical, run_id_of
from ecgscale.training import followers

STEPS = 3


@dataclass(frozen=True)
class Batches:
    """Of a schedule what a launch asks for."""

    batch_size: int = 8


@dataclass(frozen=True)
class Cellular:
    """A run with an identity and a fault, and nothing else."""

    number: int
    fault: str = ""
    schedule: Batches = Batches()

    @property
    def description(self) -> str:
        return canonical({"number": self.number, "fault": self.fault})

    @property
    def run_id(self) -> str:
        return run_id_of(self.description)


@dataclass(frozen=True)
class Many:
    """A sweep of them."""

    name: str
    runs: tuple[Cellular, ...] = field(default_factory=tuple)


def trial(
    run: Cellular,
    sweep: Many,
    home: Path,
    results: Path,
    device: str,
    *,
    lease: leases.Lease,
    interruptions: tuple[str, ...],
    micro_batch: int | None,
    processes: int,
    pause: Callable[[], bool],
    note: Callable[[str], None],
) -> str:
    """Three evaluations in a journal, one number each; then, or meanwhile, the fault."""
    path = records.path_of(results, sweep.name, run.run_id)
    journal = records.Journal(path, run.description, lease.token, lease.check)
    try:
        rows = records.as_rows(records.read(path).rows)
    except FileNotFoundError:
        rows = []
    journal.begin(rows, {"attempt": str(len(interruptions) + 1)})
    for step in range(len(rows), STEPS):
        if step == 1:
            _misbehave(run.fault, interruptions, pause)
        journal.add([row(run, sweep, step)])
        if pause():
            return "paused"
    told = {"causes": ";".join(interruptions), "worker": str(os.getpid()), "micro_batch": str(micro_batch)}
    if run.fault == "too large" or (run.fault == "too large at once" and not micro_batch):
        journal.end({"status": "oom", "why": "the device is full", "memory": "device", **told})
        return "oom"
    journal.end({"status": "done", "why": "all steps taken", **told})
    return "done"


def empty(run: Cellular, sweep: Many, home: Path, results: Path, device: str, **given: Any) -> str:
    """Nothing but the fault and the run's file."""
    lease: leases.Lease = given["lease"]
    _misbehave(run.fault, (), lambda: False)
    path = records.path_of(results, sweep.name, run.run_id)
    journal = records.Journal(path, run.description, lease.token, lease.check)
    journal.end({"status": "done", "worker": str(os.getpid())})
    return "done"


def row(run: Cellular, sweep: Many, step: int) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(records.SCHEMA.names)
    return empty | {"sweep": sweep.name, "run_id": run.run_id, "step": step, "value": run.number / (step + 1)}


def _misbehave(fault: str, interruptions: tuple[str, ...], pause: Callable[[], bool]) -> None:
    if fault == "killed" or (fault == "killed once" and not interruptions):
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "deserted" and not interruptions:
        with followers.following(2, "tests.faults:die", None):
            time.sleep(60)
    if fault == "exit" and not interruptions:
        os._exit(7)
    if fault == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if fault == "raises":
        raise RuntimeError("as asked")
    if fault == "hungry":
        held = bytearray(400_000_000)
        for at in range(0, len(held), 4096):
            held[at] = 1
        time.sleep(60)
    if fault.startswith("sleeps"):
        time.sleep(float(fault.split()[1]))
    if fault == "slow":
        time.sleep(0.3)
    if fault == "long":
        while not pause():
            time.sleep(0.01)


def die(call: followers.Call) -> None:
    """What a following process does that is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait(call: followers.Call) -> None:
    """What one does that is needed; it says so by a file."""
    (Path(call.told) / str(call.rank)).touch()
    time.sleep(60)


def duty(sweep: Many, results: Path, launch: str | None = None) -> Duty:
    """All cells of a sweep, for slots of a launch that is announced if none is named."""
    import pickle

    launch = launch or leases.open_launch(leases.folder_of(results, sweep.name))
    cells = tuple(
        Cell(r.run_id, r.description, records.newest_token(records.path_of(results, sweep.name, r.run_id)))
        for r in sweep.runs
    )
    return Duty(
        sweep.name, launch, cells, Setup(pickle.dumps(sweep), results / "home", results, trial="tests.faults:trial")
    )


def served(sweep: Many, results: Path, slot: str = "0") -> str:
    """What one slot says after serving a sweep."""
    return serve(duty(sweep, results), slot)
