"""JEPA against a slow reference: what is hidden, what is seen of it, what is predicted, and who teaches."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ecgscale import data
from ecgscale.compute import cost
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Slice
from ecgscale.data.recording import ABSENT_LEAD
from ecgscale.models import Architecture, ResNet, Transformer, ViT
from ecgscale.objectives import JEPA, Collapsed, Supervised
from ecgscale.objectives.jepa import JEPAModule
from ecgscale.spec.run import Run

NETS: dict[str, Architecture] = {
    "vit": ViT(2, 12, 1, patch=100, layer_scale=0.3, init_std=None, pooling="mean"),
    "transformer": Transformer(1, 12, 1, 24, dropout=0.0, n_tokens=40, leads="independent", pooling="mean"),
}
SMALL = JEPA(blocks=2, predictor_width=8, momentum=0.9)
SLICE = Slice("ptbxl-sample")


def built(kind: str, description: JEPA = SMALL) -> JEPAModule:
    torch.manual_seed(0)
    module = description.build(NETS[kind].build(), 0)
    assert isinstance(module, JEPAModule)
    with torch.no_grad():
        for parameter in module.parameters():  # no gain at 1, no bias at 0
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return module.eval()


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    corpus = data.open_corpus("ptbxl-sample", home)
    return Store(corpus, corpus.rows("train")[:64])


def few_leads(batch: Batch) -> Batch:
    """Three recordings, of which the second lacks lead II."""
    leads = torch.arange(1, 13).repeat(3, 1)
    leads[1, 1] = ABSENT_LEAD
    return batch._replace(leads=leads, mv=batch.mv.expand(3))


def slow_norm(x: list[float], norm: nn.LayerNorm | None) -> list[float]:
    mean = sum(x) / len(x)
    scale = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + (norm.eps if norm else 1e-5))
    out = [(v - mean) / scale for v in x]
    return [a * float(w) + float(b) for a, w, b in zip(out, norm.weight, norm.bias, strict=True)] if norm else out


def slow_linear(x: list[float], layer: nn.Linear) -> list[float]:
    rows = layer.weight.tolist()
    biases = layer.bias.tolist()
    return [sum(a * b for a, b in zip(row, x, strict=True)) + b for row, b in zip(rows, biases, strict=True)]


def slow_turned(x: list[float], place: float, periods: list[float]) -> list[float]:
    half = len(x) // 2
    angles = [2 * math.pi * place / period for period in periods]
    first = [x[i] * math.cos(a) - x[i + half] * math.sin(a) for i, a in enumerate(angles)]
    return first + [x[i] * math.sin(a) + x[i + half] * math.cos(a) for i, a in enumerate(angles)]


@torch.no_grad()
def slow_predictor(module: JEPAModule, rows: list[list[float]], hidden: list[bool], places: list[float]) -> list:
    """The predictor on the tokens of one lead, number by number; one attention head."""
    head: Any = module.head
    periods = head.periods.tolist()
    xs = [head.mask_token.tolist() if h else slow_linear(row, head.enter) for row, h in zip(rows, hidden, strict=True)]
    for block in head.layers:
        parts = [slow_linear(slow_norm(x, block.norm1), block.qkv) for x in xs]
        w = len(xs[0])
        queries, keys = (
            [slow_turned(part[k * w : k * w + w], at, periods) for part, at in zip(parts, places, strict=True)]
            for k in (0, 1)
        )
        attended = []
        for query in queries:
            scores = [sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(w) for key in keys]
            weights = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
            mixed = [sum(weights[j] * parts[j][2 * w + i] for j in range(len(parts))) for i in range(w)]
            attended.append(slow_linear(mixed, block.project))
        xs = [
            [a + float(g) * b for a, g, b in zip(x, block.gain1, y, strict=True)]
            for x, y in zip(xs, attended, strict=True)
        ]
        for i, x in enumerate(xs):
            y = slow_linear(slow_norm(x, block.norm2), block.expand)
            y = slow_linear([v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in y], block.contract)
            xs[i] = [a + float(g) * b for a, g, b in zip(x, block.gain2, y, strict=True)]
    return [slow_linear(slow_norm(x, head.norm), head.leave) for x in xs]


@pytest.mark.parametrize("kind", NETS)
def test_the_loss_is_the_slow_one(kind: str, store: Store) -> None:
    """Hidden tokens' features from those of seen ones of their lead, against the target encoder's, by smooth L1."""
    module = built(kind).double()
    batch = store.batch(np.arange(3))
    batch = few_leads(batch._replace(signal=batch.signal.double())) if kind == "vit" else batch
    if kind == "transformer":
        batch = batch._replace(signal=batch.signal.double())
    tokens = module.tokens(batch)
    tokens = tokens._replace(inputs=tuple(x.double() if x.is_floating_point() else x for x in tokens.inputs))
    module.tokens = lambda batch: tokens  # type: ignore[method-assign]
    hidden = module.draw_hidden(tokens, torch.Generator().manual_seed(3))
    with torch.no_grad():
        seen = module.context(tokens, hidden)
        taught = module.teacher.encode(*tokens.inputs).local
    terms = []
    for i in range(3):
        for lead in sorted(set(tokens.lead[i].tolist()) - {ABSENT_LEAD}):
            at = [k for k in range(tokens.lead.shape[1]) if tokens.lead[i, k] == lead]
            rows, places = seen[i, at].tolist(), tokens.place[i, at].tolist()
            told = slow_predictor(module, rows, hidden[i, at].tolist(), places)
            for k, said in zip(at, told, strict=True):
                if hidden[i, k]:
                    wanted = slow_norm(taught[i, k].tolist(), None)
                    off = [abs(a - b) for a, b in zip(said, wanted, strict=True)]
                    terms.append(sum(d * d / 2 if d < 1 else d - 0.5 for d in off) / len(off))
    loss = module(batch, torch.Generator().manual_seed(3))
    assert int(loss.n_terms) == len(terms) > 0
    assert float(loss.mean.detach()) == pytest.approx(sum(terms) / len(terms), abs=1e-6)


def test_blocks_are_hidden_in_all_leads_at_once_and_what_is_not_there_never_is(store: Store) -> None:
    module = built("vit", JEPA(blocks=3, block=(0.1, 0.3)))
    tokens = module.tokens(few_leads(store.batch(np.arange(3))))
    chance = torch.rand(3, 3, 2, generator=torch.Generator().manual_seed(5)).tolist()
    hidden = module.draw_hidden(tokens, torch.Generator().manual_seed(5))
    for i in range(3):
        slow = [False] * 10
        for share, where in chance[i]:
            length = round((0.1 + 0.2 * share) * 10)
            begin = math.floor(where * (10 - length + 1))
            slow = [was or begin <= k < begin + length for k, was in enumerate(slow)]
        for row in range(12):
            found = hidden[i, 10 * row : 10 * row + 10].tolist()
            assert found == ([False] * 10 if (i, row) == (1, 1) else slow)


@pytest.mark.parametrize("kind", NETS)
def test_the_context_encoder_does_not_see_what_is_hidden(kind: str, store: Store) -> None:
    module = built(kind)
    tokens = module.tokens(store.batch(np.arange(4)))
    hidden = module.draw_hidden(tokens, torch.Generator().manual_seed(1))
    changed = torch.where(hidden[..., None], tokens.inputs[0] + 3, tokens.inputs[0])
    with torch.no_grad():
        seen = module.context(tokens, hidden)
        other = module.context(tokens._replace(inputs=(changed, *tokens.inputs[1:])), hidden)
    assert hidden.any()
    torch.testing.assert_close(other[~hidden], seen[~hidden])
    assert not torch.allclose(
        module.targets(tokens._replace(inputs=(changed, *tokens.inputs[1:]))), module.targets(tokens)
    )


def test_the_target_encoder_is_the_moving_average() -> None:
    module = built("vit").train()
    assert not module.teacher.training
    before = [p.clone() for p in module.teacher.parameters()]
    with torch.no_grad():
        for parameter in module.backbone.parameters():
            parameter.add_(1.0)
    for step, momentum in ((0, 0.9), (25, 0.925), (100, 1.0)):
        module.begin(step, 100)
        assert module.momentum == pytest.approx(momentum)
    module.begin(25, 100)
    module.end()
    for old, new, mine in zip(before, module.teacher.parameters(), module.backbone.parameters(), strict=True):
        torch.testing.assert_close(new, 0.925 * old + 0.075 * mine)
        assert not new.requires_grad


def test_vectors_and_biases_do_not_decay_and_the_target_encoder_is_not_trained() -> None:
    module = built("vit")
    decay = {id(p): group.weight_decay for group in module.groups() for p in group.parameters}
    trained = {name: p for name, p in module.named_parameters() if not name.startswith("teacher.")}
    assert decay.keys() == {id(p) for p in trained.values()}
    for name, parameter in trained.items():
        assert decay[id(parameter)] == (1.0 if parameter.ndim > 1 or name.endswith("mask_token") else 0.0), name


def test_targets_that_do_not_differ_are_told(store: Store) -> None:
    module, batch = built("vit"), store.batch(np.arange(16))
    assert module.health(batch).keys() == {"feature_rank", "target_spread"}
    assert module.health(batch)["target_spread"] > 0.01
    with torch.no_grad():
        module.teacher.norm.weight.zero_()
    module.begin(4, 10)
    assert module.health(batch)["target_spread"] < 0.01
    module.begin(5, 10)
    with pytest.raises(Collapsed, match="at step 5"):
        module.health(batch)


def test_the_predictor_is_counted() -> None:
    """One pass of the backbone, and all tokens through the predictor; half as wide and as deep as the backbone."""
    net, w, narrow, n = ViT(2, 48, 2, patch=50, pooling="mean"), 48, 24, 12 * 20
    plain = cost(net, JEPA(blocks=2), 0, 1000)
    layer = n * 12 * narrow * narrow + 2 * n * n * narrow
    entered = 2 * n * w * narrow
    alone = cost(net, Supervised(), 6, 1000).macs_per_sample - 6 * w
    assert plain.macs_per_sample == alone + layer + entered


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: JEPA(blocks=5), "leave something to be seen"),
        (lambda: JEPA(block=(0.2, 0.1)), "leave something to be seen"),
        (lambda: JEPA(momentum=0.0), "momentum"),
        (lambda: JEPA(predictor_width=7), "even"),
        (lambda: Run(ViT(1, 12, 1), JEPA(), SLICE), "give the vit pooling='mean'"),
        (lambda: Run(Transformer(1, 12, 1, 24), JEPA(), SLICE), "give the transformer pooling='mean'"),
        (lambda: Run(ResNet(3, 6), JEPA(), SLICE), "a resnet reads signal"),
        (lambda: ViT(1, 12, 1, pooling="max"), "'class' or 'mean'"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_too_short_recordings_are_refused() -> None:
    module = built("vit")
    batch = Batch(torch.randn(2, 12, 300), torch.zeros(2, 1), torch.zeros(2, 0), torch.arange(2))
    module.draw_hidden(module.tokens(batch), torch.Generator())
    with pytest.raises(ValueError, match="too much of 2 places in time"):
        module.draw_hidden(module.tokens(batch._replace(signal=batch.signal[..., :200])), torch.Generator())


def test_a_configuration_is_named_after_it() -> None:
    assert Run(NETS["vit"], JEPA(), SLICE).configuration == "vit-jepa"
    assert Run(NETS["transformer"], JEPA(), SLICE).configuration == "transformer-jepa"
