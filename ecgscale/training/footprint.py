"""What a run takes of a device's memory beside its data, reckoned from its cost: plans and runs ask the same."""

from dataclasses import dataclass

from ecgscale.attempt import ONE_CPU, Resources
from ecgscale.compute import Cost, cost
from ecgscale.data.allowance import Allowance, allowance_beside, process_limit
from ecgscale.data.corpus import Corpus
from ecgscale.spec.run import Run

_BYTES_A_PARAMETER = 16  # weight, gradient and two moments of Adam, float32
_BYTES_KEPT = 12  # of each number that a product puts out, about three float32 tensors, until the backward pass
_EVALUATED, _BYTES_PASSING = 256, 8  # recordings that a probe computes at once, and of each number without gradients
_SLACK = 1.1  # what the allocator cannot give out in one piece
_WITHOUT_RECOMPUTING = 0.75  # of what a process may take; where a step would take more, activations are recomputed


def working_bytes(spent: Cost, batch_size: int, processes: int = 1, recompute: bool = False) -> float:
    """What training and evaluation need: weights with optimiser, and the larger of both passes' activations.

    ``batch_size``: recordings that pass the network of a process at once. Of several processes each has its part of the
    weights, and a whole copy that is measured. Recomputed activations are those between blocks, and of one block at a
    time.
    """
    n_params = spent.n_params + spent.n_params_head
    weights = _BYTES_A_PARAMETER * n_params / processes + (4 * n_params if processes > 1 else 0)
    kept = _BYTES_KEPT * spent.n_activations * batch_size * (min(1.0, 2 / spent.n_blocks) if recompute else 1.0)
    passing = _BYTES_PASSING * spent.n_activations * min(1.0, 2 / spent.n_blocks) * _EVALUATED
    return weights + max(kept, passing)


def recomputes(spent: Cost, batch_size: int, limit: float, processes: int = 1) -> bool:
    """Whether a process that may take so many bytes of a GPU computes activations again in the backward pass."""
    return working_bytes(spent, batch_size, processes) > _WITHOUT_RECOMPUTING * limit


def needed_bytes(spent: Cost, batch_size: int, limit: float, processes: int = 1) -> float:
    """What of a process' limit is not for data."""
    return _SLACK * working_bytes(spent, batch_size, processes, recomputes(spent, batch_size, limit, processes))


@dataclass(frozen=True)
class Memory:
    """What a process has of its device: whether it recomputes activations, and what data may stay beside the model."""

    recompute: bool
    allowance: Allowance


def memory_of(run: Run, corpus: Corpus, resources: Resources = ONE_CPU, device: str = "") -> Memory:
    """How a process of a run divides the memory that it may take of its device (if none is named, the resources')."""
    device, sparing = device or resources.device, resources.sparing
    if not device.startswith("cuda"):
        return Memory(sparing.recompute, allowance_beside(device))
    limit, n_labels = process_limit(device, resources.memory_fraction), len(corpus.label_names(run.slice.label_set))
    spent = cost(run.architecture, run.objective, n_labels, corpus.signal.shape[-1])
    share = -(-run.schedule.batch_size // resources.processes)
    at_once = min(share, sparing.micro_batch or share)
    recompute = sparing.recompute or recomputes(spent, at_once, limit, resources.processes)
    needed = _SLACK * working_bytes(spent, at_once, resources.processes, recompute)
    return Memory(recompute, Allowance(0) if sparing.streamed else allowance_beside(device, limit, needed))
