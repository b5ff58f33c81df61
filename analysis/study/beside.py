"""Our fitted numbers with the printed ones beside them: value, difference, whether theirs lies in our interval."""

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.status import limits
from ecgscale.analysis.study.constants import task_key
from ecgscale.analysis.study.published import printed_transfer, refitted

SOURCE = {"size": "Table S.5", "data": "Table S.6"}


def with_paper(table: pd.DataFrame) -> pd.DataFrame:
    """Add to an exponents table what the paper has beside ours; NaN and "" where it has nothing.

    Columns: ``paper``, ``difference`` (ours - theirs), ``within`` (theirs lies in our interval: "yes" or "no"),
    ``source``. K and kappa are printed (Table S.7). alpha and beta are not: those here are refits of the losses of
    Tables S.5 and S.6, and say so; those that are at a bound or not identified are left out.
    """
    published: dict[tuple[str, str, str, str], tuple[float, str]] = {}
    for row in printed_transfer().to_dict("records"):
        for name in ("K", "kappa"):
            at_bound = name == "kappa" and round(row[name], 3) == 0.05
            key = ("transfer_joint", name, row["configuration"], task_key(row["target"]))
            published[key] = (row[name], "Table S.7" + (", at its bound" if at_bound else ""))
    refits = refitted()
    for row in refits[(refits["status"] == "ok") & refits["coefficient"].isin(["alpha", "beta"])].to_dict("records"):
        answer = (row["value"], f"derived: {SOURCE[row['law']]}")
        for law in (row["law"], "joint"):
            published[law, row["coefficient"], row["configuration"], task_key(row["target"])] = answer
    keys = zip(table["law"], table["coefficient"], table["configuration"], map(task_key, table["target"]), strict=True)
    found = [published.get(key, (np.nan, "")) for key in keys]
    paper = np.array([value for value, _ in found], float)
    ends = [table[c] if c in table else [""] * len(table) for c in ("low_end", "high_end")]
    both = [limits(*row) for row in zip(table["low"], table["high"], *ends, strict=True)]
    least, most = np.array(both, float).reshape(-1, 2).T
    inside = (paper >= least) & (paper <= most)
    known = np.isfinite(paper) & (np.isfinite(least) | np.isfinite(most))
    return table.assign(
        paper=paper,
        difference=table["value"] - paper,
        within=np.where(known, np.where(inside, "yes", "no"), ""),
        source=[source for _, source in found],
    )
