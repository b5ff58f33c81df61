"""Laws and objectives side by side on the same points: hold-out error, AIC and BIC, the scale of Huber's function."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.fitting.fit import fit
from analysis.fitting.identifiability import law_named
from analysis.fitting.laws import Law


def holdout_error(law: str | Law, data: pd.DataFrame, held: Any, **options: Any) -> float:
    """Mean relative error (signed) at the rows ``held`` (boolean, one a row) of a law fitted to all others."""
    held = np.asarray(held, bool)
    found = fit(law, data[~held], intervals=False, **options)
    test = data[held]
    known = law_named(law)
    predicted = found(**{v: test[v].to_numpy(float) for v in known.variables})
    return float(np.mean(predicted / test[known.response].to_numpy(float) - 1))


def delta_sweep(law: str, data: pd.DataFrame, deltas: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)) -> pd.DataFrame:
    """How the coefficients depend on the scale of Huber's function, one row a delta, least squares of logs last."""
    rows = [fit(law, data, objective="huber", delta=d, bootstrap=0, intervals=False) for d in deltas]
    rows.append(fit(law, data, intervals=False))
    return pd.DataFrame([{"delta": f.delta, **f.values(), "rmse_log": f.health.rmse_log} for f in rows])


def compare(laws: Sequence[str], data: pd.DataFrame, **options: Any) -> pd.DataFrame:
    """Laws side by side on the same points: n_params, objective, R2, AIC, BIC and hold-out error, best AIC first."""
    rows = []
    for name in laws:
        found = fit(name, data, **options)
        h = found.health
        rows.append(
            {
                "law": name,
                "n_points": h.n_points,
                "n_params": h.n_params,
                "objective": h.objective_value,
                "rmse_log": h.rmse_log,
                "r2": h.r2,
                "aic": h.aic,
                "bic": h.bic,
                "holdout": h.holdout,
                "status": found.status,
                "note": found.note,
            }
        )
    return pd.DataFrame(rows).sort_values(["aic", "rmse_log"], ignore_index=True)
