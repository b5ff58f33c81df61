"""An attempt at a run, as values: where its files are, what computes it, and the lease that it is made under."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ecgscale.leases import Lease


@dataclass(frozen=True)
class Place:
    """The two folders of everything: ``home`` of corpora, checkpoints and logs, ``results`` of rows and figures."""

    home: Path
    results: Path


@dataclass(frozen=True)
class Sparing:
    """How a run spares the memory of a device that it ran out of before.

    ``streamed``: no recordings stay on the device. ``recompute``: activations are computed again in the backward pass
    (else: where it is reckoned that they do not fit). ``alone``: no other run has a part of its GPU. ``micro_batch`` is
    the most recordings that pass the network of a process at once (gradient accumulation; None: all that it has of a
    batch).
    """

    streamed: bool = False
    recompute: bool = False
    alone: bool = False
    micro_batch: int | None = None


GENEROUS = Sparing()


@dataclass(frozen=True)
class Resources:
    """What a run is computed with; it changes no more than rounding.

    ``processes`` share every batch (data parallel), on a GPU or CPU thread each, and each may take ``memory_fraction``
    of its GPU. ``compile``: whether the network is compiled (None: on a GPU).
    """

    device: str = "cpu"  # cpu, cuda, cuda:1, ...
    processes: int = 1
    memory_fraction: float = 1.0
    sparing: Sparing = GENEROUS
    compile: bool | None = None


@dataclass(frozen=True)
class Attempt:
    """One attempt at a run: its lease, why earlier ones ended, who may ask it to pause, and what takes log lines."""

    lease: Lease | None = None
    interruptions: tuple[str, ...] = ()
    pause: Callable[[], bool] = lambda: False
    note: Callable[[str], None] = lambda line: None


ONE_CPU = Resources()
UNLEASED = Attempt()
