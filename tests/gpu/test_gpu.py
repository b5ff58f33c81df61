"""What a GPU has to show: whole graphs, no waits, the numbers of a CPU, cheap evaluations, data within their part."""

import math
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.allowance import Allowance, process_limit
from ecgscale.data.batches import Batch, Store
from ecgscale.data.prefetch import batches_of
from ecgscale.models import RESNETS, TRANSFORMERS, Architecture, Codebook, ResNet, Transformer, ViT
from ecgscale.objectives import CMSC, DINO, Masked, Objective, Pretraining, Supervised
from ecgscale.probing.convex import fit_convex
from ecgscale.probing.probe import fit_linear
from ecgscale.spec.run import Evaluation
from ecgscale.training.step import (
    Execution,
    compute_gradients,
    optimiser_of,
    optimiser_step,
    prepare_module,
    randomness,
)
from ecgscale.training.train import id_loss

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

LABELS, SIZE = "superdiagnostic", 128
BOOK = Codebook("ptbxl-sample")
CASES: dict[str, tuple[Architecture, Objective, int, int]] = {  # most graphs and waits
    "resnet": (RESNETS[0], Supervised(), 1, 0),
    "deep resnet": (ResNet(7, 64), CMSC(), 1, 0),
    "transformer": (TRANSFORMERS[0], Supervised(), 1, 0),
    "masked": (TRANSFORMERS[0], Masked(BOOK), 1, 0),
    "dino": (ViT(2, 48, 3), DINO(n_prototypes=256), 8, 4),
}


@pytest.fixture(scope="module")
def corpus(home: Path) -> data.Corpus:
    return data.open_corpus("ptbxl-sample", home)


def stored(corpus: data.Corpus, objective: Objective) -> Store:
    words = np.zeros((len(corpus.split), BOOK.n_tokens), np.int16) if objective.kind == "masked" else None
    rows = np.tile(corpus.rows("train"), 4)
    return Store(corpus, rows, LABELS, "cuda", words=words)


def built(architecture: Architecture, objective: Objective, corpus: data.Corpus) -> Pretraining:
    torch.manual_seed(0)
    return objective.build(architecture.build(), len(corpus.label_names(LABELS))).to("cuda").train()


def stepper(module: Pretraining, objective: Objective, store: Store, how: Execution) -> Callable[[int], torch.Tensor]:
    optimiser = optimiser_of(module.groups(), objective.optimiser)

    def take(step: int) -> torch.Tensor:
        module.train().begin(step, 1000)  # type: ignore[operator]
        batch = store.batch(store.positions(SIZE, 0, step))
        loss = compute_gradients(module, batch, randomness(0, step), how)
        optimiser_step(optimiser, 1e-4, objective.optimiser.clip)
        module.end()
        return loss

    return take


def seconds_of(work: Callable[[int], object], times: int) -> float:
    """Median seconds of a step, the first third left out."""
    took = []
    for step in range(times):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work(step)
        torch.cuda.synchronize()
        took.append(time.perf_counter() - began)
    return float(np.median(took[times // 3 :]))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_step_is_a_whole_graph_and_waits_for_nothing(name: str, corpus: data.Corpus) -> None:
    from torch._dynamo.utils import counters

    architecture, objective, most_graphs, most_waits = CASES[name]
    module, how = built(architecture, objective, corpus), Execution("bf16", compile=True)
    prepare_module(module, how)
    counters.clear()
    take = stepper(module, objective, stored(corpus, objective), how)
    losses = [take(step) for step in range(4)]
    assert math.isfinite(float(losses[-1]))
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] <= most_graphs
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            take(4)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert sum("synchroniz" in str(warning.message) for warning in heard) <= most_waits


@pytest.mark.parametrize(
    ("architecture", "objective"),
    [
        (ResNet(4, 64, dropout=0.0), Supervised()),
        (Transformer(2, 64, 1, 128, 0.0), Supervised()),
        (ResNet(4, 64, dropout=0.0), CMSC()),
    ],
)
def test_it_computes_what_a_cpu_does(architecture: Architecture, objective: Objective, corpus: data.Corpus) -> None:
    there, here = (built(architecture, objective, corpus) for _ in range(2))
    here.cpu()
    batch = stored(corpus, objective).batch(np.arange(16))
    losses = [
        float(compute_gradients(module, given, randomness(0, 0), Execution()))
        for module, given in ((there, batch), (here, Batch(*(tensor.cpu() for tensor in batch))))
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    for theirs, ours in zip(there.parameters(), here.parameters(), strict=True):
        if theirs.grad is not None and ours.grad is not None:
            assert float((theirs.grad.cpu() - ours.grad).norm()) <= 5e-3 * float(ours.grad.norm()) + 1e-7


def test_probes_are_what_a_cpu_fits() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 64, generator=draw)
    y = (x @ torch.randn(64, 5, generator=draw) + torch.randn(4096, 5, generator=draw) > 0).float()
    train = torch.arange(4096) < 3000
    given = x, y, train, ~train
    for fit in (partial(fit_linear, evaluation=Evaluation(probe_epochs=5)), lambda *parts, **_: fit_convex(*parts)):
        here, there = (
            fit(*(part.to(device) for part in given), draw=np.random.default_rng(0)) for device in ("cpu", "cuda")
        )
        assert torch.allclose(here, there.cpu(), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", [RESNETS[9], TRANSFORMERS[9]], ids=lambda found: found.kind)
def test_an_evaluation_costs_at_most_two_fifths_of_a_step(architecture: Architecture, corpus: data.Corpus) -> None:
    module, how, store = built(architecture, Supervised(), corpus), Execution("bf16", compile=True), None
    prepare_module(module, how)
    store = stored(corpus, Supervised())
    step = seconds_of(stepper(module, Supervised(), store, how), 20) / SIZE

    def measure(_: int) -> None:
        with torch.autocast("cuda", torch.bfloat16):
            id_loss(module, store)

    assert seconds_of(measure, 3) / len(store) <= 0.4 * step


@pytest.mark.slow
def test_a_masked_step_costs_what_a_supervised_one_does(corpus: data.Corpus) -> None:
    took = []
    for objective in (Supervised(), Masked(BOOK)):
        module, how = built(TRANSFORMERS[4], objective, corpus), Execution("bf16", compile=True)
        prepare_module(module, how)
        took.append(seconds_of(stepper(module, objective, stored(corpus, objective), how), 20))
    assert took[1] <= 1.5 * took[0]


def test_data_keep_to_their_allowance_and_are_the_same_streamed(corpus: data.Corpus) -> None:
    rows = corpus.rows("train")
    before = torch.cuda.memory_allocated()
    streamed = Store(corpus, rows, LABELS, "cuda", Allowance(0))
    assert torch.cuda.memory_allocated() - before < 1e6
    resident = Store(corpus, rows, LABELS, "cuda", Allowance(1e9))
    orders = [np.arange(first, first + 8) for first in range(0, 64, 8)]
    for one, other in zip(batches_of(streamed, orders), batches_of(resident, orders), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    limit = process_limit("cuda", 0.1)
    assert limit <= 0.1 * torch.cuda.get_device_properties("cuda").total_memory
