"""A process that does runs one after another for its keeper (``slot``), and dies alone.

A crash, a leak or a broken CUDA context ends here and nowhere else.
"""

import pickle
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any

from ecgscale import records
from ecgscale.attempt import GENEROUS, ONE_CPU, Attempt, Place, Resources, Sparing
from ecgscale.beside import Sources
from ecgscale.home import note
from ecgscale.leases import Lease, Lost
from ecgscale.place_faults import PlaceFault, fault_of
from ecgscale.processes import Parent

TRIAL = "ecgscale.trial:trial"


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is told once. ``sweep`` is pickled; ``trial`` names the function that does a run.

    Of several ``resources.processes`` it is the leader. ``sources`` are the modules that the sweep's own classes come
    from.
    """

    sweep: bytes
    place: Place
    resources: Resources = ONE_CPU
    trial: str = TRIAL
    sources: Sources = field(default_factory=dict)


@dataclass(frozen=True)
class RunOrder:
    """One run to be done under a lease; ``interruptions`` say why earlier attempts ended."""

    run_id: str
    lease: Lease
    interruptions: tuple[str, ...] = ()
    sparing: Sparing = GENEROUS


def main() -> None:
    """Do the runs that are ordered, until the keeper is gone."""
    keeper = Parent()
    setup: WorkerSetup = keeper.heard()
    paused = threading.Event()
    orders: queue.Queue[RunOrder] = queue.Queue()
    threading.Thread(target=_listen, args=(keeper, orders, paused), daemon=True).start()
    do = _prepared(setup)
    while True:
        keeper.answer(do(orders.get(), paused.is_set))


def _listen(keeper: Parent, orders: "queue.Queue[RunOrder]", paused: threading.Event) -> None:
    while True:
        said = keeper.heard()
        if said == "pause":
            paused.set()
        else:
            orders.put(said)


def _prepared(setup: WorkerSetup) -> Callable[[RunOrder, Callable[[], bool]], str | PlaceFault]:
    """All that is slow, once: libraries, the sweep, the device."""
    module, _, name = setup.trial.partition(":")
    trial: Callable[..., str] = getattr(import_module(module), name)
    sweep: Any = pickle.loads(setup.sweep)
    runs = {run.run_id: run for run in sweep.runs}
    if setup.trial == TRIAL:
        import torch

        torch.set_num_threads(1)
        if setup.resources.device.startswith("cuda"):
            torch.cuda.set_per_process_memory_fraction(setup.resources.memory_fraction)

    def do(order: RunOrder, pause: Callable[[], bool]) -> str | PlaceFault:
        resources = replace(setup.resources, sparing=order.sparing)
        log = partial(note, setup.place.home, sweep.name, order.run_id)
        attempt = Attempt(order.lease, order.interruptions, pause, log)
        try:
            return trial(runs[order.run_id], sweep, setup.place, resources, attempt)
        except Lost:
            return "lost"
        except Exception as error:
            if fault := fault_of(error, setup.place.home, setup.place.results):
                return fault
            return "full" if isinstance(error, OSError) and error.errno in records.FULL else "failed"

    return do


if __name__ == "__main__":
    main()
