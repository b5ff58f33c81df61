"""Fine-tuned backbones side by side: macro AUROC and F1 on every task, in the shape of Tables S.9 and S.10."""

import pandas as pd

from ecgscale.analysis.fitting.effective_data import task_name
from ecgscale.analysis.observations import own

COLUMNS = ("sweep", "configuration", "N", "initial", "task", "D", "step", "loss", "auroc", "f1")
AVERAGED = "ptbxl"  # its five tasks count once in the mean


def finetuned(points: pd.DataFrame) -> pd.DataFrame:
    """One row a run and task, columns ``COLUMNS``: test scores at the step best on validation (see ``observations``).

    Only runs whose heads were scored; those from random weights have an empty ``initial``.
    """
    scored = own(points)
    scored = scored[scored["auroc"].notna()]
    names = [task_name(c, s) for c, s in zip(scored["corpus"], scored["label_set"].fillna(""), strict=True)]
    table = scored.assign(task=names, initial=scored["initial"].fillna(""))
    return table[list(COLUMNS)].sort_values(["sweep", "configuration", "N", "task", "D"], ignore_index=True)


def benchmark(table: pd.DataFrame, measure: str = "auroc") -> pd.DataFrame:
    """One row a backbone, one column a task at its largest D, and ``mean``, in which all of PTB-XL counts once.

    ``table`` is of ``finetuned``, ``measure`` auroc, f1 or loss. Seeds are averaged. The mean is missing where a task
    is that another backbone has.
    """
    most = table[table["D"] == table.groupby(["sweep", "task"])["D"].transform("max")]
    wide = most.pivot_table(index=["sweep", "configuration", "N", "initial"], columns="task", values=measure)
    groups = {AVERAGED if str(task).startswith(f"{AVERAGED}-") else str(task) for task in wide}
    means = [wide[[t for t in wide if t == g or str(t).startswith(f"{g}-")]].mean(axis=1, skipna=False) for g in groups]
    wide["mean"] = sum(means) / len(means) if means else float("nan")
    return wide.reset_index().rename_axis(columns=None)
