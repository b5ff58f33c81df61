"""Backbones against the numbers of Table S.4's reading, and MACs against a count by hand."""

import pytest
import torch

from ecgscale.compute import cost, macs
from ecgscale.models import RESNET_200M, RESNETS, TRANSFORMER_200M, TRANSFORMERS, ResNet, Transformer
from ecgscale.models.transformer import HEAD_WIDTH
from ecgscale.objectives import Supervised

# Parameters with a flattening head of 16 positions x width for 6 labels, as the published count has it.
RESNET_TOTALS = (25813, 94163, 224219, 436398, 877982, 3471591, 6950310, 16844316, 33735442, 101668544)


@pytest.mark.parametrize(("resnet", "total"), list(zip(RESNETS, RESNET_TOTALS, strict=True)))
def test_resnet_parameters(resnet: ResNet, total: int) -> None:
    assert cost(resnet, Supervised(), 6, 1000).n_params + 16 * resnet.width * 6 + 6 == total


def test_ribeiros_own_network() -> None:
    assert ResNet(5, 320).channels == (64, 64, 128, 196, 256, 320)
    assert ResNet(5, 320).strides == (1, 4, 4, 2, 2)
    assert ResNet(7, 1024, profile="uniform").channels == (1024,) * 7


def by_formula(t: Transformer) -> int:
    """HeartLang's backbone, written out."""
    width, inner, ffn = t.width, HEAD_WIDTH * t.heads, t.ffn
    layer = 2 * width + 3 * width * inner + inner * width + width + 2 * width + width * ffn + ffn + ffn * width + width
    return t.layers * layer + 3 * 96 * width + 2 * width + (t.n_tokens + 1) * width + 32 * width + 2 * width


@pytest.mark.parametrize("transformer", TRANSFORMERS)
def test_transformer_parameters(transformer: Transformer) -> None:
    assert cost(transformer, Supervised(), 6, 1000).n_params == by_formula(transformer)


@pytest.mark.parametrize("largest", [RESNET_200M, TRANSFORMER_200M])
def test_the_largest_rungs_have_200m_parameters(largest: ResNet | Transformer) -> None:
    with torch.device("meta"):
        n_params = sum(p.numel() for p in largest.build().parameters())
    assert n_params == pytest.approx(200e6, rel=0.03)


def resnet_macs(r: ResNet, n_samples: int = 1024) -> int:
    total = 12 * r.channels[0] * r.kernel * n_samples
    for n_in, n_out, stride in zip(r.channels, r.channels[1:], r.strides, strict=False):
        total += n_in * n_out * r.kernel * n_samples
        n_samples //= stride
        total += n_out * n_out * r.kernel * n_samples + (n_in * n_out * n_samples if n_in != n_out else 0)
    return total


def transformer_macs(t: Transformer) -> int:
    n, inner = t.n_tokens + 1, HEAD_WIDTH * t.heads
    layer = n * (4 * t.width * inner + 2 * t.width * t.ffn) + 2 * n * n * inner
    return t.layers * layer + t.n_tokens * 3 * 96 * t.width


@pytest.mark.parametrize("rung", [*RESNETS[:8], *TRANSFORMERS[:8]])
def test_macs_are_those_of_a_hand_count(rung: ResNet | Transformer) -> None:
    by_hand = resnet_macs(rung) if isinstance(rung, ResNet) else transformer_macs(rung)
    assert cost(rung, Supervised(), 6, 1000).macs_per_sample == pytest.approx(by_hand + 6 * rung.width, rel=1e-3)


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
