"""A run over two processes has the loss and the gradients of one, and goes on with any number of processes."""

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing

from ecgscale import sharding
from ecgscale.data.batches import Batch
from ecgscale.models import Architecture, Net1D, ResNet, Transformer, ViT
from ecgscale.objectives import DINO, Pretraining, Supervised

N, STEPS = 8, 2
KINDS: dict[str, Architecture] = {
    "vit": ViT(2, 24, 2, layer_scale=0.3),
    "net1d": Net1D((16, 32), (1, 1)),
    "transformer": Transformer(2, 16, 1, 32, dropout=0.0, n_tokens=48, leads="independent"),
    "resnet": ResNet(3, 12, dropout=0.0),
}
VIT = KINDS["vit"]
WITHOUT_KOLEO = DINO(n_prototypes=16, head_width=16, bottleneck=8, n_local=2, koleo=0.0)  # KoLeo is a process' own


def built(kind: str) -> Pretraining:
    torch.manual_seed(0)
    if kind == "dino":
        return WITHOUT_KOLEO.build(VIT.build(), 0).train()
    module = Supervised().build(KINDS[kind].build(), 6)
    return module.eval() if kind == "resnet" else module.train()  # a norm over the batch sees a process' share


def batches(step: int, positions: np.ndarray) -> Batch:
    draw = torch.Generator().manual_seed(step)
    peaks = torch.arange(40, 1000, 90).expand(N, -1)
    labels = torch.randint(0, 2, (N, 6), generator=draw).float()
    labels[0, :4] = torch.nan  # processes have different numbers of terms
    whole = Batch(torch.randn(N, 12, 1000, generator=draw), peaks, labels, torch.arange(N), torch.arange(1, 13))
    signal, peaks, labels, patient = (part[positions] for part in whole[:4])
    return Batch(signal, peaks, labels, patient, whole.leads)


def draw(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


def stepped(
    module: Pretraining, group: sharding.Group | None, n_steps: int = STEPS
) -> tuple[torch.optim.Optimizer, list]:
    optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-3)
    losses = []
    for step in range(n_steps):
        module.begin(step, 10)
        if group is None:
            loss = module(batches(step, np.arange(N)), draw(step)).mean
        else:
            loss = sharding.mean_over(module(batches(step, group.share(np.arange(N))), draw(step)), group)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 3.0)
        optimiser.step()
        optimiser.zero_grad()
        module.end()
        losses.append(loss.detach())
    return optimiser, losses


def process(rank: int, size: int, address: str, folder: str) -> None:
    torch.set_num_threads(1)
    with sharding.joined(rank, size, address) as group:
        for kind in (*KINDS, "dino"):
            module = built(kind)
            sharding.shard(module)
            optimiser, losses = stepped(module, group)
            mean = torch.stack(losses)
            torch.distributed.all_reduce(mean)
            sharding.save(Path(folder) / kind, module, optimiser, STEPS, 1.5)
            whole = sharding.whole_state(module)
            if group.leads:
                torch.save({"state": whole, "losses": mean / size}, Path(folder) / f"{kind}.pt")


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sharded")
    multiprocessing.spawn(process, (2, free_address(), str(made)), nprocs=2)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_take_the_steps_of_one(kind: str, folder: Path) -> None:
    module = built(kind)
    _, losses = stepped(module, None)
    found = torch.load(folder / f"{kind}.pt", weights_only=True)
    torch.testing.assert_close(found["losses"], torch.stack(losses), rtol=1e-5, atol=1e-5)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(found["state"][name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "dino"])
def test_a_sharded_checkpoint_goes_on_with_another_number_of_processes(kind: str, folder: Path) -> None:
    whole = torch.load(folder / f"{kind}.pt", weights_only=True)["state"]
    with sharding.joined(0, 1, free_address()):
        module = built(kind)
        sharding.shard(module)
        optimiser = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 1e-3)
        assert sharding.load(folder / "nothing", module, optimiser) is None
        assert sharding.load(folder / kind, module, optimiser) == (STEPS, 1.5)
        for name, value in sharding.whole_state(module).items():
            assert torch.equal(value, whole[name]), name
        moments = [state["exp_avg"] for state in optimiser.state_dict()["state"].values() if state]
        assert any(moment.full_tensor().abs().sum() > 0 for moment in moments)
