"""How every figure looks: colours, markers, fonts, sizes and axes, one mapping everywhere.

Hue is the architecture and lightness the paradigm; hue is also the clinical domain of a task, and its marker the task.
Each colour comes with a second channel (marker, line) so that no figure needs colour to be read.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any
from zlib import crc32

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.typing import ColorType

from ecgscale.analysis.naming import label
from ecgscale.phrases import si

ONE_COLUMN, TWO_COLUMNS, PAGE = 3.25, 6.75, 9.0  # inches: widths, and the height of a page
SMALL = 7  # points: nothing on a figure is smaller
PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}  # behind words over lines
INK, MUTED, FAINT, GRID = "#1A1A1A", "#5C6670", "#9AA4AD", "#E7EAED"
WARNING = "#9A5B00"  # marks, bound hits: never the colour of a configuration


@dataclass(frozen=True)
class Look:
    """How one series is drawn: its name for people, colour, marker and line, and its name in the rows."""

    label: str
    colour: str
    marker: str
    line: Any = "-"
    name: str = ""


DASHED = (0, (5, 1.5))
CONFIGURATIONS = {
    "transformer-sl": ("#994455", "s"),
    "transformer-ssl": ("#EE99AA", "D"),
    "resnet-sl": ("#004488", "o"),
    "resnet-ssl": ("#6699CC", "^"),
    "s4d-sl": ("#14521F", "p"),
    "s4d-ssl": ("#6EBA5E", "h"),
    "ecgfounder-sl": ("#117733", "P"),
    "vit-dino": ("#DDAA33", "X"),
}
# For any other configuration: as far from all above, and from each other, as eyes of every kind can tell.
FURTHER = ("#222222", "#888800", "#66CCEE", "#661100", "#B0A8FF", "#332288", "#D9B48F", "#9970AB")
FURTHER_MARKERS = ("v", "p", "d", "h", "*", "8", "s", "o")

TARGETS = {
    "cpsc2018": Look("CPSC2018", "#00505C", "o"),
    "csn": Look("CSN", "#00707A", "s"),
    "ptbxl-diag": Look("PTB-XL diagnostic", "#008C8C", "^"),
    "ptbxl-sub": Look("PTB-XL sub-class", "#1FA39A", "v"),
    "ptbxl-sup": Look("PTB-XL super-class", "#4DB6A6", "D"),
    "ptbxl-form": Look("PTB-XL form", "#5DBDA7", "P"),
    "ptbxl-rhythm": Look("PTB-XL rhythm", "#7CCBB5", "X"),
    "echonext": Look("EchoNext", "#6F3FA0", "o"),
    "mimic-icu": Look("MIMIC-IV ICU", "#C25A00", "s"),
    "mimic-mortality": Look("MIMIC-IV mortality", "#EE8E3B", "^"),
    "mimic-sex": Look("MIMIC-IV sex", "#3B3B3B", "o"),
    "ptbxl-superdiagnostic": Look("PTB-XL super-class", "#1FA39A", "D"),
    "ludb-rhythm": Look("LUDB rhythm", "#00505C", "X"),
    "ptbxl-sex": Look("PTB-XL sex", "#3B3B3B", "o"),
}


def looks(names: Iterable[str]) -> list[Look]:
    """Looks of configurations, in the order in which figures list them; no two are alike.

    One that is not in ``CONFIGURATIONS`` has a place among ``FURTHER`` by its name, or the next that is free, so that
    it looks the same in every figure of a sweep and, unless two fall on one place, in every sweep.
    """
    found, taken = [], set[int]()
    colours = len(FURTHER)
    for name in in_order(list(names), CONFIGURATIONS):
        if name not in CONFIGURATIONS:
            place = crc32(name.encode()) % colours
            while place in taken:
                place = (place + 1) % colours if len(taken) < colours else place + 1
            taken.add(place)
            look = FURTHER[place % colours], FURTHER_MARKERS[(place + place // colours) % len(FURTHER_MARKERS)]
        else:
            look = CONFIGURATIONS[name]
        found.append(Look(label(name), *look, "-" if name.endswith("-sl") else DASHED, name))
    return found


def target(name: str) -> Look:
    """Look of a task or corpus; one that is not listed has the same each time."""
    place = crc32(name.encode())
    further = FURTHER[place % len(FURTHER)], FURTHER_MARKERS[place // len(FURTHER) % len(FURTHER_MARKERS)]
    return TARGETS.get(name) or Look(name, *further, (0, (1, 1)))


def legible(colour: str) -> str:
    """The colour, darkened where thin letters in it would be too pale on white (contrast below 4.5)."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    for _ in range(20):
        linear_rgb = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear_rgb, strict=True))
        if 1.05 / (luminance + 0.05) >= 4.5:
            break
        red, green, blue = red * 0.93, green * 0.93, blue * 0.93
    return "#" + "".join(f"{round(255 * c):02X}" for c in (red, green, blue))


