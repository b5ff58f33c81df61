"""Scores of multi-label logits: loss, AUROC and F1, each a mean over the classes that have both outcomes."""

from typing import NamedTuple

import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc


class Scores(NamedTuple):
    """Macro averages over ``n_classes`` classes: cross-entropy (nats), AUROC, and F1 at the thresholds that were given.

    All three are NaN if no class has both outcomes, F1 also without thresholds. ``n_evaluated`` recordings have a known
    label; ``n_positive`` and ``n_known`` int64 [n_labels] count every class, ``scored`` bool [n_labels] tells which
    entered.
    """

    loss: float
    auroc: float
    f1: float
    n_evaluated: int
    n_classes: int
    n_positive: torch.Tensor
    n_known: torch.Tensor
    scored: torch.Tensor


def scores(truth: torch.Tensor, logits: torch.Tensor, thresholds: torch.Tensor | None = None) -> Scores:
    """Score ``logits`` [n, n_labels] against ``truth`` [n, n_labels] of 0, 1 and NaN for missing.

    ``thresholds`` [n_labels]: a logit at or above its class' is a positive; choose them on validation data.
    """
    known, (n_positive, n_known, scored) = truth.isfinite(), _counts(truth)
    classes = [c for c in range(truth.shape[1]) if scored[c]]

    def mean(values: list[torch.Tensor]) -> float:
        return float(torch.stack(values).mean()) if values else float("nan")

    pairs = [(logits[known[:, c], c], truth[known[:, c], c]) for c in classes]
    return Scores(
        loss=mean([F.binary_cross_entropy_with_logits(z, y) for z, y in pairs]),
        auroc=mean([binary_auroc(z, y.int()) for z, y in pairs]),
        f1=float("nan") if thresholds is None or not classes else float(_f1(truth, logits, thresholds)[scored].mean()),
        n_evaluated=int(known.any(1).sum()),
        n_classes=len(classes),
        n_positive=n_positive,
        n_known=n_known,
        scored=scored,
    )


def best_thresholds(truth: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Of each class, the logit [n_labels] from which on calling a recording positive gives the highest F1.

    Shapes as in ``scores``. Of equal ones the highest threshold; 0 (a probability of a half) for a class without both
    outcomes.
    """
    *_, scored = _counts(truth)
    known = truth.isfinite()
    ranked, order = logits.masked_fill(~known, -torch.inf).sort(0, descending=True)
    hits = truth.nan_to_num().gather(0, order).cumsum(0)  # true positives if the cut is below this row
    called = torch.arange(1, len(truth) + 1, device=truth.device)[:, None]
    f1 = 2 * hits / (called + truth.nansum(0))
    last_of_equals = torch.ones_like(known)
    last_of_equals[:-1] = ranked[:-1] != ranked[1:]
    best = f1.masked_fill(~(last_of_equals & known.gather(0, order)), -1.0).argmax(0, keepdim=True)
    return torch.where(scored, ranked.gather(0, best)[0], 0.0)


def _counts(truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positives and known labels of each class, and whether it has both outcomes: each [n_labels]."""
    n_positive, n_known = truth.nansum(0).long(), truth.isfinite().sum(0)
    return n_positive, n_known, (n_positive > 0) & (n_positive < n_known)


def _f1(truth: torch.Tensor, logits: torch.Tensor, thresholds: torch.Tensor) -> torch.Tensor:
    """F1 of each class [n_labels]."""
    called = (logits >= thresholds) & truth.isfinite()
    hits = (called & (truth == 1)).sum(0)
    return 2 * hits / (called.sum(0) + truth.nansum(0)).clamp(min=1)
