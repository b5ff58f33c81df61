"""Intervals that are tested for coverage: profile likelihood of any quantity of a law."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgscale.analysis.fitting.laws import Law
from ecgscale.analysis.fitting.newton import Solution
from ecgscale.analysis.fitting.problem import Array, Problems
from ecgscale.analysis.fitting.profile_ends import Search
from ecgscale.analysis.fitting.quantities import Quantity
from ecgscale.analysis.fitting.status import OPEN


@dataclass(frozen=True)
class Interval:
    """Ends of intervals [Q, S], and of each whether it is "reached" (the data set it), at a "bound" of the law (the
    data allow all up to it), or "open" (nothing was found that ends it; the value is then infinite)."""

    low: Array
    high: Array
    low_end: NDArray[np.str_]
    high_end: NDArray[np.str_]


def profile(
    law: Law, problems: Problems, solution: Solution, quantities: Sequence[Quantity], level: ArrayLike = 0.95
) -> Interval:
    """Profile-likelihood intervals of quantities for S least-squares fits: F(1, n - p) on the sums of squares.

    ``level``: of all, or one for each of the quantities.

    Where cells were run several times, runs of one cell may have more in common than the law says, so that their number
    says little: the noise is then that of the cells' means (``error_of``).

    The end of an interval is where the least sum of squares under ``q(theta) = c`` exceeds the minimum by the factor
    ``1 + F/(n - p)`` (Bates & Watts 1988, section 6.1). A parameter is held at c; any other quantity is pulled there by
    a stiff penalty: whatever value it attains, the point found lies exactly on the profile. The signed root of the
    excess is nearly linear in c: secant steps. Valleys are many where a term vanishes, so that each step is made from
    several starts: the last place inside the interval, the optimum, with and without a floor, and the likeliest places
    of a grid over the exponents.
    """
    search = Search.of(law, problems, solution, quantities, level)
    search.run()
    shape = (len(quantities), len(solution.theta), 2)
    end = np.where(search.kind == OPEN, search.side * np.inf, search.end).reshape(shape)
    kind = search.kind.reshape(shape)
    return Interval(end[..., 0], end[..., 1], kind[..., 0], kind[..., 1])
