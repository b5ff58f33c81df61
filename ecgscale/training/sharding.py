"""Data parallel training: processes share every batch, and each holds a part of the weights (FSDP2, as in ZeRO-3).

FSDP takes a second to import, and is imported by those who shard.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import torch
from torch import distributed, nn

from ecgscale.objectives import Contrast, Loss, Pretraining


@dataclass(frozen=True)
class Processes:
    """The processes of a run, which torch calls ranks: this one's number, and how many there are (the world size)."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is rank 0: the leader, which measures and writes."""
        return self.rank == 0

    def share(self, positions: Any) -> Any:
        """This process' part of a batch's positions, as equal as can be."""
        return positions[self.rank :: self.size] if self.size > 1 else positions

    def agree(self, wish: Callable[[], bool]) -> bool:
        """What the leader wishes, in every process; the others are not asked."""
        if self.size == 1:
            return wish()
        said = torch.tensor([self.leads and wish()])
        distributed.broadcast(said, 0)
        return bool(said)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of a value over all processes, without gradient."""
        if self.size == 1:
            return value
        value = value.detach().clone().float()
        distributed.all_reduce(value)
        return value

    def mean(self, losses: torch.Tensor) -> torch.Tensor:
        """Losses of whole batches, from what ``step.compute_gradients`` gave each process."""
        return self.sum(losses) / self.size if self.size > 1 else losses


ALONE = Processes()


@contextmanager
def joined(rank: int, size: int, meeting: Path, device: str = "cpu") -> Iterator[Processes]:
    """Join ``size`` processes of this machine that meet at a file which is not there yet: gloo, and NCCL on GPUs.

    They wait for each other as long as it takes; who ends them if one dies is another's care (``followers``).
    """
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody else may listen
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    patience = timedelta(days=7)  # the leader may be measuring meanwhile
    distributed.init_process_group(
        backend, init_method=f"file://{meeting}", rank=rank, world_size=size, timeout=patience
    )
    try:
        yield Processes(rank, size)
    finally:
        distributed.destroy_process_group()


def shard(module: Pretraining, device: str = "cpu", *, bf16: bool = False, in_micro_batches: bool = False) -> None:
    """Divide a module's weights over all processes, block by block of its backbones, then the rest.

    ``bf16``: weights are gathered in bfloat16, kept and their gradients reduced in float32; under autocast, which
    decides what is computed in which. Any backbone whose blocks are in ModuleLists can be sharded; batch normalisation
    then sees the share of a batch that its process has. ``in_micro_batches``: what a Contrast compares will be
    asked for by itself.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    module.shared = True
    mesh = init_device_mesh("cuda" if device.startswith("cuda") else "cpu", (distributed.get_world_size(),))
    low = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    settings: dict[str, Any] = {"mesh": mesh, "mp_policy": low if bf16 else MixedPrecisionPolicy()}
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # FSDP divides no other layout
    blocks = [block for part in module.modules() if isinstance(part, nn.ModuleList) for block in part]
    for block in blocks:
        fully_shard(block, **settings)
    fully_shard(module, **settings)
    if in_micro_batches and isinstance(module, Contrast):
        register_fsdp_forward_method(module, "embed")  # type: ignore[arg-type]


def mean_over(loss: Loss, processes: Processes) -> torch.Tensor:
    """The loss to take gradients of: after FSDP has averaged them they are those of the whole batch's mean."""
    if processes.size == 1:
        return loss.mean
    return loss.total * processes.size / processes.sum(loss.n_terms).clamp(min=1)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor that may be sharded, and is a DTensor then."""
    held: Callable[[], torch.Tensor] | None = getattr(tensor, "to_local", None)
    return held() if held is not None else tensor


def whole_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """All weights of a sharded module, whole and on the CPU of the leader; empty on the others."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast(dict[str, torch.Tensor], get_model_state_dict(module, options=options))
