"""Recordings as they are read, drawn for the eye before anything is prepared: one strip each, a lead above another."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ecgscale.analysis.figures import style
from ecgscale.analysis.figures.typesetting import paper

_SECONDS = 10.0  # that are drawn of a longer recording, from its start
_STEP_MV = 2.0  # between the base lines of two leads
_HEIGHT_LEAD, _HEIGHT_TITLE = 0.22, 0.34  # inches
_BAR_MV = 1.0


@dataclass(frozen=True)
class Strip:
    """One recording: a title without any identity, ``signal`` [n_leads, n_samples] in mV, its rate and its leads."""

    title: str
    signal: np.ndarray
    sampling_hz: float
    leads: Sequence[str]


def drawn(strips: Sequence[Strip]) -> bytes:
    """A PNG of the strips in two columns, all in one scale, with a bar of 1 mV. Raises ValueError for none."""
    if not strips:
        raise ValueError("no recording to draw")
    n_rows = (len(strips) + 1) // 2
    n_leads = max(len(strip.leads) for strip in strips)
    with paper():
        height = n_rows * (n_leads * _HEIGHT_LEAD + _HEIGHT_TITLE) + 0.3
        figure = Figure(figsize=(2 * style.TWO_COLUMNS, height))  # a layout solved for all these words takes long
        FigureCanvasAgg(figure)
        panels = figure.subplots(n_rows, 2, squeeze=False).ravel()
        for panel, strip in zip(panels, strips, strict=False):
            _strip(panel, strip)
        for panel in panels[max(0, len(strips) - 2) : len(strips)]:
            panel.set_xlabel("seconds", fontsize=style.SMALL, labelpad=1)
        for panel in panels[len(strips) :]:
            panel.set_axis_off()
        edge = 0.35 / height
        figure.subplots_adjust(0.04, 1.2 * edge, 0.985, 1 - edge, wspace=0.1, hspace=0.55 / n_leads + 0.12)
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    return picture.getvalue()


def _strip(ax: Axes, strip: Strip) -> None:
    n = min(strip.signal.shape[1], round(_SECONDS * strip.sampling_hz))
    seconds = np.arange(n) / strip.sampling_hz
    for at, (lead, values) in enumerate(zip(strip.leads, strip.signal[:, :n], strict=True)):
        base = -_STEP_MV * at
        ax.plot(seconds, values - np.median(values) + base, color=style.INK, linewidth=0.5)
        ax.text(-0.012 * seconds[-1], base, lead, ha="right", va="center", fontsize=style.SMALL, color=style.MUTED)
    end = 1.01 * seconds[-1]
    ax.plot([end, end], [0, _BAR_MV], color=style.WARNING, linewidth=1.5)
    ax.text(1.005 * end, _BAR_MV / 2, "1 mV", va="center", fontsize=style.SMALL, color=style.WARNING)
    ax.set_ylim(-_STEP_MV * (len(strip.leads) - 1) - 0.75 * _STEP_MV, 0.75 * _STEP_MV)
    ax.set_xlim(0, 1.05 * end)
    ax.set_title(f"{strip.title}   ({strip.sampling_hz:g} Hz)", loc="left", fontsize=style.SMALL + 1)
    ax.set_yticks([])
    ax.tick_params(labelsize=style.SMALL)
    ax.grid(axis="x", color=style.GRID, linewidth=0.5)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
