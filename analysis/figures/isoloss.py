"""The plane of compute and parameters: lines of equal loss under the joint law, and the best size for a budget."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from ecgscale.analysis.figures import fitted, style
from ecgscale.analysis.figures.figure import Page
from ecgscale.analysis.fitting.allocation import compute_law
from ecgscale.analysis.fitting.fit import BadPoints

LEVELS = 9


def joint(table: pd.DataFrame, name: str, task: str) -> tuple[fitted.Fitted | None, str]:
    """The joint law if both its exponents and both its terms are known; else None and why not."""
    found = fitted.find(table, "joint", name, task)
    if not found:
        return None, fitted.failure(table, "joint", name, task)
    law = found[0]
    if law.known("alpha", "beta") and not any(law.numbers[c].at_bound for c in ("A", "B")):
        return law, ""
    hit = [
        f"{fitted.NAMES[c]} at its {law.numbers[c].at_bound}er bound".replace("higher", "upper")
        for c in ("alpha", "beta")
        if law.numbers[c].at_bound
    ]
    open_ = [fitted.NAMES[c] for c in ("alpha", "beta") if not law.numbers[c].at_bound and not law.numbers[c].known]
    reasons = hit + ([f"{' and '.join(open_)} {fitted.UNKNOWN}"] if open_ else [])
    if not reasons:
        reasons = [f"the term of {c} vanishes" for c, a in (("N", "A"), ("D", "B")) if law.numbers[a].at_bound]
    return None, ",\n".join(reasons) or law.note


def optimum(law: fitted.Fitted, kappa: float, budgets: np.ndarray) -> tuple[np.ndarray, float]:
    """N*(C) of a joint law (Eq. S.7) at budgets C = kappa N D, and its exponent a."""
    v = law.values()
    total = v["alpha"] + v["beta"]
    a = v["beta"] / total
    G = (v["alpha"] * v["A"] / (v["beta"] * v["B"])) ** (1 / total)
    return G * (budgets / kappa) ** a, a


def plane(
    page: Page,
    ax: Axes,
    look: style.Look,
    runs: pd.DataFrame,
    table: pd.DataFrame,
    task: str,
    panel: str = "",
    short: bool = False,
) -> None:
    """Runs of a configuration (at least one) and, where the joint law is identified, contours, N*(C) and data's share.

    ``panel``: its title, the configuration's name by default. ``short``: without axis labels and with fewer words, for
    many panels side by side, which share the titles of columns.
    """
    ax.set_title(panel if panel and not short else look.label, color=style.legible(look.colour), fontweight="semibold")
    panel = panel or look.label
    c, n = runs["C"].to_numpy(float), runs["N"].to_numpy(float)
    if not short:
        ax.set_xlabel("compute C (FLOP)")
        ax.set_ylabel("parameters N")
    size: dict[str, Any] = {"markersize": 2 if short else 3, "markeredgewidth": 0.3 if short else 0.4}
    ax.plot(c, n, look.marker, color=look.colour, zorder=5, markeredgecolor="white", **size)
    page.record(panel, "run", look.name, ("C", c), ("N", n), list(runs["run_id"]))
    law, why = joint(table, look.name, task)
    if law is None:
        style.logarithmic(ax.xaxis, c.min(), c.max())
        style.logarithmic(ax.yaxis, n.min(), n.max() * 12)  # room for the words
        ax.grid(False)
        ax.text(
            0.04,
            0.96,
            f"No contours to draw:\n{why}",
            transform=ax.transAxes,
            ha="left",
            va="top",
            fontsize=style.SMALL,
            color=style.MUTED,
            style="italic",
        )
        page.note_missing(f"iso-loss contours of {panel}: {why}".replace("\n", " "))
        return
    _contours(page, ax, look, law, runs, fitted.find(table, "allocation", look.name, task), panel, short)


def _contours(
    page: Page,
    ax: Axes,
    look: style.Look,
    law: fitted.Fitted,
    runs: pd.DataFrame,
    shares: list[fitted.Fitted],
    panel: str,
    short: bool,
) -> None:
    try:
        kappa = compute_law(runs).kappa
    except BadPoints as error:
        style.say(ax, str(error))
        return
    c, n = (runs[v].to_numpy(float) for v in ("C", "N"))
    budgets = np.geomspace(c.min() / 3, c.max() * 10, 100)
    sizes = np.geomspace(n.min() / 3, n.max() * 10, 100)
    C, N = np.meshgrid(budgets, sizes)
    D = C / (kappa * N)
    loss = np.where(D >= 1, law(N=N, D=np.maximum(D, 1)), np.nan)
    levels = np.unique(np.nanquantile(loss, np.linspace(0.03, 0.85, LEVELS)))
    ax.set_facecolor(style.EXTRAPOLATED)
    edge: dict[str, Any] = {"facecolor": "white", "edgecolor": style.FAINT, "linewidth": 0.5, "zorder": 0}
    ax.add_patch(Rectangle((c.min(), n.min()), np.ptp(c), np.ptp(n), **edge))
    lines = ax.contour(C, N, loss, levels=levels, colors=[to_rgba(look.colour, 0.6)], linewidths=0.7, zorder=2)
    best, a = optimum(law, kappa, budgets)
    inside = (budgets >= c.min()) & (budgets <= c.max()) & (best >= n.min()) & (best <= n.max())
    ax.plot(budgets, best, color=look.colour, linewidth=1, linestyle=(0, (2, 1.5)), zorder=4)
    ax.plot(budgets[inside], best[inside], color=look.colour, linewidth=1.8, zorder=4)
    page.record(panel, "optimal size", look.label, ("C", budgets), ("N", best))
    style.logarithmic(ax.xaxis, budgets.min(), budgets.max())
    style.logarithmic(ax.yaxis, sizes.min(), sizes.max())
    ax.set_xlim(budgets.min(), budgets.max())
    ax.set_ylim(sizes.min(), sizes.max())
    if not short:
        ax.clabel(lines, levels[1::3], fontsize=style.SMALL, fmt=lambda v: f"{v:.3g}", inline_spacing=2)
    ax.grid(False)
    data = shares[0].numbers.get("b") if shares else None
    interval = f" [{100 * data.low:.0f}, {100 * data.high:.0f}]" if data and np.isfinite(data.low) else ""
    words = f"{100 * (1 - a):.0f} %{interval} {'to data' if short else 'of marginal compute to data'}"
    page.record(panel, "share of marginal compute to data", look.label, ("C", np.nan), ("share", 1 - a), words)
    ax.set_title(ax.get_title(loc="left"), pad=12, color=style.legible(look.colour), fontweight="semibold")
    at: dict[str, Any] = {"xycoords": "axes fraction", "xytext": (0, 3), "textcoords": "offset points"}
    ax.annotate(words, (0, 1), fontsize=style.SMALL, va="bottom", **at)
