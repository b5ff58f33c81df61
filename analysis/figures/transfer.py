"""How in-distribution gains carry over to other tasks: the shape of the paper's Fig. 3."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import fitted, observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of
from ecgscale.analysis.figures.grid import batches
from ecgscale.analysis.fitting import bands
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.transfer import loss_to_loss, pairs

CAPTION = (
    "Out-of-distribution loss against the in-distribution loss above its floor, one point a run, one panel a "
    "configuration. Lines are the loss-to-loss law (Eq. 4), L_OOD = K (L_ID − E_ID)^κ + E_OOD, with κ and its 95 "
    "% interval and a 95 % band (all of them refitted in every resample; panels of more than five "
    "tasks have no bands). Convention: {convention}. κ below 1: gains in distribution return less and less "
    "elsewhere. Thin dashed lines: κ at its bound or not identified. Crosses on the left are runs at or below the "
    "in-distribution floor, which the fit leaves out."
)
LISTED = 5
APART = 0.052  # of a panel's height: a line of small words


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """One panel a configuration, one line a task; four panels a page."""
    caption = CAPTION.format(convention=fitted.CONVENTIONS[fitted.convention(table)])
    best = observed.best(points, table)
    tasks = observed.targets(best)
    scales, label = observed.scale(best)
    parts = {look: best[best["configuration"] == look.name] for look in observed.configurations(best)}
    both = [look for look, part in parts.items() if any(len(pairs(part, task)) for task in tasks)]
    if not both:
        raise NothingToShow("no run was measured both in and out of distribution")
    listed = len(tasks) if len(tasks) <= LISTED else 3
    source = f"{source_of(best, observed.selection(table))} · {fitted.FLOORS[fitted.convention(table)]}"
    pages = []
    for looks in batches(both):
        rows = -(-len(looks) // 2)
        height = 0.45 + rows * (2.0 + 0.12 * listed)
        page = Page(style.TWO_COLUMNS, height, "From in-distribution to out-of-distribution loss", caption, source)
        axes = page.subplots(rows, min(2, len(looks)), squeeze=False).ravel()
        for k, ax in enumerate(axes):
            if k >= len(looks):
                ax.set_axis_off()
                continue
            _panel(page, ax, looks[k], parts[looks[k]], table, tasks, scales, label)
            panel_letter(ax, letter(k))
            if k % 2 == 0:
                ax.set_ylabel(label)
        if len(tasks) > LISTED:
            of_tasks = [style.target(t) for t in tasks]
            handles = [style.key(look.label, look.colour, look.marker, linewidth=1.2) for look in of_tasks]
            page.legend(handles=handles, loc="outside upper center", ncols=6, fontsize=7.5, columnspacing=1.2)
        pages.append(page)
    for look in parts:
        if look not in both:
            pages[0].note_missing(f"{look.label}: no run was measured both in and out of distribution")
    return pages


def _band(
    page: Page,
    ax: Axes,
    panel: str,
    task: str,
    both: pd.DataFrame,
    law: fitted.Fitted,
    x: np.ndarray,
    scale: float,
    label: str,
) -> None:
    """The 95 % band of a line at x, the in-distribution loss above the table's floor."""
    floor = law.numbers["E_id"].value
    try:
        found = loss_to_loss(both, law=law.law, bootstrap=bands.RESAMPLES)
    except BadPoints:
        return
    if found.draws is None or np.abs(np.log(found(loss_id=x + floor) / law(loss_id=x + floor))).max() > bands.AGREE:
        return  # the table was fitted otherwise
    # A resample whose floor lies above a loss foretells its own floor there.
    ends = bands.resampled(found, loss_id=np.maximum(x + floor, found.draws["E_id"].to_numpy()[:, None]))
    if ends is None:
        return
    low, high = (v / scale for v in ends)
    ax.fill_between(x, low, high, color=style.target(task).colour, alpha=style.BAND, linewidth=0, zorder=1)
    for kind, ys in (("band, low", low), ("band, high", high)):
        page.record(panel, kind, task, ("ID loss above its floor", x), (label, ys), "95 %, bootstrap over runs")


