"""Claims about fitted exponents: of size and data, of transfer, and the allocation that follows (Figs. 2, 3, 5, S.2).

Ratios are of means and of medians, with and without values at a bound of the fit. Intervals: of published numbers, a
bootstrap over datasets; of own fits, from the ends of the fits' intervals (the means of the lows and of the highs, so
rather too wide).
"""

import math

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.laws import EXPONENT
from ecgscale.analysis.fitting.status import MEASURED, limits
from ecgscale.analysis.study.claims.evidence import Evidence
from ecgscale.analysis.study.claims.verdict import (
    Number,
    Verdict,
    above,
    all_of,
    listed,
    over_targets,
    together,
    untestable,
)
from ecgscale.analysis.study.constants import CONFIGURATIONS, LABELS

MARGINAL = {"alpha": "size", "beta": "data"}
UP_TO = 7.7  # the largest printed ratio of kappas, rounded up
FLAT = 0.05  # an exponent surely below this gains 11 % of the excess loss a decade
GREEK = {"alpha": "α", "beta": "β", "kappa": "κ"}


def fitted(evidence: Evidence, name: str, configuration: str) -> pd.DataFrame:
    """A coefficient on every OOD task, by target: value, low, high, at_bound, sound (identified, off the bounds).

    kappa by the paper's convention, with both floors from joint laws (transfer_joint);
    alpha and beta from the joint law, from marginal laws where there is none.
    """
    t = evidence.table
    rows = t[(t["coefficient"] == name) & (t["configuration"] == configuration) & (t["domain"] == "OOD")]
    law = "transfer_joint"
    if name in MARGINAL:
        law = "joint" if (rows["law"] == "joint").any() else MARGINAL[name]
    rows = rows[(rows["law"] == law) & rows["value"].notna() & (rows["status"] != "failed")]
    rows = rows.drop_duplicates("target", keep="last").set_index("target").sort_index()
    sound = rows["status"].isin(MEASURED) & (rows["at_bound"].fillna("") == "")
    if "low_end" in rows:  # what the data do not limit may be anything: claims that hang on it are undecided
        ends = rows[["low", "high", "low_end", "high_end"]].fillna({"low_end": "", "high_end": ""})
        both = [limits(*row) for row in ends.itertuples(index=False)]
        least, most = np.array(both, float).reshape(-1, 2).T
        rows = rows.assign(low=np.where(np.isinf(least), 0.0, least), high=most)
    return rows.assign(sound=sound, at_bound=rows["at_bound"].fillna(""))[
        ["value", "low", "high", "at_bound", "status", "sound"]
    ]


def _ratio(evidence: Evidence, name: str, upper: str, lower: str, paper: float = math.nan) -> list[Number]:
    """Mean of one configuration over that of another, off the bounds first; then all, and medians."""
    a, b = fitted(evidence, name, upper), fitted(evidence, name, lower)
    both = a.join(b, lsuffix="_a", rsuffix="_b", how="inner")
    sound = both[both["sound_a"] & both["sound_b"]]
    title = f"{GREEK[name]} {LABELS[upper]}/{LABELS[lower]}"
    numbers = []
    for part, which in ((sound, "off the bounds"), (both, "all")):
        if len(part) < 2:
            continue
        values = part[["value_a", "value_b"]].to_numpy(float)
        note = f"{len(part)} tasks"
        for kind, average in (("mean", np.mean), ("median", np.median)):
            ratio = float(average(values[:, 0]) / average(values[:, 1]))
            low, high = math.nan, math.nan
            if evidence.printed:
                low, high = over_targets(values, lambda v, f=average: f(v[..., 0], 0) / f(v[..., 1], 0))  # type: ignore[misc]
            elif part[["low_a", "high_a", "low_b", "high_b"]].notna().all(axis=None):
                low = float(average(part["low_a"]) / average(part["high_b"]))
                high = float(average(part["high_a"]) / average(part["low_b"]))
            numbers.append(Number(f"{title}, {kind}, {which}", ratio, low, high, paper, note))
    return numbers


def _counted(evidence: Evidence) -> str:
    return "refits of five or six bins of Tables S.5 and S.6: indicative" if evidence.printed else "own fits"


