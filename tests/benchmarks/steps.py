"""P2 and P15: a ResNet's step against the usual Conv1d network, our loop against bare steps, a masked step."""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.compute import cost
from ecgscale.data import library
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Corpus, Slice
from ecgscale.models import RESNETS, TRANSFORMERS, Codebook, ResNet, Transformer
from ecgscale.objectives import Masked, Objective, Pretraining, Supervised
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.training.train import pretrain
from tests.benchmarks import Measurement

ROUNDS, SIZE, LABELS = 7, 32, "code6"
RUNGS = ((RESNETS[0], 8, 1.7), (RESNETS[1], 4, 1.7), (RESNETS[4], 1, 1.3))  # rung, steps a round, goal
LOOP_ROUNDS, LOOP_STEPS = 12, 32


class _Block(nn.Module):
    """The peer's block: one-dimensional layers under the same names as ours, so that weights can be handed over."""

    def __init__(self, n_in: int, n_out: int, stride: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.pool = nn.MaxPool1d(stride, stride) if stride > 1 else nn.Identity()
        self.project = nn.Conv1d(n_in, n_out, 1, bias=False) if n_in != n_out else nn.Identity()
        self.conv1 = nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
        self.norm1 = nn.BatchNorm1d(n_out)
        self.conv2 = nn.Conv1d(n_out, n_out, kernel, stride, padding=(kernel - stride + 1) // 2, bias=False)
        self.norm2 = nn.BatchNorm1d(n_out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.conv2(self.dropout(F.relu(self.norm1(self.conv1(x))))) + self.project(self.pool(y))
        return self.dropout(F.relu(self.norm2(y))), y


class _Peer(nn.Module):
    def __init__(self, rung: ResNet, n_labels: int) -> None:
        super().__init__()
        self.stem = nn.Conv1d(12, rung.channels[0], rung.kernel, padding=rung.kernel // 2, bias=False)
        self.stem_norm = nn.BatchNorm1d(rung.channels[0])
        sizes = zip(rung.channels, rung.channels[1:], rung.strides, strict=False)
        self.blocks = nn.ModuleList(_Block(*size, rung.kernel, rung.dropout) for size in sizes)
        self.head = nn.Linear(rung.width, n_labels)

    def forward(self, batch: Batch) -> torch.Tensor:
        missing = -batch.signal.shape[-1] % RESNETS[0].downsampling
        x = y = self.stem_norm(self.stem(F.pad(batch.signal, (missing // 2, missing - missing // 2))))
        for block in self.blocks:
            x, y = block(x, y)
        return F.binary_cross_entropy_with_logits(self.head(x.mean(2)), batch.labels)


def measure() -> Iterator[Measurement]:
    """On one thread, in its processor time; ratios are medians over alternating rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            corpus = library.open_corpus("ptbxl-sample", Path(folder))
            yield from (_convolutions(corpus, *rung) for rung in RUNGS)
            yield from (_loop(corpus, rung) for rung in RESNETS[:2])
            yield _masked(corpus, TRANSFORMERS[8])
    finally:
        torch.set_num_threads(threads)


def _convolutions(corpus: Corpus, rung: ResNet, n_steps: int, goal: float) -> Measurement:
    """Time as a ResNet is trained, with dropout: each side drops its own. Without it their losses have to agree."""
    peer, ours, ratio, _ = _raced(corpus, rung, n_steps)
    *_, bare_ratio, difference = _raced(corpus, replace(rung, dropout=0.0), n_steps)
    note = f"without dropout {bare_ratio:.2f}, and first losses of the same weights differ by {difference:.1e}"
    note = f"{note}; torch uses {torch.backends.cpu.get_cpu_capability()}"
    name, reached = f"step of ResNet {rung.size} (P2)", ratio if difference <= 1e-5 else 0.0
    return Measurement(name, f"{1e3 * peer:.3g} ms", f"{1e3 * ours:.3g} ms", reached, goal, note)


def _raced(corpus: Corpus, rung: ResNet, n_steps: int) -> tuple[float, float, float, float]:
    """Seconds a step of the peer and of ours, the median ratio, and how far their first losses are apart."""
    store = Store(corpus, corpus.rows("train")[:256], LABELS)
    n_labels = len(corpus.label_names(LABELS))
    torch.manual_seed(0)
    ours, peer = Supervised().build(rung.build(), n_labels).train(), _Peer(rung, n_labels).train()
    weights = {name.removeprefix("backbone."): value for name, value in ours.state_dict().items()}
    peer.load_state_dict({name: value.squeeze(2) if value.ndim == 4 else value for name, value in weights.items()})
    sides: dict[str, Callable[[Batch], torch.Tensor]] = {
        "peer": peer,
        "ours": lambda batch: ours(batch, torch.Generator()).mean,
    }
    optimisers: dict[str, torch.optim.Optimizer] = {
        "peer": torch.optim.Adam(peer.parameters(), 1e-3),
        "ours": torch.optim.Adam(ours.parameters(), 1e-3, fused=True),
    }
    times: dict[str, list[float]] = {"peer": [], "ours": []}
    losses: dict[str, list[float]] = {"peer": [], "ours": []}
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        batches = [store.batch(rng.permutation(len(store))[:SIZE]) for _ in range(n_steps)]
        for name, loss_of in sides.items():
            optimiser, began = optimisers[name], time.process_time()
            losses[name] += [_step(optimiser, loss_of, batch) for batch in batches]
            times[name].append((time.process_time() - began) / n_steps)
    first = abs(losses["peer"][0] - losses["ours"][0])  # Adam magnifies rounding errors: later ones drift apart
    ratio = median(a / b for a, b in zip(times["peer"], times["ours"], strict=True))
    return median(times["peer"]), median(times["ours"]), ratio, first


def _masked(corpus: Corpus, rung: Transformer) -> Measurement:
    """A masked step on words that were labelled before, against the supervised step of the same rung."""
    recipe = Codebook(corpus.name)
    codes = np.random.default_rng(0).integers(recipe.n_codes, size=(len(corpus.split), recipe.n_tokens))
    sides: dict[str, tuple[Objective, np.ndarray | None]] = {
        "supervised": (Supervised(), None),
        "masked": (Masked(recipe), codes.astype(np.int16)),
    }
    steps: dict[str, Callable[[], object]] = {}
    for name, (objective, words) in sides.items():
        store = Store(corpus, corpus.rows("train")[:64], LABELS, words=words)
        torch.manual_seed(0)
        module = objective.build(rung.build(), len(corpus.label_names(LABELS))).train()
        optimiser = torch.optim.Adam(module.parameters(), 1e-4, fused=True)

        def step(
            module: Pretraining = module, store: Store = store, optimiser: torch.optim.Optimizer = optimiser
        ) -> float:
            return _step(optimiser, lambda batch: module(batch, torch.Generator()).mean, store.batch(np.arange(4)))

        steps[name] = step
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(5):
        for name, take in steps.items():
            began = time.process_time()
            take()
            times[name].append(time.process_time() - began)
    ratio = median(a / b for a, b in zip(times["supervised"][1:], times["masked"][1:], strict=True))
    took = {name: f"{1e3 * median(values):.3g} ms" for name, values in times.items()}
    name = f"supervised / masked step, Transformer {rung.size} (P15)"
    n_labels, n_samples = len(corpus.label_names(LABELS)), corpus.signal.shape[-1]
    macs = {name: cost(rung, asked, n_labels, n_samples).macs_per_sample for name, (asked, _) in sides.items()}
    note = f"words labelled once, 8192 codes; by their multiply-accumulates {macs['supervised'] / macs['masked']:.2f}"
    return Measurement(name, took["supervised"], took["masked"], ratio, 1 / 1.1, note)


def _step(optimiser: torch.optim.Optimizer, loss_of: Callable[[Batch], torch.Tensor], batch: Batch) -> float:
    optimiser.zero_grad(set_to_none=True)
    loss = loss_of(batch)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def _loop(corpus: Corpus, rung: ResNet) -> Measurement:
    """``pretrain`` against its steps written out, on batches of the same store, with the same fused optimiser."""
    schedule = Schedule(steps=LOOP_ROUNDS * LOOP_STEPS, batch_size=SIZE)
    run = Run(rung, Supervised(), Slice(corpus.name, 1.0, LABELS), schedule, Evaluation(every=LOOP_STEPS))
    snapshots = pretrain(run, corpus)
    next(snapshots)
    store = Store(corpus, corpus.rows("train"), LABELS)
    module = Supervised().build(rung.build(), len(corpus.label_names(LABELS))).train()
    optimiser: Any = torch.optim.Adam(module.parameters(), 1e-3, fused=True)
    rng, draw = np.random.default_rng(0), torch.Generator()

    def bare() -> None:
        for positions in rng.permutation(len(store))[: LOOP_STEPS * SIZE].reshape(LOOP_STEPS, SIZE):
            optimiser.zero_grad(set_to_none=True)
            module(store.batch(positions), draw).mean.backward()
            optimiser.step()

    sides: dict[str, Callable[[], object]] = {"bare": bare, "loop": lambda: next(snapshots)}
    times: dict[str, list[float]] = {"bare": [], "loop": []}
    for first in ("bare", "loop") * (LOOP_ROUNDS // 2):  # neither always comes second
        for name in (first, *(other for other in sides if other != first)):
            began = time.process_time()
            sides[name]()
            times[name].append((time.process_time() - began) / LOOP_STEPS)
    ratio = median(a / b for a, b in zip(times["bare"], times["loop"], strict=True))
    took = {name: f"{1e3 * median(values):.3g} ms" for name, values in times.items()}
    name = f"bare step / step of our loop, ResNet {rung.size} (P2)"
    return Measurement(name, took["bare"], took["loop"], ratio, 1 / 1.02, "batches of 32, data included on both sides")
