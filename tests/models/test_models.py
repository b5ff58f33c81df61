"""Backbones against the numbers of Table S.4's reading, and MACs against a count by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ecgscale import data
from ecgscale.compute import cost, macs
from ecgscale.data.corpus import Slice
from ecgscale.models import RESNET_200M, RESNETS, TRANSFORMER_200M, TRANSFORMERS, ResNet, Transformer
from ecgscale.models.transformer import HEAD_WIDTH, EncoderLayer
from ecgscale.objectives import Objective, Supervised
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.training.train import pretrain
from tests.counts import LADDER, OBJECTIVES, by_hand

# Parameters with a flattening head of 16 positions x width for 6 labels, as the published count has it.
RESNET_TOTALS = (25813, 94163, 224219, 436398, 877982, 3471591, 6950310, 16844316, 33735442, 101668544)
# In thousands, as the specification rounds them: uniform ResNets without a head, Transformers with six labels.
UNIFORM_TOTALS = (44, 167, 431, 845, 1_700, 7_000, 14_000, 34_800, 69_700, 214_000)
TRANSFORMER_TOTALS = (25.1, 71.7, 180, 602, 1_590, 2_520, 5_520, 11_600, 19_200, 50_800)


def n_params(rung: ResNet | Transformer) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in rung.build().parameters())


@pytest.mark.parametrize(("resnet", "total"), list(zip(RESNETS, RESNET_TOTALS, strict=True)))
def test_resnet_parameters(resnet: ResNet, total: int) -> None:
    assert n_params(resnet) + 16 * resnet.width * 6 + 6 == total


@pytest.mark.parametrize(("resnet", "thousands"), list(zip(RESNETS, UNIFORM_TOTALS, strict=True)))
def test_resnet_parameters_of_the_uniform_profile(resnet: ResNet, thousands: float) -> None:
    assert n_params(ResNet(resnet.depth, resnet.width, profile="uniform")) / 1000 == pytest.approx(thousands, rel=0.01)


def test_ribeiros_own_network() -> None:
    assert ResNet(5, 320).channels == (64, 64, 128, 196, 256, 320)
    assert ResNet(5, 320).strides == (1, 4, 4, 2, 2)
    assert ResNet(7, 1024, profile="uniform").channels == (1024,) * 7


def by_formula(t: Transformer) -> int:
    """HeartLang's backbone, written out."""
    width, inner, ffn = t.width, HEAD_WIDTH * t.heads, t.ffn
    layer = 2 * width + 3 * width * inner + inner * width + width + 2 * width + width * ffn + ffn + ffn * width + width
    return t.layers * layer + 3 * 96 * width + 2 * width + (t.n_tokens + 1) * width + 32 * width + 2 * width


@pytest.mark.parametrize(("transformer", "thousands"), list(zip(TRANSFORMERS, TRANSFORMER_TOTALS, strict=True)))
def test_transformer_parameters(transformer: Transformer, thousands: float) -> None:
    assert n_params(transformer) == by_formula(transformer)
    assert (n_params(transformer) + 6 * transformer.width + 6) / 1000 == pytest.approx(thousands, rel=5e-3)


@pytest.mark.parametrize("transformer", TRANSFORMERS[:8], ids=lambda rung: rung.size)
def test_transformers_start_as_heartlangs(transformer: Transformer) -> None:
    """Linear layers uniform with deviation (3 x inputs) ** -0.5, biases too; by name a normal of 0.02 without."""
    torch.manual_seed(0)
    normal = replace(transformer, init="truncated-normal")
    for kind, layers in (("torch", transformer.build()), ("normal", normal.build())):
        for layer in (module for module in layers.modules() if isinstance(module, torch.nn.Linear)):
            expected = (3 * layer.in_features) ** -0.5 if kind == "torch" else 0.02
            assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.05)
            if layer.bias is not None:
                assert bool(layer.bias.any()) == (kind == "torch")


def test_attention_drops_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer = EncoderLayer(8, 1, 16, 0.5)
    monkeypatch.setattr(layer.dropout, "forward", lambda x: x)  # all other dropout
    x = torch.randn(2, 30, 8)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize("largest", [RESNET_200M, TRANSFORMER_200M])
def test_the_largest_rungs_have_200m_parameters(largest: ResNet | Transformer) -> None:
    assert n_params(largest) == pytest.approx(200e6, rel=0.03)


def pairs() -> list[Any]:
    """Every rung under every objective it fits; beyond the first and last, the self-supervised ones are slow."""
    short = (RESNETS[0], RESNET_200M, TRANSFORMERS[0], TRANSFORMER_200M)
    return [
        pytest.param(
            rung,
            objective,
            id=f"{rung.kind}-{rung.size}-{objective.kind}",
            marks=() if objective.paradigm == "sl" or rung in short else pytest.mark.slow,
        )
        for rung in LADDER
        for objective in OBJECTIVES
        if rung.input in objective.inputs
    ]


@pytest.mark.parametrize(("rung", "objective"), pairs())
def test_macs_are_those_of_a_hand_count(rung: ResNet | Transformer, objective: Objective) -> None:
    assert cost(rung, objective, 6, 1000).macs_per_sample == pytest.approx(by_hand(rung, objective), rel=1e-3)


@pytest.mark.slow
@pytest.mark.xdist_group("gigabytes")
@pytest.mark.parametrize("rung", [TRANSFORMERS[-1], RESNET_200M, TRANSFORMER_200M], ids=lambda rung: rung.size)
def test_the_largest_rungs_take_a_step(rung: ResNet | Transformer, home: Path) -> None:
    corpus = data.open_corpus("ludb-sample", home)
    schedule, evaluation = Schedule(steps=1, batch_size=2), Evaluation(every=1)
    run = Run(rung, Supervised(), Slice("ludb-sample", 1.0, "rhythm"), schedule, evaluation)
    *_, last = pretrain(run, corpus)
    assert last.step == 1
    assert 0.3 < last.train_loss < 1.5  # near ln 2: the network is not trained


def test_what_cannot_be_counted_is_an_error() -> None:
    class Heavy(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.linalg.svd(x).S

    with pytest.raises(AssertionError, match="svd"):
        macs(Heavy(), [torch.randn(4, 4)])


@pytest.mark.parametrize("wrong", [(1, 8), (2, 8), (3, 0), (3, 8, 16), (3, 8, 17, 0.2, "linear")])
def test_impossible_resnets_are_refused(wrong: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="ResNet"):
        ResNet(*wrong)