def in_order(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Names in the order in which figures list them: the known first, the others by name."""
    place = {name: i for i, name in enumerate(known)}
    return sorted(set(names), key=lambda n: (place.get(n, len(place)), n))


def number(value: float, digits: int = 2) -> str:
    """A fitted number for a panel: "0.31", "1.2e+04" only where nothing shorter is honest; "−" for minus."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}" if 10**-digits <= abs(value) < 1000 or value == 0 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def median_of(name: str, values: Sequence[float], of: int) -> str:
    """Many exponents in one line: "α median 0.31, 9 of 11 known"."""
    known = f"{len(values)} of {of} known"
    return f"{name} median {number(statistics.median(values))}, {known}" if values else f"{name}: {known}"


MANY = 3.5  # decades on an axis that leave room for fewer minor ticks


def logarithmic(axis: Axis, low: float, high: float) -> None:
    """A log axis over ``low..high`` with SI labels, at 1 (or 1, 2, 5 under a decade and a half) and minor ticks."""
    ax, horizontal = axis.axes, axis is axis.axes.xaxis
    ax.set_xscale("log") if horizontal else ax.set_yscale("log")
    decades = math.log10(high / low) if low > 0 else 1.0
    steps = [1.0] if decades > 1.6 else [1.0, 3.0] if decades > 1.15 else [1.0, 2.0, 5.0]
    every = max(1, math.ceil(decades / 4)) if decades > 1.6 else 1
    axis.set_major_locator(LogLocator(base=10.0**every, subs=steps))
    axis.set_major_formatter(FuncFormatter(lambda v, _: si(v)))
    between = tuple(range(1, 10)) if decades < MANY else (1.0, 2.0, 5.0)
    axis.set_minor_locator(LogLocator(base=10, subs=between, numticks=99))
    axis.set_minor_formatter(NullFormatter())
    pad = 10 ** (0.06 * max(decades, 0.5))
    (ax.set_xlim if horizontal else ax.set_ylim)(low / pad, high * pad)


def linear(axis: Axis, bins: int = 4) -> None:
    """Few round ticks on a linear axis, without offsets."""
    axis.set_major_locator(MaxNLocator(nbins=bins, min_n_ticks=3, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:.6g}".replace("-", "−")))


def counts(axis: Axis, bins: int = 4) -> None:
    """Few round ticks on a linear axis of large counts, with SI letters."""
    linear(axis, bins)
    axis.set_major_formatter(FuncFormatter(lambda v, _: si(v)))


def shade(colour: str, t: float) -> tuple[float, ...]:
    """Pale at t = 0, the full colour at three quarters, darker at 1: the size of a model within its configuration."""
    rgb, t = np.array(to_rgb(colour)), min(max(t, 0.0), 1.0)
    return tuple(1 - (1 - rgb) * (0.25 + t)) if t < 0.75 else tuple(rgb * (1 - 1.2 * (t - 0.75)))


def law_line(known: bool) -> dict[str, Any]:
    """A fitted law: a full line; thin and dashed where its exponent is at a bound or not identified."""
    return {"linewidth": 1.3} if known else {"linewidth": 0.7, "linestyle": (0, (3, 2))}


SLICE: dict[str, Any] = {"linewidth": 1.3, "linestyle": (0, (7, 1.2, 1.2, 1.2))}  # of a law of two variables
FLOOR: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (1, 1.6))}
BEYOND: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (4, 1.8))}  # a law where nothing was measured
EXTRAPOLATED = "#F3F4F6"  # the ground there
BAND = 0.16  # opacity of a 95 % band
FORMULAS = {
    "joint": r"$L = E + A\,N^{-\alpha} + B\,D^{-\beta}$",
    "size": r"$L = E + A\,N^{-\alpha}$",
    "data": r"$L = E + B\,D^{-\beta}$",
    "transfer": r"$L_{OOD} = K\,(L_{ID} - E_{ID})^{\kappa} + E_{OOD}$",
    "frontier": r"$L = E + k\,(C + C_0)^{-\gamma}$",
}


