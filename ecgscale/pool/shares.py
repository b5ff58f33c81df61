"""What each run of a launch gets of the pool: a share of a GPU, a slot of that size, more where it was too small."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ecgscale import records
from ecgscale.attempt import Sparing
from ecgscale.pool.slot import QueuedRun
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep

_MOST_A_GPU = 8  # runs that share one
_MARGIN = 1.25  # memory that a run is given, over what it was reckoned or measured to take
_CONTEXT_BYTES, _CONTEXT_SHARE = 0.6e9, 0.2  # that a CUDA context takes, outside what torch counts; of a share at most
_PIECES = 4  # micro-batches that a process' share of a batch is cut into after the device ran out of memory


@dataclass(frozen=True)
class Pool:
    """What a launch may use: CPU workers and GPUs of this machine (None: all of them), or the cluster at an address."""

    workers: int | None = None
    gpus: int | None = None
    address: str | None = None


@dataclass(frozen=True)
class Needs:
    """What runs take of a pool: part of a GPU of so many bytes (all of it, if nobody knows), processes, room on disk.

    A share above 1 is that of a run which needs so many GPUs of one machine. ``processes`` that somebody asked for take
    a GPU or CPU of one machine each, whatever a run needs. ``disk_bytes`` is for all that runs at once.
    """

    share: Callable[[Run, float], float] = lambda run, gpu_bytes: 1.0
    processes: Callable[[Run], int] = lambda run: 1
    disk_bytes: float = 0.0


def gpu_share(memory_bytes: float, busy: float | None, gpu_bytes: float) -> float:
    """The part of a GPU of ``gpu_bytes`` that a run gets, as plans say and launches do: 1, 1/2, 1/3, ... 1/8.

    It is enough for a quarter more than ``memory_bytes``, reckoned or measured, and for the part of the GPU's time that
    the run keeps it ``busy`` (0 to 1; None where that was not measured). What needs more than half is alone.
    """
    need = max(_MARGIN * memory_bytes / gpu_bytes, busy or 0.0)
    return 1.0 if need > 0.5 else 1 / min(_MOST_A_GPU, int(1 / max(need, 1e-9) + 1e-9))


def limit_of(share: float, gpu_bytes: float) -> float:
    """What a process with this share of a GPU may have torch take of it; with a GPU of its own or several, of one."""
    part = min(share, 1.0) * gpu_bytes
    return part - min(_CONTEXT_BYTES, _CONTEXT_SHARE * part)


def slots(
    shares: Mapping[str, float], n_gpus: int, n_cpus: int, spare: bool = False
) -> list[tuple[float, int, list[str]]]:
    """How many slots of which share the pool has for these runs, and the runs each may do: the largest share first.

    A share is that of a GPU, or how many of them; of CPUs, where there are no GPUs. As many slots as fit if no other
    share were there, and with ``spare`` more of them than there are runs, for places that are retired; Tune starts them
    one after another as GPUs become free.
    """
    places = []
    for share in sorted(set(shares.values()), reverse=True):
        ids = [run_id for run_id, s in shares.items() if s == share]
        room = int(1 / share + 1e-9) * n_gpus if share < 1 else int((n_gpus or n_cpus) / share)
        places.append((share, max(1, room if spare else min(room, len(ids))), ids))
    return places


def spared(
    queue: Sequence[QueuedRun], runs: Sequence[Run], sweep: Sweep, results: Path, cut: Callable[[Run], bool]
) -> list[QueuedRun]:
    """The same runs; one whose device ran out of memory is to be done once more, sparing more of it than before.

    In an evaluation: no recordings stay on the device. In training: activations are recomputed, then it has a GPU
    alone, then it is computed in micro-batches, if ``cut`` says that they make no other model of it. One that has tried
    all of that stays as it is.
    """
    changed = []
    for queued, run in zip(queue, runs, strict=True):
        path = records.path_of(results, sweep.name, run.run_id)
        facts = records.read(path).facts if records.state_of(path)[0] == "oom" else {}
        if facts.get("memory") == "device":
            share = run.schedule.batch_size // int(facts.get("processes", "1"))
            most = max(1, share // _PIECES) if cut(run) else None
            if sparing := _more_sparing(queued.sparing, facts, most):
                queued = replace(queued, before=records.newest_token(path), sparing=sparing)
        changed.append(queued)
    return changed


def _more_sparing(now: Sparing, facts: Mapping[str, str], micro_batch: int | None) -> Sparing | None:
    """The next thing to try after an attempt that ended by these facts; None if there is none."""
    evaluating = facts.get("ran_out_in") == "evaluation"
    if evaluating and not now.streamed:
        return replace(now, streamed=True)
    if not evaluating and not now.recompute and facts.get("recomputed") != "true":
        return replace(now, streamed=True, recompute=True)
    if not now.alone:
        return replace(now, streamed=True, alone=True)
    if not evaluating and micro_batch and not now.micro_batch:
        return replace(now, micro_batch=micro_batch)
    return None
