"""A run under way, by one process or by several: what it goes on from, its snapshots, and what saves them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from ecgscale.home import checkpoint_path, parts_path
from ecgscale.spec.run import Run
from ecgscale.training import checkpoint, distributed, sharded_checkpoint
from ecgscale.training.inputs import Inputs
from ecgscale.training.train import Snapshot, pretrain

State = dict[str, Any]


def resumable(run: Run, sweep: str, home: Path, steps: set[int], digests: Mapping[str, str]) -> State | None:
    """The state to go on from, of a run that was measured at these steps; None if it is lost or an input changed.

    It is whole, or an entry of ``parts``: of whichever kind the last one was.
    """
    whole, divided = checkpoint_path(home, sweep, run.run_id), parts_path(home, sweep, run.run_id)
    for state in chain(checkpoint.intact(whole), sharded_checkpoint.intact(divided)):
        if state["inputs"] == digests and state["measured"] in steps:
            return state
    return None


def forget(run: Run, sweep: str, home: Path) -> None:
    """Remove every checkpoint of a run."""
    checkpoint.remove(checkpoint_path(home, sweep, run.run_id))
    sharded_checkpoint.remove(parts_path(home, sweep, run.run_id))


@contextmanager
def training(
    run: Run,
    inputs: Inputs,
    sweep: str,
    home: Path,
    *,
    token: int,
    guard: Callable[[], None],
    processes: int = 1,
    device: str = "cpu",
    resume: State | None = None,
    micro_batch: int | None = None,
    pause: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Iterable[Snapshot], Callable[[Snapshot, int], None]]]:
    """A run's snapshots, and what saves the last of them with the step that was measured last.

    ``token`` and ``guard`` are those of the run's lease. See ``train.pretrain`` for one process, ``lockstep`` for more.
    """
    whole, divided = checkpoint_path(home, sweep, run.run_id), parts_path(home, sweep, run.run_id)
    read = {"inputs": inputs.digests}
    if processes == 1:
        if resume and "files" in resume:
            resume = distributed.whole(run, inputs, divided, resume)

        def save(snapshot: Snapshot, measured: int) -> None:
            checkpoint.save(whole, snapshot.state() | read | {"measured": measured}, guard)
            sharded_checkpoint.remove(divided)

        yield (
            pretrain(
                run,
                inputs.corpus,
                mixed=inputs.mixed,
                codes=inputs.codes,
                initial=inputs.initial,
                device=device,
                resume=resume,
                micro_batch=micro_batch,
                pause=pause,
            ),
            save,
        )
        return
    if resume and "files" not in resume:
        resume = distributed.in_parts(run, inputs, divided, resume)
    led = distributed.led(run, inputs, home, divided, processes, device=device, resume=resume, pause=pause)
    with led as (snapshots, put):

        def save_parts(snapshot: Snapshot, measured: int) -> None:
            put(read | {"measured": measured}, f"step-{snapshot.step}.{token}", guard)
            checkpoint.remove(whole)

        yield snapshots, save_parts
