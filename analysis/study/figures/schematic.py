"""The two self-supervised methods, drawn: masked modelling of beats, contrast of segments (the paper's Fig. S.1)."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from ecgscale.analysis.figures import style
from ecgscale.analysis.figures.figure import Page, panel_letter

CAPTION = (
    "The two self-supervised methods. (a) Masked modelling (Transformers, Eqs. 6): the recording is cut into "
    "words of one beat in one lead; some are replaced by a mask token, and the network predicts the code that a "
    "frozen codebook of heartbeats gives each hidden word. (b) Contrast of segments (ResNets, CMSC, Eqs. S.1 and "
    "S.2): two adjacent segments of a patient are drawn together, those of all other patients in the batch pushed "
    "apart. The curves are drawn, not recorded."
)
WAVES = ((0.22, 0.035, 0.12), (0.36, 0.011, -0.12), (0.40, 0.013, 1.0), (0.44, 0.012, -0.25), (0.66, 0.060, 0.28))
MASKED = (1, 3)  # words that are hidden
SSL = dict(zip(("masked", "contrast"), style.looks(("transformer-ssl", "resnet-ssl")), strict=True))


def draw(points: pd.DataFrame, table: pd.DataFrame) -> list[Page]:
    """Two panels, one a method; nothing on them is measured."""
    page = Page(style.TWO_COLUMNS, 3.7, "The two self-supervised methods", CAPTION)
    page.drawn = True
    page.source = "A drawing: the curves are sums of five bell curves a beat"
    above, below = page.subplots(2, 1)
    for ax, letter in ((above, "a"), (below, "b")):
        ax.set_axis_off()
        ax.set_xlim(0, 100)
        ax.set_ylim(0, 24)
        panel_letter(ax, letter)
    _title(above, "Masked modelling of heartbeats", "masked")
    _title(below, "Contrast of adjacent segments", "contrast")
    _masked(page, above)
    _contrast(page, below)
    return [page]


def beat(t: np.ndarray, stretch: float = 1.0) -> np.ndarray:
    """A schematic beat on t in 0..1: P, Q, R, S and T as bell curves (centre, width, height)."""
    return sum(h * stretch * np.exp(-0.5 * ((t - c) / w) ** 2) for c, w, h in WAVES) + 0 * t


def _title(ax: Axes, text: str, kind: str) -> None:
    colour = style.legible(SSL[kind].colour)
    ax.set_title(f"{text} ({SSL[kind].label})", color=colour, fontweight="semibold", fontsize=9, loc="left", pad=9)


def _curve(
    page: Page, ax: Axes, panel: str, x: float, y: float, width: float, height: float, n_beats: int, **line: Any
) -> None:
    """Beats one after the other from x, their baseline at y."""
    t = np.linspace(0, n_beats, 160 * n_beats, endpoint=False)
    xs, ys = x + width * t / n_beats, y + height * beat(t % 1, line.pop("stretch", 1.0))
    drawn: dict[str, Any] = {"color": style.INK, "linewidth": 0.9} | line
    ax.plot(xs, ys, **drawn)
    page.record(panel, "drawn curve", "ECG", ("x", xs[::8]), ("y", ys[::8]))


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str, face: str = "") -> None:
    shape = FancyBboxPatch(
        (x, y),
        width,
        height,
        "round,pad=0,rounding_size=0.8",
        facecolor=face or "white",
        edgecolor=colour,
        linewidth=0.9,
    )
    ax.add_patch(shape)
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=7.5, linespacing=1.25)


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str = style.MUTED, **how: Any
) -> None:
    look: dict[str, Any] = {
        "arrowstyle": "-|>,head_width=1.6,head_length=2.6",
        "linewidth": 0.8,
        "shrinkA": 0,
        "shrinkB": 0,
    }
    ax.add_patch(FancyArrowPatch(start, end, color=colour, **(look | how)))


def _small(ax: Axes, x: float, y: float, text: str, **how: Any) -> None:
    look: dict[str, Any] = {
        "ha": "center",
        "va": "center",
        "fontsize": style.SMALL,
        "color": style.MUTED,
        "linespacing": 1.2,
    }
    ax.text(x, y, text, **(look | how))


def _masked(page: Page, ax: Axes) -> None:
    colour = SSL["masked"].colour
    words, width, gap, left = 5, 5.6, 0.8, 1.0
    span = words * (width + gap) - gap
    _curve(page, ax, "masked", left, 15.5, span, 5.5, words)
    _small(ax, left + span / 2, 23.2, "recording, cut between the R peaks")
    for k in range(words):
        x = left + k * (width + gap)
        hidden = k in MASKED
        face = colour if hidden else "#FBF3F5"
        ax.add_patch(Rectangle((x, 5), width, 6.2, facecolor=face, edgecolor=colour, linewidth=0.8, alpha=0.9))
        if hidden:
            ax.text(x + width / 2, 8.1, "[M]", ha="center", va="center", fontsize=7.5, fontweight="semibold")
        else:
            _curve(page, ax, "masked", x + 0.5, 6.5, width - 1, 4, 1)
        _arrow(ax, (x + width / 2, 14.6), (x + width / 2, 11.6), linewidth=0.6)
    _small(ax, left + span / 2, 2.6, "words: one beat of one lead; a share is masked")
    _arrow(ax, (left + span + 0.8, 8.1), (38.4, 8.1))
    _box(ax, 38.8, 3.6, 12.5, 9, "Transformer\n+ lead and time\nembeddings", colour)
    _arrow(ax, (51.7, 8.1), (56.2, 8.1))
    rng = np.random.default_rng(3)
    heights = rng.uniform(0.6, 3, 9)
    heights[6] = 6.0
    for k, h in enumerate(heights):
        face = colour if k == 6 else "#E9D5D9"
        ax.add_patch(Rectangle((57 + 1.35 * k, 5), 1.0, h, facecolor=face, linewidth=0))
    _small(ax, 63, 2.6, "p(code), softmax over V codes")
    _arrow(ax, (31.5, 18.2), (56.2, 18.2))
    _small(ax, 44, 20, "the same words, nothing hidden")
    _box(ax, 56.8, 14.6, 14.6, 7.2, "frozen codebook\nnearest code $z_i$", style.MUTED, "#F3F4F6")
    _arrow(ax, (64.1, 14.2), (65.6, 11.8), colour)
    _arrow(ax, (72.4, 8.4), (76.4, 10.6), style.MUTED)
    _arrow(ax, (72.0, 18.0), (76.4, 14.0), style.MUTED)
    _box(
        ax,
        76.9,
        7.2,
        22.4,
        10,
        "cross-entropy of hidden words\n$-\\sum_{i: m_i = 1} \\log p(z_i\\,|\\,\\tilde{X})$",
        colour,
    )


def _contrast(page: Page, ax: Axes) -> None:
    colour = SSL["contrast"].colour
    patients = ((16.5, "patient 1", 1.0), (4.5, "patient 2", 0.72))
    for y, name, stretch in patients:
        for half in range(2):
            x = 7.5 + 13.2 * half
            ax.add_patch(Rectangle((x, y - 1.6), 12.4, 7.2, facecolor="#F1F5FA", edgecolor=colour, linewidth=0.8))
            _curve(page, ax, "contrast", x + 0.4, y, 11.6, 4.6, 3, stretch=stretch)
        _small(ax, 3.4, y + 2, name)
        _arrow(ax, (34, y + 2), (38.4, 10.6 + (1.6 if y > 10 else -1.6)))
    _small(ax, 20.5, 24.0, "two adjacent segments each")
    _box(ax, 38.8, 5.4, 12.5, 10.6, "ResNet\n+ projection,\nshared", colour)
    _arrow(ax, (51.7, 10.7), (56.0, 10.7))
    angles = np.linspace(0, 2 * np.pi, 120)
    centre, radius = (64.5, 10.7), (7.2, 8.4)
    ax.plot(
        centre[0] + radius[0] * np.cos(angles), centre[1] + radius[1] * np.sin(angles), color=style.FAINT, linewidth=0.7
    )
    places = {}
    for group, (first, second), marker in (("1", (0.45, 0.95), "o"), ("2", (3.55, 4.1), "s")):
        for k, angle in enumerate((first, second)):
            x, y = centre[0] + radius[0] * np.cos(angle), centre[1] + radius[1] * np.sin(angle)
            places[group, k] = (x, y)
            face = colour if group == "1" else "white"
            ax.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=5.5, zorder=4)
    pull: dict[str, Any] = {"arrowstyle": "<|-|>,head_width=1.4,head_length=2.2", "shrinkA": 5, "shrinkB": 5}
    _arrow(ax, places["1", 0], places["1", 1], "#004488", **pull)
    _arrow(ax, places["2", 0], places["2", 1], "#004488", **pull)
    push: dict[str, Any] = {"arrowstyle": "|-|,widthA=1.5,widthB=1.5", "shrinkA": 7, "shrinkB": 7}
    _arrow(ax, places["1", 1], places["2", 0], style.WARNING, linestyle=(0, (2, 1.5)), **push)
    _small(ax, 64.5, 22.4, "unit sphere", color=style.MUTED)
    _small(ax, 73.6, 18.2, "together", color="#004488", ha="left")
    _small(ax, 60.2, 12.6, "apart", color=style.legible(style.WARNING))
    ratio = r"\dfrac{e^{z_i z_p/\tau}}{\sum_{a \neq i} e^{z_i z_a/\tau}}"
    loss = r"$-\dfrac{1}{2B}\sum_i \dfrac{1}{|P(i)|}\sum_{p \in P(i)} \log" + ratio + "$"
    _arrow(ax, (72.3, 8.4), (75.2, 8.4))
    _box(ax, 75.6, 1.4, 24.2, 14, "", colour)
    ax.text(87.7, 12.9, "contrastive loss", ha="center", va="center", fontsize=7.5)
    ax.text(87.7, 7.0, loss, ha="center", va="center", fontsize=7.5)
