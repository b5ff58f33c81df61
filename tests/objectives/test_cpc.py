"""Contrastive predictive coding against slow references, and that no latent has seen what is predicted."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.compute import cost
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Slice
from ecgscale.models import S4D, Architecture, Mamba, ResNet, Transformer, ViT
from ecgscale.objectives import CPC, Collapsed, Pretraining
from ecgscale.objectives.cpc import AmongItself, Coding, WithinRecordings, across
from ecgscale.spec.run import Run

SMALL = CPC(windows=5, steps=2, context_layers=1, context_width=7)
CAUSAL: dict[str, Architecture] = {
    "s4d": S4D(2, 6, 4, bidirectional=False, dropout=0.0),
    "mamba": Mamba(2, 8, 4, patch=10, bidirectional=False),
}
SLICE = Slice("ptbxl-sample")


def built(architecture: Architecture, description: CPC) -> Coding:
    torch.manual_seed(0)
    module = description.build(architecture.build(), 0)
    assert isinstance(module, Coding)
    return module.eval()


def drawn(n: int, n_latents: int, n_ahead: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    shapes = ((n, n_latents, 6), (n, n_ahead, n_latents, 6))
    latents, predicted = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes)
    return latents, predicted


def slow_term(told: np.ndarray, right: np.ndarray, wrong: list[np.ndarray]) -> float:
    """-log of the right latent's share among all candidates, of which each weighs exp(told . latent) (Eq. 4)."""
    weights = [math.exp(sum(a * b for a, b in zip(told, one, strict=True))) for one in (right, *wrong)]
    return -math.log(weights[0] / sum(weights))


@pytest.mark.parametrize("n_negatives", [3, 8])
def test_the_loss_within_recordings_is_the_slow_one(n_negatives: int) -> None:
    """With fewer negatives than there are latents, and with all; as many for a recording whichever are drawn."""
    ahead, n, n_latents = (1, 3), 3, 9
    latents, predicted = drawn(n, n_latents, len(ahead))
    places = torch.stack([torch.randperm(n_latents, generator=torch.Generator().manual_seed(i)) for i in range(n)])
    places = places[:, : n_negatives + 1]
    z, told, terms = latents.numpy(), predicted.numpy(), []
    for i in range(n):
        for k, steps in enumerate(ahead):
            for t in range(n_latents - steps):
                others = [place for place in places[i].tolist() if place != t + steps][:n_negatives]
                terms.append(slow_term(told[i, k, t], z[i, t + steps], [z[i, place] for place in others]))
    assert float(AmongItself(ahead)(latents, predicted, places)) == pytest.approx(sum(terms), abs=1e-6)


@pytest.mark.parametrize("patient", [[1, 2, 3, 4], [1, 2, 1, 4], [5, 5, 5, 5]])
def test_the_loss_across_recordings_is_the_slow_one(patient: list[int]) -> None:
    ahead, n, n_latents = (1, 2), 4, 5
    latents, predicted = drawn(n, n_latents, len(ahead))
    z, told, terms = latents.numpy(), predicted.numpy(), []
    for i in range(n):
        for k, steps in enumerate(ahead):
            for t in range(n_latents - steps):
                others = [j for j in range(n) if patient[j] != patient[i]]
                terms.append(slow_term(told[i, k, t], z[i, t + steps], [z[j, t + steps] for j in others]))
    loss = across(latents, predicted, ahead, torch.tensor(patient))
    assert int(loss.n_terms) == len(terms)
    assert float(loss.mean) == pytest.approx(sum(terms) / len(terms), abs=1e-6)


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    corpus = data.open_corpus("ptbxl-sample", home)
    return Store(corpus, corpus.rows("train")[:64])


@pytest.mark.parametrize("context", ["lstm", "gru"])
def test_a_module_cuts_encodes_and_predicts_as_said(context: str, store: Store) -> None:
    """Window by window through the backbone, step by step through the recurrent network and each step's matrix."""
    module = built(ResNet(3, 6), replace(SMALL, context=context, n_negatives=9, only_last=True))
    head, batch = cast(Any, module.head), store.batch(np.arange(3))
    z = [[module.backbone(one(batch, i, slice(200 * t, 200 * t + 200))).pooled[0] for t in range(5)] for i in range(3)]
    terms = []
    for i in range(3):
        state = None
        for t in range(5 - 2):
            out, state = head.context(z[i][t][None, None], state)
            told = head.predict.weight @ out[0, 0]
            scores = torch.stack([told @ z[i][t + 2], *(told @ z[i][j] for j in range(5) if j != t + 2)])
            terms.append(float(-scores.detach().double().log_softmax(0)[0]))
    loss = module(batch, torch.Generator())
    assert int(loss.n_terms) == len(terms) == 9
    assert float(loss.mean.detach()) == pytest.approx(sum(terms) / len(terms), abs=1e-6)


