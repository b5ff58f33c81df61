"""What speaks for and against a fit: its error, criteria, and whether the optimum was reached."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ecgscale.analysis.fitting.problem import Array
from ecgscale.analysis.fitting.status import of_fit


@dataclass(frozen=True)
class Reached:
    """How an optimum was reached, as ``Health`` says of it; unless told otherwise in closed form."""

    converged: bool = True
    decrement: float = 0.0
    starts_agree: float = 1.0
    condition: float = math.nan
    objective_value: float | None = None  # None: half the sum of squares


@dataclass(frozen=True)
class Health:
    """What speaks for and against a fit. Errors of the hold-out are relative (root mean square of log residuals)."""

    n_points: int
    n_params: int
    excluded: Mapping[str, int]
    converged: bool
    decrement: float  # Newton decrement relative to the objective: half of it bounds the gap to the optimum
    starts_agree: float  # share of starts that reach the optimum
    condition: float  # of the Hessian in centred coordinates
    objective_value: float
    r2: float
    rmse_log: float
    aic: float
    bic: float
    holdout: float = math.nan  # fitted without the largest tenth of the runs, predicted there
    lack_of_fit: float = math.nan  # p of the test of the law's form, NaN where it cannot be tested
    n_cells: int = 0  # places of the grid, of which replicates share one; 0: one a point

    @property
    def freedom(self) -> int:
        """Degrees of freedom that test the law's form: replicates are no points of their own."""
        return (self.n_cells or self.n_points) - self.n_params

    @property
    def tested(self) -> str:
        """What the fit is flagged for as a whole; "ok" if nothing."""
        return of_fit(self.n_cells or self.n_points, self.n_params, self.r2, self.lack_of_fit)

    @classmethod
    def of(
        cls,
        loss: Array,
        predicted: Array,
        n_params: int,
        excluded: Mapping[str, int],
        *,
        squares: float | None = None,
        likelihood: bool = False,
        reached: Reached = Reached(),
        holdout: float = math.nan,
        lack_of_fit: float = math.nan,
        n_cells: int = 0,
    ) -> "Health":
        """What the losses [n] that a law with so many coefficients predicts say of it beside the measured ones.

        R2 is of losses, the root mean square error of their logs. With ``likelihood`` (least squares of logs) AIC and
        BIC count the variance as one more coefficient. ``squares``: their sum, if what was fitted are not log losses.
        """
        n = len(loss)
        if squares is None:
            squares = float((np.log(predicted / loss) ** 2).sum())
        spread = float(((loss - loss.mean()) ** 2).sum())
        loglik = -0.5 * n * (math.log(max(squares / n, 1e-300)) + 1 + math.log(2 * math.pi))
        return cls(
            n_points=n,
            n_params=n_params,
            excluded=excluded,
            converged=reached.converged,
            decrement=reached.decrement,
            starts_agree=reached.starts_agree,
            condition=reached.condition,
            objective_value=squares / 2 if reached.objective_value is None else reached.objective_value,
            r2=1 - float(((predicted - loss) ** 2).sum()) / spread if spread > 0 else math.nan,
            rmse_log=math.sqrt(squares / n),
            aic=2 * (n_params + 1) - 2 * loglik if likelihood else math.nan,
            bic=math.log(n) * (n_params + 1) - 2 * loglik if likelihood else math.nan,
            holdout=holdout,
            lack_of_fit=lack_of_fit,
            n_cells=n_cells or n,
        )


def largest_tenth(extent: Array) -> NDArray[np.bool_]:
    """Which runs are the largest tenth, at least one."""
    count = max(1, len(extent) // 10)
    largest = np.zeros(len(extent), bool)
    largest[np.argsort(extent, kind="stable")[-count:]] = True
    return largest
