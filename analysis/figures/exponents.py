"""The joint law's coefficients, task by configuration: the shape of the paper's Fig. S.2."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import fitted, observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of

CAPTION = (
    "Coefficients of the joint law L = E + A N^−α + B D^−β (Eq. 1) for each target and configuration, with 95 % "
    "intervals, and R² of the fit. Open markers are not identified: at a bound of what the fit allows (the arrow "
    "points there), without effect in these points, or of a fit whose form does not hold. A small arrow ends an "
    "interval where the points set no limit. Where no joint law is "
    "fitted, α, E and R² are those of the marginal law over N, and β of that over D (Eq. 2)."
)
PANELS = (("alpha", "parameter exponent α"), ("beta", "data exponent β"), ("E", "floor E ({unit})"), ("r2", "R²"))

LAW_OF = {"alpha": "alpha", "beta": "beta", "E": "alpha", "r2": "alpha"}


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Four panels (alpha, beta, E, R2), one row a target, one marker a configuration."""
    best = observed.best(points, table)
    looks, targets = observed.configurations(best), [*observed.targets(best, "ID"), *observed.targets(best)]
    fits = {(look, target): _laws(table, look.name, target) for look in looks for target in targets}
    if not any(fits.values()):
        raise NothingToShow("no law of N or D is fitted")
    height = min(style.PAGE, 0.95 + len(targets) * (0.2 + 0.11 * len(looks)))
    source = source_of(best, observed.selection(table))
    page = Page(style.TWO_COLUMNS, height, "Coefficients of the joint law", CAPTION, source)
    axes = page.subplots(1, len(PANELS), squeeze=False, sharey=True)[0]
    for (look, target), fit in fits.items():
        if "alpha" not in fit:
            why = fitted.failure(table, "joint", look.name, target)
            page.note_missing(f"{look.label} on {style.target(target).label} ({why})")
    for k, (ax, (what, title)) in enumerate(zip(axes, PANELS, strict=True)):
        ax.set_xlabel(title.format(unit="nats" if observed.loss_unit(best) == "nats" else "loss"))
        panel_letter(ax, letter(k))
        ax.grid(False, axis="y")
        for row in range(1, len(targets)):
            ax.axhline(row - 0.5, color=style.GRID, linewidth=0.6)
        for (look, target), fit in fits.items():
            if LAW_OF[what] in fit:
                place = targets.index(target) + (looks.index(look) - (len(looks) - 1) / 2) * 0.8 / len(looks)
                _mark(page, ax, fit[LAW_OF[what]], what, look, target, place)
        if what in ("alpha", "beta"):
            ax.set_xlim(-0.1, 3.15)
        elif what == "r2":
            ax.set_xlim(-0.05, 1.05)
        style.linear(ax.xaxis)
    axes[0].set_yticks(range(len(targets)), [_row(t, best) for t in targets])
    axes[0].set_ylim(len(targets) - 0.5, -0.5)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
    handles = [style.key(look.label, look.colour, look.marker, linewidth=1) for look in looks]
    handles.append(style.key("not identified", marker="o", markerfacecolor="white", linestyle=""))
    page.legend(handles=handles, loc="outside upper center", ncols=style.columns(len(handles), 7), fontsize=7.5)
    return [page]


def _laws(table: pd.DataFrame, name: str, target: str) -> dict[str, fitted.Fitted]:
    """The fits that tell alpha and beta of a group: the joint law for both, else its marginals."""
    found = {}
    for exponent, marginal in (("alpha", "size"), ("beta", "data")):
        fits = fitted.find(table, "joint", name, target) or fitted.find(table, marginal, name, target)[-1:]
        if fits:
            found[exponent] = fits[0]
    return found


def _row(target: str, best: pd.DataFrame) -> str:
    inside = bool(((best["target"] == target) & (best["domain"] == "ID")).any()) if len(best) else False
    return f"{target}\n(ID)" if inside else style.target(target).label.replace(" ", "\n", 1)


def _mark(page: Page, ax: Axes, fit: fitted.Fitted, what: str, look: style.Look, target: str, y: float) -> None:
    if what == "r2":
        value, known, shown = fit.r2, True, max(fit.r2, -0.03) if np.isfinite(fit.r2) else np.nan
        ax.plot(shown, y, look.marker, color=look.colour, markersize=3.6, zorder=3)
        page.record("R2", "fit", look.name, ("R2", value), ("", np.nan), target)
        return
    number = fit.numbers[what]
    value, known = number.value, number.known
    page.record(what, "value", look.name, (what, value), ("", np.nan), f"{target}: {number.text(3)}")
    if not np.isfinite(value):
        ax.text(0.5, y, "–", transform=ax.get_yaxis_transform(), color=look.colour, ha="center", va="center")
        return
    if number.ends:
        faint = 1.0 if known else 0.35
        ax.plot(number.ends, [y, y], color=look.colour, linewidth=1, alpha=faint, zorder=2)
        for end, kind, arrow in zip(number.ends, (number.low_end, number.high_end), "<>", strict=True):
            if kind in ("bound", "open"):
                ax.plot(end, y, arrow, color=look.colour, markersize=2.6, markeredgewidth=0, alpha=faint, zorder=2)
        page.record(what, "interval", look.name, (what, list(number.ends)), ("", np.nan), target)
    face = look.colour if known else "white"
    marker = look.marker
    if number.at_bound and what != "E":
        marker = "<" if number.at_bound == "low" else ">"
    ax.plot(value, y, marker, color=look.colour, markerfacecolor=face, markersize=3.8, markeredgewidth=0.8, zorder=3)
