"""Scores of logits against a count written out class by class; thresholds against trying every cut."""

import math

import pytest
import torch
from torchmetrics.functional.classification import binary_auroc, binary_f1_score

from ecgscale.scores import best_thresholds, scores


def predictions(n: int = 60, n_labels: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Truth with missing labels, a class of no positives and one of nothing known; logits with ties."""
    draw = torch.Generator().manual_seed(3)
    logits = (3 * torch.randn(n, n_labels, generator=draw)).round()
    truth = (logits + 3 * torch.randn(n, n_labels, generator=draw) > 1).float()
    truth[::4, 1] = math.nan
    truth[:, 3], truth[:, 4] = 0.0, math.nan
    return truth, logits


def test_scores_are_means_over_classes_with_both_outcomes() -> None:
    truth, logits = predictions()
    thresholds = torch.tensor([0.0, 1.0, -2.0, 0.0, 0.0])
    found = scores(truth, logits, thresholds)
    losses, aurocs, f1s = [], [], []
    for c in (0, 1, 2):
        known = truth[:, c].isfinite()
        z, y = logits[known, c], truth[known, c]
        losses.append(sum(math.log1p(math.exp(-v if t else v)) for v, t in zip(z.tolist(), y.tolist(), strict=True)))
        losses[-1] /= len(y)
        aurocs.append(float(binary_auroc(z, y.int())))
        f1s.append(float(binary_f1_score((z >= thresholds[c]).int(), y.int())))
    assert (found.loss, found.auroc, found.f1) == pytest.approx(
        tuple(sum(values) / 3 for values in (losses, aurocs, f1s)), rel=1e-6
    )
    assert (found.n_evaluated, found.n_classes) == (60, 3)
    assert found.scored.tolist() == [True, True, True, False, False]
    assert found.n_known.tolist() == [60, 45, 60, 60, 0]
    assert found.n_positive.tolist() == [int(truth[:, c].nansum()) for c in range(5)]


def test_nothing_to_score_is_nan() -> None:
    truth, logits = torch.tensor([[0.0], [0.0]]), torch.zeros(2, 1)
    found = scores(truth, logits, best_thresholds(truth, logits))
    assert found.n_classes == 0
    assert all(math.isnan(value) for value in (found.loss, found.auroc, found.f1))
    assert math.isnan(scores(*predictions()).f1)  # nobody gave thresholds


def test_thresholds_are_the_best_cuts() -> None:
    truth, logits = predictions()
    thresholds = best_thresholds(truth, logits)
    assert thresholds[3:].tolist() == [0.0, 0.0]
    for c in (0, 1, 2):
        known = truth[:, c].isfinite()
        z, y = logits[known, c], truth[known, c].int()
        tried = {float(cut): float(binary_f1_score((z >= cut).int(), y)) for cut in z.unique()}
        assert float(binary_f1_score((z >= thresholds[c]).int(), y)) == pytest.approx(max(tried.values()))
        assert float(thresholds[c]) == max(cut for cut, f1 in tried.items() if f1 == max(tried.values()))
