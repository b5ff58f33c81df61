"""The kinds of GPU that a pool has, and what runs get of each: a share of one, one, or several of one machine.

A run may be offered to several kinds; whichever has room for it first claims it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from ecgscale.pool.shares import Needs, limit_of, slots
from ecgscale.spec.run import Run


@dataclass(frozen=True)
class Kind:
    """GPUs of nodes that are alike, or CPUs.

    ``label`` is a resource of Ray's that the nodes of this kind have and no others (empty if there is one kind);
    ``gpu_bytes`` the memory of a GPU; ``n_units`` how many GPUs (or CPUs) the kind has, ``most`` on one machine.
    """

    label: str
    gpu_bytes: float
    n_units: int
    most: int
    is_gpu: bool = True

    def fraction(self, share: float) -> float:
        """The part of a GPU's memory that a process with this share of it may have torch take."""
        return limit_of(share, self.gpu_bytes) / self.gpu_bytes if self.is_gpu else 1.0


@dataclass(frozen=True)
class Offer:
    """So many slots of one share of a kind, and the runs that each may do."""

    kind: Kind
    share: float
    n_slots: int
    run_ids: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.kind.label.rpartition(':')[2]}{self.share:.3f}"


def kinds_of(nodes: Sequence[tuple[str, float, int]]) -> list[Kind]:
    """The kinds of GPU of nodes, each given as its label, the memory of its GPUs, and their number.

    Nodes of one label that differ count as the least of them; and so do all, if one of them has no label.
    """
    if any(not label for label, *_ in nodes):
        nodes = [("", gpu_bytes, n) for _, gpu_bytes, n in nodes]
    found = []
    for label, alike in groupby(sorted(nodes), key=lambda node: node[0]):
        those = list(alike)
        counts = [n for *_, n in those]
        found.append(Kind(label, min(gpu_bytes for _, gpu_bytes, _ in those), sum(counts), max(counts)))
    return [Kind("", *(found[0].gpu_bytes, found[0].n_units, found[0].most))] if len(found) == 1 else found


def share_on(kind: Kind, run: Run, needs: Needs) -> float:
    """What a run takes of a kind: a share of a GPU, or how many GPUs or CPUs."""
    processes = needs.processes(run)
    return float(processes) if processes > 1 or not kind.is_gpu else needs.share(run, kind.gpu_bytes)


def offers(
    kinds: Sequence[Kind], runs: Sequence[Run], needs: Needs, alone: Collection[str] = (), spare: bool = False
) -> list[Offer]:
    """Slots of every kind for these runs, in their order; a run that no machine of a kind has room for is not there.

    One that is to be ``alone`` shares its GPU with no other. ``spare``: see ``shares.slots``.
    """
    found = []
    for kind in kinds:
        shares = {}
        for run in runs:
            share = share_on(kind, run, needs)
            if share <= kind.most:
                shares[run.run_id] = max(1.0, share) if run.run_id in alone else share
        n_gpus, n_cpus = (kind.n_units, 0) if kind.is_gpu else (0, kind.n_units)
        found += [Offer(kind, share, n, tuple(ids)) for share, n, ids in slots(shares, n_gpus, n_cpus, spare)]
    return found


def without_room(kinds: Sequence[Kind], runs: Sequence[Run], needs: Needs) -> str:
    """Why a run has no room in a pool, in words; empty if all have."""
    for run in runs:
        if all(share_on(kind, run, needs) > kind.most for kind in kinds):
            least = min(kinds, key=lambda kind: share_on(kind, run, needs) / max(1, kind.most))
            unit, wanted = "GPU" if least.is_gpu else "CPU", share_on(least, run, needs)
            return f"a run is to have {wanted:g} {unit}s of one machine, the largest has {max(k.most for k in kinds)}"
    return ""


def not_shared(shared: Sequence[Offer]) -> str:
    """What runs on one card do not share, in words; empty if each has its card to itself."""
    if not any(offer.share <= 0.5 and offer.n_slots > 1 and len(offer.run_ids) > 1 for offer in shared):
        return ""
    return "runs that share a GPU do not share their data there: each keeps its own copy, as far as its part allows"
