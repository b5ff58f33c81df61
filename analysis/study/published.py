"""The paper's own tables as evidence: losses (S.5, S.6), transfer (S.7), benchmarks (S.9), and marginal laws refitted.

The tables print losses by bin. What the text lost is restored by inference: a size bin stands at the geometric mean of
the sizes of its backbones, the data bins at the fractions that describe the printed curves best. Five or six bins carry
three coefficients badly: these refits are indicative, and flagged where they are not even that. They are shipped as
``reference/refit.csv``, written by ``python -m analysis.study.published``.
"""

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.transfer import bound_hits
from ecgscale.analysis.study.constants import FRACTIONS, N_FULL, REFERENCE, task_named
from ecgscale.analysis.table.build import rows_of
from ecgscale.analysis.table.query import COLUMNS
from ecgscale.records import write_whole

# Backbone parameters by size bin (under 100K, 1M, 10M, 50M, and above) of Table S.4.
SIZES = {
    "resnet": ((25.8e3, 94.2e3), (224e3, 436e3, 878e3), (3.47e6, 6.95e6), (16.8e6, 33.7e6), (101.7e6,)),
    "transformer": ((25.1e3, 71.7e3), (180e3, 602e3), (1.59e6, 2.52e6, 5.52e6), (11.6e6, 19.2e6), (50.8e6,)),
}
COPIED = "echonext"  # in Table S.6 its two supervised columns are one and the same, a copying error
REFIT = REFERENCE / "refit.csv"
REFIT_COLUMNS = "law at configuration target coefficient value low high at_bound status note n_points r2".split()


def losses_by_size() -> pd.DataFrame:
    """Table S.5 as printed: target (task names of this repository), param_bin, configuration, loss."""
    return _named(pd.read_csv(REFERENCE / "table_s5.csv"))


def losses_by_data() -> pd.DataFrame:
    """Table S.6 as printed, with what was copied: target, data_bin, configuration, loss."""
    return _named(pd.read_csv(REFERENCE / "table_s6.csv"))


def printed_transfer() -> pd.DataFrame:
    """Table S.7: target (as results name it), configuration, K, kappa, R2."""
    return _named(pd.read_csv(REFERENCE / "table_s7.csv"))


def benchmark() -> pd.DataFrame:
    """Table S.9: model, family (CNN, Transformer), paradigm (scratch, SL, SSL), n_params, n_pretraining, AUROCs."""
    return pd.read_csv(REFERENCE / "table_s9.csv")


def by_size() -> pd.DataFrame:
    """Table S.5: loss by size bin at full data; columns target, configuration, N, D, loss."""
    table = losses_by_size()
    family = table["configuration"].str.split("-").str[0]
    sizes = [SIZES[f][b] for f, b in zip(family, table["param_bin"], strict=True)]
    return table.assign(N=[float(np.exp(np.log(s).mean())) for s in sizes], D=N_FULL)


def by_data() -> pd.DataFrame:
    """Table S.6: loss by data bin at a size of the fourth bin, without what was copied; columns as above, without N."""
    table = losses_by_data()
    copied = (table["target"] == COPIED) & table["configuration"].str.endswith("-sl")
    return table[~copied].assign(D=lambda t: [N_FULL * FRACTIONS[b] for b in t["data_bin"]]).reset_index(drop=True)


def refit() -> pd.DataFrame:
    """Marginal laws (Eq. 2) on both tables, in the columns of the exponents table."""
    rows = []
    for law, source, points in (("size", "Table S.5", by_size()), ("data", "Table S.6", by_data())):
        for (configuration, target), part in points.groupby(["configuration", "target"]):
            facts = {"law": law, "at": source, "configuration": configuration, "target": target, "domain": "OOD"}
            rows += rows_of(facts, fit(law, part))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def refitted() -> pd.DataFrame:
    """What ``refit`` found, as it ships: columns ``REFIT_COLUMNS``."""
    return pd.read_csv(REFIT, keep_default_na=False, na_values=[""])


def exponents() -> pd.DataFrame:
    """Printed transfer coefficients (Table S.7, bound hits flagged) and the refits, as an exponents table."""
    transfer = printed_transfer()
    hit = bound_hits(transfer["kappa"].to_numpy(float))
    rows = []
    for row, bound in zip(transfer.to_dict("records"), hit, strict=True):
        facts = {
            "law": "transfer_joint",
            "at": "Table S.7",
            "configuration": row["configuration"],
            "target": row["target"],
        }
        for name in ("K", "kappa"):
            at = "low" if bound and name == "kappa" else ""
            flags = {"at_bound": at, "status": "bound" if at else "ok", "note": "printed without an interval"}
            rows.append(facts | {"coefficient": name, "value": row[name], "r2": row["R2"]} | flags)
    table = pd.concat([pd.DataFrame(rows), refitted()])
    table = table.assign(domain="OOD", at_bound=table["at_bound"].fillna(""), note=table["note"].fillna(""))
    return table.reindex(columns=list(COLUMNS)).reset_index(drop=True)


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(target=[task_named(printed) for printed in table["target"]])


if __name__ == "__main__":
    found = refit()
    found = found[found["coefficient"].isin(["E", "alpha", "beta"])]
    text = found[REFIT_COLUMNS].to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_whole(REFIT, text.encode())
