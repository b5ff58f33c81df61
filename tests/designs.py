"""Grids of sizes and amounts of data in the ECG range, laws planted on them, and how well intervals cover there."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ecgscale.analysis.planning.coverage import PLANTED, simulate
from ecgscale.analysis.study.constants import FRACTIONS, N_FULL


def designs() -> dict[str, pd.DataFrame]:
    """Grids in the ECG range: 20K-200M parameters, fractions of 2.09M recordings."""

    def table(cells: Sequence[tuple[float, float]]) -> pd.DataFrame:
        return pd.DataFrame(cells, columns=["N", "f"]).assign(D=lambda t: t["f"] * N_FULL).drop(columns="f")

    def sizes(count: int) -> list[float]:
        return [float(n) for n in np.geomspace(25e3, 100e6, count)]

    ten = sizes(10)
    ragged = [(n, 1.0) for n in ten] + [(n, f) for n in (ten[3], ten[6]) for f in FRACTIONS]
    fractions = (*FRACTIONS, 0.2, 0.75)
    return {
        "ragged": table(ragged),  # ten sizes at full data, all fractions at two sizes, their full runs repeated
        "full": table([(n, f) for n in sizes(8) for f in FRACTIONS]),
        "distinct": table(list(dict.fromkeys(ragged))),
        "demo": table([(n, f * 2010 / N_FULL) for n in (1672.0, 5677.0, 43018.0) for f in (1, 2, 4)]),
        "seven": table([(n, f) for n in sizes(7) for f in FRACTIONS]),
        "large": table([(n, f) for n in sizes(17) for f in fractions]),
    }


TRUTHS: dict[str, dict[str, float]] = {
    "floor a third of the loss": PLANTED,
    "high floor": {"E": 0.1, "A": 8.0, "alpha": 0.4, "B": 5.0, "beta": 0.3},
    "small exponents": {"E": 0.02, "A": 0.6, "alpha": 0.15, "B": 4.0, "beta": 0.2},
    "slow exponents": {"E": 0.05, "A": 0.5, "alpha": 0.12, "B": 0.6, "beta": 0.15},
    "no floor": {"E": 0.0, "A": 1.0, "alpha": 0.2, "B": 2.0, "beta": 0.2},
}


NOISE = (0.005, 0.01, 0.04)


def coverage(
    n_sweeps: int = 400,
    bootstrap: int = 0,
    seed: int = 0,
    design: Sequence[str] | None = None,
    noise: Sequence[float] = NOISE[:2],
    outliers: float = 0.0,
) -> pd.DataFrame:
    """Measured coverage of the default 95 % intervals: designs (all, or those named) x planted laws x noise."""
    parts = []
    for name, grid in designs().items():
        if design is not None and name not in design:
            continue
        for planted, truth in TRUTHS.items():
            for level in noise:
                seed += 1
                part = simulate(
                    grid, truth, level, n_sweeps=n_sweeps, bootstrap=bootstrap, seed=seed, outliers=outliers
                )
                part.insert(0, "planted", planted)
                part.insert(0, "design", name)
                parts.append(part)
    return pd.concat(parts, ignore_index=True)
