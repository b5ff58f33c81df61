"""What a supervised head says of chosen labels, in distribution: its own loss, macro AUROC and F1, or R2 and MAE.

The head was trained on all labels of its run; only the columns of the chosen ones are read. So runs with ever more
labels are compared on the same few (label scaling), and a fine-tuned run on its task.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import nn

from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Corpus
from ecgscale.data.label_sets import apart
from ecgscale.data.mixture import Mixture
from ecgscale.models import Backbone, Features
from ecgscale.objectives import Objective, ObjectiveInputs, Pretraining
from ecgscale.probing.probe import features, product
from ecgscale.probing.scores import Numbers, best_thresholds, metrics_of, scores
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
    """Where the labels of a label set stand among those that a run was trained on; empty if not all are there."""
    known = corpus.manifest.known_label_sets
    if not trained or any(name not in known for name in apart(label_set, known)):
        return []
    place = {(label.column, label.number is None): i for i, label in enumerate(corpus.manifest.labels_of(trained))}
    wanted = [(label.column, label.number is None) for label in corpus.manifest.labels_of(label_set)]
    return [place[label] for label in wanted] if set(wanted) <= set(place) else []


@torch.no_grad()
def head_scores(
    module: Pretraining,
    objective: Objective,
    chosen: Mapping[str, list[int]],
    stores: Mapping[str, Store | Mixture],
    numbers: Numbers = (),
    processes: Processes = ALONE,
) -> Iterator[HeadScore]:
    """Scores of a supervised module on ``chosen`` label sets (name -> columns of the head); one pass over each store.

    ``stores`` are the validation and test recordings with all labels that the head knows, of a mix those of all its
    corpora; ``numbers`` standardise those labels that are. F1 is at thresholds that are best on validation.
    """
    head = cast(nn.Linear, module.head)
    parts = {
        split: torch.cat([features(module.backbone, one, processes=processes) for one in of(store)])
        for split, store in stores.items()
    }
    labels = {split: torch.cat([one.labels.cpu() for one in of(store)]) for split, store in stores.items()}
    weight, bias = head.weight.detach().cpu(), head.bias.detach().cpu()
    for name, at in chosen.items():
        scales = [numbers[i] for i in at] if any(numbers) else []
        logits = {split: product(x, weight[at].T) + bias[at] for split, x in parts.items()}
        for split, x in parts.items():
            truth = labels[split][:, at]
            known = int(truth.isfinite().any(1).sum())
            loss = _own_loss(objective, x, truth, weight[at], bias[at], scales)
            yield HeadScore(name, split, "loss", loss, known, None)
        truth = labels["test"][:, at]
        s = scores(truth, logits["test"], best_thresholds(labels["val"][:, at], logits["val"]), scales)
        for metric in metrics_of(scales)[1:]:
            value = getattr(s, metric)
            if s.n_classes and value == value:
                yield HeadScore(name, "test", metric, value, s.n_evaluated, s.n_classes)


def of(store: Store | Mixture) -> Sequence[Store]:
    """The stores of a mix, or the one."""
    return store.stores if isinstance(store, Mixture) else [store]


@torch.autocast("cpu", enabled=False)
def _own_loss(
    objective: Objective,
    x: torch.Tensor,
    truth: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    numbers: Numbers = (),
) -> float:
    """The objective's loss of some columns of a head, on features that are known already."""
    are = tuple(one is not None for one in numbers)
    labelled: Objective = getattr(objective, "supervised", objective)  # of a hybrid, the part that reads labels
    module = labelled.build(_Known(x.shape[1]), truth.shape[1], ObjectiveInputs(numbers=are)).eval()
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
