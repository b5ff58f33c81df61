"""What each run of a launch gets of the pool: a share of a GPU, a slot of that size, smaller batches if need be."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ecgscale import records
from ecgscale.pool.slot import Cell
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep

_MOST_A_GPU = 8  # runs that share one
_PIECES = 4  # that a batch is cut into after the device ran out of memory


def share_of(need: float) -> float:
    """The part of a GPU that a run gets which needs this part of its memory: 1, 1/2, 1/3, ... 1/8."""
    return 1.0 if need > 0.5 else 1 / min(_MOST_A_GPU, int(1 / max(need, 1e-9)))


def slots(shares: Mapping[str, float], n_gpus: int, n_cpus: int) -> list[tuple[float, int, list[str]]]:
    """How many slots of which share the pool has for these runs, and the runs each may do: the largest share first.

    A share is that of a GPU, or how many of them; of CPUs, where there are no GPUs. As many slots as fit if no other
    share were there; Tune starts them one after another as GPUs become free.
    """
    places = []
    for share in sorted(set(shares.values()), reverse=True):
        ids = [run_id for run_id, s in shares.items() if s == share]
        room = int(1 / share + 1e-9) * n_gpus if share < 1 else int((n_gpus or n_cpus) / share)
        places.append((share, min(max(1, room), len(ids)), ids))
    return places


def smaller(cells: Sequence[Cell], runs: Sequence[Run], sweep: Sweep, results: Path) -> list[Cell]:
    """The same cells; those whose device ran out of memory are to be done once more, alone and in smaller pieces.

    Not those of several processes, whose batches are in pieces already: they need more of them.
    """
    changed = []
    for cell, run in zip(cells, runs, strict=True):
        path = records.path_of(results, sweep.name, run.run_id)
        short = not cell.micro_batch and records.state_of(path)[0] == "oom"
        facts = records.read(path).facts if short else {}
        if facts.get("memory") == "device" and facts.get("processes", "1") == "1":
            pieces = max(1, run.schedule.batch_size // _PIECES)
            cell = replace(cell, before=records.newest_token(path), micro_batch=pieces)
        changed.append(cell)
    return changed
