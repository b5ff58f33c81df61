"""Tables S.8 to S.10 of own results: how backbones were fine-tuned, and how they fare beside twins from scratch."""

import json

import pandas as pd

from ecgscale.analysis.study.compared import HERE, PRINTED, TASKS_OF, compared
from ecgscale.analysis.study.finetuned import AVERAGED, BACKBONE, TUNED, benchmark, finetuned
from ecgscale.analysis.study.recognised import models_of
from ecgscale.analysis.study.tables import printed
from ecgscale.analysis.study.tables.material import Material
from ecgscale.analysis.study.tables.sheet import Sheet, number
from ecgscale.phrases import si

NOTHING = "no fine-tuned model is in these results"
START = {True: "pretrained", False: "scratch"}


def fine_tuning(material: Material) -> Sheet:
    """S.8: settings of fine-tuning, as the runs hold them; all weights move."""
    scored = _scored(material)
    if scored.empty:
        return printed.instead(printed.fine_tuning(), NOTHING)
    every = material.evidence.every
    kept = every[every["configuration"].isin(scored["configuration"])].drop_duplicates("run_id")
    runs = material.runs.merge(kept[["run_id", "configuration", "N", "initial", "batch_size"]], on="run_id")
    runs["start"] = (runs["initial"].fillna("") != "") | runs["configuration"].str.endswith(TUNED)
    models, found = models_of(material.runs), []
    for text, row in zip(runs["run"], runs.to_dict("records"), strict=True):
        schedule = json.loads(text).get("schedule", {})
        settings = {
            "learning_rate": schedule.get("lr"),
            "steps": schedule.get("steps"),
            "batch_size": row["batch_size"],
        }
        model = models.get(row["run_id"], row["configuration"])
        found.append({"model": model, "N": row["N"], "start": START[row["start"]], **settings})
    t = pd.DataFrame(found)
    keys = ["model", "N", "start", "learning_rate", "steps", "batch_size"]
    t = t.groupby(keys, dropna=False).size().reset_index(name="n_runs").sort_values(keys, ignore_index=True)
    rows = [
        (r["model"], si(r["N"]), r["start"], _given(r["learning_rate"]), _given(r["steps"]), str(r["batch_size"]))
        for r in t.to_dict("records")
    ]
    header = ("Model", "N", "Weights", "Learning rate", "Steps at most", "Batch")
    note = 'All weights are tuned; "default": as every run without a setting of its own.'
    return Sheet("s8", "Fine-tuning", t, header, tuple(rows), material.source, note)


def tasks(material: Material) -> Sheet:
    """S.9: macro AUROC of fine-tuned models and of their twins from random weights, task by task, and the mean.

    Of models that the paper has too, both stand one below the other, with the difference.
    """
    scored = _scored(material)
    if scored.empty:
        return printed.instead(printed.benchmark(), NOTHING)
    t = benchmark(scored)
    if (t["model"] != "").any():
        return _beside_print(t, material.evidence.every)
    scores = [str(c) for c in t if c not in BACKBONE]
    note = "Macro AUROC on the test split at the step best on validation, all data of the task; highest in bold."
    if sum(s.startswith(AVERAGED) for s in scores) > 1:
        note += " The mean counts PTB-XL once."
    return _compared("s9", "Fine-tuned models", t, scores, material.source, note, 3)


def ptbxl(material: Material) -> Sheet:
    """S.10: macro AUROC and F1 on the label sets of PTB-XL."""
    scored = _scored(material)
    scored = scored[scored["task"].str.startswith(f"{AVERAGED}-")]
    if scored.empty:
        return printed.instead(printed.ptbxl(), "no model is fine-tuned on PTB-XL in these results")
    auroc, f1 = (benchmark(scored, m).drop(columns="mean").set_index(BACKBONE) for m in ("auroc", "f1"))
    t = auroc.add_suffix(" AUROC").join(f1.add_suffix(" F1"))
    t = t[[f"{task} {m}" for task in auroc for m in ("AUROC", "F1") if f"{task} {m}" in t]]
    t["mean AUROC"] = auroc.mean(axis=1, skipna=False)
    note = "Macro, on the test split at the step best on validation; highest in bold."
    return _compared(
        "s10", "Fine-tuned models on PTB-XL", t.reset_index(), [str(c) for c in t], material.source, note, 4
    )


def _beside_print(table: pd.DataFrame, every: pd.DataFrame) -> Sheet:
    """Two lines a model that the paper has too: as printed, and as it came out here."""
    t = compared(table)
    scores = [str(c) for c in t if c not in ("model", "by", "n_params", "difference", "n_shared")]
    rows = [
        (
            r["model"] if first else "",
            r["by"],
            si(r["n_params"]),
            *(number(r[s]) for s in scores),
            "" if r["by"] == PRINTED else number(r["difference"]),
        )
        for r, first in zip(t.to_dict("records"), ~t["model"].duplicated(), strict=True)
    ]
    note = (
        "Macro AUROC on the test split, here at the step best on validation; PTB-XL is the mean of its five label sets "
        "and counts once. The difference, ours less theirs, is the mean over the columns that both have. N is printed "
        "with a head of 44 labels, and counted without here."
    )
    ours = t[t["by"] == HERE]
    lacking = [name for name in printed.read("s9")["model"] if name not in set(ours["model"])]
    missing = [f"not trained here: {', '.join(lacking)}"] if lacking else []
    partial = int((ours["n_shared"] < len(TASKS_OF)).sum())
    missing += [f"{partial} of {len(ours)} models were not measured on all columns"] if partial else []
    others = sorted(set(table.loc[table["model"] == "", "configuration"]))
    missing += [f"not in print, and not shown: {', '.join(others)}"] if others else []
    names = [_COLUMNS.get(s, s) for s in scores]
    header = ("Model", "", "N", *names, "Difference")
    source = f"{printed.SOURCE}; {every['run_id'].nunique()} runs of sweep {every['sweep'].iloc[0]}"
    return Sheet("s9", "Fine-tuned models", t, header, tuple(rows), source, note, tuple(missing))


_COLUMNS = dict(
    zip([*TASKS_OF, "mean"], ("PTB-XL", "EchoNext", "Sex", "ICU", "Mortality", "CPSC2018", "Mean"), strict=True)
)


def _scored(material: Material) -> pd.DataFrame:
    """Runs on tasks: those that started from trained weights and their twins, and models that the paper has too."""
    every = material.evidence.every
    if len(every):
        table = finetuned(every, models_of(material.runs))
        tuned = table.loc[table["initial"] != "", "task"]
        found = table[table["task"].isin(tuned) | (table["model"] != "")]
        if len(found):
            return found
    return pd.DataFrame(columns=["configuration", "task"], dtype=str)


def _compared(
    name: str, title: str, table: pd.DataFrame, scores: list[str], source: str, note: str, digits: int
) -> Sheet:
    """One row a backbone, the highest of each score in bold."""
    best = table[scores].max()
    rows = [
        (
            r["model"] or r["configuration"],
            si(r["N"]),
            START[r["initial"] != ""],
            *(f"**{number(r[s], digits)}**" if r[s] == best[s] else number(r[s], digits) for s in scores),
        )
        for r in table.to_dict("records")
    ]
    return Sheet(name, title, table, ("Model", "N", "Weights", *scores), tuple(rows), source, note)


def _given(value: float | None) -> str:
    return "default" if value is None or pd.isna(value) else f"{value:g}"
