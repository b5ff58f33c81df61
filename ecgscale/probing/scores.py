"""Scores of labels: loss, AUROC and F1 of those that are there or not, R2 and mean absolute error of numbers.

Each is a mean over the labels that can be scored: findings with both outcomes, numbers that differ.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc

from ecgscale.data.label_sets import Number
from ecgscale.pausing import check_pause


class Scores(NamedTuple):
    """Macro averages over ``n_classes`` labels: the loss of each in its own unit (cross-entropy in nats, squared error
    of a standardised number), and over those that it is meant for: AUROC, F1 at the thresholds that were given, R2 (1 -
    squared error / variance), and the mean absolute error in the numbers' unit.

    NaN is what no label was scored for, the mean absolute error also of numbers in different units, F1 also without
    thresholds. ``n_evaluated`` recordings have a known label; ``n_positive`` (0 of numbers) and ``n_known`` int64
    [n_labels] count every label, ``scored`` bool [n_labels] tells which entered.
    """

    loss: float
    auroc: float
    f1: float
    n_evaluated: int
    n_classes: int
    n_positive: torch.Tensor
    n_known: torch.Tensor
    scored: torch.Tensor
    r2: float = math.nan
    mae: float = math.nan


Numbers = Sequence[Number | None]  # of each label, what standardises it; None where it is there or not; empty: all are


def scores(
    truth: torch.Tensor, logits: torch.Tensor, thresholds: torch.Tensor | None = None, numbers: Numbers = ()
) -> Scores:
    """Score ``logits`` [n, n_labels] against ``truth`` [n, n_labels] of 0, 1 and NaN for missing.

    ``thresholds`` [n_labels]: a logit at or above its class' is a positive; choose them on validation data. Where
    ``numbers`` has one, truth and what is said of it are standardised by it.
    """
    known, is_number = truth.isfinite(), which_are(numbers, truth)
    scored = torch.where(is_number, _differs(truth), both_outcomes(truth))
    classes = [c for c in range(truth.shape[1]) if scored[c] and not is_number[c]]
    measured = [c for c in range(truth.shape[1]) if scored[c] and is_number[c]]

    def mean(values: list[torch.Tensor]) -> float:
        return float(torch.stack(values).mean()) if values else float("nan")

    def auroc(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        check_pause()
        return binary_auroc(z, y.int())

    pairs = [(logits[known[:, c], c], truth[known[:, c], c]) for c in classes]
    errors = [(logits[known[:, c], c] - truth[known[:, c], c], truth[known[:, c], c]) for c in measured]
    squared = [error.square().mean() for error, _ in errors]
    units = {found.unit for c in measured if (found := numbers[c]) is not None}
    in_unit = [error.abs().mean() * _deviation(numbers[c]) for c, (error, _) in zip(measured, errors, strict=True)]
    is_scored = torch.tensor(classes, dtype=torch.int64)
    return Scores(
        loss=mean([F.binary_cross_entropy_with_logits(z, y) for z, y in pairs] + squared),
        auroc=mean([auroc(z, y) for z, y in pairs]),
        f1=float("nan")
        if thresholds is None or not classes
        else float(_f1(truth, logits, thresholds)[is_scored].mean()),
        n_evaluated=int(known.any(1).sum()),
        n_classes=len(classes) + len(measured),
        n_positive=truth.nansum(0).masked_fill(is_number, 0).long(),
        n_known=known.sum(0),
        scored=scored,
        r2=mean([1 - s / y.var(correction=0) for s, (_, y) in zip(squared, errors, strict=True)]),
        mae=mean(in_unit) if len(units) == 1 else float("nan"),
    )


def metrics_of(numbers: Numbers) -> tuple[str, ...]:
    """The fields of Scores that are meant for these labels, the loss first."""
    of_findings = ("auroc", "f1") if not numbers or not all(numbers) else ()
    return ("loss", *of_findings, *(("r2", "mae") if any(numbers) else ()))


def which_are(numbers: Numbers, truth: torch.Tensor) -> torch.Tensor:
    """Which labels are numbers: bool [n_labels], where ``truth`` [n, n_labels] is."""
    return torch.tensor([one is not None for one in numbers] or [False] * truth.shape[1], device=truth.device)


def _deviation(number: Number | None) -> float:
    return 1.0 if number is None else number.deviation


def _differs(truth: torch.Tensor) -> torch.Tensor:
    """Which labels have two different values among what is known: bool [n_labels]."""
    if not len(truth):
        return torch.zeros(truth.shape[1], dtype=torch.bool, device=truth.device)
    least = truth.nan_to_num(nan=torch.inf).min(0).values
    return least < truth.nan_to_num(nan=-torch.inf).max(0).values


class LabelAurocs(NamedTuple):
    """AUROC of every label and their mean, each with the ends of its bootstrap interval; arrays are [n_labels].

    A label without both outcomes is NaN and not in the mean.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: float
    mean_low: float
    mean_high: float


