"""Linear probes: how much of a task a linear layer can read from frozen features."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc

from ecgscale.data.batches import Store
from ecgscale.data.corpus import Corpus
from ecgscale.data.split import SPLITS, TRAIN
from ecgscale.models import Backbone
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
    """Probe a frozen backbone on tasks: loss on val and test, macro AUROC on test, and the loss of prevalence alone.

    Validation loss picks the epoch. Classes without both outcomes in a split are left out of its numbers.
    """
    for name in dict.fromkeys(task.corpus for task in tasks):
        corpus, mine = corpora[name], [task for task in tasks if task.corpus == name]
        every = np.arange(len(corpus.split))
        labels = [torch.from_numpy(corpus.targets(task.label_set, every)) for task in mine]
        used = torch.cat(labels, 1).isfinite().any(1).numpy()
        used &= _probed(corpus, evaluation.probe_records)
        rows = every[used]
        x = features(backbone, Store(corpus, rows, device=device))
        y = torch.cat(labels, 1)[torch.from_numpy(used)]
        groups = np.repeat(np.arange(len(mine)), [label.shape[1] for label in labels])
        parts = {split: torch.from_numpy(corpus.split[rows] == code) for code, split in enumerate(SPLITS)}
        if evaluation.standardise:
            mean, deviation = x[parts["train"]].mean(0), x[parts["train"]].std(0)
            x = (x - mean) / deviation.clamp(min=1e-6)
        weights = fit_linear(x, y, parts["train"], parts["val"], groups, evaluation, seed)
        logits = _with_bias(x) @ weights
        prevalence = _prevalence(y[parts["train"]])
        for index, task in enumerate(mine):
            columns = torch.from_numpy(groups == index)
            for split in ("val", "test"):
                part = parts[split]
                truth, scored = y[part][:, columns], logits[part][:, columns]
                yield from _scores(task, split, truth, scored, prevalence[columns])


def fit_linear(
    x: torch.Tensor,
    y: torch.Tensor,
    train: torch.Tensor,
    val: torch.Tensor,
    groups: np.ndarray,
    evaluation: Evaluation,
    seed: int,
) -> torch.Tensor:
    """Weights [width + 1, n_labels] of linear layers (bias last) trained by Adam on mean binary cross-entropy.

    ``x`` [n, width], ``y`` [n, n_labels] with NaN for missing; ``train`` and ``val`` bool [n]; ``groups`` [n_labels]
    says which task a label belongs to. All tasks share every matrix product; each stops by its own validation loss,
    and keeps its best epoch. Adam works element by element, so this is the same as one task after another.
    """
    group_of = torch.from_numpy(groups)
    n_groups = int(group_of.max()) + 1
    member = F.one_hot(group_of, n_groups).float()  # [n_labels, n_groups]
    x_train, x_val = _with_bias(x[train]), _with_bias(x[val])
    known_train, known_val = y[train].isfinite(), y[val].isfinite()
    y_train, y_val = y[train].nan_to_num(), y[val].nan_to_num()
    draw = np.random.default_rng([seed, 1])
    bound = 1 / max(1.0, x.shape[1]) ** 0.5  # torch.nn.Linear's own start
    weights = torch.from_numpy(draw.uniform(-bound, bound, (x.shape[1] + 1, y.shape[1])).astype(np.float32))
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    best, best_weights = torch.full((n_groups,), torch.inf), weights.clone()
    waited, open_ = torch.zeros(n_groups), torch.ones(n_groups, dtype=torch.bool)
    step = 0
    for _ in range(evaluation.probe_epochs):
        for rows in torch.from_numpy(draw.permutation(len(x_train))).split(evaluation.probe_batch_size):
            step += 1
            batch, known = x_train[rows], known_train[rows]
            # d BCE / d logit = sigmoid - y, averaged over a task's known labels in the batch.
            error = (torch.sigmoid(batch @ weights) - y_train[rows]) * known
            share = (known.float() @ member).sum(0).clamp(min=1)  # known labels of each task
            gradient = batch.T @ error / share[group_of]
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            scale = evaluation.probe_lr / (1 - 0.9**step)
            denominator = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
            weights -= scale * first / denominator * open_[group_of]
        loss = _group_loss(x_val @ weights, y_val, known_val, member)
        better = (loss < best) & open_
        best = torch.where(better, loss, best)
        best_weights[:, better[group_of]] = weights[:, better[group_of]]
        waited = torch.where(better, 0, waited + 1)
        open_ &= waited < evaluation.probe_patience
        if not open_.any():
            break
    return best_weights


def _scores(
    task: Task, split: str, truth: torch.Tensor, logits: torch.Tensor, prevalence: torch.Tensor
) -> Iterator[Score]:
    known = truth.isfinite()
    scored = [
        c for c in range(truth.shape[1]) if 0 < truth[known[:, c], c].sum() < known[:, c].sum()
    ]  # classes with both outcomes
    n_evaluated = int(known.any(1).sum())
    if not scored:
        return

    def score(metric: str, values: list[torch.Tensor]) -> Score:
        return Score(task, split, metric, float(torch.stack(values).mean()), n_evaluated, len(scored))

    def bce(predicted: torch.Tensor, c: int) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(predicted[known[:, c]], truth[known[:, c], c])

    yield score("loss", [bce(logits[:, c], c) for c in scored])
    if split == "test":
        yield score("auroc", [binary_auroc(logits[known[:, c], c], truth[known[:, c], c].int()) for c in scored])
        constant = prevalence.logit().expand(len(truth), -1)
        yield score("prevalence_loss", [bce(constant[:, c], c) for c in scored])


def _probed(corpus: Corpus, n_train: int | None) -> np.ndarray:
    """Recordings bool [n] that probes may use: all of val and test, at most ``n_train`` of train, whole patients."""
    train = corpus.rows("train")
    if n_train is None or n_train >= len(train):
        return np.ones(len(corpus.split), dtype=bool)
    probed = corpus.split != TRAIN
    probed[corpus.rows("train", n_train / len(train))] = True
    return probed


def _group_loss(logits: torch.Tensor, y: torch.Tensor, known: torch.Tensor, member: torch.Tensor) -> torch.Tensor:
    terms = F.binary_cross_entropy_with_logits(logits, y, reduction="none") * known
    return (terms @ member).sum(0) / (known.float() @ member).sum(0).clamp(min=1)


def _prevalence(y: torch.Tensor) -> torch.Tensor:
    """Rate of each label among those known, one case and one control added so that none is 0 or 1."""
    return (y.nansum(0) + 1) / (y.isfinite().sum(0) + 2)


def _with_bias(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], 1)
