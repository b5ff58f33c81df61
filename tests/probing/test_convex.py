"""Convex probe: the optimum that a general-purpose optimiser finds in double precision, label by label."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit
from torch.nn import functional as F

from ecgscale.probing.convex import RIDGES, fit_convex
from ecgscale.probing.probe import fit_linear
from ecgscale.spec.run import Evaluation

TRAIN, VAL = torch.arange(300) < 160, (torch.arange(300) >= 160) & (torch.arange(300) < 230)


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated features far from zero; one label has gaps, one no case in validation, one none in training."""
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(300, 8, generator=draw) @ torch.randn(8, 8, generator=draw) * 10 ** torch.linspace(0, -2, 8) + 3
    logits = 3 * (x - x.mean(0)) @ torch.randn(8, 4, generator=draw) + torch.tensor([0.0, -1, 1, -1])
    y = (torch.rand(300, 4, generator=draw) < torch.sigmoid(logits)).float()
    y[::5, 1] = torch.nan
    y[VAL, 2], y[TRAIN, 3] = 0.0, 0.0
    return x, y


def optimum(x: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """Weights [width + 1] of one label by L-BFGS-B on the definition."""
    known = np.isfinite(y)
    x, y = x[known], y[known]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w[:-1] + w[-1]
        error = (expit(z) - y) / len(y)
        value = np.mean(np.logaddexp(0, z) - y * z) + ridge / 2 * w[:-1] @ w[:-1]
        return float(value), np.append(x.T @ error + ridge * w[:-1], error.sum())

    start = np.append(np.zeros(x.shape[1]), logit(y.mean()))
    options: Any = {"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-9}
    return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x


def reference(x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Probabilities of every recording under the ridge that is best on validation."""
    wide = (x - x[TRAIN].mean(0)).double().numpy()
    unit = wide[TRAIN.numpy()].var(0).mean()
    truth, tried = y.double().numpy(), []
    for ridge in RIDGES:
        w = optimum(wide[TRAIN.numpy()], truth[TRAIN.numpy()], ridge * unit)
        z = wide @ w[:-1] + w[-1]
        known = VAL.numpy() & np.isfinite(truth)
        tried.append((np.mean(np.logaddexp(0, z[known]) - truth[known] * z[known]), z))
        if len({*truth[known]}) < 2:
            return expit(z)
        if len(tried) > 2 and min(tried[-1][0], tried[-2][0]) > min(t[0] for t in tried):
            break
    return expit(min(tried, key=lambda t: t[0])[1])


def test_it_is_the_optimum_under_the_ridge_best_on_validation() -> None:
    x, y = problem()
    weights = fit_convex(x, y, TRAIN, VAL)
    found = torch.sigmoid(x @ weights[:-1] + weights[-1]).numpy()
    for label in range(3):
        np.testing.assert_allclose(found[:, label], reference(x, y[:, label]), atol=2e-3)


def test_a_label_never_seen_is_its_prevalence() -> None:
    x, y = problem()
    weights = fit_convex(x, y, TRAIN, VAL)
    assert not weights[:-1, 3].any()
    assert float(torch.sigmoid(weights[-1, 3])) == pytest.approx(1 / (int(TRAIN.sum()) + 2))


def test_labels_do_not_depend_on_each_other_nor_on_chance() -> None:
    x, y = problem()
    together = fit_convex(x, y, TRAIN, VAL)
    assert torch.equal(together, fit_convex(x, y, TRAIN, VAL))
    for label in range(4):
        alone = fit_convex(x, y[:, [label]], TRAIN, VAL)[:, 0]
        torch.testing.assert_close(alone, together[:, label], rtol=1e-3, atol=1e-3)


def test_it_is_no_worse_than_adam() -> None:
    x, y = problem()
    y = y[:, :2]
    adam = fit_linear(x, y, TRAIN, VAL, Evaluation(probe_lr=1e-2), np.random.default_rng(0))
    held = ~TRAIN & ~VAL
    losses = []
    for weights in (adam, fit_convex(x, y, TRAIN, VAL)):
        logits, known = (x @ weights[:-1] + weights[-1])[held], y[held].isfinite()
        losses.append(float(F.binary_cross_entropy_with_logits(logits[known], y[held][known])))
    assert losses[1] <= losses[0] + 5e-4


def test_features_that_do_not_vary_are_no_trouble() -> None:
    _, y = problem()
    weights = fit_convex(torch.full((300, 3), 2.0), y, TRAIN, VAL)
    assert weights.isfinite().all()
    logits = 2 * weights[:-1].sum(0) + weights[-1]
    rate = y[TRAIN].nanmean(0)
    torch.testing.assert_close(torch.sigmoid(logits)[:3], rate[:3], rtol=1e-3, atol=1e-3)
