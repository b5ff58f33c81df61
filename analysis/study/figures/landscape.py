"""Published ECG models by size and fine-tuned AUROC, with our own runs beside them: the shape of the paper's Fig. 1."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ecgscale.analysis.figures import observed, robustness, style
from ecgscale.analysis.figures.figure import Page
from ecgscale.analysis.study.benchmark import ours
from ecgscale.analysis.study.compared import here
from ecgscale.analysis.study.finetuned import BACKBONE, finetuned
from ecgscale.analysis.study.finetuned import benchmark as tuned
from ecgscale.analysis.study.published import benchmark
from ecgscale.analysis.study.recognised import models_of

CAPTION = (
    "Mean AUROC of published models over ten downstream tasks after fine-tuning (Table S.9 of the paper, six columns, "
    "PTB-XL counting once) against their parameters: circles are CNNs, squares Transformers; grey was trained from "
    "scratch, dark supervised and light self-supervised pretraining, the area growing with the pretraining recordings. "
    "Open markers joined by lines are the runs of this sweep at full data: linear probes on frozen features, the mean "
    "over the sweep's own probe tasks, so that their height does not compare with the published one. Open diamonds are "
    "the same models trained here: on a line to the published one, at its N, if they were measured on all six columns; "
    "else at the N of their backbone, a mean over the tasks that they were measured on, which does not compare either."
)
SOURCE = "Published: arXiv 2605.17276v1, Table S.9, CC BY 4.0"
COLOURS = {
    ("CNN", "scratch"): "#A3ABB2",
    ("CNN", "SL"): "#004488",
    ("CNN", "SSL"): "#6699CC",
    ("Transformer", "scratch"): "#A3ABB2",
    ("Transformer", "SL"): "#994455",
    ("Transformer", "SSL"): "#EE99AA",
}
MARKERS = {"CNN": "o", "Transformer": "s"}
FRAME = (0.075, 0.125, 0.91, 0.71)  # left, bottom, width and height of the panel in shares of the figure
NOTHING = pd.DataFrame(columns=[*BACKBONE, "mean"])
Box = tuple[float, float, float, float]  # left, bottom, right, top in pixels
AROUND = (
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
    (1, 2),
    (-1, 2),
    (1, -2),
    (-1, -2),
    (0, 2),
    (0, -2),
    (0, 3),
    (0, -3),
)


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """One panel: parameters against mean AUROC, a bubble a published model, a line a configuration of ours."""
    every = observed.best(points, table)
    models_here = models_of(points, "settings")
    again = here(tuned(finetuned(every, models_here)) if models_here else NOTHING)
    again = again[again["auroc"].notna()]
    best = observed.best(*observed.one_group(robustness.without_conditions(points), table)[:2])
    models, own = benchmark(), ours(best)
    looks = [look for look in observed.configurations(best) if look.name in set(own["configuration"])]
    page = Page(style.TWO_COLUMNS, 4.4, "ECG models by size and performance", CAPTION, SOURCE)
    page.set_layout_engine("none")
    ax = page.add_axes(FRAME)
    sizes = np.r_[models["n_params"], own["N"], again["N"]]
    style.logarithmic(ax.xaxis, float(sizes.min()), float(sizes.max()))
    heights = np.r_[models["mean"], own["auroc"], again["auroc"]]
    room = 0.06 * (heights.max() - heights.min())
    ax.set_ylim(heights.min() - room, heights.max() + room)
    ax.set_xlabel("parameters N")
    ax.set_ylabel("mean AUROC")
    style.linear(ax.yaxis, 6)
    for row in models.to_dict("records"):
        colour, size = COLOURS[row["family"], row["paradigm"]], _diameter(row["n_pretraining"])
        marks: dict[str, Any] = {
            "color": colour,
            "markersize": size,
            "markeredgecolor": "white",
            "markeredgewidth": 0.6,
        }
        ax.plot(row["n_params"], row["mean"], MARKERS[row["family"]], alpha=0.92, zorder=4 - size / 100, **marks)
        panel = f"{row['family']}, {row['paradigm']}"
        page.record(panel, "published", row["model"], ("N", row["n_params"]), ("mean AUROC", row["mean"]), "Table S.9")
    _name(ax, models, own)
    _ours(page, ax, own, looks)
    _again(page, ax, again, models)
    if own.empty and again.empty:
        page.note_missing("runs of this sweep: none has an AUROC on a probe task")
    _legend(page, looks, trained_here=len(again) > 0)
    return [page]


def _diameter(recordings: float) -> float:
    """Points: small without pretraining; the area grows with the logarithm of the recordings, from 0.1M to 10M."""
    return 4.0 if not math.isfinite(recordings) else math.sqrt(20 + 80 * max(math.log10(recordings / 1e5), 0.0))


def _ours(page: Page, ax: Axes, own: pd.DataFrame, looks: list[style.Look]) -> None:
    for look in looks:
        part = own[own["configuration"] == look.name].sort_values("N")
        marks: dict[str, Any] = {"color": look.colour, "markerfacecolor": "white", "markersize": 3.6, "linewidth": 0.8}
        ax.plot(part["N"], part["auroc"], look.marker, linestyle="-", zorder=2, **marks)
        page.record("this sweep", "run", look.name, ("N", part["N"]), ("mean AUROC", part["auroc"]), "linear probes")


def _again(page: Page, ax: Axes, again: pd.DataFrame, models: pd.DataFrame) -> None:
    """The published models that were trained here, each beside its bubble if it was measured on the same columns."""
    place = models.set_index("model")
    for row in again.to_dict("records"):
        same = row["whole"] and row["model"] in place.index
        printed = place.loc[row["model"]] if row["model"] in place.index else None
        n = float(printed["n_params"]) if printed is not None and same else row["N"]
        colour = style.INK if printed is None else COLOURS[printed["family"], printed["paradigm"]]
        if printed is not None and same:
            ax.plot([n, n], [printed["mean"], row["auroc"]], color=style.INK, linewidth=0.8, zorder=4.5)
        marks: dict[str, Any] = {"color": colour, "markerfacecolor": "white", "markersize": 4.5, "markeredgewidth": 1.3}
        ax.plot(n, row["auroc"], "D", linestyle="", zorder=5, **marks)
        if not same:
            at: dict[str, Any] = {"xytext": (5, -2), "textcoords": "offset points", "fontsize": style.SMALL}
            ax.annotate(row["model"], (n, row["auroc"]), color=style.legible(colour), zorder=6, **at)
        note = "Table S.9's columns" if row["whole"] else f"{row['n_tasks']} tasks of this sweep"
        page.record("this sweep", "run", row["model"], ("N", n), ("mean AUROC", row["auroc"]), note)


def _name(ax: Axes, models: pd.DataFrame, own: pd.DataFrame) -> None:
    """Names beside the bubbles, each where it covers no bubble and no other name."""
    figure = ax.get_figure()
    assert figure is not None
    width, height = (FRAME[2] * figure.bbox.width, FRAME[3] * figure.bbox.height)  # pixels at 100 dpi
    points = ax.transLimits.transform(np.column_stack([np.log10(models["n_params"]), models["mean"]]))
    unit = 100 / 72
    taken: list[tuple[Box, float]] = []  # and how much worse it is to cover them than a line
    radii = [unit * _diameter(d) / 2 for d in models["n_pretraining"]]
    for (x, y), r in zip(points * (width, height), radii, strict=True):
        taken.append(((x - r, y - r, x + r, y + r), 20.0))
    for _, line in own.sort_values("N").groupby("configuration"):
        places = ax.transLimits.transform(np.column_stack([np.log10(line["N"]), line["auroc"]])) * (width, height)
        for (x, y), (u, v) in zip(places, [*places[1:], places[-1]], strict=True):
            along = np.linspace(0, 1, 9)
            path = zip(x + (u - x) * along, y + (v - y) * along, strict=True)
            taken += [((a - 3, b - 3, a + 3, b + 3), 1.0) for a, b in path]
    # The most crowded first: they have the least choice.
    centres = points * (width, height)
    near = [sum(abs(x - u) < 90 and abs(y - v) < 24 for u, v in centres) for x, y in centres]
    for i in sorted(range(len(points)), key=lambda k: -near[k]):
        (x, y), r = points[i] * (width, height), radii[i]
        name = str(models["model"].iloc[i])
        w, h = unit * (3.45 * len(name) + 2), unit * 7.6
        best, place = math.inf, AROUND[0]
        for side, level in AROUND:
            box = _box(x, y, w, h, r, side, level)
            cost = sum(weight * _overlap(box, other) for other, weight in taken) + 40 * max(abs(level) - 1, 0)
            cost += 1e3 * (box[0] < 0 or box[2] > width or box[1] < 0 or box[3] > height)
            if cost < best:
                best, place = cost, (side, level)
        box = _box(x, y, w, h, r, *place)
        taken.append((box, 20.0))
        centre = ((box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height)
        if abs(place[1]) > (1 if place[0] else 2):
            _lead(ax, (x / width, y / height), (box[0] / width, box[1] / height, box[2] / width, box[3] / height))
        left, low = box[0] / width, box[1] / height
        size = ((box[2] - box[0]) / width, (box[3] - box[1]) / height)
        # Behind names and bubbles, and in front of a line that leads to another name.
        ax.add_patch(Rectangle((left, low), *size, transform=ax.transAxes, color="white", linewidth=0, zorder=1.6))
        ax.text(*centre, name, transform=ax.transAxes, ha="center", va="center", fontsize=style.SMALL, zorder=6)


def _lead(ax: Axes, at: tuple[float, float], box: Box) -> None:
    """A thin line from a bubble to a name that stands off."""
    end = (min(max(at[0], box[0]), box[2]), min(max(at[1], box[1]), box[3]))
    ax.plot(*zip(at, end, strict=True), transform=ax.transAxes, color=style.MUTED, linewidth=0.5, zorder=1.5)


def _box(x: float, y: float, w: float, h: float, r: float, side: int, level: int) -> Box:
    left = x + r + 2 if side > 0 else x - r - 2 - w if side < 0 else x - w / 2
    sign = (level > 0) - (level < 0)
    middle = y + (0.65 * h * level if side else sign * ((abs(level) - 0.5) * h + r + 1))
    return left, middle - h / 2, left + w, middle + h / 2


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _legend(page: Page, looks: list[style.Look], trained_here: bool) -> None:
    """Columns: pretrained models, models from scratch, what areas mean, and the runs of this sweep."""
    bubble: dict[str, Any] = {"markersize": 6, "linestyle": ""}
    pretrained = [
        style.key("CNN, supervised", COLOURS["CNN", "SL"], "o", **bubble),
        style.key("CNN, self-supervised", COLOURS["CNN", "SSL"], "o", **bubble),
        style.key("Transformer, self-supervised", COLOURS["Transformer", "SSL"], "s", **bubble),
    ]
    scratch = [
        style.key("CNN, from scratch", COLOURS["CNN", "scratch"], "o", linestyle=""),
        style.key("Transformer, from scratch", COLOURS["CNN", "scratch"], "s", linestyle=""),
    ]
    areas = [
        style.key(words, style.MUTED, "o", markersize=_diameter(n), markerfacecolor="white", linestyle="")
        for n, words in ((1e5, "0.1M recordings"), (1e6, "1M"), (1e7, "10M"))
    ]
    runs = [style.key(f"this sweep: {k.label}", k.colour, k.marker, markerfacecolor="white") for k in looks]
    if trained_here:
        runs += [style.key("this sweep: the same models", style.INK, "D", markerfacecolor="white", linestyle="")]
    columns = [c for c in (pretrained, scratch, areas, runs) if c]
    rows = max(len(c) for c in columns)
    handles = [h for c in columns for h in (*c, *[style.key("", linestyle="")] * (rows - len(c)))]
    at: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.995), "fontsize": 7.5, "columnspacing": 1.6}
    page.legend(handles=handles, ncols=len(columns), **at)
