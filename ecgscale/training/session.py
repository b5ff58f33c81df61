"""A run in training, by one process or by several: what it resumes from, its snapshots, and what saves them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ecgscale.attempt import Attempt, Resources
from ecgscale.home import checkpoint_path, parts_path
from ecgscale.records import unguarded
from ecgscale.spec.run import Run
from ecgscale.training import checkpoint, distributed, sharded_checkpoint
from ecgscale.training.footprint import Memory
from ecgscale.training.inputs import Inputs
from ecgscale.training.sharding import ALONE, Processes
from ecgscale.training.train import Position, Snapshot, pretrain

State = dict[str, Any]


@dataclass(frozen=True)
class Session:
    """A run's snapshots; ``save`` keeps the last of them with the step that was measured last.

    ``share`` has all processes of the run measure the last one; it gives whom the evaluation is divided with.
    """

    snapshots: Iterable[Snapshot]
    save: Callable[[Snapshot, int | None], None]
    share: Callable[[], Processes]


def resumable(run: Run, sweep: str, home: Path, steps: set[int], digests: Mapping[str, str]) -> State | None:
    """The state to go on from, of a run that was measured at these steps; None if it is lost or an input changed.

    It was saved before its step was measured, and ``measured`` is the one that was last before that (None: none was).
    ``again``: whether its own step is due, and so comes first. It is whole, or an entry of ``sharded_checkpoint``: of
    whichever kind the last one was.
    """
    whole, sharded = checkpoint_path(home, sweep, run.run_id), parts_path(home, sweep, run.run_id)
    for state in chain(checkpoint.intact(whole), sharded_checkpoint.intact(sharded)):
        if state["inputs"] == digests and state["measured"] in (None, *steps):
            return state | {"again": Position.of(state).due}
    return None


def forget(run: Run, sweep: str, home: Path) -> None:
    """Remove every checkpoint of a run."""
    checkpoint.remove(checkpoint_path(home, sweep, run.run_id))
    sharded_checkpoint.remove(parts_path(home, sweep, run.run_id))


@contextmanager
def start(
    run: Run,
    inputs: Inputs,
    sweep: str,
    home: Path,
    resources: Resources,
    attempt: Attempt,
    measuring: distributed.Measuring,
    resume: State | None = None,
    memory: Memory | None = None,
) -> Iterator[Session]:
    """A run in training: see ``train.pretrain`` for one process, ``distributed.lead`` for more.

    What is saved is fenced by the attempt's lease. ``measuring`` says, if there are several processes, how each of them
    takes part in an evaluation; it is pickled.
    """
    whole, sharded = checkpoint_path(home, sweep, run.run_id), parts_path(home, sweep, run.run_id)
    token, guard = (attempt.lease.token, attempt.lease.check) if attempt.lease else (0, unguarded)

    def metadata(measured: int | None) -> State:
        return {"inputs": inputs.digests, "measured": measured}

    if resources.processes == 1:
        if resume and "files" in resume:
            resume = distributed.to_single(run, inputs, sharded, resume)

        def save(snapshot: Snapshot, measured: int | None) -> None:
            checkpoint.save(whole, snapshot.state() | metadata(measured), guard)
            sharded_checkpoint.remove(sharded)

        snapshots = pretrain(
            run,
            inputs.corpus,
            mixed=inputs.mixed,
            codes=inputs.asked,
            words=inputs.words,
            initial=inputs.initial,
            device=resources.device,
            resume=resume,
            micro_batch=resources.sparing.micro_batch,
            compile=resources.compile,
            memory=memory,
            pause=attempt.pause,
        )
        yield Session(snapshots, save, lambda: ALONE)
        return
    if resume and "files" not in resume:
        resume = distributed.to_sharded(run, inputs, sharded, resume) | {"again": resume["again"]}
    assigned = distributed.Assignment(run, home, sharded, resources, measuring)
    with distributed.lead(assigned, inputs, resume=resume, memory=memory, pause=attempt.pause) as led:

        def save_sharded(snapshot: Snapshot, measured: int | None) -> None:
            led.save(metadata(measured), f"step-{snapshot.step}.{token}", guard)
            checkpoint.remove(whole)

        yield Session(led.snapshots, save_sharded, led.share)
