"""The same tables of own results: what was probed, how it was split, which backbones, losses and transfer."""

import json

import numpy as np
import pandas as pd

from ecgscale.analysis.study.constants import SIZE_BINS
from ecgscale.analysis.study.tables import printed
from ecgscale.analysis.study.tables.material import Material
from ecgscale.analysis.study.tables.sheet import BOUND, Sheet, interval, number
from ecgscale.phrases import si


def tasks(material: Material) -> Sheet:
    """S.1: tasks, their test sets and the loss of always predicting the prevalence."""
    test = material.rows[(material.rows["split"] == "test") & (material.rows["domain"] == "OOD")]
    if test.empty:
        return printed.instead(printed.datasets(), "nothing was probed in these results")
    found = []
    for name, part in test.groupby("target", sort=True):
        baseline = part.loc[part["metric"] == "prevalence_loss", "value"]
        found.append(
            {
                "task": name,
                "corpus": _of(material, str(name), "corpus"),
                "label_set": _of(material, str(name), "label_set"),
                "n_test": part.loc[part["metric"] == "loss", "n_evaluated"].max(),
                "n_classes": part["n_classes_scored"].max(),
                "prevalence_loss": baseline.median() if len(baseline) else np.nan,
            }
        )
    t = pd.DataFrame(found)
    rows = [
        (
            r["task"],
            r["corpus"],
            r["label_set"],
            number(r["n_test"], 0),
            number(r["n_classes"], 0),
            number(r["prevalence_loss"]),
        )
        for r in t.to_dict("records")
    ]
    header = ("Task", "Corpus", "Label set", "Test recordings", "Classes scored", "Prevalence loss")
    return Sheet("s1", "Tasks out of distribution", t, header, tuple(rows), material.source)


def splits(material: Material) -> Sheet:
    """S.2: how each corpus was split and prepared, from its card."""
    found, unknown = [], []
    for name, card in sorted(material.cards.items()):
        tables = {t["name"]: t["data"] for t in card.get("recordSet", ())}
        if "splits" not in tables:
            unknown.append(name)
            continue
        counts = {row["splits/split"]: row["splits/recordings"] for row in tables["splits"]}
        facts = {k: counts.get(k, 0) for k in ("train", "val", "test")}
        found.append({"corpus": name, **facts, "preprocessing": card.get("rai:dataPreprocessingProtocol", "")})
    if not found:
        return printed.instead(printed.splits(), "no corpus of these results is prepared here")
    t = pd.DataFrame(found)
    rows = [
        (r["corpus"], *(str(r[k]) for k in ("train", "val", "test")), r["preprocessing"]) for r in t.to_dict("records")
    ]
    missing = tuple(f"{name} is not prepared here" for name in unknown)
    header = ("Corpus", "Train", "Validation", "Test", "Preprocessing")
    note = "Recordings."
    return Sheet("s2", "Splits and preprocessing", t, header, tuple(rows), "the corpora's cards", note, missing)


def domains(material: Material) -> Sheet:
    """S.3: the domains of the tasks that were probed."""
    measured = set(material.evidence.points.loc[material.evidence.points["domain"] == "OOD", "target"])
    t = material.tasks[material.tasks["name"].isin(measured)].sort_values(["domain", "name"], ignore_index=True)
    if t.empty:
        return printed.instead(printed.domains(), "nothing was probed in these results")
    rows = [(r["domain"], r["domain_name"], r["name"], r["corpus"], r["label_set"]) for r in t.to_dict("records")]
    header = ("", "Domain", "Task", "Corpus", "Label set")
    t = t.drop(columns="domain_name")
    return Sheet("s3", "Domains of the tasks", t, header, tuple(rows), material.source)


def configurations(material: Material) -> Sheet:
    """S.4: backbones that were trained, with parameters and multiply-accumulates as counted."""
    facts = material.rows.drop_duplicates("run_id")[["run_id", "configuration", "n_params", "macs_per_sample"]]
    runs = material.runs.merge(facts, on="run_id")
    if runs.empty:
        return printed.instead(printed.configurations(), "no run is in these results")
    shapes = []
    for text in runs["run"]:
        architecture = json.loads(text).get("architecture", {})
        parts = architecture.items() if isinstance(architecture, dict) else ()
        shapes.append(", ".join(f"{k} {v}" for k, v in parts if k != "kind"))
    backbones = runs.assign(shape=shapes).groupby(["configuration", "n_params", "shape"])
    t = backbones.agg(macs_per_sample=("macs_per_sample", "min"), n_runs=("run_id", "nunique")).reset_index()
    rows = [
        (r["configuration"], r["shape"], si(r["n_params"]), si(r["macs_per_sample"]), str(r["n_runs"]))
        for r in t.to_dict("records")
    ]
    header = ("Configuration", "Backbone", "N", "MACs", "Runs")
    return Sheet("s4", "Backbones", t, header, tuple(rows), material.source, "N: parameters without heads.")


