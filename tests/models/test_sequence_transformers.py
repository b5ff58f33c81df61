"""Transformers over raw sequences: their counts with 44 labels, and what their originals compute."""

from typing import Any

import pytest
import torch

from ecgscale.models import ITRANSFORMER, PATCHTST, SEQUENCE_TRANSFORMER, SequenceTransformer
from tests.originals import Heard, alike, planted, shown

N_LABELS = 44
_IDLE = 512  # a temporal embedding that the plain Transformer's original builds and does not use
CASES = {  # the original's count, and the tolerance of its outputs
    "Transformer": (SEQUENCE_TRANSFORMER, 6_034_860 - _IDLE, 7e-5),
    "iTransformer": (ITRANSFORMER, 593_452, 1.3e-5),
    "PatchTST": (PATCHTST, 8_847_788, 8.3e-5),  # printed 17.4M: of no setting that is known
}
_LAYER = {
    "query": "attention.query_projection",
    "key": "attention.key_projection",
    "value": "attention.value_projection",
    "project": "attention.out_projection",
    "expand": "conv1",
    "contract": "conv2",
    "norm1": "norm1",
    "norm2": "norm2",
}
_TOP = {
    "Transformer": {"tokens.embed": "enc_embedding.value_embedding.tokenConv", "norm": "encoder.norm"},
    "iTransformer": {"tokens.embed": "enc_embedding.value_embedding", "norm": "encoder.norm"},
    "PatchTST": {"tokens.embed": "patch_embedding.value_embedding", "norm": "encoder.norm.1"},
}


def original_name(name: str, ours: str) -> str:
    at, _, part = ours.rpartition(".")
    if at == "head":
        return f"projection.{part}"
    at = at.removeprefix("backbone.")
    if at.startswith("layers."):
        _, number, layer = at.split(".")
        return f"encoder.attn_layers.{number}.{_LAYER[layer]}.{part}"
    return f"{_TOP[name][at]}.{part}"


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
        theirs = original_name(name, ours)
        shape = (*tensor.shape, 1) if ".conv" in theirs and theirs.endswith("weight") else tuple(tensor.shape)
        is_norm = ".norm" in theirs and theirs.endswith("weight")
        kind = "norm" if is_norm else "var" if ours.endswith("running_var") else "general"
        kind = "count" if ours.endswith("num_batches_tracked") else kind
        tensor.copy_(torch.from_numpy(planted(theirs, shape, kind)).view(tensor.shape))
    heard = Heard(tokens=backbone.tokens, layer0=backbone.layers[0])
    found = backbone.encode(shown(12, 1000))
    first = heard["layer0"][:: 12 if name == "PatchTST" else 1, 0]
    ours_found = {
        "logits": network["head"](found.pooled),
        "flat_sample": found.pooled[:, ::997],
        "feature": found.local.mean(1),
        "layer0_first": first,
    }
    if name == "Transformer":
        ours_found |= {"embedding_first": heard["tokens"][:, 0], "embedding_500": heard["tokens"][:, 500]}
    alike(name, ours_found, rel)


@pytest.mark.parametrize("wrong", [{"token": "beat"}, {"width": 30}, {"pooling": "max"}, {"dropout": 1.0}])
def test_impossible_ones_are_refused(wrong: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match="SequenceTransformer"):
        SequenceTransformer(**wrong)
