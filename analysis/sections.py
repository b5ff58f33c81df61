"""What the sections of the report show: rows of words and numbers, from runs, observations and the exponents table."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ecgscale import records
from ecgscale.analysis.figures.fitted import NAMES, Number, number_of
from ecgscale.analysis.figures.style import Look, looks, target
from ecgscale.analysis.fitting.status import limit_texts
from ecgscale.analysis.inline import as_uri
from ecgscale.analysis.learning import learning, more_data
from ecgscale.analysis.naming import label
from ecgscale.analysis.observations import own
from ecgscale.phrases import si

EXPONENTS = ("alpha", "beta", "gamma", "kappa", "a", "b")
LAWS = {
    "joint": "L = E + A N^−α + B D^−β (Eq. 1)",
    "size": "L = E + A N^−α at full data (Eq. 2)",
    "data": "L = E + B D^−β at one size (Eq. 2)",
    "pure_size": "the same over N without a floor",
    "pure_data": "the same over D without a floor",
    "transfer": "L_OOD = E_OOD + K (L_ID − E_ID)^κ (Eq. 4), E_OOD fitted on the pairs, E_ID from the joint law",
    "transfer_joint": "the same with both floors from joint laws (the paper's convention)",
    "frontier": "L = E + k (C + C₀)^−γ over the Pareto front (Fig. 5a)",
    "allocation": "N* ∝ C^a, D* ∝ C^b, L* − E ∝ C^−γ from the joint law",
}
Row = dict[Any, Any]


def summary(best: pd.DataFrame) -> Row:
    if best.empty:
        return {}
    runs = best.drop_duplicates(["sweep", "run_id"])
    return {
        "runs": len(runs),
        "configurations": [look.label for look in looks(runs["configuration"].unique())],
        "corpora": sorted(runs["corpus"].unique()),
        "n": (si(runs["N"].min()), si(runs["N"].max())),
        "d": (si(runs["D"].min()), si(runs["D"].max())),
        "c": (si(runs["C"].min()), si(runs["C"].max())),
        "tasks": [target(t).label for t in sorted(best.loc[best["domain"] == "OOD", "target"].unique())],
    }


def state(loaded: records.Results, pending: int, flagged: Mapping[str, int]) -> Row:
    runs = loaded.runs
    counts = {state: int((runs["status"] == state).sum()) for state in records.STATES} if len(runs) else {}
    counts |= {"pending": pending} if pending else {}
    failures: list[Row] = []
    if len(runs) and "why" in runs:
        lost = runs[~runs["status"].isin(("done", "running"))]
        for (status, why), part in lost.groupby(["status", "why"], dropna=False):
            reason = why if isinstance(why, str) and why else "no reason was recorded"
            failures.append({"status": status, "why": reason, "runs": sorted(part["run_id"])})
    shown = {k: v for k, v in counts.items() if v or k == "done"}
    return {"counts": shown, "failures": failures, "bad": loaded.bad, "flagged": flagged}


def listed(loaded: records.Results, best: pd.DataFrame, known: Mapping[str, Look]) -> list[Row]:
    first = loaded.rows.sort_values("step").drop_duplicates("run_id", keep="last").set_index("run_id")
    inside = own(best).set_index("run_id")
    rows = []
    for run in loaded.runs.to_dict("records"):
        name = run["run_id"]
        facts = first.loc[name].to_dict() if name in first.index else {}
        look = known.get(str(facts.get("configuration", "")))
        rows.append(
            {
                "sweep": run["sweep"],
                "run_id": name,
                "status": run.get("status", "running"),
                "why": run.get("why") if isinstance(run.get("why"), str) else "",
                "configuration": look.label if look else "",
                "colour": look.colour if look else "transparent",
                "n": facts.get("n_params"),
                "d": facts.get("n_samples"),
                "c": facts.get("flops"),
                "step": facts.get("step"),
                "seconds": facts.get("seconds"),
                "seed": facts.get("seed"),
                "loss": float(inside.loc[name, "loss"]) if name in inside.index else None,  # type: ignore[arg-type]
            }
        )
    return sorted(rows, key=lambda r: (r["sweep"], r["configuration"], r["n"] or 0, r["d"] or 0, r["run_id"]))


def learned(best: pd.DataFrame, known: Mapping[str, Look]) -> list[Row]:
    if best.empty:
        return []
    rows = []
    for row in learning(best).to_dict("records"):
        look = known[row["configuration"]]
        inside = row["domain"] == "ID"
        rows.append({**row, "name": look.label, "colour": look.colour, "on": _of(row["target"], inside)})
    return rows


def _of(name: str, inside: bool) -> str:
    return f"{name} (in distribution)" if inside else target(name).label


def gained(best: pd.DataFrame) -> list[Row]:
    return [{**r, "name": label(r["configuration"])} for r in more_data(best).to_dict("records")] if len(best) else []


def coefficients(table: pd.DataFrame, known: Mapping[str, Look]) -> list[Row]:
    rows = []
    for row in table.to_dict("records"):
        number = number_of(str(row["law"]), row)
        flag, why = _flag(number)
        rows.append(
            {
                "law": row["law"],
                "configuration": known[row["configuration"]].label,
                "colour": known[row["configuration"]].colour,
                "target": row["target"],
                "domain": row["domain"],
                "at": row["at"] or "",
                "coefficient": NAMES.get(str(row["coefficient"]), str(row["coefficient"])) or "–",
                "headline": row["coefficient"] in EXPONENTS or row["status"] == "failed",
                "value": number.value,
                "limits": limit_texts(number.low, number.high, number.low_end, number.high_end, plain),
                "low": number.low,
                "high": number.high,
                "n": int(row["n_points"]),
                "r2": float(row["r2"]),
                "flag": flag,
                "why": why,
            }
        )
    laws = {law: i for i, law in enumerate(LAWS)}
    place = {look.label: i for i, look in enumerate(known.values())}
    unlisted = len(laws) + len(place)
    return sorted(rows, key=lambda r: (laws.get(r["law"], unlisted), place.get(r["configuration"], unlisted)))


def _flag(number: Number) -> tuple[str, str]:
    if number.status == "failed":
        return "failed", number.note
    if number.at_bound:
        return "bound", number.note or f"at its {number.at_bound}er bound"
    return "" if number.status == "ok" else number.status, number.note


# What of a Croissant card people read, in this order.
CARD = {
    "rai:dataCollection": "recordings",
    "rai:dataAnnotationProtocol": "labels",
    "rai:dataPreprocessingProtocol": "prepared as",
    "rai:dataImputationProtocol": "quality",
    "rai:dataLimitations": "limitations",
    "license": "licence",
    "conditionsOfAccess": "access",
    "citeAs": "cite",
}


def described(name: str, card: Mapping[str, Any]) -> Row:
    tables = {t["name"]: t["data"] for t in card.get("recordSet", ())}
    counts = [f"{row['splits/recordings']:,} {row['splits/split']}" for row in tables.get("splits", ())]
    facts = [(title, str(card[key])) for key, title in CARD.items() if card.get(key)]
    facts += [("split", " · ".join(counts))] if counts else []
    facts += (
        [("identifier", str(card["identifier"]).replace("https://doi.org/", "doi:"))] if "identifier" in card else []
    )
    labels = [
        [row[f"labels/{k}"] for k in ("label_set", "label", "positive", "negative", "missing")]
        for row in tables.get("labels", ())
    ]
    document = json.dumps(card, indent=1, ensure_ascii=False).encode()
    return {
        "name": name,
        "what": card.get("description", ""),
        "prepared": bool(counts),
        "facts": facts,
        "labels": labels,
        "json": as_uri(document, "application/ld+json"),
    }


def probed(rows: pd.DataFrame) -> list[Row]:
    test = rows[rows["split"] == "test"]
    found = []
    for (domain, name), part in test.groupby(["domain", "target"], sort=True):
        evaluated = part.loc[part["metric"] == "loss", "n_evaluated"].dropna()
        baseline = part.loc[part["metric"] == "prevalence_loss", "value"]
        classes = part["n_classes_scored"].dropna()
        found.append(
            {
                "domain": domain,
                "name": name,
                "n": int(evaluated.max()) if len(evaluated) else None,
                "classes": int(classes.max()) if len(classes) else None,
                "baseline": float(baseline.median()) if len(baseline) else None,
            }
        )
    return found


def provenance(runs: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """What the runs say of themselves; several values of a fact are all shown, so that a mixed sweep is seen."""
    facts = [("commit", "code"), ("device", "device"), ("corpus_digest", "corpus digest")]
    facts += [("codebook_digest", "codebook digest"), ("schema_version", "schema of results")]
    found = [(title, distinct(runs, name)) for name, title in facts]
    libraries: dict[str, set[str]] = {}
    for text in distinct(runs, "versions"):
        for library, version in json.loads(text).items():
            libraries.setdefault(library, set()).add(str(version))
    found.append(("versions", [f"{name} {', '.join(sorted(v))}" for name, v in sorted(libraries.items())]))
    return [(title, values) for title, values in found if values]


def distinct(frame: pd.DataFrame, column: str) -> list[str]:
    if column not in frame:
        return []
    return sorted({str(v) for v in frame[column].dropna().unique() if str(v)})


def plain(value: Any, digits: int = 3) -> str:
    """A number of a table: four significant digits at most, "–" where there is none."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "–"
    text = f"{value:.{digits}f}" if 10**-digits <= abs(value) < 1e4 or value == 0 else f"{value:.2e}"
    return text.replace("-", "−")
