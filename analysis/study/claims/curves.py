"""Claims about curves of own runs: saturation (Fig. 2), compute (Fig. 5), labels (Fig. 6), overfitting (S.7, S.8)."""

import math

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.allocation import pareto
from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.overfitting import collapse
from ecgscale.analysis.fitting.quantities import Quantity
from ecgscale.analysis.fitting.result import Fit
from ecgscale.analysis.fitting.status import MEASURED, limits
from ecgscale.analysis.study.claims.evidence import Evidence
from ecgscale.analysis.study.claims.verdict import Number, Verdict, above, all_of, over_targets, together, untestable
from ecgscale.analysis.study.constants import LABELS

IN_PRINT = "the paper shows this in a figure only; no number of it is printed"
SUPERVISED = ("transformer-sl", "resnet-sl")
NEAR_FLOOR = 0.05  # of the floor: closer is saturated
NEGLIGIBLE = 0.1  # of the lowest loss measured: a floor below that is none that counts
GOOD = 0.8  # R2 from which a collapse counts as one curve
N_BUDGETS = 20


def _inside(evidence: Evidence, configuration: str) -> pd.DataFrame:
    """Losses over a run's own labels, not over fixed sets of them."""
    p = evidence.points
    return p[(p["configuration"] == configuration) & (p["domain"] == "ID") & (p["target"] == p["corpus"])]


