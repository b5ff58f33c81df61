"""Data parallel training: processes share every batch, and each holds a part of the weights (FSDP2, as in ZeRO-3).

FSDP takes a second to import, and is imported by those who shard.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import distributed, nn

from ecgscale.objectives import Contrast, Loss, Pretraining
from ecgscale.pausing import check_pause

T = TypeVar("T")
S = TypeVar("S")
_PATIENCE = timedelta(days=7)  # the leader may be measuring meanwhile
_LOOK_SECONDS = 0.002
_FINE, _DEVICE_FULL, _HOST_FULL = "fine", "device", "host"  # what processes tell each other of their part of a work


class DeviceFull(torch.OutOfMemoryError):
    """One of a run's processes, perhaps another than this, ran out of its device's memory in what they share."""


@dataclass(frozen=True)
class Processes:
    """The processes of a run, which torch calls ranks: this one's number, and how many there are (the world size).

    ``signs`` is what they tell each other by without waiting; several processes have it when they are joined.
    """

    rank: int = 0
    size: int = 1
    signs: distributed.Store | None = field(default=None, compare=False, repr=False)
    _works: Iterator[int] = field(default_factory=count, compare=False, repr=False)

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

    def divided(self, things: Sequence[S], do: Callable[[Sequence[S]], list[T]]) -> list[T]:
        """What is made of things, one result of each, in their order; every process makes its part, and has all.

        All processes call it with the same things, of which they have every ``size``-th. ``do`` is given a part, none
        perhaps. A wish to pause (``pausing``) is heard while the others are waited for. Raises, in all of them,
        DeviceFull or MemoryError if one has too little memory for its part; if it ends by another error, so do they.
        """
        if self.size == 1:
            return do(things)
        assert self.signs is not None
        work, how, mine = next(self._works), _FINE, list[T]()
        try:
            mine = do(things[self.rank :: self.size])
        except torch.OutOfMemoryError as error:
            how = f"{_DEVICE_FULL} {error}"
        except MemoryError as error:
            how = f"{_HOST_FULL} {error}"
        self.signs.set(f"{work} of {self.rank}", how)
        through = [f"{work} of {rank}" for rank in range(self.size)]
        while not self.signs.check(through):
            check_pause()
            time.sleep(_LOOK_SECONDS)
        for how in (self.signs.get(key).decode() for key in through):
            kind, _, why = how.partition(" ")
            if kind != _FINE:
                raise (DeviceFull if kind == _DEVICE_FULL else MemoryError)(why)
        parts = [self._told(mine, rank) for rank in range(self.size)]
        return [parts[place % self.size][place // self.size] for place in range(len(things))]

    def _told(self, mine: T, rank: int) -> T:
        """What a process has, in all of them."""
        box: list[Any] = [mine if rank == self.rank else None]
        distributed.broadcast_object_list(box, rank, device=torch.device("cpu"))
        return cast(T, box[0])


ALONE = Processes()


@contextmanager
def joined(rank: int, size: int, meeting: Path, device: str = "cpu") -> Iterator[Processes]:
    """Join ``size`` processes of this machine that meet at a file which is not there yet: gloo, and NCCL on GPUs.

    They wait for each other as long as it takes; who ends them if one dies is another's care (``followers``).
    """
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # nobody else may listen
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    distributed.init_process_group(
        backend, init_method=f"file://{meeting}", rank=rank, world_size=size, timeout=_PATIENCE
    )
    try:
        yield Processes(rank, size, distributed.FileStore(f"{meeting}.signs", size))
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


@torch.no_grad()
def fill(whole: nn.Module, module: nn.Module) -> None:
    """Give a whole copy in each process the weights of a sharded module; all processes call it.

    What is not sharded, such as the statistics of a norm over the batch, is the leader's from here on, in the module
    too: whichever process writes it into a checkpoint. One tensor after another is gathered, so that no second copy of
    all of them lies on a device.
    """
    parts = module.state_dict()
    for name, tensor in whole.state_dict().items():
        part = parts[name]
        gathered: Callable[[], torch.Tensor] | None = getattr(part, "full_tensor", None)
        if gathered is None:
            distributed.broadcast(part, 0)
        tensor.copy_(part if gathered is None else gathered())
