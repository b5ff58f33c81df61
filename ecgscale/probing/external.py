"""External validation of a supervised head: AUROC of every label that another corpus knows too, bootstrap intervals.

Nothing is fitted there. Labels are matched by name (see ``data.concepts``).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import nn

from ecgscale.data.allowance import Allowance
from ecgscale.data.batches import Store
from ecgscale.data.concepts import matched, vocabulary
from ecgscale.data.corpus import Corpus
from ecgscale.objectives import Pretraining
from ecgscale.probing.probe import features, product
from ecgscale.probing.scores import label_aurocs
from ecgscale.spec.tasks import Task
from ecgscale.training.sharding import ALONE, Processes

_MOST = 20_000  # test recordings, whole patients: what intervals need no more than


class ExternalScore(NamedTuple):
    """One number: of a task (a mean over its labels), or of "task/label"; ``n_classes`` had both outcomes."""

    target: str
    metric: str
    value: float
    n_evaluated: int
    n_classes: int


def pairs(trained: Corpus, label_set: str, task: Task, asked: Corpus) -> list[tuple[int, int]]:
    """Places of the labels that a head trained on ``label_set`` shares with a task's; empty if there are none."""
    if not label_set:
        return []
    return matched(
        trained.label_names(label_set),
        vocabulary(trained.name, label_set),
        asked.label_names(task.label_set),
        vocabulary(asked.name, task.label_set),
    )


@torch.no_grad()
def external_scores(
    module: Pretraining,
    trained: Corpus,
    label_set: str,
    tasks: Sequence[Task],
    corpora: Mapping[str, Corpus],
    device: str = "cpu",
    allowance: Allowance | None = None,
    processes: Processes = ALONE,
) -> Iterator[ExternalScore]:
    """auroc, auroc_low and auroc_high of each task that shares a label with the head, and of each shared label."""
    head = cast(nn.Linear, module.head)
    for task in tasks:
        asked = corpora[task.corpus]
        shared = pairs(trained, label_set, task, asked)
        if not shared:
            continue
        rows = asked.rows("test", 1.0, task.label_set)
        if len(rows) > _MOST:
            rows = asked.rows("test", _MOST / len(rows), task.label_set)
        store = Store(asked, rows, task.label_set, device, allowance, any_leads=module.backbone.any_leads)
        x = features(module.backbone, store, processes=processes)
        heads, labels = (list(places) for places in zip(*shared, strict=True))
        logits = product(x, head.weight.detach().cpu()[heads].T) + head.bias.detach().cpu()[heads]
        truth = store.labels.cpu()[:, labels]
        found = label_aurocs(truth, logits, store.patient.cpu())
        n_scored = int((found.value == found.value).sum())
        if not n_scored:
            continue
        known = int(truth.isfinite().any(1).sum())
        for metric, value in (("auroc", found.mean), ("auroc_low", found.mean_low), ("auroc_high", found.mean_high)):
            yield ExternalScore(task.name, metric, value, known, n_scored)
        names = asked.label_names(task.label_set)
        for i, label in enumerate(labels):
            ends = (("auroc", found.value[i]), ("auroc_low", found.low[i]), ("auroc_high", found.high[i]))
            n = int(truth[:, i].isfinite().sum())
            for metric, value in ends if found.value[i] == found.value[i] else ():
                yield ExternalScore(f"{task.name}/{names[label]}", metric, float(value), n, 1)
