"""Linear probes: how much of a task a linear layer can read from frozen features."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from torch.nn import functional as F

from ecgscale.data.allowance import Allowance
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Corpus
from ecgscale.data.prefetch import batches_of
from ecgscale.data.split import NONE, TEST, TRAIN, VAL
from ecgscale.models import Backbone
from ecgscale.objectives.supervised import label_loss
from ecgscale.pausing import check_pause
from ecgscale.probing.conditions import Change, change_of
from ecgscale.probing.convex import fit_convex, prevalence, with_bias
from ecgscale.probing.heartbeats import around_beats, beats_of
from ecgscale.probing.scores import Numbers, best_thresholds, metrics_of, scores, which_are
from ecgscale.spec.run import Evaluation
from ecgscale.spec.tasks import CLEAN, Task
from ecgscale.training.sharding import ALONE, Processes

_BATCH_SIZE = 256
_COPIES = 4  # of features and labels, while a probe is fitted: as they are, standardised, with a bias, in products


@dataclass(frozen=True)
class Score:
    """One number of a probe on one split of a task; ``n_classes`` of it had both outcomes there, or differed."""

    task: Task
    split: str
    metric: str
    value: float
    n_evaluated: int
    n_classes: int


@torch.no_grad()
def features(
    backbone: Backbone, store: Store, change: Change | None = None, processes: Processes = ALONE
) -> torch.Tensor:
    """Pooled features float32 [n_records, width] of every recording of a store, each computed once.

    Several ``processes``, which all call it, compute their parts, and all are given the whole.
    """

    def computed(pieces: Sequence[range]) -> list[torch.Tensor]:
        return [backbone(batch).pooled.float().cpu() for batch in _batches(backbone, store, pieces, pieces, change)]

    return torch.cat(processes.divided(_pieces(len(store)), computed))


def _pieces(n: int) -> list[range]:
    """Places of n recordings, batch by batch; one batch of nothing if there are none, so that there are features."""
    return [range(first, min(first + _BATCH_SIZE, n)) for first in range(0, max(1, n), _BATCH_SIZE)]


def _batches(
    backbone: Backbone, store: Store, pieces: Sequence[range], places: Sequence[range], change: Change | None
) -> Iterator[Batch]:
    """Batches of a store, at ``pieces`` of it, that lie at ``places`` of all recordings that are asked for."""
    backbone.eval()
    orders = (np.arange(piece.start, piece.stop) for piece in pieces)
    for place, batch in zip(places, batches_of(store, orders), strict=True):
        check_pause()
        yield batch if change is None else change(batch, place.start)


def probe(
    backbone: Backbone,
    tasks: Sequence[Task],
    corpora: Mapping[str, Corpus],
    evaluation: Evaluation,
    seed: int,
    device: str = "cpu",
    allowance: Allowance | None = None,
    processes: Processes = ALONE,
) -> Iterator[Score]:
    """Probe a frozen backbone on tasks: loss on val and test, macro AUROC and F1 on test, and prevalence's loss alone.

    Of numbers the loss is the mean squared error, standardised; R2 and the mean absolute error in their unit stand in
    the place of AUROC and F1, and prevalence_loss is that of the training recordings' mean: about 1.
    Validation loss picks the epoch. Classes without both outcomes in a split are left out of its numbers. With
    ``evaluation.convex`` the same metrics of the convex probe follow, named convex_loss, convex_auroc and so on.
    A task under a condition has the probe and the validation loss of the clean one, and test numbers of its own; each
    condition of a corpus costs its test recordings once more. Several ``processes``, which all call it, divide both the
    recordings and the tasks; all are given all scores.
    """
    for name, unit in dict.fromkeys((task.corpus, task.unit) for task in tasks):
        corpus, mine = corpora[name], [task for task in tasks if (task.corpus, task.unit) == (name, unit)]
        used = _probed(corpus, evaluation.probe_records) & (corpus.split != NONE)
        asked = _asked(corpus, used, [*dict.fromkeys(task.clean for task in mine)])
        seen = _Seen(backbone, corpus, asked.row, asked.place, device, allowance, processes)
        numbers = {clean: _numbers(corpus, clean) for clean in asked.labels}
        splits = torch.from_numpy(corpus.split[asked.row])
        probes = _Probes(seen.clean, asked.labels, numbers, splits, evaluation, seed)
        for condition in dict.fromkeys(task.condition for task in mine):
            its = [task for task in mine if task.condition == condition]
            alike = [[task for task in its if task.clean == clean] for clean in asked.labels]  # one probe each
            score = partial(probes.scored, seen.under(its[0]), device, allowance)
            yield from sorted(chain(*processes.divided(alike, score)), key=lambda found: its.index(found.task))


def _numbers(corpus: Corpus, task: Task) -> Numbers:
    """What standardises the labels of a task that are numbers."""
    if task.unit == "beat":
        return ()
    return [label.number for label in corpus.manifest.labels_of(task.label_set)]


@contextmanager
def _fitted_on(device: str, x: torch.Tensor, y: torch.Tensor, allowance: Allowance | None) -> Iterator[str]:
    """Where a probe is fitted, in float32: on the device if all that takes fits into its allowance, else on the CPU."""
    n_bytes = _COPIES * (x.nbytes + y.nbytes)
    there = device if device == "cpu" or (allowance is not None and allowance.take(n_bytes)) else "cpu"
    try:
        with torch.autocast(there.partition(":")[0], enabled=False):
            yield there
    finally:
        if there != "cpu" and allowance is not None:
            allowance.give_back(n_bytes)


class _Asked(NamedTuple):
    """What tasks of one corpus and unit ask about: row of the recording, place of the beat in it, labels by task."""

    row: np.ndarray
    place: np.ndarray | None  # None: of whole recordings
    labels: dict[Task, torch.Tensor]


def _asked(corpus: Corpus, used: np.ndarray, tasks: Sequence[Task]) -> _Asked:
    if tasks[0].unit == "beat":
        beats = beats_of(corpus, np.flatnonzero(used))
        return _Asked(beats.row, beats.place, dict.fromkeys(tasks, beats.labels))
    every = np.arange(len(used))
    labels = {task: torch.from_numpy(corpus.targets(task.label_set, every)) for task in tasks}
    used = used & torch.cat(list(labels.values()), 1).isfinite().any(1).numpy()
    return _Asked(every[used], None, {task: label[used] for task, label in labels.items()})


class _Seen:
    """Features of what is asked about, clean or under a condition; those of the condition before are not kept."""

    def __init__(
        self,
        backbone: Backbone,
        corpus: Corpus,
        row: np.ndarray,
        place: np.ndarray | None,
        device: str,
        allowance: Allowance | None,
        processes: Processes,
    ) -> None:
        self.backbone, self.corpus, self.device, self.allowance = backbone, corpus, device, allowance
        self.row, self.place, self.processes = row, place, processes
        self.clean = self._features(np.unique(row), None, slice(None))
        self._condition, self._under = CLEAN, self.clean

    def under(self, task: Task) -> torch.Tensor:
        """Features [n, width] under a task's condition: all test recordings of the corpus are computed again."""
        if task.condition != self._condition:
            changed = change_of(task, self.corpus.manifest.sampling_hz, self.backbone.any_leads)
            tested = self.corpus.split[self.row] == TEST
            self._condition, self._under = task.condition, self.clean.clone()
            self._under[torch.from_numpy(tested)] = self._features(self.corpus.rows("test"), changed, tested)
        return self._under

    @torch.no_grad()
    def _features(self, rows: np.ndarray, change: Change | None, of: slice | np.ndarray) -> torch.Tensor:
        """Features of those that are asked about (``of`` them), from recordings ``rows`` (rising)."""

        def computed(pieces: Sequence[range]) -> list[torch.Tensor]:
            """Of this process' pieces of the recordings, which are all that it opens."""
            ends = np.cumsum([0, *map(len, pieces)])
            mine = np.concatenate([rows[:0], *(rows[piece.start : piece.stop] for piece in pieces)])
            any_leads = self.backbone.any_leads
            store = Store(self.corpus, mine, device=self.device, allowance=self.allowance, any_leads=any_leads)
            own = [range(*bounds) for bounds in pairwise(ends.tolist())]
            return [self._seen(batch) for batch in _batches(self.backbone, store, own, pieces, change)]

        found = torch.cat(self.processes.divided(_pieces(len(rows)), computed))
        at = torch.from_numpy(np.searchsorted(rows, self.row[of]))
        return found[at] if self.place is None else found[at, torch.from_numpy(self.place[of])]

    def _seen(self, batch: Batch) -> torch.Tensor:
        """Features of a batch: [n, width], or [n, MAX_BEATS, width] of every beat."""
        if self.place is None:
            return self.backbone(batch).pooled.float().cpu()
        return around_beats(self.backbone, batch, self.corpus.manifest.sampling_hz).float().cpu()