def losses_by_size(material: Material) -> Sheet:
    """S.5: lowest test loss of each size bin at full data."""
    cells = material.evidence.sizes
    if cells.empty:
        return printed.instead(printed.losses_by_size(), "no run at full data is in these results")
    note = "Lowest test loss (nats) of each size bin at full data; lowest configuration in bold."
    empty = [name for i, name in enumerate(SIZE_BINS) if i not in set(cells["bin"])]
    missing = (f"no model of {', '.join(empty)}",) if empty else ()
    sheet = printed.by_bins("s5", "Loss by size", cells, SIZE_BINS, material.source, note, 4)
    return Sheet("s5", sheet.title, cells, sheet.header, sheet.rows, sheet.source, note, missing)


def losses_by_data(material: Material) -> Sheet:
    """S.6: test loss over fractions of the pretraining data, at the largest size that saw most of them."""
    cells = material.evidence.amounts
    if cells.empty:
        return printed.instead(printed.losses_by_data(), "no size saw several amounts of data in these results")
    levels = sorted(cells["bin"].unique())
    note = "Test loss (nats) by fraction of the pretraining data; lowest configuration in bold."
    ranked = cells.assign(bin=cells["bin"].map({level: i for i, level in enumerate(levels)}))
    names = tuple(f"{level:.3g}" for level in levels)
    sheet = printed.by_bins("s6", "Loss by data", ranked, names, material.source, note, 4)
    return Sheet(
        "s6", sheet.title, cells.rename(columns={"bin": "fraction"}), sheet.header, sheet.rows, sheet.source, note
    )


def transfer(material: Material) -> Sheet:
    """S.7: K, kappa with its interval, R2."""
    t = material.evidence.table
    t = t[t["law"] == "transfer_joint"]
    kappa = t[t["coefficient"] == "kappa"].set_index(["target", "configuration"])
    failed = t[t["status"] == "failed"]
    missing = tuple(f"{r['configuration']} on {r['target']} ({r['note']})" for r in failed.to_dict("records"))
    if kappa.empty:
        return printed.instead(printed.transfer(), "; ".join(missing) or "no transfer law is fitted (ecgscale fit)")
    gain = t[t["coefficient"] == "K"].set_index(["target", "configuration"])["value"]
    ends = [c for c in ("low_end", "high_end") if c in kappa]
    found = kappa[["low", "high", *ends, "at_bound", "status"]].assign(kappa=kappa["value"], K=gain, R2=kappa["r2"])
    found = found.reset_index().sort_values(["target", "configuration"], ignore_index=True)
    sheet = printed.of_transfer(found, material.source, "Both floors from joint laws. Intervals 95 %.", 2)
    return Sheet("s7", sheet.title, found, sheet.header, sheet.rows, sheet.source, sheet.note, missing)


def replaced(material: Material) -> Sheet:
    """S.11: few-shot transfer, k, a_T, b_T and R2 of each task."""
    t = material.evidence.table
    t = t[(t["law"] == "replaced") & t["value"].notna()]
    if t.empty:
        why = "no runs were fine-tuned on less data beside runs from scratch; Table S.11 of the paper has not survived"
        title = "Data that pretraining replaces (Eq. S.9)"
        return Sheet("s11", title, pd.DataFrame(), (), (), material.source, missing=(why,))
    rows = []
    for (target, configuration), part in t.groupby(["target", "configuration"]):
        by = part.set_index("coefficient")
        cells = [
            interval(r, mark=BOUND if r["at_bound"] else "")
            for r in by.loc[[c for c in ("k", "a_T", "b_T") if c in by.index]].to_dict("records")
        ]
        rows.append((str(target), str(configuration), *cells, number(by["r2"].iloc[0], 2)))
    header = ("Task", "Configuration", "k", "a_T", "b_T", "R²")
    return Sheet("s11", "Data that pretraining replaces (Eq. S.9)", t, header, tuple(rows), material.source)


def _of(material: Material, name: str, column: str) -> str:
    rows = material.tasks[material.tasks["name"] == name]
    return str(rows[column].iloc[0]) if len(rows) else "–"
