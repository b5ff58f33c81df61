"""External validation of a supervised head on every label that another corpus knows too.

AUROC with bootstrap intervals, of numbers R2 and mean absolute error. Nothing is fitted there. Labels are matched by
name (see ``data.concepts``).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import nn

from ecgscale.data.allowance import Allowance
from ecgscale.data.batches import Store
from ecgscale.data.concepts import matched, vocabulary
from ecgscale.data.corpus import Corpus
from ecgscale.data.label_sets import Label, Number, apart
from ecgscale.objectives import Pretraining
from ecgscale.probing.probe import features, product
from ecgscale.probing.scores import label_aurocs, scores
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
    """Places of the labels that a head trained on ``label_set`` shares with a task's; empty if there are none.

    Findings are matched by what they mean (``data.concepts``), those of two corpora of one's own by name; numbers by
    name and unit.
    """
    if not label_set:
        return []
    mine, theirs = trained.manifest.labels_of(label_set), asked.manifest.labels_of(task.label_set)
    numbers = {(label.name.casefold(), label.number.unit): i for i, label in enumerate(mine) if label.number}
    shared: list[tuple[int, int]] = []
    for first, own in _parts(trained, label_set):
        for place, other in _parts(asked, task.label_set):
            said = matched(
                trained.label_names(own),
                _vocabulary(trained, own),
                asked.label_names(other),
                _vocabulary(asked, other),
            )
            shared += [(first + i, place + j) for i, j in said]
    shared = [(i, j) for i, j in shared if mine[i].number is None and theirs[j].number is None]
    for j, label in enumerate(theirs):
        if label.number and (label.name.casefold(), label.number.unit) in numbers:
            shared.append((numbers[label.name.casefold(), label.number.unit], j))
    return shared


def _vocabulary(corpus: Corpus, label_set: str) -> str:
    """Whose names the labels of a set bear; who prepared corpora of their own named those of all of them."""
    return "one's own" if corpus.manifest.reader else vocabulary(corpus.name, label_set)


def _parts(corpus: Corpus, label_set: str) -> list[tuple[int, str]]:
    """The sets that a label set is of, and the place of each one's first label in it."""
    found, first = [], 0
    for name in apart(label_set, corpus.manifest.known_label_sets):
        found.append((first, name))
        first += len(corpus.label_names(name))
    return found


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
    """auroc, auroc_low and auroc_high of each task that shares a label with the head, and of each shared label.

    Of numbers the loss (on the scale that the head learned), r2 and mae.
    """
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
        labels, known = store.labels.cpu(), asked.manifest.labels_of(task.label_set)
        scales = trained.manifest.labels_of(label_set)
        findings = [(i, j) for i, j in shared if scales[i].number is None]
        measured = [(i, j) for i, j in shared if scales[i].number is not None]
        names = [label.name for label in known]
        if findings:
            heads, at = (list(places) for places in zip(*findings, strict=True))
            yield from _of_findings(task.name, [names[j] for j in at], labels[:, at], _said(x, head, heads), store)
        if measured:
            heads, at = (list(places) for places in zip(*measured, strict=True))
            pairs_of = [(_number(known[j]), _number(scales[i])) for i, j in measured]
            truth = [
                (labels[:, j] * theirs.deviation + theirs.mean - ours.mean) / ours.deviation
                for (theirs, ours), j in zip(pairs_of, at, strict=True)
            ]
            of = [ours for _, ours in pairs_of]
            yield from _of_numbers(task.name, [names[j] for j in at], torch.stack(truth, 1), _said(x, head, heads), of)


def _said(x: torch.Tensor, head: nn.Linear, labels: list[int]) -> torch.Tensor:
    """What a head says [n, n_labels] of some labels, from features on the CPU."""
    return product(x, head.weight.detach().cpu()[labels].T) + head.bias.detach().cpu()[labels]


def _of_findings(
    task: str, names: Sequence[str], truth: torch.Tensor, logits: torch.Tensor, store: Store
) -> Iterator[ExternalScore]:
    found = label_aurocs(truth, logits, store.patient.cpu())
    n_scored = int((found.value == found.value).sum())
    if not n_scored:
        return
    known = int(truth.isfinite().any(1).sum())
    for metric, value in (("auroc", found.mean), ("auroc_low", found.mean_low), ("auroc_high", found.mean_high)):
        yield ExternalScore(task, metric, value, known, n_scored)
    for i, name in enumerate(names):
        ends = (("auroc", found.value[i]), ("auroc_low", found.low[i]), ("auroc_high", found.high[i]))
        n = int(truth[:, i].isfinite().sum())
        for metric, value in ends if found.value[i] == found.value[i] else ():
            yield ExternalScore(f"{task}/{name}", metric, float(value), n, 1)


def _of_numbers(
    task: str, names: Sequence[str], truth: torch.Tensor, said: torch.Tensor, numbers: Sequence[Number]
) -> Iterator[ExternalScore]:
    for target, at in [(task, list(range(len(names)))), *((f"{task}/{name}", [i]) for i, name in enumerate(names))]:
        found = scores(truth[:, at], said[:, at], numbers=[numbers[i] for i in at])
        for metric in ("loss", "r2", "mae") if target == task else ("r2", "mae"):  # of each label as AUROCs are
            value = getattr(found, metric)
            if found.n_classes and value == value:
                yield ExternalScore(target, metric, value, found.n_evaluated, found.n_classes)


def _number(label: Label) -> Number:
    return cast(Number, label.number)
