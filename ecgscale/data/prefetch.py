"""Batches one ahead: while a GPU works on one, a thread gathers the next from the disk and copies it beside.

Only where recordings do not stay on the GPU; elsewhere a batch is there when it is asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch

from ecgscale.data.batches import Batch, Store
from ecgscale.data.mixture import Mixture

T = TypeVar("T")
R = TypeVar("R")


def batches_of(store: Store | Mixture, orders: Iterable[np.ndarray]) -> Iterator[Batch]:
    """The batches at these positions of a store, in their order."""
    if store.device.type != "cuda" or store.is_resident:
        yield from map(store.batch, orders)
        return
    beside = torch.cuda.Stream(store.device)

    def gathered(positions: np.ndarray) -> tuple[Batch, torch.cuda.Event]:
        with torch.no_grad(), torch.cuda.stream(beside):
            return store.batch(positions), beside.record_event()

    with ThreadPoolExecutor(1, "prefetch") as thread:
        for batch, copied in one_ahead(thread, gathered, orders):
            here = torch.cuda.current_stream(store.device)
            here.wait_event(copied)
            for tensor in batch:
                tensor.record_stream(here)
            yield batch


def one_ahead(thread: Executor, do: Callable[[T], R], things: Iterable[T]) -> Iterator[R]:
    """What a function makes of one thing after another, the next in another thread while the last is used."""
    waiting: Future[R] | None = None
    for thing in things:
        begun = thread.submit(do, thing)
        if waiting is not None:
            yield waiting.result()
        waiting = begun
    if waiting is not None:
        yield waiting.result()