def key(label: str, colour: ColorType = MUTED, marker: str = "", **line: Any) -> Line2D:
    """One entry of a legend."""
    return Line2D([], [], color=colour, marker=marker, label=label, **line)


def apart(places: Sequence[float], least: float, bottom: float = 0.03, top: float = 0.96) -> list[float]:
    """Places moved as little as need be so that neighbours lie ``least`` apart between bottom and top."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [places[i] for i in order]
    for _ in range(60):
        for a in range(len(moved) - 1):
            lack = least - (moved[a + 1] - moved[a])
            if lack > 1e-9:
                moved[a], moved[a + 1] = moved[a] - lack / 2, moved[a + 1] + lack / 2
        moved[-1], moved[0] = min(moved[-1], top), max(moved[0], bottom)
    found = [0.0] * len(places)
    for rank, i in enumerate(order):
        found[i] = moved[rank]
    return found


def without_outliers(values: Sequence[float]) -> tuple[float, float, int]:
    """Lowest and highest value to show, and how many lie above: those few (a tenth at most) far above all others."""
    rising = sorted(v for v in values if math.isfinite(v))
    above = 0
    while above < len(rising) // 10 and len(rising) - above > 3:
        *others, last = rising[: len(rising) - above]
        if last - others[-1] <= 1.2 * (others[-1] - others[0]):
            break
        above += 1
    return rising[0], rising[len(rising) - 1 - above], above


def columns(entries: int, most: int = 6) -> int:
    """Columns of a legend: at most so many, its rows equally full."""
    return max(1, -(-entries // max(1, -(-entries // most))))


def say_above(ax: Axes, above: int, what: str) -> None:
    """Words in the upper right corner, under those above the panel, for points that lie above it."""
    if above:
        ax.annotate(
            f"{above} {what}{'s' if above > 1 else ''} above ↑",
            (1, 1),
            xycoords="axes fraction",
            xytext=(-1, -1),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=SMALL,
            color=MUTED,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.8},
            zorder=5,
        )


def in_emptiest_corner(ax: Axes, text: str) -> Text:
    """A plate in the corner of a panel where it covers fewest of the points and words that were drawn there before."""
    drawn = [line.get_transform().transform(line.get_xydata()) for line in ax.lines]
    marks = np.concatenate([np.empty((0, 2)), *drawn])
    others = [words.get_window_extent() for words in ax.texts]
    plate = ax.text(0, 0, text, transform=ax.transAxes, bbox=PAPER)

    def put(corner: tuple[str, str]) -> int:
        """Put the plate into a corner, and count what it covers."""
        ha, va = corner
        plate.set(x=0.98 if ha == "right" else 0.02, y=0.98 if va == "top" else 0.02, ha=ha, va=va)
        box = plate.get_window_extent().padded(3)
        return int(((marks > box.min) & (marks < box.max)).all(1).sum()) + sum(box.overlaps(other) for other in others)

    put(min(product(("right", "left"), ("top", "bottom")), key=put))
    return plate


def say(ax: Axes, text: str, colour: str = MUTED, at: tuple[float, float] = (0.5, 0.5)) -> None:
    """Words in the middle of a panel that has nothing to show."""
    ax.text(
        *at,
        text,
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=colour,
        fontsize=7,
        style="italic",
        linespacing=1.3,
    )


def blank(ax: Axes, text: str) -> None:
    """A panel without anything to show: only words."""
    say(ax, text)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
