"""Multiply-accumulates of published networks, against counts by hand from the shapes of their layers."""

from collections.abc import Callable

import pytest

from ecgscale.compute import cost
from ecgscale.models import (
    ECG_FM,
    HUBERT_ECG,
    MERL_RESNET18,
    MERL_VIT_TINY,
    PCLR,
    RIBEIRO_KERAS,
    Architecture,
    BasicResNet,
    KerasResNet,
    MultileadViT,
    Wave,
)
from ecgscale.objectives import Supervised
from tests.baselines import attention

N_LABELS = 6


def basic_resnet(net: BasicResNet) -> int:
    n = 10 * net.native_hz // net.stem_stride
    total, n_in = 7 * 12 * net.channels[0] * n, net.channels[0]
    for stage, (n_out, n_blocks) in enumerate(zip(net.channels, net.blocks, strict=True)):
        for i in range(n_blocks):
            strided = bool(stage) and i == 0
            n = -(-n // 2) if strided else n
            total += n * n_out * (n_in * net.kernels[0] + n_out * net.kernels[1])
            total += n * n_in * n_out if strided or n_in != n_out else 0
            n_in = n_out
    return total + N_LABELS * n_in * (2 if net.pooling == "concat" else 1)


def keras_resnet(net: KerasResNet) -> int:
    n = 4096
    total, n_in = 12 * net.kernel * net.channels[0] * n, net.channels[0]
    for n_out in net.channels[1:]:
        total += n_in * n_out * net.kernel * n
        n //= 4
        total += n_out * n_out * net.kernel * n + n_in * n_out * n
        n_in = n_out
    return total + N_LABELS * n_in * (n if net.pooling == "flatten" else 1)


def multilead_vit(net: MultileadViT) -> int:
    n_tokens = 10 * net.native_hz // net.patch
    return (
        12 * net.patch * net.width * n_tokens
        + attention(net.layers, net.width, 4 * net.width, n_tokens)
        + N_LABELS * net.width
    )


def wave(net: Wave) -> int:
    """Two segments of five seconds."""
    n, n_in, total = 5 * net.native_hz * (12 if net.chained else 1), 1 if net.chained else 12, 0
    for n_out, kernel, stride in zip(net.channels, net.kernels, net.strides, strict=True):
        n = (n - kernel) // stride + 1
        total += n_in * n_out * kernel * n
        n_in = n_out
    total += n * n_in * net.width
    total += (n + 1) * net.width * net.width // net.position_groups * net.position_kernel
    return 2 * (total + attention(net.layers, net.width, net.ffn, n)) + N_LABELS * net.width


CASES: list[tuple[Architecture, Callable[..., int]]] = [
    (MERL_RESNET18, basic_resnet),
    (RIBEIRO_KERAS, keras_resnet),
    (PCLR, keras_resnet),
    (MERL_VIT_TINY, multilead_vit),
    (HUBERT_ECG, wave),
    (ECG_FM, wave),
]


@pytest.mark.parametrize(("net", "by_hand"), CASES, ids=lambda value: getattr(value, "kind", "by-hand"))
def test_macs_are_those_of_a_hand_count(net: Architecture, by_hand: Callable[..., int]) -> None:
    assert cost(net, Supervised(), N_LABELS, 1000).macs_per_sample == pytest.approx(by_hand(net), rel=1e-3)
