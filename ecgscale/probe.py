"""Linear probes: how much of a task a linear layer can read from frozen features."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch.nn import functional as F

from ecgscale.convex import fit_convex, prevalence, with_bias
from ecgscale.data.batches import Store
from ecgscale.data.corpus import Corpus
from ecgscale.data.split import NONE, SPLITS, TRAIN
from ecgscale.models import Backbone
from ecgscale.scores import best_thresholds, scores
from ecgscale.spec import Evaluation
from ecgscale.tasks import Task

_BATCH_SIZE = 256


@dataclass(frozen=True)
class Score:
    """One number of a probe on one split of a task; ``n_classes`` of it had both outcomes there and were scored."""

    task: Task
    split: str
    metric: str
    value: float
    n_evaluated: int
    n_classes: int


@torch.no_grad()
def features(backbone: Backbone, store: Store) -> torch.Tensor:
    """Pooled features float32 [n_records, width] of every recording of a store, each computed once."""
    backbone.eval()
    chunks = np.split(np.arange(len(store)), range(_BATCH_SIZE, len(store), _BATCH_SIZE))
    return torch.cat([backbone(store.batch(chunk)).pooled.float().cpu() for chunk in chunks])


def probe(
    backbone: Backbone,
    tasks: Sequence[Task],
    corpora: Mapping[str, Corpus],
    evaluation: Evaluation,
    seed: int,
    device: str = "cpu",
) -> Iterator[Score]:
    """Probe a frozen backbone on tasks: loss on val and test, macro AUROC and F1 on test, and prevalence's loss alone.

    Validation loss picks the epoch. Classes without both outcomes in a split are left out of its numbers. With
    ``evaluation.convex`` the same metrics of the convex probe follow, named convex_loss, convex_auroc and convex_f1.
    """
    for name in dict.fromkeys(task.corpus for task in tasks):
        corpus, mine = corpora[name], [task for task in tasks if task.corpus == name]
        every = np.arange(len(corpus.split))
        labels = [torch.from_numpy(corpus.targets(task.label_set, every)) for task in mine]
        used = _probed(corpus, evaluation.probe_records)
        used &= torch.cat(labels, 1).isfinite().any(1).numpy() & (corpus.split != NONE)
        x = features(backbone, Store(corpus, every[used], device=device, any_leads=backbone.any_leads))
        for task, label in zip(mine, labels, strict=True):
            known = label[used].isfinite().any(1)
            split = torch.from_numpy(corpus.split[used])[known]
            yield from _probe_one(task, x[known], label[used][known], split, evaluation, seed)


def _probe_one(
    task: Task, x: torch.Tensor, y: torch.Tensor, split: torch.Tensor, evaluation: Evaluation, seed: int
) -> Iterator[Score]:
    """Probe one task: nothing here depends on which other tasks a sweep has."""
    parts = {name: split == code for code, name in enumerate(SPLITS)}
    if evaluation.standardise:
        mean, deviation = x[parts["train"]].mean(0), x[parts["train"]].std(0)
        x = (x - mean) / deviation.clamp(min=1e-6)
    draw = np.random.default_rng([seed, crc32(task.name.encode())])
    weights = fit_linear(x, y, parts["train"], parts["val"], evaluation, draw)
    yield from _scores(task, y, with_bias(x) @ weights, parts)
    truth = y[parts["test"]]
    alone = scores(truth, prevalence(y[parts["train"]]).logit().expand(len(truth), -1))
    if alone.n_classes:
        yield Score(task, "test", "prevalence_loss", alone.loss, alone.n_evaluated, alone.n_classes)
    if evaluation.convex:
        weights = fit_convex(x, y, parts["train"], parts["val"])
        yield from _scores(task, y, with_bias(x) @ weights, parts, "convex_")


def fit_linear(
    x: torch.Tensor,
    y: torch.Tensor,
    train: torch.Tensor,
    val: torch.Tensor,
    evaluation: Evaluation,
    draw: np.random.Generator,
) -> torch.Tensor:
    """Weights [width + 1, n_labels] of a linear layer (bias last) trained by Adam on mean binary cross-entropy.

    ``x`` [n, width], ``y`` [n, n_labels] with NaN for missing; ``train`` and ``val`` bool [n]. The epoch with the
    lowest validation loss is kept. The gradient is written out: one matrix product for all labels a step.
    """
    x_train, x_val = with_bias(x[train]), with_bias(x[val])
    known_train, known_val = y[train].isfinite(), y[val].isfinite()
    y_train, y_val = y[train].nan_to_num(), y[val]
    bound = 1 / max(1.0, x.shape[1]) ** 0.5  # torch.nn.Linear's own start
    weights = torch.from_numpy(draw.uniform(-bound, bound, (x.shape[1] + 1, y.shape[1])).astype(np.float32))
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    best, best_weights, waited, step = math.inf, weights.clone(), 0, 0
    for _ in range(evaluation.probe_epochs):
        for rows in torch.from_numpy(draw.permutation(len(x_train))).split(evaluation.probe_batch_size):
            step += 1
            batch, known = x_train[rows], known_train[rows]
            error = (torch.sigmoid(batch @ weights) - y_train[rows]) * known  # d BCE / d logit
            gradient = batch.T @ error / known.sum().clamp(min=1)
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            denominator = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
            weights -= evaluation.probe_lr / (1 - 0.9**step) * first / denominator
        loss = float(F.binary_cross_entropy_with_logits((x_val @ weights)[known_val], y_val[known_val]))
        best, best_weights, waited = (loss, weights.clone(), 0) if loss < best else (best, best_weights, waited + 1)
        if waited >= evaluation.probe_patience:
            break
    return best_weights


def _scores(
    task: Task, truth: torch.Tensor, logits: torch.Tensor, parts: Mapping[str, torch.Tensor], kind: str = ""
) -> Iterator[Score]:
    """Loss on val and test, and on test macro AUROC and F1 at the thresholds that are best on val."""
    thresholds = best_thresholds(truth[parts["val"]], logits[parts["val"]])
    for split, metrics in (("val", ("loss",)), ("test", ("loss", "auroc", "f1"))):
        found = scores(truth[parts[split]], logits[parts[split]], thresholds)
        for metric in metrics if found.n_classes else ():
            value = getattr(found, metric)
            yield Score(task, split, f"{kind}{metric}", value, found.n_evaluated, found.n_classes)


def _probed(corpus: Corpus, n_train: int | None) -> np.ndarray:
    """Recordings bool [n] that probes may use: all of val and test, at most ``n_train`` of train, whole patients."""
    train = corpus.rows("train")
    if n_train is None or n_train >= len(train):
        return np.ones(len(corpus.split), dtype=bool)
    probed = corpus.split != TRAIN
    probed[corpus.rows("train", n_train / len(train))] = True
    return probed
