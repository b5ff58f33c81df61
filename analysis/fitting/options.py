"""What a fit is asked for beside its law and its points."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.laws import EXPONENT

OBJECTIVES = ("log-ls", "huber")
WEIGHTS = ("equal", "replicates")


@dataclass(frozen=True)
class Options:
    """How to fit, and what interval to give. Raises BadPoints for what cannot be asked.

    ``objective``: least squares of log losses, or Huber's function of their residuals with scale ``delta``. Intervals
    at ``level``: profile likelihood for least squares, a pairs bootstrap over runs (cells, then seeds) for Huber, none
    without ``intervals``. ``bootstrap`` asks for so many resamples beside them, 0 for none (None: as many as the kind
    of interval needs). ``max_exponent`` bounds exponents from above; a fit that hits it says so; ``bounds`` are other
    ones, of exponents and floors by name. ``weights``: "equal", or "replicates" for noise that changes with size and
    data, told from runs of one cell (see ``noise``).
    """

    objective: str = "log-ls"
    delta: float = 1e-3
    bootstrap: int | None = None
    level: float = 0.95
    n_starts: int = 4
    seed: int = 0
    intervals: bool = True
    max_exponent: float = EXPONENT[1]
    bounds: Mapping[str, tuple[float, float]] | None = None
    weights: str = "equal"

    def __post_init__(self) -> None:
        if self.weights not in WEIGHTS:
            raise BadPoints(f"weights '{self.weights}' are not one of {', '.join(WEIGHTS)}")
        if not self.max_exponent > EXPONENT[0]:
            raise BadPoints(
                f"exponents are bounded by {self.max_exponent} from above; it has to be more than {EXPONENT[0]}"
            )
        if self.objective not in OBJECTIVES:
            raise BadPoints(f"objective '{self.objective}' is not one of {', '.join(OBJECTIVES)}")
        if not self.delta > 0:
            raise BadPoints(
                f"delta is {self.delta}; it is the scale of Huber's function in log-loss and has to be positive"
            )

    @property
    def scale(self) -> float:
        """Residual from which on Huber's function is linear; infinite for least squares."""
        return self.delta if self.objective == "huber" else math.inf

    def resamples(self, needed: int) -> int:
        """How many to draw, where an interval that is a bootstrap takes ``needed`` unless so many were asked for."""
        if self.bootstrap is None:
            return needed if self.objective == "huber" and self.intervals else 0
        return self.bootstrap

    def kind_of_interval(self, drawn: bool) -> str:
        """ "profile", "bootstrap" or "none", given whether there are resamples."""
        if not self.intervals:
            return "none"
        if self.objective == "huber":
            return "bootstrap" if drawn else "none"
        return "profile"
