"""Coverage of the marginal laws: loss over sizes at full data, with and without a floor."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from ecgscale.analysis.planning.coverage import simulate
from tests.benchmarks.coverage import Cell
from tests.designs import NOISE

PLANTED = {
    "with a floor": ("size", {"E": 0.08, "A": 3.0, "alpha": 0.35}),
    "slow exponent": ("size", {"E": 0.05, "A": 0.5, "alpha": 0.12}),
    "no floor": ("size", {"E": 0.0, "A": 1.0, "alpha": 0.2}),
    "pure": ("pure_size", {"A": 1.0, "alpha": 0.2}),
}
SIZES = (6, 10, 17)


def cells() -> Iterator[Cell]:
    """Six, ten and seventeen sizes."""
    for planted in PLANTED:
        for count in SIZES:
            for noise in NOISE:
                sizes = pd.DataFrame({"N": np.geomspace(25e3, 100e6, count), "D": 2.09e6})
                measure = partial(_measure, sizes, planted, noise)
                yield Cell("marginal", f"{count} sizes", count, planted, f"{noise:.1%}", measure)


def _measure(sizes: pd.DataFrame, planted: str, noise: float, n_sweeps: int, seed: int) -> pd.DataFrame:
    law, truth = PLANTED[planted]
    table = simulate(sizes, truth, noise, law=law, n_sweeps=n_sweeps, seed=seed)
    return table.assign(at_bound=(table["quantity"] == "E") & (truth.get("E", 1.0) == 0))