def _indicative(evidence: Evidence, holds: bool | None) -> bool | None:
    """Refits of a few printed bins can confirm what the paper fitted to all its runs; they cannot refute it."""
    return None if evidence.printed and holds is False else holds


def exponents_positive(evidence: Evidence) -> Verdict:
    """Claim 3: every OOD alpha and beta is positive, seen from the interval's lower end: the fits allow no negative."""
    numbers: list[Number] = []
    answers: list[bool | None] = []
    words: list[str] = []
    for name in MARGINAL:
        parts = [fitted(evidence, name, c) for c in CONFIGURATIONS]
        table = pd.concat(parts)
        if table.empty:
            continue
        lowest = table["low"].fillna(EXPONENT[0])
        clear = table["sound"] & (lowest > EXPONENT[0] * 1.02)
        at_bound = table["at_bound"] == "low"
        share = clear.to_numpy(float)
        numbers.append(Number(f"share of {GREEK[name]} clearly positive", share.mean(), note=f"of {len(table)} fits"))
        numbers.append(Number(f"{GREEK[name]} at the lower bound", int(at_bound.sum())))
        # At the bound with an interval that stays near it, the loss does not fall; with a wide one nothing is known.
        flat = at_bound & (table["high"] < FLAT)
        answers.append(True if clear.all() else False if flat.any() else None)
        words.append(
            f"{int(clear.sum())} of {len(table)} {GREEK[name]} clearly positive, {int(at_bound.sum())} at the bound"
        )
    if not numbers:
        return untestable("no exponent was fitted on an OOD task")
    holds = _indicative(evidence, all_of(answers))
    return Verdict(holds, f"{'; '.join(words)}; {_counted(evidence)}", tuple(numbers))


def residual_networks_use_parameters(evidence: Evidence) -> Verdict:
    """Claim 4: mean alpha of ResNets over that of Transformers lies in [1.3, 2.5]."""
    numbers: list[Number] = []
    answers: list[bool | None] = []
    words: list[str] = []
    for paradigm in ("sl", "ssl"):
        found = _ratio(evidence, "alpha", f"resnet-{paradigm}", f"transformer-{paradigm}")
        numbers += found
        if not found or "off the bounds" not in found[0].name:
            answers.append(None)
            words.append(f"{paradigm.upper()}: fewer than two tasks with both exponents known")
            continue
        n = found[0]
        apart = n.low > 2.5 or n.high < 1.3
        answers.append(False if apart else True if 1.3 <= n.low <= n.high <= 2.5 else None)
        words.append(f"{paradigm.upper()} {n.value:.2f}" + ("" if apart else " (its interval is wider than the claim)"))
    if not numbers:
        return untestable("; ".join(words))
    why = f"{'; '.join(words)}; the paper says 1.3 to 2.5; {_counted(evidence)}"
    return Verdict(_indicative(evidence, all_of(answers)), why, tuple(numbers))


def self_supervision_uses_data(evidence: Evidence) -> Verdict:
    """Claim 5: mean beta of self-supervised over supervised is above 1 for both architectures (up to 16 in print)."""
    numbers: list[Number] = []
    answers: list[bool | None] = []
    words: list[str] = []
    for architecture in ("transformer", "resnet"):
        found = _ratio(evidence, "beta", f"{architecture}-ssl", f"{architecture}-sl")
        numbers += found
        off = [n for n in found if "mean, off the bounds" in n.name]
        name = LABELS[f"{architecture}-ssl"][0]
        if not off:
            answers.append(None)
            words.append(f"{name}: fewer than two tasks with both exponents known")
            continue
        answers.append(above(off[0].low, off[0].high, 1.0))
        every = next(n.value for n in found if n.name.endswith("mean, all"))
        words.append(f"{name}: {off[0].value:.1f} off the bounds, {every:.1f} with them")
    if not numbers:
        return untestable("; ".join(words))
    why = f"{'; '.join(words)} (up to 16 in print); {_counted(evidence)}"
    return Verdict(_indicative(evidence, all_of(answers)), why, tuple(numbers))


