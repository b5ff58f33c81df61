"""Sharding: one run over several processes, each holding a part of the weights (FSDP2) and a share of every batch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed, nn
from torch.distributed import checkpoint as sharded
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

from ecgscale.objectives import Loss, Pretraining


@dataclass(frozen=True)
class Group:
    """The processes of a run: this one's number and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that measures and writes."""
        return self.rank == 0

    def share(self, positions: Any) -> Any:
        """This process' part of a batch's positions, as equal as can be."""
        return positions[self.rank :: self.size]


@contextmanager
def joined(rank: int, size: int, address: str, device: str = "cpu") -> Iterator[Group]:
    """Join ``size`` processes that meet at ``address`` ("host:port"): gloo on CPUs, NCCL on GPUs."""
    backend = "nccl" if device.startswith("cuda") else "gloo"
    distributed.init_process_group(backend, init_method=f"tcp://{address}", rank=rank, world_size=size)
    try:
        yield Group(rank, size)
    finally:
        distributed.destroy_process_group()


def shard(module: Pretraining, device: str = "cpu", *, bf16: bool = False) -> None:
    """Divide a module's weights over all processes, block by block of its backbones, then the rest.

    ``bf16``: compute in bfloat16, keep and reduce in float32. Any backbone whose blocks are in ModuleLists can be
    sharded; batch normalisation then sees the share of a batch that its process has.
    """
    mesh = init_device_mesh("cuda" if device.startswith("cuda") else "cpu", (distributed.get_world_size(),))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bf16 else None
    settings: dict[str, Any] = {"mesh": mesh} | ({"mp_policy": policy} if policy else {})
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # FSDP divides no other layout
    blocks = [block for part in module.modules() if isinstance(part, nn.ModuleList) for block in part]
    for block in blocks:
        fully_shard(block, **settings)
    fully_shard(module, **settings)


def mean_over(loss: Loss, group: Group) -> torch.Tensor:
    """The loss to take gradients of: after FSDP has averaged them they are those of the whole batch's mean."""
    n_terms = loss.n_terms.detach().clone().float()
    distributed.all_reduce(n_terms)
    return loss.total * group.size / n_terms.clamp(min=1)


def whole_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """All weights of a sharded module, whole and on the CPU of the leading process; empty on the others."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast(dict[str, torch.Tensor], get_model_state_dict(module, options=options))


def save(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, step: int, seconds: float) -> None:
    """Save a sharded run at a step, every process its part: folder/step, complete once ``latest`` names it.

    The step before is kept until then; what is older is removed.
    """
    target = folder / f"step-{step}"
    options = StateDictOptions(full_state_dict=False)
    state = {
        "module": get_model_state_dict(module, options=options),
        "optimiser": get_optimizer_state_dict(module, optimiser, options=options),
        "seconds": torch.tensor(seconds),
    }
    sharded.save(state, checkpoint_id=str(target))
    distributed.barrier()
    if distributed.get_rank() == 0:
        pointer = folder / "latest.partial"
        pointer.write_text(str(step))
        os.replace(pointer, folder / "latest")
    distributed.barrier()


def load(folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[int, float] | None:
    """Load the latest complete step into a sharded run of any number of processes: step and seconds; None if none."""
    pointer = folder / "latest"
    if not pointer.is_file():
        return None
    step = int(pointer.read_text())
    options = StateDictOptions(full_state_dict=False)
    state: dict[str, Any] = {
        "module": get_model_state_dict(module, options=options),
        "optimiser": get_optimizer_state_dict(module, optimiser, options=options),
        "seconds": torch.tensor(0.0),
    }
    # A weight that never had a gradient has no moments in the checkpoint.
    sharded.load(state, checkpoint_id=str(folder / f"step-{step}"), planner=DefaultLoadPlanner(allow_partial_load=True))
    set_model_state_dict(module, state["module"], options=options)
    set_optimizer_state_dict(module, optimiser, state["optimiser"], options=options)
    return step, float(state["seconds"])
