"""The eighteen headline claims of the scaling study as functions of results, and what does not add up in its print."""

import math
import textwrap
from typing import Any

from ecgscale.analysis.study.claims import cells, curves, exponents, tuning
from ecgscale.analysis.study.claims.evidence import Evidence, in_results, of_publication, of_results
from ecgscale.analysis.study.claims.misprints import Misprint, misprints
from ecgscale.analysis.study.claims.verdict import Claim, Number, Verdict

CLAIMS: dict[int, Claim] = {
    number: Claim(name, (test.__doc__ or "").partition(": ")[2], test)
    for number, (name, test) in enumerate(
        (
            ("supervised models are data-bottlenecked", curves.supervised_data_bottleneck),
            ("self-supervised losses show no floor", curves.self_supervised_without_floor),
            ("all OOD exponents are positive", exponents.exponents_positive),
            ("ResNets are 1.3-2.5x parameter-efficient", exponents.residual_networks_use_parameters),
            ("SSL is more data-efficient", exponents.self_supervision_uses_data),
            ("SSL transfers more steeply", exponents.transfer_is_steeper),
            ("κ is up to 7.6x higher on unseen tasks", exponents.transfer_up_to),
            ("SL: α > β; T-SSL: β > α", exponents.parameters_or_data),
            ("ResNets have the lowest loss in most cells", cells.residual_networks_lowest),
            ("R-SSL wins with little data", cells.little_data_favours_contrast),
            ("T-SSL is below T-SL throughout", cells.masked_below_supervised),
            ("T-SSL overtakes R-SSL only when large", cells.masked_overtakes_when_large),
            ("SL spends on data, T-SSL on size", exponents.allocation),
            ("R-SL has the lowest compute frontier", curves.compute_order),
            ("more labels help in distribution", curves.label_scaling),
            ("fine-tuning saves data on every task", tuning.few_shot),
            ("fine-tuned: ECG-FM, then ECGFounder", tuning.fine_tuned_order),
            ("overfitting collapses on one curve", curves.overfitting_collapses),
        ),
        start=1,
    )
}

__all__ = [
    "CLAIMS",
    "Claim",
    "Evidence",
    "Misprint",
    "Number",
    "Verdict",
    "as_json",
    "as_list",
    "as_text",
    "in_results",
    "judge",
    "misprints",
    "of_publication",
    "of_results",
    "with_interval",
]


def judge(evidence: Evidence) -> dict[int, Verdict]:
    """Every claim on this evidence."""
    return {number: claim.test(evidence) for number, claim in CLAIMS.items()}


def as_json(verdicts: dict[int, Verdict]) -> list[dict[str, Any]]:
    """Claims as plain values; what is not a number is None. ``value`` to ``paper`` are of the headline number."""
    rows = []
    for number, verdict in verdicts.items():
        claim = CLAIMS[number]
        numbers = [_plain(n) for n in verdict.numbers]
        headline = numbers[0] if numbers else dict.fromkeys(("value", "low", "high", "paper"))
        rows.append(
            {
                "number": number,
                "claim": claim.name,
                "statement": claim.statement,
                "verdict": verdict.word,
                "holds": verdict.holds,
                "why": verdict.why,
                **{k: headline[k] for k in ("value", "low", "high", "paper")},
                "numbers": numbers,
            }
        )
    return rows


def as_text(verdicts: dict[int, Verdict], width: int = 100) -> str:
    """One line a claim (headline number, interval, the paper's, verdict) and under it why, within ``width`` columns."""
    lines = [f"{'':2}  {'claim':43}{'value':<24}{'paper':<8}verdict"]
    for number, verdict in verdicts.items():
        head = verdict.numbers[0] if verdict.numbers else None
        value = with_interval(head) if head else "–"
        paper = "–" if head is None or math.isnan(head.paper) else f"{head.paper:.3g}"
        lines.append(f"{number:>2}  {CLAIMS[number].name:43}{value:<24}{paper:<8}{verdict.word}")
        what = f"{head.name}; " if head else ""
        lines += _paragraph(what + verdict.why, width, " " * 4, " " * 4)
    return "\n".join(lines) + "\n"


def as_list(found: list[Misprint], width: int = 100) -> str:
    """What does not add up in print, one item a paragraph."""
    return "\n".join(line for m in found for line in _paragraph(f"{m.where}: {m.found}", width, "  - ", "    ")) + "\n"


def _paragraph(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def with_interval(number: Number) -> str:
    """ "0.78 [0.62, 0.93]", or "0.78 (≥ 0.62)" where one end alone is known."""
    low, high = math.isfinite(number.low), math.isfinite(number.high)
    if low and high:
        return f"{number.value:.3g} [{number.low:.3g}, {number.high:.3g}]"
    ends = f" (≥ {number.low:.3g})" if low else f" (≤ {number.high:.3g})" if high else ""
    return f"{number.value:.3g}{ends}"


def _plain(number: Number) -> dict[str, Any]:
    values = {k: getattr(number, k) for k in ("value", "low", "high", "paper")}
    return {
        "name": number.name,
        **{k: float(v) if math.isfinite(v) else None for k, v in values.items()},
        "note": number.note,
    }
