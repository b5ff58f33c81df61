"""Baselines trained from scratch: their counts with 44 labels, what their originals compute, and hand counts."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from ecgscale.compute import cost
from ecgscale.flops import count
from ecgscale.models import (
    Architecture,
    DecompositionTransformer,
    SequenceTransformer,
    SparseTransformer,
    TimesNet,
)
from ecgscale.models.timesnet import strongest_periods
from ecgscale.objectives import Supervised
from tests.baselines import BASELINES, BY_HAND, N_LABELS, network
from tests.originals import Encoding, Heard, alike, outputs, planted, shown

UNRESOLVED = {"MICN", "Informer", "Crossformer", "PatchTST"}


def test_the_table_is_whole() -> None:
    """Fourteen printed sizes, four of which nobody has met, and the plain transformer's, which is not printed."""
    assert [name for name, told in BASELINES.items() if not told.printed] == ["Transformer"]
    assert len(BASELINES) == 15
    assert {name for name, told in BASELINES.items() if not told.resolved} == UNRESOLVED


def printed(n: int) -> str:
    return f"{n / 1e6:.1f}M" if n >= 1e6 else f"{n / 1e3:.0f}K"


@pytest.mark.parametrize("name", BASELINES)
def test_counts_are_the_originals(name: str) -> None:
    told = BASELINES[name]
    with torch.device("meta"):
        backbone = told.architecture.build()
    assert N_LABELS * (backbone.width + 1) == told.head
    assert sum(p.numel() for p in backbone.parameters()) + told.head == told.counted - told.idle
    if told.printed:
        assert (printed(told.counted) == told.printed) == told.resolved


FIRST: dict[str, Callable[[Any], torch.nn.Module]] = {  # the part whose output is stored too
    "xresnet1d101": lambda backbone: backbone.stem[0],
    "resnet_wang": lambda backbone: backbone.stem,
    "inceptiontime": lambda backbone: backbone.blocks[0],
    "tcn": lambda backbone: backbone.blocks[0],
    "SCINet": lambda backbone: backbone.tree.halves,
}
PARTS: dict[str, Callable[[Any], torch.Tensor]] = {  # what is stored of it
    "stem_first8": lambda first: first[..., :8],
    "module0_mean": lambda first: first.mean(-1),
    "level0_first16": lambda first: first[..., :16],
    "block0_even_first8": lambda first: first[0].transpose(1, 2)[:, :8],
}
WHOLE = [pytest.param(name, marks=pytest.mark.slow if name == "TimesNet" else ()) for name in BASELINES]


@pytest.mark.parametrize("name", WHOLE)
@torch.no_grad()
def test_outputs_are_the_originals(name: str) -> None:
    """All that is stored of an original: tokens, a first layer, features and logits."""
    backbone, head = network(name)
    heard = Heard(**{"first": FIRST[name](backbone)} if name in FIRST else {})
    of_layer = Heard(layer0=backbone.layers[0]) if hasattr(backbone, "layers") else None
    found, stored = backbone.encode(shown(12, 1000)), outputs(name)
    local = found.local
    both = name in ("xresnet1d101", "resnet_wang", "inceptiontime")  # read by maximum and mean
    ours = {
        "logits": head(found.pooled),
        "feature": torch.cat([local.amax(1), local.mean(1)], 1) if both else local.mean(1),
        "flat_sample": found.pooled[:, ::997],
        "last_time": local[:, -1],
    }
    if name in FIRST:
        ours |= {part: take(heard["first"]) for part, take in PARTS.items() if part in stored}
    if of_layer is not None and "layer0_first" in stored:
        ours["layer0_first"] = of_layer["layer0"][:: 12 if name == "PatchTST" else 1, 0]
    if "embedding_first" in stored:
        tokens = backbone.tokens(shown(12, 1000))
        ours |= {"embedding_first": tokens[:, 0], "embedding_500": tokens[:, 500]}
    left = set(stored) - set(ours) - {"periods", "encoder_modes"}
    assert not left, left
    alike(name, {part: value for part, value in ours.items() if part in stored}, BASELINES[name].rel)


@torch.no_grad()
def test_timesnets_tokens_and_first_periods_are_the_originals() -> None:
    """The quick part of its outputs, which are of 71 billion multiply-accumulates a recording."""
    told, stored = BASELINES["TimesNet"], outputs("TimesNet")
    torch.manual_seed(0)
    backbone: Any = TimesNet(layers=1, ffn=1, kernels=1).build()
    tokens = backbone.tokens
    tokens.embed.weight.copy_(torch.from_numpy(planted(re.sub(*told.names[0], "tokens.embed.weight"), (128, 12, 3))))
    found = tokens(shown(12, 1000))
    alike("TimesNet", {"embedding_first": found[:, 0], "embedding_500": found[:, 500]}, told.rel)
    assert strongest_periods(found, 3)[0].tolist() == [stored["periods"][0].tolist()] * 2


@pytest.mark.parametrize("name", BASELINES)
def test_macs_are_those_of_a_hand_count(name: str) -> None:
    architecture = BASELINES[name].architecture
    found = cost(architecture, Supervised(), N_LABELS, 1000)
    assert found.macs_per_sample - N_LABELS * found.width == pytest.approx(BY_HAND[name](), rel=1e-3)
    if architecture.macs(1000) is not None:  # it says them itself: torch counts them too
        with torch.device("meta"):
            counted = count(Encoding(architecture.build()), [torch.zeros(1, 12, 1000)])
        assert not counted.heavy
        assert counted.macs == pytest.approx(BY_HAND[name](), rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        *((SequenceTransformer, wrong) for wrong in ({"token": "beat"}, {"width": 30}, {"pooling": "max"})),
        (SequenceTransformer, {"dropout": 1.0}),
        *((TimesNet, wrong) for wrong in ({"periods": 501}, {"kernels": 0}, {"width": 7}, {"pooling": "max"})),
    ],
)
def test_impossible_ones_are_refused(kind: type[Architecture], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=kind.__name__):
        kind(**wrong)


SHORT: dict[str, tuple[Architecture, tuple[int, ...]]] = {  # and lengths in samples that they read
    "Informer": (SparseTransformer(1, 8, 2, 16, dropout=0.0, pooling="mean"), (333, 20)),
    "Reformer": (SparseTransformer(1, 8, 2, 16, "lsh", dropout=0.0, pooling="mean"), (333, 20)),
    # of 40 samples there are fewer frequencies than it mixes
    "FEDformer": (DecompositionTransformer(1, 8, 2, 16, "fourier", dropout=0.0, pooling="mean"), (500, 40)),
    "TimesNet": (TimesNet(1, 8, 8, 3, 3, dropout=0.0, pooling="mean"), (333, 7)),
}


@pytest.mark.parametrize("name", SHORT)
def test_shorter_recordings_fit_and_gradients_reach_all(name: str) -> None:
    architecture, (length, shortest) = SHORT[name]
    torch.manual_seed(0)
    backbone: Any = architecture.build()
    backbone.encode(torch.randn(2, 12, length)).pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())
    assert backbone.encode(torch.randn(2, 12, shortest)).pooled.isfinite().all()
