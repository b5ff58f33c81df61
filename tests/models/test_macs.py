"""Multiply-accumulates of published networks and baselines, against counts by hand from the shapes of their layers."""

from collections.abc import Callable

import pytest

from ecgscale.compute import cost
from ecgscale.models import (
    ECG_FM,
    HUBERT_ECG,
    INCEPTIONTIME,
    ITRANSFORMER,
    MERL_RESNET18,
    MERL_VIT_TINY,
    PATCHTST,
    PCLR,
    RESNET_WANG,
    RIBEIRO_KERAS,
    SEQUENCE_TRANSFORMER,
    TCN,
    XRESNET1D101,
    Architecture,
    BasicResNet,
    KerasResNet,
    MultileadViT,
    SequenceTransformer,
    Wave,
    XResNet,
)
from ecgscale.models.inceptiontime import InceptionTime
from ecgscale.objectives import Supervised

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


def encoder(layers: int, width: int, ffn: int, n_tokens: int) -> int:
    return layers * (n_tokens * (4 * width * width + 2 * width * ffn) + 2 * n_tokens * n_tokens * width)


def multilead_vit(net: MultileadViT) -> int:
    n_tokens = 10 * net.native_hz // net.patch
    return (
        12 * net.patch * net.width * n_tokens
        + encoder(net.layers, net.width, 4 * net.width, n_tokens)
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
    return 2 * (total + encoder(net.layers, net.width, net.ffn, n)) + N_LABELS * net.width


def xresnet(net: XResNet) -> int:
    n, out, k = 500, 4 * net.width, net.kernel
    total, n_in = n * k * (12 * 32 + 32 * 32 + 32 * 64), 64
    n = 250
    for stage, n_blocks in enumerate(net.blocks):
        for i in range(n_blocks):
            total += n * n_in * net.width
            n = -(-n // 2) if stage and i == 0 else n
            total += n * (k * net.width * net.width + net.width * out) + (n * n_in * out if n_in != out else 0)
            n_in = out
    return total + 2 * out * net.hidden + N_LABELS * net.hidden


def inceptiontime(net: InceptionTime) -> int:
    f, wide = net.filters, 4 * net.filters
    n_in = [12, *[wide] * (net.depth - 1)]
    a_sample = sum(2 * n * f + f * f * sum(net.kernels) for n in n_in) + 12 * wide + wide * wide
    return 1000 * a_sample + 2 * wide * net.hidden + N_LABELS * net.hidden


def tcn(net: TCN) -> int:
    total, n_in = 0, 12
    for n_out in net.channels:
        total += 1000 * (net.kernel * (n_in * n_out + n_out * n_out) + n_in * n_out)
        n_in = n_out
    return total + N_LABELS * n_in * (1000 if net.pooling == "flatten" else 1)


def sequence(net: SequenceTransformer) -> int:
    """A lead's patches attend to each other; in the head every token is read."""
    if net.token == "patch":
        n_tokens = net.n_tokens // 12
        own = 12 * (n_tokens * net.patch * net.width + encoder(net.layers, net.width, net.ffn, n_tokens))
    else:
        own = 12 * 1000 * net.width * (3 if net.token == "sample" else 1)
        own += encoder(net.layers, net.width, net.ffn, net.n_tokens)
    return own + N_LABELS * net.width * net.n_tokens


CASES: list[tuple[Architecture, Callable[..., int]]] = [
    (MERL_RESNET18, basic_resnet),
    (RESNET_WANG, basic_resnet),
    (RIBEIRO_KERAS, keras_resnet),
    (PCLR, keras_resnet),
    (MERL_VIT_TINY, multilead_vit),
    (HUBERT_ECG, wave),
    (ECG_FM, wave),
    (XRESNET1D101, xresnet),
    (INCEPTIONTIME, inceptiontime),
    (TCN(), tcn),
    (SEQUENCE_TRANSFORMER, sequence),
    (ITRANSFORMER, sequence),
    (PATCHTST, sequence),
]


@pytest.mark.parametrize(("net", "by_hand"), CASES, ids=lambda value: getattr(value, "kind", "by-hand"))
def test_macs_are_those_of_a_hand_count(net: Architecture, by_hand: Callable[..., int]) -> None:
    assert cost(net, Supervised(), N_LABELS, 1000).macs_per_sample == pytest.approx(by_hand(net), rel=1e-3)