class _Probes:
    """The probes of some tasks on recordings or beats of one corpus: each fitted once, to features ``x`` [n, width]."""

    def __init__(
        self,
        x: torch.Tensor,
        labels: Mapping[Task, torch.Tensor],
        numbers: Mapping[Task, Numbers],
        split: torch.Tensor,
        how: Evaluation,
        seed: int,
    ) -> None:
        self.x, self.labels, self.numbers, self.split, self.how, self.seed = x, labels, numbers, split, how, seed
        self.fits: dict[Task, _Fit] = {}

    def scored(
        self, seen: torch.Tensor, device: str, allowance: Allowance | None, alike: Sequence[Sequence[Task]]
    ) -> list[list[Score]]:
        """Scores on features as they are ``seen`` under a condition, in lists of tasks that have one probe."""
        return [[score for task in tasks for score in self._scored(task, seen, device, allowance)] for tasks in alike]

    def _scored(self, task: Task, seen: torch.Tensor, device: str, allowance: Allowance | None) -> Iterator[Score]:
        clean, label = task.clean, self.labels[task.clean]
        known = label.isfinite().any(1)
        if clean not in self.fits:
            with _fitted_on(device, self.x, label, allowance) as there:
                x, y, split = (part[known].to(there) for part in (self.x, label, self.split))
                self.fits[clean] = _fit(clean, x, y, split, self.how, self.seed, self.numbers[clean])
        yield from _scored(task, self.fits[clean], seen[known], label[known], self.split[known])


