"""A run over two processes has the loss and the gradients of one, and goes on with any number of processes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import multiprocessing
from torch._dynamo.utils import counters

from ecgscale.data.batches import Batch
from ecgscale.models import Architecture, Codebook, Net1D, ResNet, Transformer, ViT
from ecgscale.objectives import (
    CMSC,
    CPC,
    DINO,
    JEPA,
    Hybrid,
    Masked,
    Objective,
    ObjectiveInputs,
    Optimiser,
    Pretraining,
    Supervised,
)
from ecgscale.objectives.cmsc import VARIANTS
from ecgscale.objectives.dino import DINOModule
from ecgscale.objectives.distillation import sinkhorn_knopp
from ecgscale.training import sharded_checkpoint, sharding
from ecgscale.training.step import Execution, compute_gradients, optimiser_of, optimiser_step, prepare_module

N, STEPS = 7, 2  # so that one process has a recording more
VIT = ViT(2, 24, 2, layer_scale=0.3)
KINDS: dict[str, Architecture] = {
    "vit": VIT,
    "net1d": Net1D((16, 32), (1, 1)),
    "transformer": Transformer(2, 16, 1, 32, dropout=0.0, n_tokens=48, leads="independent"),
    "resnet": ResNet(3, 12, dropout=0.0),
}
MADE: dict[str, Objective] = {  # on a ViT
    **{f"cmsc-{variant}": CMSC(variant=variant) for variant in VARIANTS},
    "cpc": CPC(windows=5, steps=2, context_layers=1),
    "cpc-batch": CPC(windows=5, steps=2, negatives="batch", context="gru", context_layers=1),
    "hybrid": Hybrid(weight=0.3),
}
ADAMW = Optimiser("adamw", eps=1e-4)  # a smaller one makes whole steps of what is but rounding in a gradient
SMALL_DINO = DINO(n_prototypes=16, head_width=16, bottleneck=8, n_local=2, gram_from=0.01)
CODEBOOK = Codebook("any", 64, 8, 1, 1, 16, 1, 32, n_tokens=48, leads="independent")
MASKED = Masked(CODEBOOK)
COMPILED: dict[str, int | None] = {"transformer": None, "resnet": 2}  # micro-batches
JEPAS = JEPA(blocks=2)

# The lower ones far from 0, as they are where one process has hidden no patch.
LOGITS = {
    "several": torch.randn(7, 5, generator=torch.Generator().manual_seed(0)),
    "one": torch.randn(1, 5, generator=torch.Generator().manual_seed(1)) - 9,
}


def built(kind: str) -> Pretraining:
    torch.manual_seed(0)
    if kind == "dino":
        return SMALL_DINO.build(VIT.build(), 0).train()
    if kind == "masked":
        return MASKED.build(KINDS["transformer"].build(), 0, ObjectiveInputs(CODEBOOK.build())).train()
    if kind == "jepa":
        return JEPAS.build(replace(VIT, pooling="mean").build(), 0).train()
    if kind in MADE:
        return MADE[kind].build(VIT.build(), 6).train()
    module = Supervised().build(KINDS[kind].build(), 6)
    return module.eval() if kind == "resnet" else module.train()  # a norm over the batch sees a process' share


def batches(step: int, positions: np.ndarray) -> Batch:
    draw = torch.Generator().manual_seed(step)
    peaks = torch.arange(40, 1000, 90).expand(N, -1)
    labels = torch.randint(0, 2, (N, 6), generator=draw).float()
    labels[0, :4] = torch.nan  # processes have different numbers of terms
    whole = Batch(torch.randn(N, 12, 1000, generator=draw), peaks, labels, torch.arange(N), torch.arange(1, 13))
    signal, peaks, labels, patient = (part[positions] for part in whole[:4])
    return Batch(signal, peaks, labels, patient // 2, whole.leads)


def draw(step: int) -> torch.Generator:
    return torch.Generator().manual_seed(step)


def stepped(
    module: Pretraining,
    processes: sharding.Processes = sharding.ALONE,
    told: list | None = None,
    micro_batch: int | None = None,
    after: Callable[[int], None] = lambda step: None,
) -> tuple[torch.optim.Optimizer, list]:
    """``told`` is given all weights before and after each step."""
    optimiser = optimiser_of(module.groups(), ADAMW)
    losses = []
    for step in range(STEPS):
        before = sharding.whole_state(module) if told is not None else {}
        module.begin(step, 100)
        batch = batches(step, processes.share(np.arange(N)))
        losses.append(compute_gradients(module, batch, draw(step), Execution(micro_batch=micro_batch), processes, N))
        optimiser_step(optimiser, 1e-3, 3.0, 0.1)
        module.end()
        if told is not None:
            told.append((before, sharding.whole_state(module)))
        after(step)
    return optimiser, losses


def process(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    with sharding.joined(rank, size, Path(folder) / "meeting") as processes:
        for name, logits in LOGITS.items():
            share = sinkhorn_knopp(logits[processes.share(np.arange(len(logits)))], 0.07, shared=True)
            torch.save(share, Path(folder) / f"{name}-{rank}.pt")
        for kind in (*KINDS, *MADE, "masked", "jepa", "dino"):
            for micro_batch in (None,) if kind == "dino" else (None, 2):
                module = built(kind)
                sharding.shard(module, in_micro_batches=micro_batch is not None)
                told: list = []
                optimiser, losses = stepped(module, processes, told if kind == "dino" else None, micro_batch)
                mean = processes.mean(torch.stack(losses))
                name = f"{kind}-micro" if micro_batch else kind
                sharded_checkpoint.save(Path(folder) / name, "last", module, optimiser, {"step": STEPS})
                whole = sharding.whole_state(module)
                if processes.leads:
                    torch.save({"state": whole, "losses": mean}, Path(folder) / f"{name}.pt")
                    torch.save(told, Path(folder) / f"{name}-steps.pt")


def compiled(kind: str, micro_batch: int | None, processes: sharding.Processes) -> tuple[torch.Tensor, list[int]]:
    """Losses of steps, and how many graphs there are after each with evaluations of 7, 5 and 2 recordings behind it."""
    module, whole, how, graphs = built(kind), built(kind), Execution(micro_batch=micro_batch, compile=True), list[int]()
    prepare_module(whole, how)
    prepare_module(module, how, by_block=True)
    sharding.shard(module, in_micro_batches=micro_batch is not None)

    @torch.no_grad()
    def evaluate(step: int) -> None:
        sharding.fill(whole, module)
        for n in (N, 5, 2):
            whole.eval()(batches(step, np.arange(n)), draw(step))
        graphs.append(counters["stats"]["unique_graphs"])

    counters.clear()
    _, losses = stepped(module, processes, micro_batch=micro_batch, after=evaluate)
    assert not counters["graph_break"]
    return processes.mean(torch.stack(losses)), graphs


def compiling(rank: int, size: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.compile = partial(torch.compile, backend="eager", fullgraph=True)  # type: ignore[assignment]
    with sharding.joined(rank, size, Path(folder) / "met") as processes:
        for kind, micro_batch in COMPILED.items():
            torch.save(compiled(kind, micro_batch, processes), Path(folder) / f"{kind}-compiled-{rank}.pt")


@pytest.mark.slow
def test_what_is_compiled_block_by_block_has_the_same_losses_and_is_compiled_once(folder: Path) -> None:
    """Blocks are whole graphs, or torch raises; no later step, evaluation or smaller batch compiles one again."""
    multiprocessing.spawn(compiling, (2, str(folder)), nprocs=2)
    for kind, micro_batch in COMPILED.items():
        plain = torch.load(folder / f"{kind}{'-micro' if micro_batch else ''}.pt", weights_only=True)["losses"]
        for rank in range(2):
            losses, graphs = torch.load(folder / f"{kind}-compiled-{rank}.pt", weights_only=True)
            torch.testing.assert_close(losses, plain, rtol=1e-6, atol=1e-6)
            assert graphs[0] > 1
            assert set(graphs) == {graphs[0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("sharded")
    multiprocessing.spawn(process, (2, str(made)), nprocs=2)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("micro", ["", "-micro"])
@pytest.mark.parametrize("kind", [*KINDS, *MADE])
def test_two_processes_take_the_steps_of_one(kind: str, micro: str, folder: Path) -> None:
    """With their shares of 4 and 3 recordings whole, or cut into two micro-batches each."""
    module = built(kind)
    _, losses = stepped(module)
    found = torch.load(folder / f"{kind}{micro}.pt", weights_only=True)
    torch.testing.assert_close(found["losses"], torch.stack(losses), rtol=1e-5, atol=1e-5)
    for name, value in module.state_dict().items():
        torch.testing.assert_close(found["state"][name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["masked", "jepa"])
def test_hidden_words_weigh_the_same_in_micro_batches(kind: str, folder: Path) -> None:
    """Each process draws its own masks, so that two are compared with two: of as many words hidden, however cut."""
    whole, cut = (torch.load(folder / f"{kind}{micro}.pt", weights_only=True) for micro in ("", "-micro"))
    torch.testing.assert_close(cut, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vit", "dino"])
def test_a_sharded_checkpoint_goes_on_with_another_number_of_processes(kind: str, folder: Path, tmp_path: Path) -> None:
    whole = torch.load(folder / f"{kind}.pt", weights_only=True)["state"]
    (entry,) = sharded_checkpoint.intact(folder / kind)
    assert (entry["name"], entry["step"]) == ("last", STEPS)
    with sharding.joined(0, 1, tmp_path / "meeting"):
        module = built(kind)
        sharding.shard(module)
        optimiser = optimiser_of(module.groups(), ADAMW)
        sharded_checkpoint.load(folder / kind, "last", module, optimiser)
        for name, value in sharding.whole_state(module).items():
            assert torch.equal(value, whole[name]), name
        moments = [state["exp_avg"] for state in optimiser.state_dict()["state"].values() if state]
        assert any(moment.full_tensor().abs().sum() > 0 for moment in moments)
    plain = built(kind)
    optimiser = optimiser_of(plain.groups(), ADAMW)
    sharded_checkpoint.load(folder / kind, "last", plain, optimiser)  # by one process that knows of no other
    for name, value in plain.state_dict().items():
        assert torch.equal(value, whole[name]), name
    step = {float(state["step"]) for state in optimiser.state_dict()["state"].values() if state}
    assert step == {float(STEPS)}
    assert {group["clipped_with"] for group in optimiser.param_groups} == {g.clipped_with for g in plain.groups()}


@pytest.mark.slow
@pytest.mark.parametrize("name", LOGITS)
def test_processes_centre_over_all_of_their_batch(name: str, folder: Path) -> None:
    whole = sinkhorn_knopp(LOGITS[name], 0.07)
    assert whole.isfinite().all()
    for rank in range(2):
        share = torch.load(folder / f"{name}-{rank}.pt", weights_only=True)
        torch.testing.assert_close(share, whole[rank::2], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_sharded_teacher_is_the_moving_average(folder: Path) -> None:
    told = torch.load(folder / "dino-steps.pt", weights_only=True)
    for step, (before, after) in enumerate(told):
        module = built("dino")
        assert isinstance(module, DINOModule)
        module.begin(step, 100)
        keep = module.momentum
        for name, theirs in after.items():
            part, _, rest = name.partition(".")
            if name.endswith("head.prototypes.weight") and part != "teacher":
                assert torch.equal(theirs, before[name]) == (step == 0)  # they stay for the first step of a hundred
            if part == "teacher":
                torch.testing.assert_close(theirs, keep * before[name] + (1 - keep) * after[rest])
            elif part == "anchor" and step == 1:  # it is the teacher as it was when the step began
                assert torch.equal(theirs, before[f"teacher.backbone.{rest}"])
    moved = [n for n in told[0][0] if n.startswith("teacher.") and not torch.equal(told[0][0][n], told[-1][1][n])]
    assert len(moved) > 10
