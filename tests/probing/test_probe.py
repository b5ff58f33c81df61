"""Probes: the batched linear layers are torch's own, task by task; classes without both outcomes are left out."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ecgscale import data
from ecgscale.data.batches import Store
from ecgscale.models import ResNet
from ecgscale.probing.probe import features, fit_linear, probe
from ecgscale.spec.run import Evaluation
from ecgscale.spec.tasks import TASKS

SETTINGS = Evaluation(probe_lr=1e-2, probe_epochs=30, probe_patience=3, probe_batch_size=32)


def problem(n: int = 200, width: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(n, width, generator=draw)
    y = (x @ torch.randn(width, 3, generator=draw) + torch.randn(n, 3, generator=draw) > 0).float()
    y[::7, 1] = torch.nan
    train = torch.arange(n) < n // 2
    return x, y, train, ~train


def by_torch(x: torch.Tensor, y: torch.Tensor, train: torch.Tensor, val: torch.Tensor, seed: int) -> float:
    """torch.optim.Adam on torch.nn.Linear from prevalence on and in the same order; the best validation loss."""
    draw = np.random.default_rng(seed)
    layer = torch.nn.Linear(x.shape[1], y.shape[1])
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(((y[train].nansum(0) + 1) / (y[train].isfinite().sum(0) + 2)).logit())
    optimiser = torch.optim.Adam(layer.parameters(), SETTINGS.probe_lr)

    def loss(rows: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        known = rows.isfinite()
        return F.binary_cross_entropy_with_logits(z[known], rows[known])

    best, waited = float("inf"), 0
    for _ in range(SETTINGS.probe_epochs):
        for rows in torch.from_numpy(draw.permutation(int(train.sum()))).split(SETTINGS.probe_batch_size):
            optimiser.zero_grad()
            loss(y[train][rows], layer(x[train][rows])).backward()
            optimiser.step()
        now = float(loss(y[val], layer(x[val])).detach())
        best, waited = (now, 0) if now < best else (best, waited + 1)
        if waited >= SETTINGS.probe_patience:
            break
    return best


def test_the_linear_layer_is_torchs_own() -> None:
    x, y, train, val = problem()
    weights = fit_linear(x, y, train, val, SETTINGS, np.random.default_rng(7))
    logits, known = (torch.cat([x, torch.ones(len(x), 1)], 1) @ weights)[val], y[val].isfinite()
    ours = F.binary_cross_entropy_with_logits(logits[known], y[val][known])
    assert float(ours) == pytest.approx(by_torch(x, y, train, val, 7), abs=3e-6)


def test_a_probe_that_learns_nothing_is_prevalence() -> None:
    """Features that tell nothing, of any size, and steps far too short or too long: never worse than the start."""
    x, y, train, val = problem()
    noise = 100 * torch.randn(x.shape, generator=torch.Generator().manual_seed(3))
    y = (torch.rand(y.shape, generator=torch.Generator().manual_seed(4)) < 0.05).float()
    rate = (y[train].sum(0) + 1) / (train.sum() + 2)
    alone = F.binary_cross_entropy(rate.expand(int(val.sum()), -1), y[val])
    for lr in (1e-6, 10.0):
        settings = replace(SETTINGS, probe_lr=lr)
        weights = fit_linear(noise, y, train, val, settings, np.random.default_rng(0))
        logits = torch.cat([noise, torch.ones(len(noise), 1)], 1)[val] @ weights
        assert float(F.binary_cross_entropy_with_logits(logits, y[val])) <= float(alone) + 1e-6


def test_a_tasks_numbers_do_not_depend_on_other_tasks(home: Path) -> None:
    corpora = {name: data.open_corpus(name, home) for name in ("ptbxl-sample",)}
    settings = Evaluation(probe_epochs=2, probe_records=200, standardise=True)
    torch.manual_seed(0)
    backbone = ResNet(3, 4).build()
    alone = list(probe(backbone, [TASKS["ptbxl-sex"]], corpora, settings, seed=0))
    both = list(probe(backbone, [TASKS["ptbxl-superdiagnostic"], TASKS["ptbxl-sex"]], corpora, settings, seed=0))
    together = [score for score in both if score.task.name == "ptbxl-sex"]
    assert [(s.split, s.metric, s.n_evaluated) for s in alone] == [(s.split, s.metric, s.n_evaluated) for s in together]
    assert [s.value for s in alone] == pytest.approx([s.value for s in together], rel=1e-5)  # batches differ in shape


def test_each_recording_is_computed_once(home: Path) -> None:
    backbone, seen = ResNet(3, 4).build(), 0
    encode = backbone.encode

    def counting(*inputs: torch.Tensor) -> object:
        nonlocal seen
        seen += len(inputs[0])
        return encode(*inputs)

    backbone.encode = counting  # type: ignore[assignment,method-assign]
    tasks = [TASKS[name] for name in ("ptbxl-superdiagnostic", "ptbxl-sex", "ludb-rhythm")]
    corpora = {task.corpus: data.open_corpus(task.corpus, home) for task in tasks}
    settings = Evaluation(probe_epochs=2, standardise=True)
    scores = list(probe(backbone, tasks, corpora, settings, seed=0))
    assert seen == sum(len(corpus.split) for corpus in corpora.values())
    metrics = {("val", "loss"), *(("test", name) for name in ("loss", "auroc", "f1", "prevalence_loss"))}
    assert {(s.task.name, s.split, s.metric) for s in scores} == {
        (t.name, *metric) for t in tasks for metric in metrics
    }
    by_key = {(s.task.name, s.split, s.metric): s for s in scores}
    assert by_key["ptbxl-superdiagnostic", "test", "loss"].n_classes == 5
    assert by_key["ptbxl-sex", "test", "auroc"].n_classes == 1
    assert by_key["ludb-rhythm", "val", "loss"].n_classes < 6  # a rhythm that no validation patient has
    again = {(s.task.name, s.split, s.metric): s for s in probe(ResNet(3, 4).build(), tasks, corpora, settings, 0)}
    assert set(again) == set(by_key)


def test_the_convex_probe_adds_its_own_metrics(home: Path) -> None:
    corpora = {"ludb-sample": data.open_corpus("ludb-sample", home)}
    torch.manual_seed(0)
    backbone, task = ResNet(3, 4).build(), TASKS["ludb-rhythm"]
    plain = list(probe(backbone, [task], corpora, Evaluation(probe_epochs=2), seed=0))
    both = list(probe(backbone, [task], corpora, Evaluation(probe_epochs=2, convex=True), seed=0))
    assert both[: len(plain)] == plain
    added = {(s.split, s.metric): s for s in both[len(plain) :]}
    assert set(added) == {
        ("val", "convex_loss"),
        *(("test", f"convex_{name}") for name in ("loss", "auroc", "f1")),
    }
    by_key = {(s.split, s.metric): s for s in plain}
    assert added["val", "convex_loss"].value < by_key["val", "loss"].value  # two epochs of Adam are few
    assert added["test", "convex_loss"].n_classes == by_key["test", "loss"].n_classes


def test_probe_records_keep_whole_patients(home: Path) -> None:
    corpus = data.open_corpus("ptbxl-sample", home)
    rows = corpus.rows("train", 800 / len(corpus.rows("train")))
    assert 750 < len(rows) < 850
    rest = np.setdiff1d(corpus.rows("train"), rows)
    assert not set(corpus.patient[rows]) & set(corpus.patient[rest])


def test_features_of_a_frozen_backbone_do_not_change(home: Path) -> None:
    corpus = data.open_corpus("ludb-sample", home)
    backbone = ResNet(3, 4).build()
    store = Store(corpus, corpus.rows("val"))
    before = copy.deepcopy(backbone.state_dict())
    first = features(backbone.train(), store)
    assert torch.equal(first, features(backbone.train(), store))
    assert all(torch.equal(before[k], v) for k, v in backbone.state_dict().items())
