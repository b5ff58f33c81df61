"""Contracts that every architecture and objective keeps; a new one is tested by being in its registry."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.compute import cost, macs
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Slice
from ecgscale.models import ARCHITECTURES, Architecture, Backbone, Codebook, ResNet, Transformer
from ecgscale.objectives import OBJECTIVES, Masked, Objective
from ecgscale.spec import Run, from_json
from ecgscale.train import Pretraining

CODEBOOK = Codebook("ptbxl-sample", 64, 8, 1, 1, 16, 1, 32, n_tokens=96, leads="independent")
SMALL: dict[str, Architecture] = {
    "resnet": ResNet(3, 12),
    "transformer": Transformer(2, 16, 1, 32, n_tokens=96, leads="independent"),
}
PLAIN: dict[str, Objective] = {kind: cls() for kind, cls in OBJECTIVES.items() if cls is not Masked}  # type: ignore[call-arg]
MADE: dict[str, Objective] = PLAIN | {"masked": Masked(CODEBOOK)}
PAIRS = [(a, o) for a in ARCHITECTURES for o in OBJECTIVES if SMALL[a].view in MADE[o].views]


def test_registries_are_covered() -> None:
    assert set(SMALL) == set(ARCHITECTURES)
    assert set(MADE) == set(OBJECTIVES)
    assert {a for a, _ in PAIRS} == set(ARCHITECTURES)
    assert {o for _, o in PAIRS} == set(OBJECTIVES)


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    corpus = data.open_corpus("ptbxl-sample", home)
    return Store(corpus, corpus.rows("train")[:256], "code6")


def built(architecture: str, objective: str) -> Pretraining:
    torch.manual_seed(0)
    backbone, made = SMALL[architecture].build(), MADE[objective]
    if isinstance(made, Masked):
        return made.build(backbone, 6, made.codebook.build())
    return made.build(backbone, 6)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_features_have_their_shapes(architecture: str, store: Store) -> None:
    backbone = SMALL[architecture].build().eval()
    found = backbone(store.batch(np.arange(5)))
    assert found.pooled.shape == (5, backbone.width)
    assert found.local.shape[::2] == (5, backbone.width)
    assert found.pooled.isfinite().all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_recording_has_the_same_features_in_any_batch(architecture: str, store: Store) -> None:
    backbone = SMALL[architecture].build().eval()
    together = backbone(store.batch(np.arange(6))).pooled[3]
    alone = backbone(store.batch(np.array([3]))).pooled[0]
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_gradients_reach_every_parameter(architecture: str, objective: str, store: Store) -> None:
    module = built(architecture, objective).train()
    module(store.batch(np.arange(32)), draw()).mean.backward()
    without = [name for name, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # A class token's neighbours are all that masked and supervised models disagree about.
    allowed = {"backbone.mask_token"} if objective != "masked" else set()
    assert set(without) <= allowed


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_loss_falls_on_real_recordings(architecture: str, objective: str, store: Store) -> None:
    module = built(architecture, objective).train()
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    losses = []
    for step in range(30):
        loss = module(store.batch(np.arange(32) + 32 * (step % 2)), draw(step)).mean
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:3])


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_loss_is_a_function_of_batch_and_draw(architecture: str, objective: str, store: Store) -> None:
    module = built(architecture, objective).eval()
    batch = store.batch(np.arange(16))
    first, second = (module(batch, draw(7)) for _ in range(2))
    assert float(first.total.detach()) == float(second.total.detach())
    assert int(first.n_terms) > 0


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_runs_survive_their_description(architecture: str, objective: str) -> None:
    run = Run(SMALL[architecture], MADE[objective], Slice("ptbxl-sample", 0.5, "code6"), seed=3)
    assert from_json(run.description) == run
    assert from_json(run.description).run_id == run.run_id


@pytest.mark.parametrize(("architecture", "objective"), PAIRS)
def test_cost_counts_parameters_as_built(architecture: str, objective: str) -> None:
    module, counted = built(architecture, objective), cost(SMALL[architecture], MADE[objective], 6, 1000)
    assert counted.n_params == sum(p.numel() for p in module.backbone.parameters())
    assert counted.n_params_head == sum(p.numel() for p in module.head.parameters())
    assert counted.macs_per_sample > 0


class Pooled(torch.nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.backbone.encode(*inputs).pooled


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cost_counts_what_the_cpu_would_do(architecture: str, store: Store) -> None:
    backbone = SMALL[architecture].build()
    computed = macs(Pooled(backbone), backbone.inputs(store.batch(np.arange(1))))
    assert cost(SMALL[architecture], MADE["supervised"], 6, 1000).macs_per_sample == computed + 6 * backbone.width


def test_missing_labels_are_masked(store: Store) -> None:
    module, batch = built("resnet", "supervised").eval(), store.batch(np.arange(8))
    labels = batch.labels.clone()
    labels[2:] = math.nan
    known, alone = module(batch._replace(labels=labels), draw()), module(Batch(*(x[:2] for x in batch)), draw())
    assert int(known.n_terms) == int(alone.n_terms) == 12
    torch.testing.assert_close(known.total, alone.total)
