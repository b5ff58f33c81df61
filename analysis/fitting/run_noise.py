"""Noise that the points of one run share: what residuals say of it, and noise like it drawn anew.

Checkpoints of a run lie above or below a law together, as far as what they share goes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ecgscale.analysis.fitting.problem import Array

RAREST = 0.01  # of variances: larger ones are no larger, since with few degrees of freedom they grow beyond all numbers
TOLD = 0.01  # of a run's own mean: contrasts of which a law leaves less tell nothing of what points share
RATIOS = np.logspace(-2, 6, 17)  # variance that a run's points share, to that of each alone


@dataclass(frozen=True)
class RunNoise:
    """What residuals say of noise: for each share [G] of a point's variance that its run has in common, how likely it
    is, and the sum of squares that tells the variance with so many degrees of freedom."""

    shares: Array
    probabilities: Array
    squares: Array
    freedom: int

    @property
    def variance(self) -> float:
        """Of a point's ln(loss), as expected."""
        return float(self.probabilities @ self.squares) / self.freedom

    def drawn(self, n_resamples: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], Array]:
        """Which share [R] and what standard deviation [R] resamples have, as likely as the residuals leave them.

        Percentiles of what is linear in the noise are then Student's t intervals (Box & Tiao 1973, section 2.4).
        """
        which = rng.choice(len(self.shares), n_resamples, p=self.probabilities)
        square = np.maximum(rng.chisquare(self.freedom, n_resamples), special.chdtri(self.freedom, 1 - RAREST))
        return which, np.sqrt(self.squares[which] / square)


def noise_of(residual: Array, jacobian: Array, run: NDArray[np.intp]) -> RunNoise:
    """The noise that residuals [n] of ln(loss) show, fitted in least squares with a jacobian [n, p]; run: numbers [n].

    The restricted likelihood of both variances (Patterson & Thompson 1971), their ratio alike on a scale of logs; where
    runs are too few to show what their points share, these count as independent.
    """
    left, singular, _ = np.linalg.svd(
        jacobian / np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300), full_matrices=False
    )
    spanned = left[:, singular > 1e-10 * singular.max(initial=0.0)]
    of_runs = np.stack([np.bincount(run, column) for column in spanned.T], 1)
    # What the law leaves of a run's points, between runs: its eigenvectors are seen with noise of their own.
    count = np.bincount(run).astype(float)
    information, contrast = np.linalg.eigh(np.diag(count) - of_runs @ of_runs.T)
    told = information > TOLD
    information, contrast = information[told], contrast[:, told]
    seen = (np.bincount(run, residual) @ contrast) ** 2 / information
    within = max(float(residual @ residual) - float(seen.sum()), 0.0)
    freedom = len(residual) - spanned.shape[1]
    n_within = freedom - len(seen)
    shares = RATIOS / (1 + RATIOS) if told.any() else np.zeros(1)
    own = 1 - shares
    scale = own[:, None] + shares[:, None] * information
    squares = np.maximum((seen / scale).sum(1) + (within / own if n_within else 0.0), 1e-300)
    log_likelihood = -0.5 * (np.log(scale).sum(1) + n_within * np.log(own) + freedom * np.log(squares))
    likelihood = np.exp(log_likelihood - log_likelihood.max())
    return RunNoise(shares, likelihood / likelihood.sum(), squares, freedom)


def unit_noise(shares: Array, run: NDArray[np.intp], rng: np.random.Generator) -> Array:
    """Noise of variance 1 [R, n], of which so much [R] is common to the points of a run."""
    common = rng.standard_normal((len(shares), int(run.max()) + 1))[:, run]
    own = rng.standard_normal((len(shares), len(run)))
    return np.sqrt(shares)[:, None] * common + np.sqrt(1 - shares)[:, None] * own
