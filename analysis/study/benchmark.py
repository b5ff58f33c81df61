"""The paper's fine-tuning benchmark (Table S.9), and how our own largest models do on their probe tasks beside it."""

import pandas as pd

from analysis.table.query import REFERENCE

PARADIGMS = {"scratch": "from scratch", "SL": "supervised", "SSL": "self-supervised"}


def published() -> pd.DataFrame:
    """Table S.9: model, family (CNN, Transformer), paradigm (scratch, SL, SSL), n_params, n_pretraining, mean AUROC."""
    return pd.read_csv(REFERENCE / "table_s9.csv")


def ours(points: pd.DataFrame) -> pd.DataFrame:
    """Mean macro AUROC of every run at full data over the probe tasks that all of them were measured on.

    ``points``: observations. Columns configuration, N, D, auroc (mean over seeds), n_tasks. Tasks without an AUROC for
    one of the runs do not enter, so that the means compare.
    """
    columns = ["configuration", "N", "D", "auroc", "n_tasks"]
    outside = points[(points["domain"] == "OOD") & points["auroc"].notna()] if len(points) else points
    if outside.empty:
        return pd.DataFrame(columns=columns)
    full = outside[outside["D"] == outside.groupby("configuration")["D"].transform("max")]
    wide = full.pivot_table(index=["configuration", "N", "D"], columns="target", values="auroc", aggfunc="mean")
    wide = wide.dropna(axis=1)
    if not wide.shape[1]:
        return pd.DataFrame(columns=columns)
    return wide.mean(axis=1).rename("auroc").reset_index().assign(n_tasks=wide.shape[1])[columns]