def transfer_is_steeper(evidence: Evidence) -> Verdict:
    """Claim 6: mean kappa is larger self-supervised, and kappa is at most 1 but for T-SSL on PTB-XL form."""
    printed = {"transformer-sl": 0.128, "resnet-sl": 0.133, "transformer-ssl": 0.466, "resnet-ssl": 0.270}
    found = {c: fitted(evidence, "kappa", c) for c in CONFIGURATIONS}
    if any(len(part) < 2 for part in found.values()):
        short = [LABELS[c] for c, part in found.items() if len(part) < 2]
        return untestable(f"κ was fitted on fewer than two tasks for {listed(short)}")
    numbers = []
    for c in ("transformer-ssl", "transformer-sl", "resnet-ssl", "resnet-sl"):
        part, sound = found[c], found[c][found[c]["sound"]]
        ends = (
            over_targets(part["value"], lambda v: v.mean(0))
            if evidence.printed
            else (float(part["low"].mean()), float(part["high"].mean()))
        )
        at_bound = int((part["at_bound"] != "").sum())
        note = f"{at_bound} of {len(part)} at a bound; median {part['value'].median():.3f}"
        numbers.append(Number(f"mean κ {LABELS[c]}", float(part["value"].mean()), *ends, printed[c], note))
        off = f"median {sound['value'].median():.3f}"
        numbers.append(Number(f"mean κ {LABELS[c]}, off the bounds", float(sound["value"].mean()), note=off))
    answers, words = [], []
    for name in ("transformer", "resnet"):
        both = found[f"{name}-ssl"].join(found[f"{name}-sl"], lsuffix="_a", rsuffix="_b", how="inner")
        gap = (both["value_a"] - both["value_b"]).to_numpy(float)
        if evidence.printed:
            low, high = over_targets(gap, lambda v: v.mean(0))
        else:
            low, high = ((both["low_a"] - both["high_b"]).mean(), (both["high_a"] - both["low_b"]).mean())
        answers.append(above(low, high, 0.0))
        who = LABELS[f"{name}-ssl"]
        behind = [str(t) for t in both.index[gap < 0]]
        numbers.append(Number(f"mean κ {who} - {LABELS[f'{name}-sl']}", float(gap.mean()), low, high))
        words.append(f"{who} is steeper on {int((gap > 0).sum())} of {len(gap)} tasks (not on {listed(behind)})")
    steep = [f"{LABELS[c]} on {t}" for c, part in found.items() for t in part.index[part["value"] > 1]]
    hits = sum(int((part["at_bound"] != "").sum()) for part in found.values())
    numbers.append(Number("κ at a bound of the fit", hits, note=f"of {sum(map(len, found.values()))}"))
    numbers.append(Number("κ above 1", len(steep), paper=1, note=listed(steep)))
    why = f"{'; '.join(words)}; κ > 1: {listed(steep)}; {hits} κ at a bound"
    return Verdict(all_of(answers), why, tuple(numbers))


def transfer_up_to(evidence: Evidence) -> Verdict:
    """Claim 7: up to 7.6 times higher kappa on unseen clinical tasks (sex, R), 6.8 on EchoNext (T)."""
    unseen = ("echonext", "mimic-icu", "mimic-mortality", "mimic-sex")
    quoted = {("resnet", "mimic-sex"): 7.6, ("transformer", "echonext"): 6.8}
    numbers: list[Number] = []
    off: list[tuple[float, str]] = []
    on: list[tuple[float, str]] = []
    undecided = False
    for name in ("resnet", "transformer"):
        a, b = fitted(evidence, "kappa", f"{name}-ssl"), fitted(evidence, "kappa", f"{name}-sl")
        both = a.join(b, lsuffix="_a", rsuffix="_b", how="inner").reset_index()
        for row in both[both["target"].isin(unseen)].to_dict("records"):
            target, sound = row["target"], row["sound_b"]
            value = row["value_a"] / row["value_b"]
            low, high = row["low_a"] / row["high_b"], row["high_a"] / row["low_b"]
            said = f"{name[0].upper()} {target} {value:.2f}"
            (off if sound else on).append((value, said))
            undecided |= bool(low < UP_TO < high)
            note = "" if sound else "denominator at its bound: a number of the bound, not of the data"
            title = f"κ {LABELS[f'{name}-ssl']}/{LABELS[f'{name}-sl']}, {target}"
            numbers.append(Number(title, value, low, high, quoted.get((name, target), math.nan), note))
    if not numbers:
        return untestable("no κ on EchoNext or the MIMIC-IV tasks, the unseen clinical tasks of the study")
    numbers.sort(key=lambda n: math.isnan(n.paper))
    largest, named = max([*off, *on])
    why = f"the largest ratio is {named}"
    if on:
        why += f"; with the denominator at its bound: {listed([s for _, s in sorted(on, reverse=True)])}"
    if off:
        why += f"; the largest of numbers that were measured is {max(off)[1]}"
    holds = bool(largest < UP_TO and off and max(off)[0] == largest)
    return Verdict(None if undecided else holds, why, tuple(numbers))