class _Fit(NamedTuple):
    """Probes of one clean task: what standardises features, weights by kind of probe, and what prevalence says."""

    mean: torch.Tensor
    deviation: torch.Tensor
    weights: dict[str, torch.Tensor]
    prevalence: torch.Tensor
    numbers: Numbers


def _fit(
    task: Task,
    x: torch.Tensor,
    y: torch.Tensor,
    split: torch.Tensor,
    evaluation: Evaluation,
    seed: int,
    numbers: Numbers = (),
) -> _Fit:
    """Fit the probes of one task where ``x`` is: nothing here depends on which other tasks a sweep has."""
    train, val = split == TRAIN, split == VAL
    mean, deviation = x.new_zeros(x.shape[1]), x.new_ones(x.shape[1])
    if evaluation.standardise:
        mean, deviation = x[train].mean(0), x[train].std(0).clamp(min=1e-6)
        x = (x - mean) / deviation
    draw = np.random.default_rng([seed, crc32(task.name.encode())])
    is_number = which_are(numbers, y) if any(numbers) else None
    weights = {"": fit_linear(x, y, train, val, evaluation, draw, is_number)}
    if evaluation.convex:
        weights["convex_"] = fit_convex(x, y, train, val, is_number)
    here = {kind: found.cpu() for kind, found in weights.items()}
    return _Fit(mean.cpu(), deviation.cpu(), here, _alone(y[train], is_number).cpu(), numbers)


def _alone(y: torch.Tensor, is_number: torch.Tensor | None) -> torch.Tensor:
    """What is said [n_labels] of everybody without looking: the logit of each label's prevalence, a number's mean."""
    said = prevalence(y).logit() if is_number is None else prevalence(y.clamp(0, 1)).logit()
    return said if is_number is None else torch.where(is_number, y.nanmean(0).nan_to_num(), said)


