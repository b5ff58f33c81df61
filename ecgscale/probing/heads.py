"""What a supervised head says of chosen labels, in distribution: its own loss on them, macro AUROC and F1.

The head was trained on all labels of its run; only the columns of the chosen ones are read. So runs with ever more
labels are compared on the same few (label scaling), and a fine-tuned run on its task.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, cast

import torch
from torch import nn

from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Corpus
from ecgscale.models import Backbone, Features
from ecgscale.objectives import Objective, Pretraining
from ecgscale.probing.probe import features, product
from ecgscale.probing.scores import best_thresholds, scores
from ecgscale.training.sharding import ALONE, Processes


class HeadScore(NamedTuple):
    """One number of a head on one split; ``n_classes`` had both outcomes there, None for a loss over all."""

    label_set: str
    split: str
    metric: str
    value: float
    n_evaluated: int
    n_classes: int | None


def columns(corpus: Corpus, trained: str, label_set: str) -> list[int]:
    """Where the classes of a label set stand among those that a run was trained on; empty if not all are there."""
    if not trained or label_set.partition("/")[0] != trained.partition("/")[0]:
        return []
    place = {name: i for i, name in enumerate(corpus.label_names(trained))}
    wanted = corpus.label_names(label_set)
    return [place[name] for name in wanted] if set(wanted) <= set(place) else []


@torch.no_grad()
def head_scores(
    module: Pretraining,
    objective: Objective,
    chosen: Mapping[str, list[int]],
    stores: Mapping[str, Store],
    processes: Processes = ALONE,
) -> Iterator[HeadScore]:
    """Scores of a supervised module on ``chosen`` label sets (name -> columns of the head); one pass over each store.

    ``stores`` are the validation and test recordings with all labels that the head knows. F1 is at thresholds that are
    best on validation.
    """
    head = cast(nn.Linear, module.head)
    parts = {split: features(module.backbone, store, processes=processes) for split, store in stores.items()}
    labels = {split: store.labels.cpu() for split, store in stores.items()}
    weight, bias = head.weight.detach().cpu(), head.bias.detach().cpu()
    for name, at in chosen.items():
        logits = {split: product(x, weight[at].T) + bias[at] for split, x in parts.items()}
        for split, x in parts.items():
            truth = labels[split][:, at]
            known = int(truth.isfinite().any(1).sum())
            yield HeadScore(name, split, "loss", _own_loss(objective, x, truth, weight[at], bias[at]), known, None)
        truth = labels["test"][:, at]
        s = scores(truth, logits["test"], best_thresholds(labels["val"][:, at], logits["val"]))
        if s.n_classes:
            yield HeadScore(name, "test", "auroc", s.auroc, s.n_evaluated, s.n_classes)
            yield HeadScore(name, "test", "f1", s.f1, s.n_evaluated, s.n_classes)


@torch.autocast("cpu", enabled=False)
def _own_loss(
    objective: Objective, x: torch.Tensor, truth: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> float:
    """The objective's loss (nats) of some columns of a head, on features that are known already."""
    module = objective.build(_Known(x.shape[1]), truth.shape[1]).eval()
    module.head.load_state_dict({"weight": weight, "bias": bias})
    nobody = torch.zeros(len(x), dtype=torch.int64)
    return float(module(Batch(x, nobody[:, None], truth, nobody), torch.Generator()).mean)


class _Known(Backbone):
    """A backbone whose features are given: a batch's signal is them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        return (batch.signal,)

    def encode(self, *inputs: torch.Tensor) -> Features:
        return Features(inputs[0], inputs[0][:, None])
