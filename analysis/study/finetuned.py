"""Fine-tuned backbones side by side: macro AUROC and F1 on every task, in the shape of Tables S.9 and S.10."""

from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from ecgscale.analysis.fitting.effective_data import task_name
from ecgscale.analysis.observations import own

COLUMNS = ("sweep", "configuration", "N", "initial", "model", "task", "D", "step", "loss", "auroc", "f1")
BACKBONE = ["sweep", "configuration", "N", "initial", "model"]  # what tells backbones apart
AVERAGED = "ptbxl"  # its five tasks count once in the mean
PUBLISHED = "published"  # in the place of the initial run, where a backbone has published weights
TUNED = "-tuned"  # ends the configuration of what started from trained weights


def finetuned(points: pd.DataFrame, models: Mapping[str, str] = MappingProxyType({})) -> pd.DataFrame:
    """One row a run and task, columns ``COLUMNS``: test scores at the step best on validation (see ``observations``).

    Only runs whose heads were scored; those from random weights have an empty ``initial``, those from published weights
    ``PUBLISHED``. ``models``: printed names by run id (see ``recognised``).
    """
    scored = own(points)
    scored = scored[scored["auroc"].notna()]
    names = [task_name(c, s) for c, s in zip(scored["corpus"], scored["label_set"].fillna(""), strict=True)]
    initial = scored["initial"].fillna("")
    initial = initial.mask((initial == "") & scored["configuration"].str.endswith(TUNED), PUBLISHED)
    run_ids = scored["run_id"] if "run_id" in scored else pd.Series("", index=scored.index)
    table = scored.assign(task=names, initial=initial, model=run_ids.map(lambda run_id: models.get(run_id, "")))
    return table[list(COLUMNS)].sort_values(["sweep", "configuration", "N", "task", "D"], ignore_index=True)


def benchmark(table: pd.DataFrame, measure: str = "auroc") -> pd.DataFrame:
    """One row a backbone, one column a task at its largest D, and ``mean``, in which all of PTB-XL counts once.

    ``table`` is of ``finetuned``, ``measure`` auroc, f1 or loss. Seeds are averaged. The mean is missing where a task
    is that another backbone has.
    """
    most = table[table["D"] == table.groupby(["sweep", "task"])["D"].transform("max")]
    wide = most.pivot_table(index=BACKBONE, columns="task", values=measure)
    groups = {AVERAGED if str(task).startswith(f"{AVERAGED}-") else str(task) for task in wide}
    means = [wide[[t for t in wide if t == g or str(t).startswith(f"{g}-")]].mean(axis=1, skipna=False) for g in groups]
    wide["mean"] = sum(means) / len(means) if means else float("nan")
    return wide.reset_index().rename_axis(columns=None)
