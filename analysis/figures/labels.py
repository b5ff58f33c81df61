"""Label scaling: what more pretraining labels do, in and out of distribution: the paper's Figs. 6 and S.6."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of
from ecgscale.analysis.figures.grid import Panel, why_not

CAPTION = (
    "Test loss (above) and macro AUROC (below) against the number of pretraining labels: on label sets that stay the "
    "same while random others are added, in distribution, and of linear probes out of it; on the right probes against "
    "parameters, supervised configurations with all labels. Each marker is a run, lines join the means of several "
    "random draws; filled and full: grown from the first fixed set, open and dashed: from the second. In distribution "
    "the loss is the one trained on."
)
MEASURES = (("loss", "test loss ({unit})"), ("auroc", "macro AUROC"))
LINES = ("-", (0, (3, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))  # a fixed set each; further ones begin again


def has(points: pd.DataFrame) -> bool:
    """Whether heads were scored on label sets that runs share."""
    return bool(len(points)) and bool(_fixed(points))


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """A column a fixed label set, then the probe task over labels and over N; a row a measure."""
    best = observed.best(points, table)
    looks, fixed, (task, *others) = observed.configurations(best), _fixed(best), [*observed.targets(best), ""]
    if not fixed:
        raise NothingToShow("no head was scored on a fixed label set")
    panels = {}
    for measure, _ in MEASURES:
        for column in (*fixed, "labels", "size"):
            target = task if column in ("labels", "size") else column
            part = best[(best["target"] == target) & best[measure].notna()]
            part = part[part["domain"] == ("OOD" if target == task else "ID")]
            panels[measure, column] = (
                _over_size(part, looks, measure)
                if column == "size"
                else _over_labels(part[part["n_labels"] > 0], looks, fixed, f"{measure}, {column}", measure)
            )
    measures = [(m, words) for m, words in MEASURES if any(callable(p) for (of, _), p in panels.items() if of == m)]
    columns = [c for c in (*fixed, "labels", "size") if any(callable(p) for (_, of), p in panels.items() if of == c)]
    if not columns:
        raise NothingToShow(why_not(panels.values()))
    source = source_of(best, observed.selection(table))
    page = Page(style.TWO_COLUMNS, 3.7 if len(measures) > 1 else 2.15, "More labels", CAPTION, source)
    axes = page.subplots(len(measures), len(columns), squeeze=False)
    for i, (measure, words) in enumerate(measures):
        for j, column in enumerate(columns):
            ax, how = axes[i, j], panels[measure, column]
            panel_letter(ax, letter(i * len(columns) + j))
            if j == 0:
                ax.set_ylabel(words.format(unit=observed.loss_unit(best)))
            if i == 0:
                ax.set_title(_title(best, column, task), fontsize=8)
            if callable(how):
                how(page, ax)
            else:
                style.blank(ax, how)
            if i == len(measures) - 1:
                ax.set_xlabel("parameters N" if column == "size" else "pretraining labels")
    for (measure, column), how in panels.items():
        if isinstance(how, str):
            page.note_missing(f"{measure}, {column}: {how}".replace("\n", " "))
    for other in others[:-1]:
        page.note_missing(f"{style.target(other).label}: one probe task is shown")
    handles = [style.key(look.label, look.colour, look.marker, linewidth=1.2) for look in looks]
    for k, target in enumerate(fixed):
        handles.append(style.key(f"grown from {_short(target)}", linestyle=LINES[k % len(LINES)], linewidth=1))
    ncols = style.columns(len(handles))
    page.legend(handles=handles, loc="outside upper center", ncols=ncols, fontsize=7.5, columnspacing=1.2)
    return [page]


def _over_labels(part: pd.DataFrame, looks: list[style.Look], fixed: list[str], panel: str, measure: str) -> Panel:
    """Lines of every configuration and size that saw several numbers of labels, one a fixed set they grew from."""
    of_name, lines = {look.name: look for look in looks}, []
    for (name, n), runs in part.groupby(["configuration", "N"], sort=False):
        for k, target in enumerate(fixed):
            grown = runs[[_grew_from(label_set, target) for label_set in runs["label_set"]]]
            if grown["n_labels"].nunique() > 1:
                lines.append((of_name[str(name)], f"{name}, N = {n:.4g}, from {_short(target)}", k, grown))
    if not lines:
        return "no finished runs" if part.empty else "no size saw several\nnumbers of labels"

    def drawn(page: Page, ax: Axes) -> None:
        for look, series, k, grown in lines:
            mean = grown.groupby("n_labels")[measure].mean()
            ax.plot(mean.index, mean, color=look.colour, linestyle=LINES[k % len(LINES)], linewidth=1.1, zorder=3)
            face = look.colour if k == 0 else "white"
            ax.plot(
                grown["n_labels"], grown[measure], look.marker, color=look.colour, markerfacecolor=face, markersize=3.4,
                markeredgewidth=0.8, zorder=4,
            )  # fmt: skip
            page.record(panel, "run", series, ("n_labels", grown["n_labels"]), (measure, grown[measure]))
        shown = pd.concat([grown for *_, grown in lines])
        _frame(ax, shown["n_labels"], shown[measure])

    return drawn


def _over_size(part: pd.DataFrame, looks: list[style.Look], measure: str) -> Panel:
    """Every configuration at all labels (or none, if it needs none) against its size."""
    most = part["n_labels"].max() if len(part) else 0
    whole = part[(part["n_labels"] == most) | (part["paradigm"] == "ssl")]
    if whole.empty:
        return "no finished runs" if part.empty else "no run has all labels"

    def drawn(page: Page, ax: Axes) -> None:
        panel = f"{measure}, size"
        for look in looks:
            runs = whole[whole["configuration"] == look.name].sort_values("N")
            if runs.empty:
                continue
            mean = runs.groupby("N")[measure].mean()
            ax.plot(mean.index, mean, color=look.colour, linestyle=look.line, linewidth=1.1, zorder=3)
            ax.plot(runs["N"], runs[measure], look.marker, color=look.colour, markersize=3.8, zorder=4)
            page.record(panel, "run", look.name, ("N", runs["N"]), (measure, runs[measure]), list(runs["run_id"]))
        _frame(ax, whole["N"], whole[measure])

    return drawn


def _frame(ax: Axes, x: pd.Series, y: pd.Series) -> None:
    style.logarithmic(ax.xaxis, float(x.min()), float(max(x.max(), x.min() * 1.5)))
    room = 0.12 * max(float(np.ptp(y)), 0.02 * float(y.abs().max()))
    ax.set_ylim(float(y.min()) - room, float(y.max()) + room)
    style.linear(ax.yaxis)


def _fixed(points: pd.DataFrame) -> list[str]:
    """Targets that are a fixed label set of the runs' own corpus, the largest first."""
    if points.empty:
        return []
    inside = points[(points["domain"] == "ID") & (points["target"] != points["corpus"])]
    least = inside.groupby("target")["n_labels"].min().sort_values(ascending=False, kind="stable")
    return [str(target) for target in least.index]


def _grew_from(label_set: str, target: str) -> bool:
    """Whether a run's labels are a fixed set with or without others: "icd10/tail-30.1" grew from "...:icd10/tail"."""
    fixed = target.partition(":")[2]
    return label_set.partition("-")[0] == fixed or "/" not in label_set


def _short(target: str) -> str:
    return target.rpartition("/")[2] or target


def _title(best: pd.DataFrame, column: str, task: str) -> str:
    if column in ("labels", "size"):
        where = ", all labels" if column == "size" else ""
        return f"OOD, {style.target(task).label}{where}"
    own = best[(best["target"] == column) & (best["label_set"] == column.partition(":")[2])]["n_labels"]
    return f"ID, {_short(column)}" + (f" ({int(own.iloc[0])} labels)" if len(own) else "")
