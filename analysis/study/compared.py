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


def compared(wide: pd.DataFrame) -> pd.DataFrame:
    """Two rows a printed model that was trained here: as printed, and as it came out; models in printed order.

    ``wide`` is of ``finetuned.benchmark``. Columns: model, by (``PRINTED`` or ``HERE``), n_params (without a head
    here), those of ``TASKS_OF``, mean (over all of them), difference (ours less theirs, the mean over what both have),
    n_shared, and further tasks of ours. Where several backbones are one model, the best mean of what is there is shown.
    """
    further = [c for c in wide if c not in {*BACKBONE, "mean"} and c not in {t for ts in TASKS_OF.values() for t in ts}]
    shared, rows = list(TASKS_OF), []
    known = wide[wide["model"] != ""]
    ours = pd.DataFrame({name: _mean(known, tasks) for name, tasks in TASKS_OF.items()}, index=known.index)
    ours = known[["model", "N", *further]].join(ours)
    ours["best"] = ours[[*shared, *further]].mean(axis=1)
    ours = ours.sort_values("best", ascending=False).drop_duplicates("model").set_index("model")
    theirs = printed().set_index("model")
    for name in [*theirs.index, *sorted(set(ours.index) - set(theirs.index))]:
        if name not in ours.index:
            continue
        own = ours.loc[name]
        facts = {"model": name, "by": HERE, "n_params": own["N"], **own[[*shared, *further]].to_dict()}
        facts |= {"mean": own[shared].mean(skipna=False), "n_shared": 0}
        if name in theirs.index:
            row = theirs.loc[name]
            rows.append({"model": name, "by": PRINTED, "n_params": row["n_params"], **row[[*shared, "mean"]].to_dict()})
            difference = (own[shared] - row[shared]).astype(float).dropna()
            facts |= {"difference": difference.mean(), "n_shared": len(difference)}
        rows.append(facts)
    columns = ["model", "by", "n_params", *shared, "mean", "difference", "n_shared", *further]
    return pd.DataFrame(rows).reindex(columns=columns)


def _mean(wide: pd.DataFrame, tasks: tuple[str, ...]) -> pd.Series:
    """The mean over tasks, where all were measured."""
    return wide.reindex(columns=list(tasks)).mean(axis=1, skipna=False)
