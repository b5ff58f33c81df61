"""Claims about fine-tuning: what pretraining replaces (Fig. S.9), and the benchmark of published models (Table S.9)."""

import math

from ecgscale.analysis.study.claims.evidence import Evidence
from ecgscale.analysis.study.claims.verdict import Number, Verdict, above, all_of, listed, over_targets, untestable


def few_shot(evidence: Evidence) -> Verdict:
    """Claim 16: pretraining replaces data on all six tasks, less with size (b_T < 0), least on EchoNext (a_T)."""
    if evidence.printed:
        return untestable("Table S.11 has not survived in the text of the paper that is at hand")
    t = evidence.table
    rows = t[t["law"] == "replaced"]
    if rows.empty:
        return untestable("no runs were fine-tuned on less data beside runs from scratch")
    b = rows[rows["coefficient"] == "b_T"]
    a = rows[rows["coefficient"] == "a_T"].set_index("target")["value"]
    numbers = tuple(
        Number(f"{r['coefficient']}, {r['target']}", r["value"], r["low"], r["high"])
        for r in rows[rows["coefficient"].isin(["a_T", "b_T"])].to_dict("records")
    )
    answers = [None if (up := above(lo, hi, 0)) is None else not up for lo, hi in zip(b["low"], b["high"], strict=True)]
    answers.append(None if "echonext" not in a else bool(a.idxmin() == "echonext"))
    why = f"b_T on {len(b)} tasks; a_T is smallest on {a.idxmin() if len(a) else 'none'}"
    return Verdict(all_of(answers), why, numbers)


def fine_tuned_order(evidence: Evidence) -> Verdict:
    """Claim 17: fine-tuned, ECG-FM is best (0.882), then ECGFounder, Ribeiro's; from scratch InceptionTime."""
    b = evidence.benchmark
    if b.empty:
        return untestable("no published model was fine-tuned here; the claim is about the benchmark of Table S.9")
    columns = list(b.columns[5:-1])
    ranked = b.sort_values("mean", ascending=False)
    scratch = ranked[ranked["paradigm"] == "scratch"].iloc[0]
    paper = {"ECG-FM": 0.882, "ECGFounder": 0.866, "ResNet (Ribeiro)": 0.856, "InceptionTime": 0.812}
    shown = [*ranked.head(3).to_dict("records"), scratch.to_dict()]
    numbers = [
        Number(
            f"mean AUROC {row['model']}",
            row["mean"],
            *over_targets([row[c] for c in columns], lambda v: v.mean(0)),
            paper=paper.get(row["model"], math.nan),
            note=f"{len(columns)} columns",
        )
        for row in shown
    ]
    as_said = [row["model"] for row in shown] == list(paper)
    lead = b.set_index("model").loc[["ECG-FM", "ECGFounder"], columns].to_numpy(float)
    gap = lead[0] - lead[1]
    numbers.append(Number("lead of ECG-FM over ECGFounder", float(gap.mean()), *over_targets(gap, lambda v: v.mean(0))))
    weakest = ranked[ranked["paradigm"] != "scratch"].iloc[-1]
    why = f"in this order: {listed([row['model'] for row in shown[:3]])}; from scratch {scratch['model']}"
    if weakest["mean"] < scratch["mean"]:
        why += (
            f"; one pre-trained model, {weakest['model']} ({weakest['mean']:.3f}), is below the best from scratch"
            f" ({scratch['mean']:.3f})"
        )
    return Verdict(as_said, why, tuple(numbers))
