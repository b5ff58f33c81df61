"""The paper's benchmark (Table S.9) and ours side by side: the same models by name, and the difference."""

import pandas as pd

from ecgscale.analysis.study.finetuned import BACKBONE
from ecgscale.analysis.study.published import benchmark as printed

TASKS_OF = {  # columns of Table S.9, and the tasks that each is the mean of
    "ptbxl": tuple(f"ptbxl-{s}" for s in ("diagnostic", "subdiagnostic", "superdiagnostic", "form", "rhythm")),
    "echonext": ("echonext",),
    "mimic-sex": ("mimic-sex",),
    "mimic-icu": ("mimic-icu",),
    "mimic-mortality": ("mimic-mortality",),
    "cpsc2018": ("cpsc2018",),
}
PRINTED, HERE = "printed", "here"


def here(wide: pd.DataFrame) -> pd.DataFrame:
    """The printed models that were trained here, one row each: of several backbones of one name the best by mean.

    ``wide`` is of ``finetuned.benchmark``. Columns: model, N, those of ``TASKS_OF``, further tasks, ``whole`` (whether
    all printed columns were measured), ``auroc`` (the mean over them, else over all tasks there are) and ``n_tasks``.
    """
    known = wide[wide["model"] != ""]
    further = _further(wide)
    found = pd.DataFrame({name: _mean(known, tasks) for name, tasks in TASKS_OF.items()}, index=known.index)
    found = known[["model", "N", *further]].join(found.astype(float))
    shared = list(TASKS_OF)
    whole = found[shared].notna().all(axis=1)
    single = known[[c for c in wide if c not in {*BACKBONE, "mean"}]].astype(float)
    auroc = found[shared].mean(axis=1).where(whole, single.mean(axis=1))
    found = found.assign(whole=whole, auroc=auroc, n_tasks=single.notna().sum(axis=1))
    return found.sort_values("auroc", ascending=False).drop_duplicates("model").reset_index(drop=True)


def compared(wide: pd.DataFrame) -> pd.DataFrame:
    """Two rows a printed model that was trained here: as printed, and as it came out; models in printed order.

    Columns: model, by (``PRINTED`` or ``HERE``), n_params (without a head here), those of ``TASKS_OF``, mean (over all
    of them), difference (ours less theirs, the mean over what both have), n_shared, and further tasks of ours.
    """
    further, shared = _further(wide), list(TASKS_OF)
    ours, theirs = here(wide).set_index("model"), printed().set_index("model")
    rows: list[dict[str, object]] = []
    for name in [n for n in (*theirs.index, *sorted(set(ours.index) - set(theirs.index))) if n in ours.index]:
        own = ours.loc[name]
        facts = {"model": name, "by": HERE, "n_params": own["N"], **own[[*shared, *further]].to_dict()}
        facts |= {"mean": own["auroc"] if own["whole"] else float("nan"), "n_shared": 0}
        if name in theirs.index:
            row = theirs.loc[name]
            rows.append({"model": name, "by": PRINTED, "n_params": row["n_params"], **row[[*shared, "mean"]].to_dict()})
            difference = (own[shared] - row[shared]).astype(float).dropna()
            facts |= {"difference": difference.mean(), "n_shared": len(difference)}
        rows.append(facts)
    return pd.DataFrame(rows, columns=["model", "by", "n_params", *shared, "mean", "difference", "n_shared", *further])


def _further(wide: pd.DataFrame) -> list[str]:
    """Tasks that no printed column is of."""
    columns = {task for tasks in TASKS_OF.values() for task in tasks}
    return [str(c) for c in wide if c not in {*BACKBONE, "mean"} | columns]


def _mean(wide: pd.DataFrame, tasks: tuple[str, ...]) -> pd.Series:
    """The mean over tasks, where all were measured."""
    return wide.reindex(columns=list(tasks)).mean(axis=1, skipna=False)
