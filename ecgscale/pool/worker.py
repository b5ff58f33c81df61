"""A process that does runs one after another for its keeper (``slot``), and dies alone.

Tasks come pickled through stdin and outcomes go through stdout; when stdin ends the keeper is gone, and so is this. A
crash, a leak or a broken CUDA context ends here and nowhere else.
"""

import os
import pickle
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ecgscale import records
from ecgscale.home import note
from ecgscale.leases import Lease, Lost

TRIAL = "ecgscale.trial:trial"


@dataclass(frozen=True)
class Setup:
    """What a worker is told once. ``sweep`` is pickled; ``trial`` names the function that does a run.

    ``memory_fraction`` caps what it may take of a GPU; ``processes`` do each run, which this one leads.
    """

    sweep: bytes
    home: Path
    results: Path
    device: str = "cpu"
    memory_fraction: float = 1.0
    processes: int = 1
    trial: str = TRIAL


@dataclass(frozen=True)
class Task:
    """One run to be done under a lease; ``interruptions`` say why earlier attempts ended."""

    run_id: str
    lease: Lease
    interruptions: tuple[str, ...] = ()
    micro_batch: int | None = None


def main() -> None:
    """Do tasks until there are no more."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no reply
    setup: Setup = pickle.load(sys.stdin.buffer)
    paused = threading.Event()
    tasks: queue.Queue[Task] = queue.Queue()
    threading.Thread(target=_listen, args=(tasks, paused), daemon=True).start()
    do = _prepared(setup)
    while True:
        outcome = do(tasks.get(), paused.is_set)
        pickle.dump(outcome, replies)
        replies.flush()


def _listen(tasks: "queue.Queue[Task]", paused: threading.Event) -> None:
    while True:
        try:
            said = pickle.load(sys.stdin.buffer)
        except EOFError:
            os._exit(1)
        if said == "pause":
            paused.set()
        else:
            tasks.put(said)


def _prepared(setup: Setup) -> Callable[[Task, Callable[[], bool]], str]:
    """All that is slow, once: libraries, the sweep, the device."""
    module, _, name = setup.trial.partition(":")
    trial: Callable[..., str] = getattr(import_module(module), name)
    sweep: Any = pickle.loads(setup.sweep)
    runs = {run.run_id: run for run in sweep.runs}
    if setup.trial == TRIAL:
        import torch

        torch.set_num_threads(1)
        if setup.device.startswith("cuda"):
            torch.cuda.set_per_process_memory_fraction(setup.memory_fraction)

    def do(task: Task, pause: Callable[[], bool]) -> str:
        try:
            return trial(
                runs[task.run_id],
                sweep,
                setup.home,
                setup.results,
                setup.device,
                lease=task.lease,
                interruptions=task.interruptions,
                micro_batch=task.micro_batch,
                processes=setup.processes,
                pause=pause,
                note=lambda line: note(setup.home, sweep.name, task.run_id, line),
            )
        except Lost:
            return "lost"
        except OSError as error:
            return "full" if error.errno in records.FULL else "failed"
        except Exception:
            return "failed"

    return do


if __name__ == "__main__":
    main()
