"""Runs that do nothing but what a test wants of them, done by real slots and workers without loading torch."""

import errno
import os
import pickle
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ecgscale import leases, records
from ecgscale.attempt import Attempt, Place, Resources
from ecgscale.pool.slot import QueuedRun, SlotJob, serve
from ecgscale.pool.worker import WorkerSetup
from ecgscale.records import canonical, run_id_of
from ecgscale.training import followers

STEPS = 3
ECC = (
    "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be asynchronously reported at some "
    "other API call, so the stacktrace below might be incorrect.\nFor debugging consider passing "
    "CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
)


@dataclass(frozen=True)
class Batches:
    """Of a schedule what a launch asks for."""

    batch_size: int = 8


@dataclass(frozen=True)
class Harmless:
    """Of an objective what a launch asks for."""

    cuts_batches: bool = True


@dataclass(frozen=True)
class Cellular:
    """A run with an identity and a fault, and nothing else."""

    number: int
    fault: str = ""
    schedule: Batches = Batches()
    objective: Harmless = Harmless()

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
    sources: Mapping[str, Any] = field(default_factory=dict)  # no modules of its own


def trial(run: Cellular, sweep: Many, place: Place, resources: Resources, attempt: Attempt) -> str:
    """Three evaluations in a journal, one number each; then, or meanwhile, the fault."""
    assert attempt.lease is not None
    path = records.path_of(place.results, sweep.name, run.run_id)
    journal = records.Journal(path, run.description, attempt.lease.token, attempt.lease.check)
    try:
        rows = records.as_rows(records.read(path).rows)
    except FileNotFoundError:
        rows = []
    journal.begin(rows, {"attempt": str(len(attempt.interruptions) + 1)})
    for step in range(len(rows), STEPS):
        if step == 1:
            _misbehave(run.fault, attempt)
        journal.add([row(run, sweep, step)])
        if attempt.pause():
            return "paused"
    micro_batch = resources.sparing.micro_batch
    told = {"causes": ";".join(attempt.interruptions), "worker": str(os.getpid()), "micro_batch": str(micro_batch)}
    if run.fault == "too large" or (run.fault == "too large at once" and not micro_batch):
        journal.end({"status": "oom", "why": "the device is full", "memory": "device", **told})
        return "oom"
    journal.end({"status": "done", "why": "all steps taken", **told})
    return "done"


def empty(run: Cellular, sweep: Many, place: Place, resources: Resources, attempt: Attempt) -> str:
    """Nothing but the fault and the run's file."""
    assert attempt.lease is not None
    _misbehave(run.fault, Attempt())
    path = records.path_of(place.results, sweep.name, run.run_id)
    journal = records.Journal(path, run.description, attempt.lease.token, attempt.lease.check)
    journal.end({"status": "done", "worker": str(os.getpid())})
    return "done"


def row(run: Cellular, sweep: Many, step: int) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(records.SCHEMA.names)
    return empty | {"sweep": sweep.name, "run_id": run.run_id, "step": step, "value": run.number / (step + 1)}


def _misbehave(fault: str, attempt: Attempt) -> None:
    if fault == "killed" or (fault == "killed once" and not attempt.interruptions):
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "deserted" and not attempt.interruptions:
        with followers.start_followers(2, "tests.faults:die", None):
            time.sleep(60)
    if fault == "exit" and not attempt.interruptions:
        os._exit(7)
    if fault == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if fault.startswith("device") and os.environ.get("CUDA_VISIBLE_DEVICES") in fault.split()[1:]:
        raise RuntimeError(ECC)
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
        while not attempt.pause():
            time.sleep(0.01)


def die(job: followers.Job) -> None:
    """What a follower does that is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def wait(job: followers.Job) -> None:
    """What one does that is needed; it says so by a file."""
    (Path(job.told) / str(job.rank)).touch()
    time.sleep(60)


def slot_job(sweep: Many, results: Path, launch: str | None = None) -> SlotJob:
    """All runs of a sweep, for slots of a launch that is announced if none is named."""
    launch = launch or leases.open_launch(leases.folder_of(results, sweep.name))
    queue = tuple(
        QueuedRun(r.run_id, r.description, records.newest_token(records.path_of(results, sweep.name, r.run_id)))
        for r in sweep.runs
    )
    setup = WorkerSetup(pickle.dumps(sweep), Place(results / "home", results), trial="tests.faults:trial")
    return SlotJob(sweep.name, launch, queue, setup)


def serve_on_gpu(number: str, job: SlotJob) -> None:
    """Serve as the slot on one GPU, in a process of its own."""
    os.environ["CUDA_VISIBLE_DEVICES"] = number
    serve(job, f"slot {number}")


def served(sweep: Many, results: Path, slot: str = "0") -> str:
    """What one slot says after serving a sweep."""
    return serve(slot_job(sweep, results), slot)


def fill(ballast: Path) -> None:
    """Write to a file until its disk is full. Raises OSError then."""
    with open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