def parameters_or_data(evidence: Evidence) -> Verdict:
    """Claim 8: on OOD tasks alpha > beta supervised, beta > alpha for T-SSL on most."""
    numbers: list[Number] = []
    answers: list[bool | None] = []
    words: list[str] = []
    for c, wanted in (("transformer-sl", "alpha"), ("resnet-sl", "alpha"), ("transformer-ssl", "beta")):
        a, b = fitted(evidence, "alpha", c), fitted(evidence, "beta", c)
        both = a.join(b, lsuffix="_a", rsuffix="_b", how="inner")
        both = both[both["sound_a"] & both["sound_b"]]
        name = f"{LABELS[c]} {'α > β' if wanted == 'alpha' else 'β > α'}"
        if len(both) < 3:
            answers.append(None)
            words.append(f"{name}: both known on {len(both)} task{'s' if len(both) != 1 else ''}")
            continue
        gap = both["value_a"] - both["value_b"] if wanted == "alpha" else both["value_b"] - both["value_a"]
        flags = (gap > 0).to_numpy(float)
        first, second = ("a", "b") if wanted == "alpha" else ("b", "a")
        least, most = both[f"low_{first}"] - both[f"high_{second}"], both[f"high_{first}"] - both[f"low_{second}"]
        decided = [above(*ends, 0.0) for ends in zip(least, most, strict=True)]
        if evidence.printed or least.isna().all():  # as printed, without intervals
            decided = [bool(g > 0) for g in gap]
        ends = over_targets(flags, lambda v: v.mean(0))
        numbers.append(Number(f"share of tasks with {name}", float(flags.mean()), *ends, note=f"of {len(flags)}"))
        yes, no = decided.count(True), decided.count(False)
        most_of = True if 2 * yes > len(decided) else False if 2 * no >= len(decided) else None
        answers.append(all_of(decided) if wanted == "alpha" else most_of)
        words.append(f"{name} on {int(flags.sum())} of {len(flags)}")
    why = f"{'; '.join(words)}; {_counted(evidence)}"
    return Verdict(_indicative(evidence, all_of(answers)), why, tuple(numbers))


def allocation(evidence: Evidence) -> Verdict:
    """Claim 13: marginal compute goes to data for T-SL (90 %) and R-SL (79 %), to the model for T-SSL (73 %)."""
    if evidence.printed:
        return untestable("the paper prints the shares for one task it does not name, and no joint fit of it")
    said = {"transformer-sl": 0.90, "resnet-sl": 0.79, "transformer-ssl": 0.27}
    t = evidence.table
    rows = t[(t["law"] == "allocation") & (t["coefficient"] == "b") & (t["domain"] == "OOD")]
    rows = rows[rows["status"].isin(MEASURED) & rows["value"].notna() & rows["low"].notna()]
    return together(_to_data(rows[rows["configuration"] == c], LABELS[c], paper) for c, paper in said.items())


def _to_data(shares: pd.DataFrame, label: str, paper: float) -> Verdict:
    """Whether marginal compute goes where the paper says: more to data where its share to data is over a half."""
    if shares.empty:
        return untestable(f"{label}: no joint fit identifies both exponents")
    median, low, high = (float(shares[k].median()) for k in ("value", "low", "high"))
    number = Number(f"share to data, {label}", median, low, high, paper, f"median of {len(shares)} tasks")
    more = above(low, high, 0.5)
    holds = more if paper > 0.5 or more is None else not more
    return Verdict(holds, f"{label} {median:.0%} to data [{low:.0%}, {high:.0%}]", (number,))