def _slices(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All sizes at full data, and all amounts of data at the largest size that saw most of them."""
    seen = part.groupby("N")["D"].nunique()
    size = seen[seen == seen.max()].index.max()
    return part[part["D"] == part["D"].max()], part[part["N"] == size]


def _attempt(law: str, points: pd.DataFrame) -> Fit | None:
    """A fit whose exponents are known; None otherwise."""
    try:
        found = fit(law, points)
    except BadPoints:
        return None
    names = [c for c in ("alpha", "beta") if c in found.coefficients]
    return found if all(found.coefficients[c].status in MEASURED for c in names) else None


def supervised_data_bottleneck(evidence: Evidence) -> Verdict:
    """Claim 1: in distribution, supervised models are within 5 % of their floor over N, not yet over D."""
    if evidence.printed:
        return untestable(IN_PRINT)
    return together(_saturation(evidence, c) for c in SUPERVISED)


def _saturation(evidence: Evidence, configuration: str) -> Verdict:
    """Whether a configuration's loss is near its floor over N and still falls over D."""
    part, label = _inside(evidence, configuration), LABELS[configuration]
    size, data = (None, None) if part.empty else map(_attempt, ("size", "data"), _slices(part))
    if size is None or data is None:
        missing = [v for v, found in (("N", size), ("D", data)) if found is None]
        return untestable(f"{label}: no law over {' and '.join(missing)} is identified")
    above_floor, slope = size.quantity(_above_floor(size)), data.quantity(_slope(data))
    numbers = (
        Number(f"{label}: loss above its floor over N", above_floor.value, above_floor.low, above_floor.high),
        Number(f"{label}: -dlnL/dlnD at the most data", slope.value, slope.low, slope.high),
    )
    saturated = above(above_floor.low, above_floor.high, NEAR_FLOOR)
    near = None if saturated is None else not saturated
    why = f"{label} is {above_floor.value:.0%} above its floor over N"
    return Verdict(all_of([near, above(slope.low, slope.high, 0.0)]), why, numbers)


def _above_floor(size: Fit) -> Quantity:
    """Loss of the largest model above the floor over N, as a fraction of the floor."""
    n = size.ranges["N"][1]
    return lambda k: k["A"] * n ** -k["alpha"] / (k["E"] + 1e-12)


def _slope(data: Fit) -> Quantity:
    """-dlnL/dlnD at the most data."""
    d = data.ranges["D"][1]
    return lambda k: k["beta"] * k["B"] * d ** -k["beta"] / (k["E"] + k["B"] * d ** -k["beta"])


def self_supervised_without_floor(evidence: Evidence) -> Verdict:
    """Claim 2: in distribution, self-supervised losses show no floor: E's interval ends below a tenth of the lowest."""
    if evidence.printed:
        return untestable(IN_PRINT)
    return together(_floor(evidence, c, law) for c in ("transformer-ssl", "resnet-ssl") for law in ("size", "data"))


def _floor(evidence: Evidence, configuration: str, law: str) -> Verdict:
    """Whether a law of a configuration does without a floor; None where its interval allows none and one as well."""
    t, measured = evidence.table, _inside(evidence, configuration)
    mine = t[(t["domain"] == "ID") & (t["target"] == t["corpus"]) & (t["configuration"] == configuration)]
    rows, pure = mine[(mine["law"] == law) & (mine["coefficient"] == "E")], mine[mine["law"] == f"pure_{law}"]
    name = f"{LABELS[configuration]} over {'N' if law == 'size' else 'D'}"
    if rows.empty or pure.empty or not math.isfinite(rows.iloc[-1]["low"]):
        return untestable(f"{name}: E is not known")
    row, gap = rows.iloc[-1], float(pure.iloc[-1]["aic"] - rows.iloc[-1]["aic"])
    low, high = limits(*(row[k] for k in ("low", "high", "low_end", "high_end")))
    number = Number(f"E of {name}", row["value"], row["low"], row["high"], note=f"ΔAIC {gap:+.1f}")
    if max(low, 0.0) > 0 and gap > 0:
        return Verdict(False, f"{name}: a floor", (number,))
    lowest = float(measured["loss"].min()) if len(measured) else 0.0
    if high < NEGLIGIBLE * lowest:
        return Verdict(True, f"{name}: no floor above {high / lowest:.0%} of the lowest loss", (number,))
    share = f" up to {high / lowest:.0%} of the lowest loss" if lowest and math.isfinite(high) else ""
    return Verdict(None, f"{name}: no floor is seen, and one{share} is possible", (number,))


def compute_order(evidence: Evidence) -> Verdict:
    """Claim 14: at equal compute R-SL has the lowest loss, then R-SSL; T-SSL is below T-SL."""
    if evidence.printed:
        return untestable(IN_PRINT)
    p = evidence.paths
    p = p[(p["domain"] == "OOD") & (p["step"] > 0) & p["loss"].notna()] if len(p) else p
    fronts: dict[str, pd.DataFrame] = {}
    for target, part in p.groupby("target"):
        found = {str(c): _front(rows) for c, rows in part.groupby("configuration") if c in LABELS}
        if set(found) == set(LABELS):
            fronts[str(target)] = _on_one_axis(found)
    fronts = {target: table for target, table in fronts.items() if len(table)}
    if len(fronts) < 3:
        return untestable(f"all four configurations share a range of compute on {len(fronts)} tasks; 3 are needed")
    lowest = np.array([(f.idxmin(axis=1) == "resnet-sl").mean() for f in fronts.values()])
    second = np.array([(f.drop(columns="resnet-sl").idxmin(axis=1) == "resnet-ssl").mean() for f in fronts.values()])
    masked = np.array([(f["transformer-ssl"] < f["transformer-sl"]).mean() for f in fronts.values()])
    numbers = tuple(
        Number(name, float(v.mean()), *over_targets(v, lambda w: w.mean(0)), note=f"{len(fronts)} tasks")
        for name, v in (
            ("share of budgets at which R-SL is lowest", lowest),
            ("share at which R-SSL is lowest of the others", second),
            ("share at which T-SSL is below T-SL", masked),
        )
    )
    first, next_, third = (n.value for n in numbers)
    why = f"R-SL lowest at {first:.0%} of equal budgets, R-SSL next at {next_:.0%}, T-SSL below T-SL at {third:.0%}"
    return Verdict(all_of([first > 0.5, next_ > 0.5, third > 0.5]), why, numbers)


def _front(rows: pd.DataFrame) -> pd.DataFrame:
    """Pareto points of compute and loss, by rising compute."""
    flops, loss = rows["C"].to_numpy(float), rows["loss"].to_numpy(float)
    return rows[pareto(flops, loss)].sort_values("C")[["C", "loss"]]


def _on_one_axis(fronts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Lowest loss so far of each front at budgets that all of them reach."""
    low, high = max(f["C"].min() for f in fronts.values()), max(f["C"].max() for f in fronts.values())
    reach = min(high, min(f["C"].max() for f in fronts.values()) * 4)  # a front stays where its last point left it
    if not low < reach:
        return pd.DataFrame()
    budgets = np.geomspace(low, reach, N_BUDGETS)
    at = {c: f["loss"].to_numpy()[np.searchsorted(f["C"], budgets, side="right") - 1] for c, f in fronts.items()}
    return pd.DataFrame(at, index=budgets)


def label_scaling(evidence: Evidence) -> Verdict:
    """Claim 15: more labels lower the loss on fixed label sets in distribution; OOD the gain is not monotone."""
    if evidence.printed:
        return untestable(IN_PRINT)
    e = evidence.every
    keys = ["sweep", "corpus", "configuration", "N", "D", "target", "domain"]
    e = e[e["n_labels"].fillna(0) > 0] if len(e) else e
    # The loss over a run's own labels is not comparable between label sets, that on a fixed set is.
    e = e[(e["domain"] == "OOD") | (e["target"] != e["corpus"])]
    curves = {key: part.groupby("n_labels")["loss"].mean() for key, part in e.groupby(keys)}
    curves = {key: curve.sort_index() for key, curve in curves.items() if len(curve) > 1}
    inside = np.array([c.iloc[-1] < c.iloc[0] for key, c in curves.items() if key[-1] == "ID"], float)
    outside = np.array([np.all(np.diff(c) < 0) for key, c in curves.items() if key[-1] == "OOD"], float)
    if not len(inside) or not len(outside):
        return untestable("no runs differ in their labels alone (a label-scaling sweep on MIMIC-IV does)")
    numbers = (
        Number("share of fixed label sets that gain from all labels", inside.mean(), note=f"of {len(inside)}"),
        Number("share of OOD curves that fall throughout", outside.mean(), note=f"of {len(outside)}"),
    )
    why = f"{inside.mean():.0%} of the fixed label sets gain; {outside.mean():.0%} of the OOD curves fall throughout"
    return Verdict(bool(inside.all() and not outside.all()), why, numbers)


def overfitting_collapses(evidence: Evidence) -> Verdict:
    """Claim 18: the extent of overfitting lies on one curve over D^beta L(N, inf)/B for each supervised family."""
    if evidence.printed:
        return untestable(IN_PRINT)
    return together(_collapse(evidence, c) for c in SUPERVISED)


def _collapse(evidence: Evidence, configuration: str) -> Verdict:
    """Whether a configuration's overfitting lies on one curve."""
    part, label = _inside(evidence, configuration), LABELS[configuration]
    joint = None if part.empty else _attempt("joint", part)
    r2 = collapse(joint, part).attrs["r2"] if joint is not None else math.nan
    if not math.isfinite(r2):
        return untestable(f"{label}: the joint law in distribution is not identified")
    number = Number(f"R² of the collapse, {label}", r2, note=f"{len(part)} runs")
    return Verdict(r2 >= GOOD, f"{label} R² {r2:.2f}", (number,))
