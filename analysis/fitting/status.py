"""What may be said of a fitted number: one status for the table, the terminal, figures, report and claims alike.

Of the fit as a whole: "failed", "few points" (too few to test the form), "negative R2" and "lack of fit" (the
residuals are not noise alone). Of a number: "unidentified" (neither end of its interval is set by the data), "bound"
(the estimate lies at a bound of the law), "one-sided" (one end is set by the data), "wide" (both are, a factor of ten
apart). Of what it stands for: "convention" (kappa differs with where its floors come from, beyond its intervals), "edge
of tuning" (the best of the settings that were tried lies at the edge of them). "ok": the form was tested, both ends are
known.
"""

import math
from collections.abc import Callable, Iterable

REACHED, BOUND, OPEN = "reached", "bound", "open"  # what an end of an interval is
MISFIT = "lack of fit"
STATUSES = (
    "failed",
    "unidentified",
    "bound",
    "few points",
    "negative R2",
    MISFIT,
    "one-sided",
    "wide",
    "convention",
    "edge of tuning",
    "ok",
)
MEASURED = ("one-sided", "wide", "convention", "edge of tuning", "ok")  # the interval may be taken at its word
TESTED = 2  # degrees of freedom that a test of the form takes at least
REJECTED = 0.01  # p of the test of the form
WIDE = 10.0  # times the lower end


def of_fit(n_points: int, n_params: int, r2: float, lack_of_fit: float) -> str:
    """What a fit is flagged for as a whole; "ok" if nothing. ``lack_of_fit``: p of the test of its form, or NaN."""
    if n_points - n_params < TESTED:
        return "few points"
    if r2 < 0:
        return "negative R2"
    return MISFIT if lack_of_fit < REJECTED else "ok"


def with_edge(status: str) -> str:
    """The status of a number whose points are the best of settings at the edge of those that were tried."""
    return worst([status, "edge of tuning"])


def of_number(low: float, high: float, low_end: str, high_end: str, at_bound: str = "", fit: str = "ok") -> str:
    """The status of a number from its interval, the bound it lies at, and its fit's own status (``of_fit``).

    An interval that nobody asked for (both ends "") is no fault.
    """
    ends = [low_end, high_end]
    if any(ends) and REACHED not in ends:
        return "bound" if at_bound else "unidentified"
    if at_bound:
        return "bound"
    if fit != "ok":
        return fit
    if any(ends) and ends != [REACHED, REACHED]:
        return "one-sided"
    return "wide" if 0 < low * WIDE < high else "ok"


def interval_text(low: float, high: float, low_end: str, high_end: str, number: Callable[[float], str]) -> str:
    """ "[0.12, 0.55]"; one-sided, "≤ 0.55" or "≥ 0.12"; empty where the data set neither end."""
    least, most = limits(low, high, low_end, high_end)
    if math.isfinite(least) and math.isfinite(most):
        return f"[{number(least)}, {number(most)}]"
    return f"≥ {number(least)}" if math.isfinite(least) else f"≤ {number(most)}" if math.isfinite(most) else ""


def limit_texts(
    low: float, high: float, low_end: str, high_end: str, number: Callable[[float], str]
) -> tuple[str, str]:
    """Both ends for columns of their own: "0.12", "0.55"; one-sided, "no limit", "≤ 0.55" or "≥ 0.12", "no limit"."""
    least, most = limits(low, high, low_end, high_end)
    if math.isinf(least) and math.isinf(most):
        return "no limit", "no limit"
    if math.isinf(least):
        return "no limit", f"≤ {number(most)}"
    return (f"≥ {number(least)}", "no limit") if math.isinf(most) else (number(least), number(most))


def worst(statuses: Iterable[str]) -> str:
    """The worst of several."""
    return min(statuses, key=STATUSES.index, default="ok")


def kinds_of(low: float, high: float, bounds: tuple[float, float]) -> tuple[str, str]:
    """Kinds of the ends of an interval that was not profiled, by the bounds of the law: "" without an interval."""
    if not math.isfinite(low + high):
        return "", ""
    slack = 1e-6 * max(abs(low), abs(high), 1e-300)
    least, most = bounds
    pinned = [low <= least + slack, high <= least + slack, low >= most - slack, high >= most - slack]
    return BOUND if pinned[0] or pinned[2] else REACHED, BOUND if pinned[1] or pinned[3] else REACHED


def limits(low: float, high: float, low_end: str, high_end: str) -> tuple[float, float]:
    """The ends that the data set; infinite where they set none, NaN where there is no interval."""
    least = -math.inf if low_end in (BOUND, OPEN) else low
    return least, math.inf if high_end in (BOUND, OPEN) else high
