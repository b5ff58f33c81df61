"""The joint law's coefficients, task by configuration: the shape of the paper's Fig. S.2."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import fitted, observed, style
from analysis.figures.figure import Plate, panel_letter, source_of

CAPTION = (
    "Coefficients of the joint law L = E + A N^−α + B D^−β (Eq. 1) for each target and configuration, with 95 % "
    "intervals, and R² of the fit. Open markers are not identified: at a bound of what the fit allows (the arrow "
    "points there), without effect in these points, or with an interval as wide as allowed. Where no joint law is "
    "fitted, α, E and R² are those of the marginal law over N, and β of that over D (Eq. 2)."
)
PANELS = (("alpha", "parameter exponent α"), ("beta", "data exponent β"), ("E", "floor E (nats)"), ("r2", "R²"))

LAW_OF = {"alpha": "alpha", "beta": "beta", "E": "alpha", "r2": "alpha"}


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """Four panels (alpha, beta, E, R2), one row a target, one marker a configuration."""
    best = observed.best(points, table)
    names = observed.configurations(best)
    targets = [*observed.targets(best, "ID"), *observed.targets(best)] or [""]
    height = 0.95 + len(targets) * (0.2 + 0.11 * len(names))
    plate = Plate(style.TWO_COLUMNS, height, "Coefficients of the joint law", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(1, len(PANELS), squeeze=False, sharey=True)[0]
    fits = {(n, t): _laws(table, n, t) for n in names for t in targets}
    for (name, target), fit in fits.items():
        if "alpha" not in fit:
            why = fitted.failure(table, "joint", name, target)
            plate.lacks(f"{style.configuration(name).label} on {style.target(target).label or 'any target'} ({why})")
    for k, (ax, (what, title)) in enumerate(zip(axes, PANELS, strict=True)):
        ax.set_xlabel(title)
        panel_letter(ax, "abcd"[k])
        ax.grid(False, axis="y")
        for row in range(1, len(targets)):
            ax.axhline(row - 0.5, color=style.GRID, linewidth=0.6)
        if not any(fits.values()):
            style.say(ax, "no fit")
        for (name, target), fit in fits.items():
            if LAW_OF[what] in fit:
                place = targets.index(target) + (names.index(name) - (len(names) - 1) / 2) * 0.8 / len(names)
                _mark(plate, ax, fit[LAW_OF[what]], what, name, target, place)
        if what in ("alpha", "beta"):
            ax.set_xlim(-0.1, 3.15)
        elif what == "r2":
            ax.set_xlim(-0.05, 1.05)
        style.linear(ax.xaxis)
    axes[0].set_yticks(range(len(targets)), [_row(t, best) for t in targets])
    axes[0].set_ylim(len(targets) - 0.5, -0.5)
    for ax in axes:
        ax.tick_params(axis="y", length=0)
    looks = [style.configuration(n) for n in names]
    handles = [style.key(look.label, look.colour, look.marker, linewidth=1) for look in looks]
    handles.append(style.key("not identified", marker="o", markerfacecolor="white", linestyle=""))
    plate.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7.5)
    return plate


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


def _mark(plate: Plate, ax: Axes, fit: fitted.Fitted, what: str, name: str, target: str, y: float) -> None:
    look = style.configuration(name)
    if what == "r2":
        value, known, shown = fit.r2, True, max(fit.r2, -0.03) if np.isfinite(fit.r2) else np.nan
        ax.plot(shown, y, look.marker, color=look.colour, markersize=3.6, zorder=3)
        plate.record("R2", "fit", name, ("R2", value), ("", np.nan), target)
        return
    number = fit.numbers[what]
    value, known = number.value, number.known
    plate.record(what, "value", name, (what, value), ("", np.nan), f"{target}: {number.text(3)}")
    if not np.isfinite(value):
        ax.text(0.5, y, "–", transform=ax.get_yaxis_transform(), color=look.colour, ha="center", va="center")
        return
    if np.isfinite(number.low) and np.isfinite(number.high):
        faint = 1.0 if known else 0.35
        ax.plot([number.low, number.high], [y, y], color=look.colour, linewidth=1, alpha=faint, zorder=2)
        plate.record(what, "interval", name, (what, [number.low, number.high]), ("", np.nan), target)
    face = look.colour if known else "white"
    marker = look.marker
    if number.at_bound and what != "E":
        marker = "<" if number.at_bound == "low" else ">"
    ax.plot(value, y, marker, color=look.colour, markerfacecolor=face, markersize=3.8, markeredgewidth=0.8, zorder=3)
