"""Contracts that every architecture and objective keeps; a new one is tested by being in its registry."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecgscale import contracts
from ecgscale.compute import cost, macs
from ecgscale.contracts import draw
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Slice
from ecgscale.data.peaks import NO_PEAK
from ecgscale.models import ARCHITECTURES, Architecture, Backbone, ResNet
from ecgscale.models.cpu_conv import BatchNorm
from ecgscale.objectives import OBJECTIVES, Supervised
from ecgscale.spec.run import Run
from ecgscale.training.step import Execution, compute_gradients, prepare_module
from ecgscale.training.train import Pretraining
from tests.descriptions import described
from tests.small import MADE, SMALL, fitted

FAST = {  # of these objectives, what is not slow and stands for all architectures
    "cpc": ("resnet",),
    "cpc-batch": ("resnet",),
    "cpc-causal": ("mamba",),
    "jepa": ("transformer",),
    "hybrid": ("resnet",),
    "hybrid-jepa": ("vit",),
}
SWEPT = ("resnet", "transformer", "net1d", "vit")  # of the others what a label teaches stands for all objectives
FIT = [
    (a, o) for a in ARCHITECTURES for o in MADE if fitted(a, o) and (o not in FAST or a in SWEPT or o == "cpc-causal")
]


def _slow(architecture: str, objective: str) -> bool:
    return architecture not in FAST.get(objective, SWEPT) and objective != "supervised"


PAIRS = [pytest.param(a, o, marks=pytest.mark.slow if _slow(a, o) else ()) for a, o in FIT]


def test_registries_are_covered() -> None:
    assert set(SMALL) == set(ARCHITECTURES)
    assert {made.kind for made in MADE.values()} == set(OBJECTIVES)
    assert {a for a, _ in FIT} == set(ARCHITECTURES)
    assert {o for _, o in FIT} == set(MADE)


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    return contracts.recordings(home)


def net(architecture: str, objective: str) -> Architecture:
    found = fitted(architecture, objective)
    assert found is not None
    return found


def built(architecture: str, objective: str) -> Pretraining:
    return contracts.built(net(architecture, objective), MADE[objective])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_have_their_shapes(architecture: str, store: Store) -> None:
    contracts.shapes(SMALL[architecture], Supervised(), store)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_recording_has_the_same_features_in_any_batch(architecture: str, store: Store) -> None:
    contracts.alone(SMALL[architecture], Supervised(), store)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recordings_of_any_length_are_read(architecture: str, store: Store) -> None:
    """Three seconds and thirty, whatever an architecture was made for, and with its positions flattened."""
    net: Any = SMALL[architecture]
    flat = [replace(net, pooling="flatten")] if getattr(net, "pooling", "") == "mean" and net.length != "any" else []
    batch = store.batch(np.arange(2))
    short = batch._replace(signal=batch.signal[..., :300], peaks=batch.peaks.where(batch.peaks < 300, NO_PEAK))
    with torch.no_grad():
        for one in (net, *flat):
            backbone = one.build().eval()
            for made in (short, batch._replace(signal=batch.signal.repeat(1, 1, 3))):
                found = backbone(made).pooled
                assert found.shape == (2, backbone.width)
                assert found.isfinite().all()


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_gradients_reach_every_parameter(architecture: str, objective: str, store: Store) -> None:
    contracts.gradients(net(architecture, objective), MADE[objective], store)


@pytest.mark.parametrize(
    ("architecture", "objective"),
    [pytest.param(a, o, marks=pytest.mark.slow if _slow(a, o) or o not in OBJECTIVES else ()) for a, o in FIT],
)
def test_loss_falls_on_real_recordings(architecture: str, objective: str, store: Store) -> None:
    to = 0.98 if MADE[objective].kind in ("cpc", "jepa", "hybrid") else 0.9  # what comes next is told slowly
    contracts.falling(net(architecture, objective), MADE[objective], store, to=to)


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_loss_is_a_function_of_batch_and_draw(architecture: str, objective: str, store: Store) -> None:
    contracts.repeatable(net(architecture, objective), MADE[objective], store)


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_runs_survive_their_description(architecture: str, objective: str, store: Store) -> None:
    run = Run(net(architecture, objective), MADE[objective], Slice("ptbxl-sample", 0.5, "code6"), seed=3)
    assert described(run.description) == run
    assert described(run.description).run_id == run.run_id
    for contract in (contracts.identity, contracts.pickled):
        contract(net(architecture, objective), MADE[objective], store)


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_a_module_survives_its_state(architecture: str, objective: str, store: Store) -> None:
    """Loaded into another module, weights give the same loss."""
    first, second = built(architecture, objective).eval(), built(architecture, objective).eval()
    batch = store.batch(np.arange(8))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw(3)), alpha=0.01)
        expected = first(batch, draw()).mean
        assert not torch.equal(second(batch, draw()).mean, expected)
        second.load_state_dict(first.state_dict())
        assert torch.equal(second(batch, draw()).mean, expected)


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_micro_batches_give_the_gradient_of_the_batch(architecture: str, objective: str, store: Store) -> None:
    """Without dropout and with fixed BatchNorm, which see micro-batches: of 7, 7 and 6 recordings for 20."""
    module, batch = built(architecture, objective).train(), store.batch(np.arange(20))
    labels = batch.labels.clone()
    labels[:9, 1] = math.nan  # terms are not spread evenly
    batch = batch._replace(labels=labels, patient=batch.patient // 3)
    if architecture == "s4d":  # whose sums over a thousand samples differ by more in another order, in float32
        module, batch = module.double(), batch._replace(signal=batch.signal.double())
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout | torch.nn.modules.batchnorm._BatchNorm):
            part.eval()
    if not MADE[objective].cuts_batches:  # centring, for example, is over a whole batch
        with pytest.raises(ValueError, match="micro-batches"):
            compute_gradients(module, batch, draw(5), Execution(micro_batch=7))
        return
    found = {}
    for micro_batch in (None, 7):
        loss = compute_gradients(module, batch, draw(5), Execution(micro_batch=micro_batch))
        found[micro_batch] = (loss, [p.grad.clone() for p in module.parameters() if p.grad is not None])
    torch.testing.assert_close(found[7][0], found[None][0], rtol=1e-5, atol=1e-6)
    largest = max(float(gradient.abs().max()) for gradient in found[None][1])
    for whole, summed in zip(found[None][1], found[7][1], strict=True):
        torch.testing.assert_close(summed, whole, rtol=1e-4, atol=1e-6 * max(1.0, largest))


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_low_precision_computes_about_the_same(architecture: str, objective: str, store: Store) -> None:
    module, batch = built(architecture, objective).train(), store.batch(np.arange(16))
    for part in module.modules():
        if isinstance(part, BatchNorm):
            part.dropout = 0.0  # a CPU would drop other activations in each
    losses, gradients = [], []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(1)
        losses.append(compute_gradients(module, batch, draw(5), Execution(precision)))
        gradients.append([p.grad.clone() for p in module.parameters() if p.grad is not None])
    assert losses[1].dtype == torch.float32
    assert {g.dtype for g in gradients[1]} == {torch.float32}
    assert not all(torch.equal(low, full) for low, full in zip(*gradients, strict=True))
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0.0)


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_cost_counts_parameters_as_built(architecture: str, objective: str, store: Store) -> None:
    """And a seed gives the same weights."""
    contracts.same_build(net(architecture, objective), MADE[objective], store)
    contracts.counted(net(architecture, objective), MADE[objective], store)


class Pooled(torch.nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.backbone.encode(*inputs).pooled


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cost_counts_what_the_cpu_would_do(architecture: str, store: Store) -> None:
    backbone = SMALL[architecture].build()
    inputs = backbone.inputs(store.batch(np.arange(1)))
    said = SMALL[architecture].macs(
        1000
    )  # of operations that fvcore does not know; these have hand counts of their own
    computed = macs(Pooled(backbone), inputs) if said is None else said
    assert cost(SMALL[architecture], MADE["supervised"], 6, 1000).macs_per_sample == computed + 6 * backbone.width


def test_missing_labels_are_masked(store: Store) -> None:
    module, batch = built("resnet", "supervised").eval(), store.batch(np.arange(8))
    labels = batch.labels.clone()
    labels[2:] = math.nan
    known, alone = module(batch._replace(labels=labels), draw()), module(Batch(*(x[:2] for x in batch)), draw())
    assert int(known.n_terms) == int(alone.n_terms) == 12
    torch.testing.assert_close(known.total, alone.total)


DEPTHS: dict[str, Architecture] = {**SMALL, "resnet-5": ResNet(5, 6), "resnet-7": ResNet(7, 6)}


@pytest.mark.parametrize(
    ("name", "recompute"),
    [
        *((a, False) for a in DEPTHS),
        *(pytest.param(a, True, marks=() if a in SWEPT else pytest.mark.slow) for a in SMALL),
    ],
)
def test_a_backbone_is_one_graph_and_compiled_once(
    name: str, recompute: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Traced by torch's compiler without a break (else it raises); nothing that a run does traces it again.

    Twice through micro-batches of 4, 4 and 3 recordings and an evaluation of 11 and 9: one graph for each of the two.
    (Of fewer than 16 segments, two a recording, a CPU takes another convolution: a graph more, once.)
    With recomputation the graphs are those of the blocks in training, where a backbone has any.
    """
    from torch._dynamo.utils import counters

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    backbone, batch = DEPTHS[name].build(), store.batch(np.arange(11))
    module = Supervised().build(backbone, 6)
    how = Execution(micro_batch=4, compile=True, recompute=recompute)
    prepare_module(module, how)
    graphs = []
    counters.clear()
    for step in range(2):
        compute_gradients(module.train(), batch, draw(step), how)
        with torch.no_grad():
            module.eval().backbone(batch)
            module.backbone(store.batch(np.arange(9)))
        graphs.append(counters["stats"]["unique_graphs"])
    n_blocks = sum(len(part) for part in backbone.children() if isinstance(part, torch.nn.ModuleList))
    assert 1 <= graphs[0] <= (n_blocks if recompute and n_blocks else 2)
    assert graphs[1] == graphs[0]
    assert not counters["graph_break"]