def _scored(task: Task, fit: _Fit, x: torch.Tensor, y: torch.Tensor, split: torch.Tensor) -> Iterator[Score]:
    """Loss on val and test; on test macro AUROC, F1 at the thresholds that are best on val, R2 and MAE of numbers."""
    parts = {"val": split == VAL, "test": split == TEST}
    inputs = with_bias((x - fit.mean) / fit.deviation)
    for kind, weights in fit.weights.items():
        logits = product(inputs, weights)
        thresholds = best_thresholds(y[parts["val"]], logits[parts["val"]])
        for name, metrics in (("val", ("loss",)), ("test", metrics_of(fit.numbers))):
            found = scores(y[parts[name]], logits[parts[name]], thresholds, fit.numbers)
            for metric in metrics if found.n_classes else ():
                value = getattr(found, metric)
                if metric in ("r2", "mae") and value != value:
                    continue
                yield Score(task, name, f"{kind}{metric}", value, found.n_evaluated, found.n_classes)
        if not kind:
            truth = y[parts["test"]]
            alone = scores(truth, fit.prevalence.expand(len(truth), -1), numbers=fit.numbers)
            if alone.n_classes:
                yield Score(task, "test", "prevalence_loss", alone.loss, alone.n_evaluated, alone.n_classes)


@torch.autocast("cpu", enabled=False)
def product(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Logits of features on the CPU: in float32, whatever the network computed in."""
    return x @ weights


def fit_linear(
    x: torch.Tensor,
    y: torch.Tensor,
    train: torch.Tensor,
    val: torch.Tensor,
    evaluation: Evaluation,
    draw: np.random.Generator,
    is_number: torch.Tensor | None = None,
) -> torch.Tensor:
    """Weights [width + 1, n_labels] of a linear layer (bias last) trained by Adam on mean binary cross-entropy.

    Where ``is_number`` (bool [n_labels]; None: nowhere), on mean squared error. ``x`` [n, width], ``y`` [n, n_labels]
    with NaN for missing; ``train`` and ``val`` bool [n]. It starts at each label's prevalence, or a number's mean,
    whatever the features; the epoch with the lowest validation loss is kept, the start among them, so that no probe is
    worse there than none. The gradient is written out: one matrix product for all labels a step.
    """
    x_train, x_val = with_bias(x[train]), with_bias(x[val])
    known_train, known_val = y[train].isfinite(), y[val].isfinite()
    y_train, y_val = y[train].nan_to_num(), y[val]

    def val_loss(weights: torch.Tensor) -> float:
        if is_number is None:
            return float(F.binary_cross_entropy_with_logits((x_val @ weights)[known_val], y_val[known_val]))
        return float(label_loss(x_val @ weights, y_val.nan_to_num(), known_val, is_number=is_number).mean)

    weights = x.new_zeros(x.shape[1] + 1, y.shape[1])
    weights[-1] = _alone(y[train], is_number)
    first, second = torch.zeros_like(weights), torch.zeros_like(weights)
    best, best_weights, waited, step = val_loss(weights), weights.clone(), 0, 0
    for _ in range(evaluation.probe_epochs):
        order = torch.from_numpy(draw.permutation(len(x_train))).to(x.device)
        for rows in order.split(evaluation.probe_batch_size):
            check_pause()
            step += 1
            batch, known = x_train[rows], known_train[rows]
            said = batch @ weights
            error = (torch.sigmoid(said) - y_train[rows]) * known  # d BCE / d logit
            if is_number is not None:
                error = torch.where(is_number, 2 * (said - y_train[rows]) * known, error)
            gradient = batch.T @ error / known.sum().clamp(min=1)
            first.lerp_(gradient, 0.1)
            second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            denominator = (second / (1 - 0.999**step)).sqrt_().add_(1e-8)
            weights -= evaluation.probe_lr / (1 - 0.9**step) * first / denominator
        loss = val_loss(weights)
        best, best_weights, waited = (loss, weights.clone(), 0) if loss < best else (best, best_weights, waited + 1)
        if waited >= evaluation.probe_patience:
            break
    return best_weights


def _probed(corpus: Corpus, n_train: int | None) -> np.ndarray:
    """Recordings bool [n] that probes may use: all of val and test, at most ``n_train`` of train, whole patients."""
    train = corpus.rows("train")
    if n_train is None or n_train >= len(train):
        return np.ones(len(corpus.split), dtype=bool)
    probed = corpus.split != TRAIN
    probed[corpus.rows("train", n_train / len(train))] = True
    return probed
