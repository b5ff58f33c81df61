"""A run under way, by one process or by several: what it goes on from, its snapshots, and what saves them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from ecgscale.data.corpus import Corpus
from ecgscale.home import checkpoint_path, parts_path
from ecgscale.models import VectorQuantisedBeats
from ecgscale.spec import Run
from ecgscale.training import checkpoint, lockstep, parts
from ecgscale.training.train import Snapshot, pretrain

State = dict[str, Any]


def resumable(run: Run, sweep: str, home: Path, steps: set[int], inputs: Mapping[str, str]) -> State | None:
    """The state to go on from, of a run that was measured at these steps; None if it is lost or the inputs changed.

    It is whole, or an entry of ``parts``: of whichever kind the last one was.
    """
    whole, divided = checkpoint_path(home, sweep, run.run_id), parts_path(home, sweep, run.run_id)
    for state in chain(checkpoint.intact(whole), parts.intact(divided)):
        if state["inputs"] == inputs and state["measured"] in steps:
            return state
    return None


def forget(run: Run, sweep: str, home: Path) -> None:
    """Remove every checkpoint of a run."""
    checkpoint.remove(checkpoint_path(home, sweep, run.run_id))
    parts.remove(parts_path(home, sweep, run.run_id))


@contextmanager
def training(
    run: Run,
    corpus: Corpus,
    sweep: str,
    home: Path,
    *,
    inputs: Mapping[str, str],
    token: int,
    guard: Callable[[], None],
    processes: int = 1,
    mixed: Sequence[Corpus] = (),
    codes: VectorQuantisedBeats | None = None,
    initial: Mapping[str, torch.Tensor] | None = None,
    device: str = "cpu",
    resume: State | None = None,
    micro_batch: int | None = None,
    pause: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Iterable[Snapshot], Callable[[Snapshot, int], None]]]:
    """A run's snapshots, and what saves the last of them with the step that was measured last.

    ``token`` and ``guard`` are those of the run's lease. See ``train.pretrain`` for one process, ``lockstep`` for more.
    """
    whole, divided = checkpoint_path(home, sweep, run.run_id), parts_path(home, sweep, run.run_id)
    if processes == 1:
        if resume and "files" in resume:
            resume = lockstep.whole(run, corpus, divided, resume, codes)

        def save(snapshot: Snapshot, measured: int) -> None:
            checkpoint.save(whole, snapshot.state() | {"inputs": inputs, "measured": measured}, guard)
            parts.remove(divided)

        yield (
            pretrain(
                run,
                corpus,
                mixed=mixed,
                codes=codes,
                initial=initial,
                device=device,
                resume=resume,
                micro_batch=micro_batch,
                pause=pause,
            ),
            save,
        )
        return
    if resume and "files" not in resume:
        resume = lockstep.in_parts(run, corpus, divided, resume, codes)
    settings: Any = {
        "mixed": mixed,
        "codes": codes,
        "initial": initial,
        "device": device,
        "resume": resume,
        "pause": pause,
    }
    with lockstep.led(run, corpus, home, divided, processes, **settings) as (snapshots, put):

        def save_parts(snapshot: Snapshot, measured: int) -> None:
            put({"inputs": inputs, "measured": measured}, f"step-{snapshot.step}.{token}", guard)
            checkpoint.remove(whole)

        yield snapshots, save_parts
