"""Scores of logits against a count written out class by class; thresholds against trying every cut."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_auroc, binary_f1_score

from ecgscale.probing.scores import best_thresholds, label_aurocs, scores


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
    assert best_thresholds(truth[:0], logits[:0]).tolist() == [0.0]


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


def test_aurocs_of_labels_are_torchmetrics_and_intervals_cover() -> None:
    draw = torch.Generator().manual_seed(0)
    truth = (torch.rand(400, 4, generator=draw) < 0.3).float()
    logits = (truth * torch.tensor([0.0, 1.0, 3.0, 1.0]) + torch.randn(400, 4, generator=draw)).round(decimals=1)
    truth[::5, 1] = torch.nan
    truth[:, 3] = 0
    found = label_aurocs(truth, logits, replicates=200)
    for label in range(3):
        known = truth[:, label].isfinite()
        expected = binary_auroc(logits[known, label], truth[known, label].int())
        assert found.value[label] == pytest.approx(float(expected), abs=1e-6)
        assert found.low[label] < found.value[label] < found.high[label]
    assert np.isnan([found.value[3], found.low[3], found.high[3]]).all()
    assert found.mean == pytest.approx(np.mean(found.value[:3]))
    assert found.mean_low < found.mean < found.mean_high
    assert found.low[0] < 0.5 < found.high[0]  # a label that the logits know nothing of


def test_intervals_are_wider_where_patients_repeat() -> None:
    draw = torch.Generator().manual_seed(1)
    truth, noise = (torch.rand(60, 1, generator=draw) < 0.5).float(), torch.randn(60, 1, generator=draw)
    often, said = truth.repeat_interleave(10, 0), (truth + noise).repeat_interleave(10, 0)
    people = torch.arange(60).repeat_interleave(10)
    alone, together = label_aurocs(often, said), label_aurocs(often, said, people)
    assert together.high[0] - together.low[0] > 2 * (alone.high[0] - alone.low[0])
    once = label_aurocs(truth, truth + noise)
    assert together.high[0] - together.low[0] == pytest.approx(once.high[0] - once.low[0], rel=0.2)
    nothing = label_aurocs(torch.zeros(3, 2), torch.zeros(3, 2))
    assert np.isnan([nothing.mean, *nothing.value]).all()
