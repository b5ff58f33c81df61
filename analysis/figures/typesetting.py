"""How matplotlib is set for a figure, and the typeface that ships with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from matplotlib import font_manager

from ecgscale.analysis.figures.style import GRID, INK, MUTED

FONTS = Path(__file__).parent / "fonts"
FAMILY = "Source Sans 3"

SETTINGS: dict[str, Any] = {
    "font.family": [FAMILY],
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "figure.titlesize": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelpad": 2,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.5,
    "xtick.major.size": 2.6,
    "ytick.major.size": 2.6,
    "xtick.minor.size": 1.4,
    "ytick.minor.size": 1.4,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "lines.linewidth": 1.3,
    "lines.solid_capstyle": "butt",
    "lines.markersize": 4,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.borderaxespad": 0.2,
    "legend.labelspacing": 0.3,
    "mathtext.fontset": "custom",
    "mathtext.rm": FAMILY,
    "mathtext.it": f"{FAMILY}:italic",
    "mathtext.bf": f"{FAMILY}:semibold",
    "mathtext.cal": f"{FAMILY}:italic",
    "mathtext.sf": FAMILY,
    "mathtext.tt": FAMILY,
    "mathtext.fallback": "stixsans",
    "axes.unicode_minus": True,
    "text.hinting": "none",  # widths that do not depend on the resolution: a layout solved once holds for all formats
    "pdf.fonttype": 42,  # TrueType, so that text in a paper stays text
    "svg.fonttype": "path",  # the same letters on every machine
    "svg.hashsalt": "ecgscale",
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@cache
def _register_fonts() -> None:
    for file in sorted(FONTS.glob("*.ttf")):
        font_manager.fontManager.addfont(file)


@cache
def webfont(name: str) -> bytes:
    """A typeface ("Regular", "Semibold") for embedding in a page: Latin, Greek and mathematical letters, as WOFF."""
    options = Options(flavor="woff", layout_features=["kern", "liga", "tnum"], hinting=False, notdef_outline=True)
    font = TTFont(FONTS / f"SourceSans3-{name}.ttf", recalcTimestamp=False)
    letters = Subsetter(options)
    letters.populate(unicodes=[*range(0x20, 0x17F), *range(0x370, 0x400), *range(0x2000, 0x2300), 0xFB01, 0xFB02])
    letters.subset(font)
    font.flavor = "woff"
    sink = BytesIO()
    font.save(sink)
    return sink.getvalue()


@contextmanager
def paper() -> Iterator[None]:
    """Draw in this style, whatever the user's own settings are; nothing leaks out."""
    _register_fonts()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


@contextmanager
def in_a_page() -> Iterator[None]:
    """Save an SVG that stands in a page with this typeface: letters stay text."""
    with paper(), matplotlib.rc_context({"svg.fonttype": "none"}):
        yield
