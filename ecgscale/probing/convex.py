"""Convex probe: logistic regression, or ridge regression of numbers, with a ridge chosen on validation.

One answer, with no step size, draw or epochs. Ridge regression (Hoerl & Kennard 1970) has a closed form: in the
eigenbasis of X'X every ridge is a division. All other labels are minimised together by L-BFGS (Nocedal & Wright 2006,
algorithm 7.4). Its first guess of the inverse Hessian is exact but for the weights of the recordings: in the eigenbasis
it is a division too.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from ecgscale.pausing import check_pause
from ecgscale.probing.scores import both_outcomes

# Ridges in units of the features' mean variance, strong to weak, each started at the optimum of the one before.
RIDGES = tuple(10 ** (2 - half / 2) for half in range(17))
_PATIENCE = 2  # ridges without a better validation loss, after which a label goes no further down the path
_TOLERANCE = 1e-7  # nats that the next step promises
_HISTORY = 8
_MAX_STEPS, _MAX_TRIALS = 200, 10


def fit_convex(
    x: torch.Tensor, y: torch.Tensor, train: torch.Tensor, val: torch.Tensor, is_number: torch.Tensor | None = None
) -> torch.Tensor:
    """Weights [width + 1, n_labels] of a linear layer (bias last): ``fit_ridge`` of numbers, else ``fit_logistic``.

    ``is_number`` bool [n_labels]; None: no label is one.
    """
    if is_number is None or not is_number.any():
        return fit_logistic(x, y, train, val)
    weights = x.new_zeros(x.shape[1] + 1, y.shape[1])
    if not is_number.all():
        weights[:, ~is_number] = fit_logistic(x, y[:, ~is_number], train, val)
    weights[:, is_number] = fit_ridge(x, y[:, is_number], train, val)
    return weights


def fit_ridge(x: torch.Tensor, y: torch.Tensor, train: torch.Tensor, val: torch.Tensor) -> torch.Tensor:
    """Weights [width + 1, n_labels] of least squares (bias last), each number under the ridge best on validation.

    Minimises mean squared error / 2 + ridge / 2 x mean variance of the features x squared weights; the bias is free.
    Shapes as in ``fit_logistic``. A number that is known of no recording in validation takes the strongest ridge; of
    fewer than two in training, their mean (0 of none, which is that of the standardised).
    """
    weights = x.new_zeros(x.shape[1] + 1, y.shape[1])
    known = y.isfinite()
    bases: dict[bytes, _Basis] = {}  # labels that are known of the same recordings share it
    for label in range(y.shape[1]):
        check_pause()
        rows, checked = train & known[:, label], val & known[:, label]
        n = int(rows.sum())
        weights[-1, label] = y[rows, label].mean() if n else 0.0
        if n < 2:
            continue
        key = rows.cpu().numpy().tobytes()
        basis = bases[key] = bases[key] if key in bases else _basis(x[rows])
        pull = basis.vectors.T @ ((x[rows] - basis.centre).T @ (y[rows, label] - weights[-1, label])).double() / n
        ridges = torch.tensor(RIDGES, dtype=torch.float64, device=x.device) * basis.unit
        slopes = (basis.vectors @ (pull[:, None] / (basis.variance[:, None] + ridges))).float()  # [width, n_ridges]
        said = (x[checked] - basis.centre) @ slopes + weights[-1, label]
        errors = (said - y[checked, label][:, None]).square().mean(0)
        best = int(errors.argmin()) if int(checked.sum()) else 0
        weights[:-1, label] = slopes[:, best]
        weights[-1, label] -= basis.centre @ slopes[:, best]
    return weights


@dataclass(frozen=True)
class _Basis:
    """Eigenvectors [width, width] and variances [width] of features about their centre [width], in float64."""

    centre: torch.Tensor
    vectors: torch.Tensor
    variance: torch.Tensor
    unit: torch.Tensor  # mean variance


def _basis(x: torch.Tensor) -> _Basis:
    centre = x.mean(0)
    centred = x - centre
    variance, vectors = torch.linalg.eigh((centred.T @ centred).double() / len(centred))
    return _Basis(centre, vectors, variance.clamp(min=0), variance.mean().clamp(min=1e-12))


def fit_logistic(x: torch.Tensor, y: torch.Tensor, train: torch.Tensor, val: torch.Tensor) -> torch.Tensor:
    """Weights [width + 1, n_labels] of a linear layer (bias last), each label under the ridge best on validation.

    ``x`` [n, width], ``y`` [n, n_labels] with NaN for missing; ``train`` and ``val`` bool [n]. The bias is free. A
    label without both outcomes in validation takes the strongest ridge; without both in training, its prevalence.
    """
    centre = x[train].mean(0)
    problem = _pose(x[train] - centre, y[train])
    x_val, y_val = with_bias(x[val] - centre), y[val]
    known, comparable = y_val.isfinite(), both_outcomes(y_val)
    weights = x.new_zeros(x.shape[1] + 1, y.shape[1])
    weights[-1] = prevalence(y[train]).logit()
    chosen, lowest = weights.clone(), x.new_full((y.shape[1],), math.inf)
    waited = torch.zeros(y.shape[1], dtype=torch.int64, device=x.device)
    going = both_outcomes(y[train])
    for ridge in RIDGES:
        labels = going.nonzero()[:, 0]
        if not len(labels):
            break
        weights[:, labels] = found = _minimise(problem.only(labels), ridge, weights[:, labels])
        terms = F.binary_cross_entropy_with_logits(x_val @ found, y_val[:, labels].nan_to_num(), reduction="none")
        loss = (terms * known[:, labels]).sum(0) / known[:, labels].sum(0).clamp(min=1)
        better = loss < lowest[labels]
        lowest[labels] = torch.where(better, loss, lowest[labels])
        chosen[:, labels] = torch.where(better, found, chosen[:, labels])
        waited[labels] = torch.where(better, 0, waited[labels] + 1)
        going = going & comparable & (waited < _PATIENCE)
    chosen[-1] -= centre @ chosen[:-1]
    return chosen


@dataclass(frozen=True)
class _Problem:
    """Mean cross-entropy of each label plus ridge / 2 x ``unit`` x squared weights.

    ``x`` [n, width + 1], its last column ones; ``truth`` and ``share`` [n, n_labels], a recording's part in the mean;
    ``basis`` [width + 1, width + 1] eigenvectors of X'X / n and ``spectrum`` [width + 1, 1], the bias by itself;
    ``unit`` [width + 1, 1], zero for the bias.
    """

    x: torch.Tensor
    truth: torch.Tensor
    share: torch.Tensor
    basis: torch.Tensor
    spectrum: torch.Tensor
    unit: torch.Tensor

    def only(self, labels: torch.Tensor) -> "_Problem":
        return replace(self, truth=self.truth[:, labels], share=self.share[:, labels])

    def error(self, logits: torch.Tensor) -> torch.Tensor:
        """Derivative of the mean cross-entropy by each logit."""
        return torch.sigmoid(logits).sub_(self.truth).mul_(self.share)


def _pose(centred: torch.Tensor, y: torch.Tensor) -> _Problem:
    known = y.isfinite()
    variance, vectors = torch.linalg.eigh((centred.T @ centred).double() / len(centred))
    one = centred.new_ones(1)
    return _Problem(
        x=with_bias(centred),
        truth=y.nan_to_num(),
        share=known / known.sum(0).clamp(min=1),
        basis=torch.block_diag(vectors.float(), one[None]),
        spectrum=torch.cat([variance.clamp(min=0).float(), one])[:, None],
        unit=torch.cat([variance.mean().clamp(min=1e-12).float().expand(len(variance)), 0 * one])[:, None],
    )


def _minimise(problem: _Problem, strength: float, weights: torch.Tensor) -> torch.Tensor:
    """The optimum [width + 1, n_labels] from a start; a label that is there takes no further steps."""
    x, ridge = problem.x, strength * problem.unit
    logits = x @ weights
    probability = torch.sigmoid(logits)
    spread = (probability * (1 - probability) * problem.share).sum(0).clamp(min=1e-6)  # mean p (1 - p) of each label
    curvature = problem.spectrum * spread + ridge
    gradient = x.T @ problem.error(logits) + ridge * weights
    past: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for _ in range(_MAX_STEPS):
        check_pause()
        direction = -_towards(gradient, past, problem.basis, curvature)
        slope = (gradient * direction).sum(0)
        there = slope > -2 * _TOLERANCE
        if there.all():
            break
        direction = direction.masked_fill(there, 0.0)
        along = x @ direction
        length, error = _search(problem, logits, along, weights, direction, ridge, slope)
        step, logits = length * direction, logits + length * along
        weights = weights + step
        before, gradient = gradient, x.T @ error + ridge * weights
        change = gradient - before
        product = (step * change).sum(0)
        past = [*past[1 - _HISTORY :], (step, change, torch.where(product > 0, 1 / product, 0.0))]
    return weights


def _search(
    problem: _Problem,
    logits: torch.Tensor,
    along: torch.Tensor,
    weights: torch.Tensor,
    direction: torch.Tensor,
    ridge: torch.Tensor,
    slope: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Length [n_labels] of each label's step, and the errors [n, n_labels] there, by secants on the slope.

    Along a line the loss is convex: where its slope has shrunk enough it has fallen.
    """
    length, steep, after = torch.ones_like(slope), slope.abs(), torch.zeros_like(slope)
    pull, stiffness = (ridge * weights * direction).sum(0), (ridge * direction * direction).sum(0)
    for _ in range(_MAX_TRIALS):
        wrong = (after > 0.5 * steep) | (after < -0.9 * steep)
        length = torch.where(wrong, length * steep / (steep + after).clamp(min=0.25 * steep), length)
        error = problem.error(logits + length * along)
        after = (error * along).sum(0) + pull + length * stiffness
        if not ((after > 0.5 * steep) | (after < -0.9 * steep)).any():
            break
    return length, error


def _towards(
    gradient: torch.Tensor,
    past: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]],
    basis: torch.Tensor,
    curvature: torch.Tensor,
) -> torch.Tensor:
    """Inverse Hessian times gradient: the two loops of L-BFGS around a division in the eigenbasis."""
    rest, shares = gradient, []
    for step, change, weight in reversed(past):
        shares.append(weight * (step * rest).sum(0))
        rest = rest - shares[-1] * change
    found = basis @ ((basis.T @ rest) / curvature)
    for (step, change, weight), share in zip(past, reversed(shares), strict=True):
        found = found + step * (share - weight * (change * found).sum(0))
    return found


def prevalence(y: torch.Tensor) -> torch.Tensor:
    """Rate [n_labels] of each label among those known, one case and one control added so that none is 0 or 1."""
    return (y.nansum(0) + 1) / (y.isfinite().sum(0) + 2)


def with_bias(x: torch.Tensor) -> torch.Tensor:
    """Features [n, width + 1] with a last column of ones, which the bias multiplies."""
    return torch.cat([x, x.new_ones(len(x), 1)], 1)
