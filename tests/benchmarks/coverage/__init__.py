"""How often the printed 95 % intervals cover what was planted: a module a quantity, each with its ``cells()``.

A cell is a design, a planted law and a noise; ``measure`` simulates so many sweeps of it and gives one row a number
that is printed: quantity, truth, coverage, one_sided (share of intervals of which one end is not set by the data).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

QUANTITIES = ("joint", "marginal", "frontier", "transfer", "weights")
LEAST, MOST = 0.92, 0.98
ONE_SIDED = 0.5  # share of intervals with one end at a bound, from which on they may cover up to always


@dataclass(frozen=True)
class Cell:
    """One row of the table; ``measure(n_sweeps, seed)`` simulates it."""

    quantity: str
    design: str
    n_points: int
    planted: str
    noise: str
    measure: Callable[[int, int], pd.DataFrame]

    @property
    def seed(self) -> int:
        """The same whichever cells are asked for."""
        return zlib.crc32(repr((self.quantity, self.design, self.planted, self.noise)).encode())


def verdict(coverage: float, one_sided: float, at_bound: bool) -> str:
    """ "" within 0.92-0.98, or 0.92-1 where the truth, or one end of most intervals, lies at a bound of the law."""
    most = 1.0 if at_bound or one_sided >= ONE_SIDED else MOST
    return "" if LEAST <= coverage <= most else "low" if coverage < LEAST else "high"
