"""Coverage of the joint law whose runs weigh by the noise that seeds of a cell show (``--weights replicates``)."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.laws import joint
from ecgscale.analysis.fitting.status import limits
from ecgscale.analysis.planning.coverage import PLANTED
from tests.benchmarks.coverage import Cell
from tests.designs import designs

QUIETER = -0.3  # exponent of the noise in N: large models differ less from seed to seed
ASKED = ("alpha", "beta", "E")


def cells() -> Iterator[Cell]:
    """Two and three seeds a cell, at a noise that is 4 % for the smallest models."""
    for design, n_seeds in (("distinct", 2), ("distinct", 3), ("seven", 2)):
        grid = pd.concat([designs()[design]] * n_seeds, ignore_index=True)
        measure = partial(_measure, grid, 0.04)
        yield Cell(
            "weights", f"{design}, {n_seeds} seeds", len(grid), "floor a third of the loss", "4.0% N^-0.3", measure
        )


def _measure(grid: pd.DataFrame, noise: float, n_sweeps: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    loss = np.asarray(joint(grid["N"], grid["D"], **PLANTED), float)
    spread = noise * (grid["N"] / grid["N"].min()).to_numpy(float) ** QUIETER
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in ASKED}
    for _ in range(n_sweeps):
        runs = grid.assign(loss=loss * np.exp(spread * rng.standard_normal(len(grid))))
        found = fit("joint", runs, weights="replicates").coefficients
        for name in ASKED:
            c = found[name]
            ends[name].append(limits(c.low, c.high, c.low_end, c.high_end))
    rows = []
    for name, pairs in ends.items():
        low, high = np.array(pairs).T
        rows.append(
            {
                "quantity": name,
                "truth": PLANTED[name],
                "coverage": float(((low <= PLANTED[name]) & (PLANTED[name] <= high)).mean()),
                "one_sided": float((np.isinf(low) | np.isinf(high)).mean()),
                "n_sweeps": n_sweeps,
                "at_bound": False,
            }
        )
    return pd.DataFrame(rows)