def one(batch: Batch, i: int, samples: slice) -> Batch:
    return batch._replace(signal=batch.signal[i : i + 1, :, samples], mv=batch.mv.expand(3)[i : i + 1])


@pytest.mark.parametrize(
    ("architecture", "description"),
    [
        *((net, SMALL) for net in (ResNet(3, 6), ViT(1, 12, 1, patch=50, layer_scale=0.3), S4D(1, 6, 4))),
        *((net, CPC(steps=2, context="backbone")) for net in CAUSAL.values()),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_nothing_has_seen_what_is_predicted(architecture: Architecture, description: CPC) -> None:
    """Other samples from one on change no latent and no prediction before, and all latents behind."""
    module = built(architecture, description)
    at = 3 if module.by_windows else 600 // module.backbone.samples_per_token
    signal = torch.randn(2, 12, 1000, generator=torch.Generator().manual_seed(1))
    batch = Batch(signal, torch.zeros(2, 1), torch.zeros(2, 0), torch.arange(2))
    changed = batch._replace(signal=torch.cat([signal[..., :600], signal[..., 600:].flip(2) + 1], 2))
    with torch.no_grad():
        (latents, predicted), (others, told) = module.coded(batch), module.coded(changed)
    torch.testing.assert_close(others[:, :at], latents[:, :at], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(told[:, :, :at], predicted[:, :, :at], rtol=1e-5, atol=1e-5)
    assert ((others[:, at:] - latents[:, at:]).abs().amax(2) > 1e-4).all()


def test_an_untrained_model_knows_nothing_and_negatives_are_others() -> None:
    module = built(ResNet(3, 6), replace(SMALL, n_negatives=2))
    assert isinstance(module, WithinRecordings)
    places = module.draw_negatives(50, 5, torch.Generator().manual_seed(0))
    assert all(len(set(row)) == 3 for row in places.tolist())
    assert set(places.flatten().tolist()) == set(range(5))
    latents = torch.randn(50, 5, 6)
    loss = module.compare(latents, 1e-4 * torch.randn(50, 2, 5, 6), places)
    assert float(loss) == pytest.approx(50 * 7 * math.log(3), rel=1e-3)


def test_what_is_compared_is_counted() -> None:
    """Windows pass the backbone, all latents the LSTM and the predictors, and predictions meet their candidates."""
    net, w, h = ResNet(3, 12), 12, 7
    found = cost(net, SMALL, 0, 1000)
    window = cost(net, replace(SMALL, windows=20, steps=1, context_width=1), 0, 4000)  # of 200 samples, too
    recurrent, predictors = 4 * h * (w + h), 2 * w * h
    compared = (4 + 3) * 5 * w
    by_hand = 5 * (recurrent + predictors) + compared
    alone = window.macs_per_sample - 20 * (4 * (w + 1) + w) - 19 * 20 * w
    assert found.macs_per_sample == 5 * alone // 20 + by_hand
    assert found.n_params_head == recurrent + 2 * 4 * h + predictors


def test_features_that_do_not_differ_are_told(store: Store) -> None:
    module: Pretraining = built(ResNet(3, 6), SMALL)
    batch = store.batch(np.arange(32))
    found = module.health(batch)
    assert set(found) == {"feature_rank", "feature_spread", "next_told"}
    assert 0 <= found["next_told"] <= 1
    assert found["feature_spread"] > 0.01
    with torch.no_grad():
        for name, parameter in module.backbone.named_parameters():
            parameter.mul_(0.0 if "norm2.weight" in name else 1.0).add_(1.0 if "norm2.bias" in name else 0.0)
    module.begin(4, 10)
    assert module.health(batch)["feature_spread"] < 0.001
    module.begin(5, 10)
    with pytest.raises(Collapsed, match="at step 5"):
        module.health(batch)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CPC(negatives="others"), "'record' or 'batch'"),
        (lambda: CPC(context="rnn"), "'lstm' or 'gru' or 'backbone'"),
        (lambda: CPC(windows=12), "windows is above steps"),
        (lambda: CPC(n_negatives=0), "n_negatives"),
        (lambda: Run(S4D(1, 6, 4), CPC(context="backbone"), SLICE), "this s4d looks into the future"),
        (lambda: Run(ResNet(3, 6), CPC(context="backbone"), SLICE), "this resnet looks into the future"),
        (lambda: Run(ViT(1, 12, 1, patch=60), CPC(), SLICE), "a window of 50 samples holds no patch of 60"),
        (lambda: Run(Transformer(1, 12, 1, 24), CPC(), SLICE), "a transformer reads beats"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_configuration_is_named_after_it() -> None:
    run = Run(ResNet(3, 6), CPC(), SLICE)
    assert (run.configuration, run.objective.paradigm) == ("resnet-cpc", "ssl")
    assert Run(CAUSAL["s4d"], CPC(context="backbone"), SLICE).configuration == "s4d-cpc"
