"""Autoformer and FEDformer: their counts with 44 labels, what their originals compute, and hand counts."""

from typing import Any

import pytest
import torch

from ecgscale.flops import count
from ecgscale.models import AUTOFORMER, FEDFORMER, DecompositionTransformer
from tests.originals import Encoding, Heard, alike, outputs, planted, shown

N_LABELS = 44
_TIME = 512  # an embedding of calendar time that the originals build and do not use
_IDLE = _TIME + 3 * 2 * (128 * 128 + 128)  # FEDformer's: keys and values of its encoder ...
_DECODER = 12 * 128 * 3 + _TIME + 2 * 8 * 16 * 16 * 32 * 2 + 2 * 4 * 128 * 129 + 2 * 128 * 256 + 12 * 128 * 3
_DECODER += 2 * 128 + 12 * 128 + 12  # ... and a decoder: embedding, two mixings, features, trend, norm, projection
CASES = {  # what is left of the original's count, and the tolerance of its outputs
    "Autoformer": (AUTOFORMER, 6_032_172 - _TIME, 1.4e-4),
    "FEDformer": (FEDFORMER, 6_634_552 - _IDLE - _DECODER, 3.2e-5),
}
_NAMES = {
    "embed": "enc_embedding.value_embedding.tokenConv",
    "norm": "encoder.norm.layernorm",
    "query": "attention.query_projection",
    "key": "attention.key_projection",
    "value": "attention.value_projection",
    "project": "attention.out_projection",
    "expand": "conv1",
    "contract": "conv2",
    "frequencies.real": "encoder.attn_layers.0.attention.inner_correlation.weights1",
    "frequencies.imaginary": "encoder.attn_layers.0.attention.inner_correlation.weights2",
}


def original_name(ours: str) -> str:
    ours = ours.removeprefix("backbone.")
    if ours in _NAMES:
        return _NAMES[ours]
    at, _, part = ours.rpartition(".")
    if at == "head":
        return f"projection.{part}"
    if at.startswith("layers."):
        _, number, layer = at.split(".")
        return f"encoder.attn_layers.{number}.{_NAMES[layer]}.{part}"
    return f"{_NAMES[at]}.{part}"


@pytest.mark.parametrize("name", CASES)
def test_counts_are_the_originals(name: str) -> None:
    architecture, total, _ = CASES[name]
    with torch.device("meta"):
        backbone = architecture.build()
    assert sum(p.numel() for p in backbone.parameters()) + N_LABELS * (backbone.width + 1) == total


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_outputs_are_the_originals(name: str) -> None:
    architecture, _, rel = CASES[name]
    backbone: Any = architecture.build()
    network = torch.nn.ModuleDict({"backbone": backbone, "head": torch.nn.Linear(backbone.width, N_LABELS)}).eval()
    for ours, tensor in network.state_dict().items():
        if ours.endswith("modes"):
            tensor.copy_(torch.from_numpy(outputs(name)["encoder_modes"]))
            continue
        theirs = original_name(ours)
        shape = (*tensor.shape, 1) if ".conv" in theirs else tuple(tensor.shape)
        kind = "norm" if theirs.endswith("layernorm.weight") else "general"
        tensor.copy_(torch.from_numpy(planted(theirs, shape, kind)).view(tensor.shape))
    heard = Heard(layer0=backbone.layers[0])
    signal = shown(12, 1000)
    found, tokens = backbone.encode(signal), backbone.tokens(signal)
    ours_found = {
        "embedding_first": tokens[:, 0],
        "embedding_500": tokens[:, 500],
        "layer0_first": heard["layer0"][:, 0],
        "flat_sample": found.pooled[:, ::997],
        "feature": found.local.mean(1),
        "logits": network["head"](found.pooled),
    }
    alike(name, ours_found, rel)


@pytest.mark.parametrize("net", [AUTOFORMER, FEDFORMER], ids=lambda net: net.mixing)
def test_macs_are_those_of_a_hand_count(net: DecompositionTransformer) -> None:
    with torch.device("meta"):
        counted = count(Encoding(net.build()), [torch.zeros(1, 12, 1000)]).macs
    assert net.macs(1000) == pytest.approx(counted, rel=1e-3)


@torch.no_grad()
def test_shorter_recordings_leave_out_the_frequencies_that_they_have_not() -> None:
    torch.manual_seed(0)
    backbone = DecompositionTransformer(1, 8, 2, 16, mixing="fourier", pooling="mean").build().eval()
    assert backbone.encode(torch.randn(2, 12, 500)).pooled.isfinite().all()
    assert backbone.encode(torch.randn(2, 12, 40)).pooled.isfinite().all()  # fewer than it mixes
