"""Linear probes against a DataLoader and Adam task by task (P4), convex ones against scikit-learn by label (P5)."""

import copy
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from ecgscale.probing.convex import RIDGES, fit_convex, prevalence
from ecgscale.probing.probe import fit_linear
from ecgscale.spec.run import Evaluation
from tests.benchmarks import Measurement

ROUNDS = 3
LABELS = (44, 23, 5, 19, 12)  # of PTB-XL's five tasks
WIDTHS = (64, 320)
SIZES = (2000, 500, 500)  # train, val, test
SETTINGS = Evaluation(probe_epochs=40)
PEER_LABELS = 3  # of twelve that scikit-learn is timed on; its time is scaled


class Problem(NamedTuple):
    """``x`` float32 [n, width], ``y`` [n, n_labels], and who is in train, val and test: bool [n]."""

    x: torch.Tensor
    y: torch.Tensor
    train: torch.Tensor
    val: torch.Tensor
    test: torch.Tensor

    def loss(self, weights: torch.Tensor, part: torch.Tensor) -> float:
        logits = self.x[part] @ weights[:-1] + weights[-1]
        return float(F.binary_cross_entropy_with_logits(logits, self.y[part]))


def problem(width: int, n_labels: int, seed: int) -> Problem:
    """Features with a spectrum that falls as pooled features' does and labels that become rare, both made."""
    draw = torch.Generator().manual_seed(seed)
    n = sum(SIZES)
    x = torch.randn(n, width, generator=draw) / torch.arange(1, width + 1).sqrt()
    x = x @ torch.linalg.qr(torch.randn(width, width, generator=draw)).Q + torch.randn(width, generator=draw)
    logits = (x - x.mean(0)) @ (4 * torch.randn(width, n_labels, generator=draw) / width**0.25)
    y = (torch.rand(n, n_labels, generator=draw) < torch.sigmoid(logits - torch.linspace(0.5, 5, n_labels))).float()
    part = torch.arange(3).repeat_interleave(torch.tensor(SIZES))
    return Problem(x, y, part == 0, part == 1, part == 2)


def by_loader(given: Problem, draw: np.random.Generator) -> torch.Tensor:
    """The peer: a linear layer under Adam with early stopping over DataLoaders; same start, order and settings."""
    x, y, train, val, _ = given
    layer = nn.Linear(x.shape[1], y.shape[1])
    layer.load_state_dict({"weight": torch.zeros_like(layer.weight), "bias": prevalence(y[train]).logit()})
    optimiser, criterion = torch.optim.Adam(layer.parameters(), SETTINGS.probe_lr), nn.BCEWithLogitsLoss()
    order: list[int] = []
    training = DataLoader(TensorDataset(x[train], y[train]), SETTINGS.probe_batch_size, sampler=order)
    validation = DataLoader(TensorDataset(x[val], y[val]), SETTINGS.probe_batch_size)
    best, waited, kept = float("inf"), 0, copy.deepcopy(layer.state_dict())
    for _ in range(SETTINGS.probe_epochs):
        order[:] = draw.permutation(int(train.sum())).tolist()
        for features, labels in training:
            optimiser.zero_grad()
            criterion(layer(features), labels).backward()
            optimiser.step()
        with torch.no_grad():
            loss = float(criterion(torch.cat([layer(features) for features, _ in validation]), y[val]))
        waited += 1
        if loss < best:
            best, waited, kept = loss, 0, copy.deepcopy(layer.state_dict())
        if waited >= SETTINGS.probe_patience:
            break
    return torch.cat([kept["weight"].T, kept["bias"][None]])


def by_adam(given: Problem, draw: np.random.Generator) -> torch.Tensor:
    return fit_linear(given.x, given.y, given.train, given.val, SETTINGS, draw)


def by_sklearn(given: Problem, label: int) -> torch.Tensor:
    """The peer: the same ridges for one label, each started at the one before, left as early as we leave them."""
    x, y = given.x.numpy(), given.y[:, label].numpy()
    train, val = given.train.numpy(), given.val.numpy()
    unit = x[train].var(0).mean() * train.sum()
    model = LogisticRegression(max_iter=1000, warm_start=True)
    best, waited, kept = float("inf"), 0, torch.empty(0)
    for ridge in RIDGES:
        model.set_params(C=1 / (ridge * unit)).fit(x[train], y[train])
        logits = torch.from_numpy(model.decision_function(x[val])).float()
        loss = float(F.binary_cross_entropy_with_logits(logits, given.y[given.val, label]))
        waited += 1
        if loss < best:
            best, waited = loss, 0
            kept = torch.from_numpy(np.append(model.coef_[0], model.intercept_)).float()
        if waited >= 2:
            break
    return kept


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def measure() -> Iterator[Measurement]:
    """Both sides on one thread; ratios are medians over alternating rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from map(_under_adam, WIDTHS)
        yield from map(_convex, WIDTHS)
    finally:
        torch.set_num_threads(threads)


def _under_adam(width: int) -> Measurement:
    tasks = [problem(width, n_labels, seed) for seed, n_labels in enumerate(LABELS)]
    times: dict[str, list[float]] = {"peer": [], "ours": []}
    apart = 0.0
    for _ in range(ROUNDS):
        losses = []
        for name, fit in (("peer", by_loader), ("ours", by_adam)):
            draws = [np.random.default_rng([7, i]) for i in range(len(tasks))]
            began = time.perf_counter()
            found = [fit(task, draw) for task, draw in zip(tasks, draws, strict=True)]
            times[name].append(time.perf_counter() - began)
            losses.append([task.loss(weights, task.test) for task, weights in zip(tasks, found, strict=True)])
        apart = max(apart, *(abs(a - b) for a, b in zip(*losses, strict=True)))
    return _row(f"five tasks, {width} features (P4)", times, 3, f"losses differ by {apart:.1e}", apart <= 5e-4)


def _convex(width: int) -> Measurement:
    given = problem(width, 12, 4)
    times: dict[str, list[float]] = {"peer": [], "ours": []}
    for _ in range(ROUNDS):
        took, _ = timed(lambda: [by_sklearn(given, label) for label in range(0, 12, 12 // PEER_LABELS)])
        times["peer"].append(took / PEER_LABELS * 12)
        took, weights = timed(lambda: fit_convex(given.x, given.y, given.train, given.val))
        times["ours"].append(took)
    adam = fit_linear(given.x, given.y, given.train, given.val, Evaluation(), np.random.default_rng(0))
    gap = given.loss(weights, given.test) - given.loss(adam, given.test)
    return _row(f"convex, 12 labels, {width} features (P5)", times, 15, f"test BCE - Adam's: {gap:+.1e}", gap <= 5e-4)


def _row(name: str, times: dict[str, list[float]], goal: float, note: str, equal: bool) -> Measurement:
    """A ratio counts for nothing if the losses are not as they have to be."""
    ratio = median(a / b for a, b in zip(times["peer"], times["ours"], strict=True))
    took = {side: f"{median(values):.3g} s" for side, values in times.items()}
    return Measurement(name, took["peer"], took["ours"], ratio if equal else 0.0, goal, note)
