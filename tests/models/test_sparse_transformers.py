"""Informer and Reformer: their counts with 44 labels, what their originals compute, and hand counts."""

from typing import Any

import pytest
import torch

from ecgscale.flops import count
from ecgscale.models import INFORMER, REFORMER, SparseTransformer
from tests.originals import Encoding, Heard, alike, planted, shown

N_LABELS = 44
_TIME = 512  # an embedding of calendar time that the originals build and do not use
_DECODER = 12 * 128 * 3 + _TIME + 8 * 128 * 129 + 2 * 128 * 256 + 256 + 128 + 4 * 256 + 12 * 129  # nor Informer's
CASES = {  # what is left of the original's count, and the tolerance of its outputs
    # The paper prints 5.6M for Informer, which no natural setting with 44 labels gives: unresolved.
    "Informer": (INFORMER, 6_240_568 - _TIME - _DECODER, 1e-4),
    "Reformer": (REFORMER, 5_984_556 - _TIME, 7.5e-5),
}
_LAYER = {
    "Informer": {
        "query": "attention.query_projection",
        "key": "attention.key_projection",
        "value": "attention.value_projection",
        "project": "attention.out_projection",
    },
    "Reformer": {"query": "attention.attn.toqk", "value": "attention.attn.tov", "project": "attention.attn.to_out"},
}
_COMMON = {"expand": "conv1", "contract": "conv2", "norm1": "norm1", "norm2": "norm2"}


def original_name(model: str, ours: str) -> str:
    ours = ours.removeprefix("backbone.")
    at, _, part = ours.rpartition(".")
    if at.startswith("layers."):
        _, number, layer = at.split(".")
        return f"encoder.attn_layers.{number}.{(_LAYER[model] | _COMMON)[layer]}.{part}"
    whole = {"head": "projection", "norm": "encoder.norm", "tokens.embed": "enc_embedding.value_embedding.tokenConv"}
    return f"{whole[at]}.{part}"


@pytest.mark.parametrize("name", CASES)
def test_counts_are_the_originals(name: str) -> None:
    architecture, total, _ = CASES[name]
    with torch.device("meta"):
        backbone = architecture.build()
    n_head = N_LABELS * (backbone.width + 1)
    assert n_head == 5_632_044
    assert sum(p.numel() for p in backbone.parameters()) + n_head == total


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_outputs_are_the_originals(name: str) -> None:
    architecture, _, rel = CASES[name]
    backbone: Any = architecture.build()
    network = torch.nn.ModuleDict({"backbone": backbone, "head": torch.nn.Linear(backbone.width, N_LABELS)}).eval()
    for ours, tensor in network.state_dict().items():
        drawn = ours.rpartition(".")[2]
        if drawn in ("compared", "rotations"):  # as those were that gave the stored outputs
            number = int(ours.split(".")[2])
            query, key = torch.arange(1000)[:, None], torch.arange(7)
            if drawn == "compared":
                tensor.copy_((query * 7919 + key * 104729 + number * 1299709) % 1000)
            else:
                tensor.copy_(torch.from_numpy(planted(f"rotation.{number}", (16, 4, 125), size=1.0)))
            continue
        theirs = original_name(name, ours)
        kind = "norm" if theirs.endswith(("norm.weight", "norm1.weight", "norm2.weight")) else "general"
        tensor.copy_(torch.from_numpy(planted(theirs, tuple(tensor.shape), kind)))
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


@pytest.mark.parametrize("net", [INFORMER, REFORMER], ids=lambda net: net.attention)
def test_macs_are_those_of_a_hand_count(net: SparseTransformer) -> None:
    with torch.device("meta"):
        counted = count(Encoding(net.build()), [torch.zeros(1, 12, 1000)])
    assert not counted.heavy
    assert net.macs(1000) == pytest.approx(counted.macs, rel=1e-3)


@pytest.mark.parametrize("attention", ["prob-sparse", "lsh"])
def test_shorter_recordings_fit_and_gradients_reach_all(attention: str) -> None:
    torch.manual_seed(0)
    backbone = SparseTransformer(1, 8, 2, 16, attention, dropout=0.0, pooling="mean").build()
    backbone.encode(torch.randn(2, 12, 333)).pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())
    assert backbone.encode(torch.randn(2, 12, 20)).pooled.isfinite().all()
