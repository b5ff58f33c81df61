"""Plant Eq. 4 on a grid many times, refit it as sweeps are refitted: how often do its intervals cover?"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.laws import joint
from ecgscale.analysis.fitting.result import Coefficient
from ecgscale.analysis.fitting.status import limits
from ecgscale.analysis.fitting.transfer import loss_to_loss
from ecgscale.analysis.planning.coverage import PLANTED

TRANSFERRED = {"E_ood": 0.1, "K": 0.5}  # out of distribution, losses 0.12-0.4 on the paper's grid
KAPPAS = (0.4, 0.6, 1.0, 1.5)


def simulate_transfer(
    grid: pd.DataFrame,
    kappa: float,
    noise: float = 0.01,
    *,
    planted: Mapping[str, float] | None = None,
    n_sweeps: int = 400,
    n_seeds: int = 1,
    cell_effect: float = 0.0,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Coverage of the default intervals of E_ood, K and kappa over simulated sweeps of a grid (columns N and D).

    ``noise``: standard deviation of ln(loss), independent in and out of distribution; ``cell_effect`` that of what the
    ``n_seeds`` runs of a cell share. One row a coefficient: truth, bias and spread of the estimates, coverage with its
    standard error, median width, the share of one-sided intervals.
    """
    cells = grid[["N", "D"]].drop_duplicates(ignore_index=True)
    inside = np.asarray(joint(cells["N"], cells["D"], **(planted or PLANTED)), float)
    outside = TRANSFERRED["E_ood"] + TRANSFERRED["K"] * (inside - (planted or PLANTED)["E"]) ** kappa
    truth = TRANSFERRED | {"kappa": kappa}
    rng, found = np.random.default_rng(seed), []
    for _ in range(n_sweeps):
        shared = cell_effect * rng.standard_normal((2, 1, len(cells)))
        blur = np.exp(shared + noise * rng.standard_normal((2, n_seeds, len(cells))))
        both = pd.concat([cells.assign(loss_id=inside * a, loss_ood=outside * b) for a, b in zip(*blur, strict=True)])
        found.append(loss_to_loss(both, level=level).coefficients)
    return pd.DataFrame([_row(name, true, [f[name] for f in found], noise, len(cells)) for name, true in truth.items()])


def _row(name: str, true: float, found: Sequence[Coefficient], noise: float, n_cells: int) -> dict[str, float | str]:
    ends = np.array([limits(c.low, c.high, c.low_end, c.high_end) for c in found])
    values, covered = np.array([c.value for c in found]), (ends[:, 0] <= true) & (true <= ends[:, 1])
    share = float(covered.mean())
    return {
        "quantity": name,
        "truth": true,
        "bias": float(values.mean() - true),
        "spread": float(values.std()),
        "coverage": share,
        "coverage_error": math.sqrt(max(share * (1 - share), 1 / len(found)) / len(found)),
        "width": float(np.median(ends[:, 1] - ends[:, 0])),
        "one_sided": float(np.isinf(ends).any(1).mean()),
        "n_points": n_cells,
        "n_sweeps": len(found),
        "noise": noise,
    }
