"""Few-shot transfer: fine-tuned against from-scratch losses over downstream data: the paper's Fig. S.9."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecgscale.analysis.figures import observed, style
from ecgscale.analysis.figures.figure import NothingToShow, Page, letter, panel_letter, source_of
from ecgscale.analysis.fitting.effective_data import by_task, curve

CAPTION = (
    "Test loss on each downstream task against the recordings it was trained on: fine-tuned from a pretrained backbone "
    "(filled, full lines) and from random weights (open, dashed); darker lines are larger models. Lines are the curves "
    "made monotone from which effective data are read: how much further right the dashed line reaches a loss is the "
    "data that pretraining replaces. In words, the exponents of D_T = k D_F^a N^b (Eq. S.9) with 95 % intervals."
)
ACROSS = 3
MARKERS = "osD^vP"


def has(points: pd.DataFrame) -> bool:
    """Whether any run started from another one's backbone and saw a part of a task."""
    return any(part["D"].nunique() > 1 for _, part, _ in by_task(points))


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """One panel a task, three in a row."""
    best = observed.best(points, table)
    found = sorted(by_task(best), key=lambda f: _place(f[0]["target"]))
    if not found:
        raise NothingToShow("no run was fine-tuned")
    looks = {k.name: k for k in style.looks({str(n).removesuffix("-tuned") for n in best["configuration"].unique()})}
    rows, across = -(-len(found) // ACROSS), min(ACROSS, len(found))
    source = source_of(best, observed.selection(table))
    unit = observed.loss_unit(pd.concat([runs for _, *both in found for runs in both]))  # not of what pretrained them
    page = Page(style.TWO_COLUMNS, 0.7 + 2.15 * rows, "What pretraining is worth", CAPTION, source)
    axes = page.subplots(rows, across, squeeze=False)
    sizes = sorted({n for _, tuned, _ in found for n in tuned["N"]})
    for k in range(rows * across):
        ax = axes.flat[k]
        if k >= len(found):
            ax.set_axis_off()
            continue
        panel_letter(ax, letter(k))
        ax.set_xlabel("downstream recordings")
        if k % across == 0:
            ax.set_ylabel(f"test loss ({unit})")
        _panel(page, ax, *found[k], sizes, looks[found[k][0]["configuration"].removesuffix("-tuned")])
        _exponents(ax, found[k][0], table)
    handles = [
        style.key("fine-tuned", marker="o", linewidth=1.2),
        style.key("from scratch", marker="o", markerfacecolor="white", linewidth=1, linestyle=(0, (3, 1.5))),
        *(
            style.key(f"N = {style.si(n)}", marker=_marker(n, sizes), linestyle="", alpha=_strength(n, sizes))
            for n in sizes
        ),
    ]
    page.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=7.5, columnspacing=1.2)
    return [page]


def _panel(
    page: Page,
    ax: Axes,
    facts: dict[str, str],
    tuned: pd.DataFrame,
    scratch: pd.DataFrame,
    sizes: list[float],
    look: style.Look,
) -> None:
    name = facts["target"]
    ax.set_title(f"{style.target(name).label}, {look.label}", fontsize=8, fontweight="semibold")
    ways = (("fine-tuned", tuned, look.colour, "-"), ("from scratch", scratch, "white", (0, (3, 1.5))))
    for way, runs, face, line in ways:
        for n in sizes:
            part = runs[runs["N"] == n]
            if part.empty:
                continue
            strength, marker = _strength(n, sizes), _marker(n, sizes)
            if part["D"].nunique() > 1:
                smooth = curve(part)
                x = np.exp(np.linspace(smooth.log_d[0], smooth.log_d[-1], 60))[1:-1]
                ax.plot(x, smooth.loss(x), color=look.colour, alpha=strength, linestyle=line, linewidth=1.1, zorder=3)
            ax.plot(
                part["D"], part["loss"], marker, color=look.colour, markerfacecolor=face, alpha=strength,
                markersize=3.4, markeredgewidth=0.8, zorder=4,
            )  # fmt: skip
            page.record(name, way, f"N = {n:.4g}", ("D", part["D"]), ("loss", part["loss"]), list(part["run_id"]))
    if scratch.empty:
        page.note_missing(f"{style.target(name).label} from scratch")
    both = pd.concat([tuned, scratch])
    style.logarithmic(ax.xaxis, both["D"].min(), both["D"].max() if both["D"].nunique() > 1 else 2 * both["D"].max())
    low, high, above = style.without_outliers(both["loss"].tolist())
    ax.set_ylim(low - 0.08 * (high - low), high + 0.08 * (high - low))
    style.say_above(ax, above, "run")
    style.linear(ax.yaxis)


def _exponents(ax: Axes, facts: dict[str, str], table: pd.DataFrame) -> None:
    """The fitted exponents in the upper right corner; nothing where none were fitted."""
    if table.empty:
        return
    mine = table["law"] == "replaced"
    for key in ("corpus", "label_set", "configuration", "target"):
        mine &= table[key].fillna("") == facts[key]
    rows = table[mine].set_index("coefficient")
    texts = [
        f"{letter} = {style.number(float(rows.at[name, 'value']))} "  # type: ignore[arg-type]
        f"[{style.number(float(rows.at[name, 'low']))}, {style.number(float(rows.at[name, 'high']))}]"  # type: ignore[arg-type]
        for letter, name in (("a", "a_T"), ("b", "b_T"))
        if name in rows.index and rows.at[name, "status"] == "ok"
    ]
    ax.text(
        0.97,
        0.97,
        "\n".join(texts) if texts else "a, b not identified",
        transform=ax.transAxes,
        fontsize=6.5,
        ha="right",
        va="top",
        color=style.INK if texts else style.MUTED,
        bbox=style.PAPER,
        zorder=6,
    )


def _marker(n: float, sizes: list[float]) -> str:
    return MARKERS[sizes.index(n) % len(MARKERS)]


def _strength(n: float, sizes: list[float]) -> float:
    """Opacity: pale for the smallest model, full for the largest."""
    return 0.35 + 0.65 * (sizes.index(n) + 1) / len(sizes)


def _place(target: str) -> tuple[int, str]:
    known = list(style.TARGETS)
    return (known.index(target) if target in known else len(known), target)