def label_aurocs(
    truth: torch.Tensor,
    logits: torch.Tensor,
    patient: torch.Tensor | None = None,
    *,
    replicates: int = 500,
    level: float = 0.95,
    seed: int = 0,
) -> LabelAurocs:
    """AUROC of each label of ``logits`` [n, n_labels] against ``truth`` (as in ``scores``), with percentile intervals.

    Each replicate draws as many patients as there are (``patient`` [n] codes; None: recordings), with all that is
    theirs, and counts ties by halves. A replicate in which a label lacks an outcome says nothing of that label.
    """
    y, z = truth.cpu().numpy(), logits.cpu().numpy().astype(np.float64)
    groups = np.arange(len(y)) if patient is None else np.unique(patient.cpu().numpy(), return_inverse=True)[1]
    order = np.argsort(z, axis=0, kind="stable")
    ranked = np.take_along_axis(z, order, 0)
    truth_ranked = np.take_along_axis(y, order, 0)
    is_first = np.ones(ranked.shape, dtype=bool)
    is_first[1:] = ranked[1:] != ranked[:-1]
    place = np.arange(len(y))[:, None]
    first = np.maximum.accumulate(np.where(is_first, place, 0), axis=0)  # where the equals of a score begin ...
    is_last = np.vstack([is_first[1:], np.ones((1, ranked.shape[1]), dtype=bool)])
    last = np.minimum.accumulate(np.where(is_last, place, len(y))[::-1], axis=0)[::-1]  # ... and end

    def at(weight: np.ndarray) -> np.ndarray:
        check_pause()
        w = weight[order]
        positive, negative = w * (truth_ranked == 1), w * (truth_ranked == 0)
        below = np.vstack([np.zeros((1, w.shape[1])), negative.cumsum(0)])
        beaten = np.take_along_axis(below, first, 0) + np.take_along_axis(below, last + 1, 0)
        pairs = positive.sum(0) * negative.sum(0)
        return np.divide((positive * beaten).sum(0) / 2, pairs, out=np.full(w.shape[1], np.nan), where=pairs > 0)

    value = at(np.ones(len(y)))
    rng, n_groups = np.random.default_rng(seed), int(groups.max(initial=-1)) + 1
    drawn = [np.bincount(rng.integers(0, n_groups, n_groups), minlength=n_groups)[groups] for _ in range(replicates)]
    found = np.stack([at(weight) for weight in drawn]) if n_groups else np.full((1, len(value)), np.nan)
    scored = np.isfinite(value)
    low, high = np.full(len(value), np.nan), np.full(len(value), np.nan)
    ends = [(1 - level) / 2, (1 + level) / 2]
    if not scored.any():
        return LabelAurocs(value, low, high, math.nan, math.nan, math.nan)
    low[scored], high[scored] = np.nanquantile(found[:, scored], ends, axis=0)
    said = found[:, scored][np.isfinite(found[:, scored]).any(1)]
    mean_low, mean_high = np.quantile(np.nanmean(said, axis=1), ends)
    return LabelAurocs(value, low, high, float(value[scored].mean()), float(mean_low), float(mean_high))


def best_thresholds(truth: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Of each class, the logit [n_labels] from which on calling a recording positive gives the highest F1.

    Shapes as in ``scores``. Of equal ones the highest threshold; 0 (a probability of a half) for a class without both
    outcomes.
    """
    if not len(truth):
        return torch.zeros_like(logits).sum(0)
    known = truth.isfinite()
    ranked, order = logits.masked_fill(~known, -torch.inf).sort(0, descending=True)
    hits = truth.nan_to_num().gather(0, order).cumsum(0)  # true positives if the cut is below this row
    called = torch.arange(1, len(truth) + 1, device=truth.device)[:, None]
    f1 = 2 * hits / (called + truth.nansum(0))
    last_of_equals = torch.ones_like(known)
    last_of_equals[:-1] = ranked[:-1] != ranked[1:]
    best = f1.masked_fill(~(last_of_equals & known.gather(0, order)), -1.0).argmax(0, keepdim=True)
    return torch.where(both_outcomes(truth), ranked.gather(0, best)[0], 0.0)


def both_outcomes(truth: torch.Tensor) -> torch.Tensor:
    """Which classes have a positive and a negative among what is known: bool [n_labels]."""
    n_positive = truth.nansum(0)
    return (n_positive > 0) & (n_positive < truth.isfinite().sum(0))


def _f1(truth: torch.Tensor, logits: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """F1 of each class [n_labels]."""
    called = (logits >= thresholds) & truth.isfinite()
    hits = (called & (truth == 1)).sum(0)
    return 2 * hits / (called.sum(0) + truth.nansum(0)).clamp(min=1)
