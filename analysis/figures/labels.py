"""Label scaling: what more pretraining labels do, in and out of distribution: the paper's Figs. 6 and S.6."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import observed, style
from analysis.figures.figure import Plate, panel_letter, source_of

CAPTION = (
    "Test loss (above) and macro AUROC (below) against the number of pretraining labels: on label sets that stay the "
    "same while random others are added, in distribution, and of linear probes out of it; on the right probes against "
    "parameters, supervised configurations with all labels. Each marker is a run, lines join the means of several "
    "random draws; filled and full: grown from the first fixed set, open and dashed: from the second. In distribution "
    "the loss is the one trained on."
)
MEASURES = (("loss", "test loss (nats)"), ("auroc", "macro AUROC"))
LINES = ("-", (0, (3, 1.5)))


def has(points: pd.DataFrame) -> bool:
    """Whether heads were scored on label sets that runs share."""
    return bool(len(points)) and bool(_fixed(points))


def draw(points: pd.DataFrame, table: pd.DataFrame) -> Plate:
    """A column a fixed label set, then the probe task over labels and over N; a row a measure."""
    best = observed.best(points, table)
    fixed, tasks = _fixed(best), observed.targets(best)
    task = tasks[0] if tasks else ""
    columns = [*(fixed or [""]), "labels", "size"]
    plate = Plate(style.TWO_COLUMNS, 3.7, "More labels", CAPTION)
    plate.source = source_of(best, observed.selection(table))
    axes = plate.subplots(2, len(columns), squeeze=False)
    names = observed.configurations(best)[:4]
    for i, (measure, words) in enumerate(MEASURES):
        for j, column in enumerate(columns):
            ax = axes[i, j]
            panel_letter(ax, "abcdefghijklmnopqrst"[i * len(columns) + j])
            if j == 0:
                ax.set_ylabel(words)
            if i == 0:
                ax.set_title(_title(best, column, task), fontsize=8)
            target = task if column in ("labels", "size") else column
            part = best[(best["target"] == target) & best[measure].notna()]
            part = part[part["domain"] == ("OOD" if target == task else "ID")]
            if column == "size":
                _over_size(plate, ax, part, names, measure)
            else:
                _over_labels(
                    plate, ax, part[part["n_labels"] > 0], fixed, f"{measure}, {column or 'fixed set'}", measure
                )
            if i == len(MEASURES) - 1:
                ax.set_xlabel("parameters N" if column == "size" else "pretraining labels")
    for name in names:
        if best.empty or name not in set(best["configuration"]):
            plate.lacks(style.configuration(name).label)
    if not fixed:
        plate.lacks("heads scored on fixed label sets")
    looks = [style.configuration(name) for name in names]
    handles = [style.key(look.label, look.colour, look.marker, linewidth=1.2) for look in looks]
    for line, target in zip(LINES, fixed, strict=False):
        handles.append(style.key(f"grown from {_short(target)}", linestyle=line, linewidth=1))
    plate.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7.5, columnspacing=1.2)
    return plate


def _over_labels(plate: Plate, ax: Axes, part: pd.DataFrame, fixed: list[str], panel: str, measure: str) -> None:
    """Lines of every configuration and size that saw several numbers of labels, one a fixed set they grew from."""
    shown = part.iloc[:0]
    for (name, n), runs in part.groupby(["configuration", "N"], sort=False):
        look = style.configuration(str(name))
        for k, target in enumerate(fixed[: len(LINES)]):
            grown = runs[[_grew_from(label_set, target) for label_set in runs["label_set"]]]
            if grown["n_labels"].nunique() < 2:
                continue
            mean = grown.groupby("n_labels")[measure].mean()
            ax.plot(mean.index, mean, color=look.colour, linestyle=LINES[k], linewidth=1.1, zorder=3)
            face = look.colour if k == 0 else "white"
            ax.plot(
                grown["n_labels"], grown[measure], look.marker, color=look.colour, markerfacecolor=face, markersize=3.4,
                markeredgewidth=0.8, zorder=4,
            )  # fmt: skip
            series = f"{name}, N = {n:.4g}, from {_short(target)}"
            plate.record(panel, "run", series, ("n_labels", grown["n_labels"]), (measure, grown[measure]))
            shown = pd.concat([shown, grown]) if len(shown) else grown
    if shown.empty:
        style.blank(ax, "no finished runs" if part.empty else "no size saw several\nnumbers of labels")
        plate.lacks(panel)
        return
    _frame(ax, shown["n_labels"], shown[measure])


def _over_size(plate: Plate, ax: Axes, part: pd.DataFrame, names: list[str], measure: str) -> None:
    """Every configuration at all labels (or none, if it needs none) against its size."""
    most = part["n_labels"].max() if len(part) else 0
    whole = part[(part["n_labels"] == most) | (part["paradigm"] == "ssl")]
    for name in names:
        look, runs = style.configuration(name), whole[whole["configuration"] == name].sort_values("N")
        if runs.empty:
            continue
        mean = runs.groupby("N")[measure].mean()
        ax.plot(mean.index, mean, color=look.colour, linestyle=look.line, linewidth=1.1, zorder=3)
        ax.plot(runs["N"], runs[measure], look.marker, color=look.colour, markersize=3.8, zorder=4)
        plate.record(f"{measure}, size", "run", name, ("N", runs["N"]), (measure, runs[measure]), list(runs["run_id"]))
    if whole.empty:
        style.blank(ax, "no finished runs" if part.empty else "no run has all labels")
        plate.lacks(f"{measure}, size")
        return
    _frame(ax, whole["N"], whole[measure])


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
        return f"OOD, {style.target(task).label}{where}" if task else "no task was probed"
    if not column:
        return "no fixed label set"
    own = best[(best["target"] == column) & (best["label_set"] == column.partition(":")[2])]["n_labels"]
    return f"ID, {_short(column)}" + (f" ({int(own.iloc[0])} labels)" if len(own) else "")