def _at_ends(ax: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Exponents beside the right ends of their lines (x, y, text, colour), moved apart where they would overlap."""
    bottom, top = ax.get_ylim()
    places = style.apart([(y - bottom) / (top - bottom) for _, y, _, _ in ends], APART)
    right = max(x for x, _, _, _ in ends)
    for (_, _, text, colour), place in zip(ends, places, strict=True):
        ax.annotate(
            text,
            (right, place),
            xycoords=("data", "axes fraction"),
            xytext=(4, 0),
            textcoords="offset points",
            fontsize=style.SMALL,
            va="center",
            color=style.legible(colour),
            annotation_clip=False,
            in_layout=False,
        )


def _mark_excluded(page: Page, ax: Axes, panel: str, excluded: list[tuple[str, float]], label: str) -> None:
    """Crosses at the left edge for runs at or below the floor of the in-distribution loss."""
    for task, y in excluded:
        where: dict[str, Any] = {
            "transform": ax.get_yaxis_transform(),
            "clip_on": ax.get_ylim()[0] > y or y > ax.get_ylim()[1],
        }
        ax.plot(0, y, "x", color=style.target(task).colour, markersize=4, markeredgewidth=1, zorder=5, **where)
        page.record(
            panel, "excluded run", task, ("ID loss above its floor", np.nan), (label, y), "at or below the floor"
        )


def _panel(
    page: Page,
    ax: Axes,
    look: style.Look,
    part: pd.DataFrame,
    table: pd.DataFrame,
    tasks: list[str],
    scales: dict[str, float],
    label: str,
) -> None:
    name = fitted.convention(table)
    fits = {t: next(iter(fitted.find(table, name, look.name, t)), None) for t in tasks}
    lines, kappas, floors, xs_all, ys_all = [], [], set[float](), [], []
    excluded: list[tuple[str, float]] = []
    ends: list[tuple[float, float, str, str]] = []
    for task in tasks:
        both = pairs(part, task) if len(part) else part
        fit, of_task, scale = fits[task], style.target(task), scales.get(task, 1.0)
        floor = fit.numbers["E_id"].value if fit else 0.0
        measured = len(both)
        below = both[both["loss_id"] <= floor] if measured else both
        both = both[both["loss_id"] > floor] if measured else both
        if both.empty:
            continue
        floors.add(floor)
        x, y = both["loss_id"].to_numpy(float) - floor, both["loss_ood"].to_numpy(float) / scale
        excluded += [(task, loss / scale) for loss in below["loss_ood"]] if measured else []
        xs_all.append(x)
        ys_all.append(y)
        small: dict[str, Any] = {"markersize": 2.6 if len(tasks) > LISTED else 4, "markeredgewidth": 0}
        ax.plot(x, y, of_task.marker, color=of_task.colour, alpha=0.85, zorder=3, **small)
        page.record(look.label, "run", task, ("ID loss above its floor", x), (label, y), list(both["run_id"]))
        text, line = f"{of_task.label}: no fit", style.law_line(False)
        if fit:
            kappa = fit.numbers["kappa"]
            line = style.law_line(kappa.known)
            xs = np.geomspace(x.min(), x.max(), 80)
            ys = fit(loss_id=xs + floor) / scale
            ax.plot(xs, ys, color=of_task.colour, zorder=2, **line)
            page.record(look.label, "law", task, ("ID loss above its floor", xs), (label, ys), kappa.text())
            if kappa.known and len(tasks) <= LISTED:
                _band(page, ax, look.label, task, pairs(part, task), fit, xs, scale, label)
            n = f"n {fit.n_points}" + (f" of {measured}" if fit.n_points < measured else "")
            kappas += [kappa.value] if kappa.known else []
            if len(tasks) > LISTED:
                ends.append((xs[-1], ys[-1], style.number(kappa.value) if kappa.known else "–", of_task.colour))
            text = f"{of_task.label}: {kappa.text()}" + f" · {n} · R² {style.number(fit.r2)}" * kappa.known
        lines.append(style.key(text, of_task.colour, of_task.marker, **line))
    listed = lines if len(tasks) <= LISTED else []
    ax.set_title(
        look.label, color=style.legible(look.colour), fontweight="semibold", fontsize=9, pad=5 + 10.4 * len(listed)
    )
    if not lines:
        style.blank(ax, "every run lies at or below\nthe in-distribution floor")
        page.note_missing(look.label)
        return
    everywhere = np.concatenate(xs_all)
    style.logarithmic(ax.xaxis, everywhere.min(), everywhere.max())
    low, high, above = style.without_outliers(np.concatenate(ys_all).tolist())
    ax.set_ylim(low - 0.08 * (high - low), high + 0.1 * (high - low))
    many = len(tasks) > LISTED
    ax.annotate(
        style.FORMULAS["transfer"],
        (0.03, 0.97) if many else (1, 1),
        xycoords="axes fraction",
        xytext=(0, 0 if many else 5 + 10.4 * len(listed)),
        textcoords="offset points",
        ha="left" if many else "right",
        va="top" if many else "bottom",
        color=style.MUTED,
        in_layout=False,
    )
    style.say_above(ax, above, "run")
    style.linear(ax.yaxis)
    _mark_excluded(page, ax, look.label, excluded, label)
    if "÷" in label:
        ax.axhline(1, color=style.FAINT, linewidth=0.6, zorder=1)
    which = "E of each fit" if len(floors) > 1 else f"E = {floor:.3f}" if (floor := floors.pop()) > 5e-4 else "E = 0"
    ax.set_xlabel(f"ID loss − E ({observed.loss_unit(observed.inside(part))}; {which})")
    if len(tasks) > LISTED:
        left, right = ax.get_xlim()
        ax.set_xlim(left, right * (right / left) ** 0.06)  # room for the exponents at the ends
        _at_ends(ax, ends) if ends else None
        ax.text(1, 1.02, style.median_of("κ", kappas, len(lines)), transform=ax.transAxes, ha="right", fontsize=7)
    else:
        ax.legend(handles=listed, loc="lower left", bbox_to_anchor=(-0.01, 0.99), fontsize=7, handlelength=1.6)
