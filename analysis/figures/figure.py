"""A page of a figure: it remembers what it shows, so that its data lies beside it, and saves to the same bytes."""

from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ecgscale.analysis.figures import style
from ecgscale.analysis.observations import left_out
from ecgscale.records import write_whole

FORMATS = ("png", "pdf", "svg")
FOOTER = 0.2  # inches under the panels: what was drawn on the left, the mark on the right
MARKS = {
    "planted": "Simulated: losses drawn from a planted law",
    "ptbxl-sample": "Demo scale: 2,550 recordings, not evidence",
    "simulated": "Simulated recordings: says nothing of patients",
}
DATA_COLUMNS = ("panel", "kind", "series", "x_name", "x", "y_name", "y", "note")


class NothingToShow(ValueError):
    """A figure that these points and fits have nothing for: why."""


class Page(Figure):
    """One page of a figure, with its title, its caption, what is missing from it, and the numbers on it."""

    def __init__(self, width: float, height: float, title: str = "", caption: str = "", source: str = "") -> None:
        bottom = FOOTER / height
        rect = (0, bottom, 1, 1 - bottom)
        engine = ConstrainedLayoutEngine(rect=rect, w_pad=0.03, h_pad=0.03, hspace=0.02, wspace=0.02)
        super().__init__(figsize=(width, height), layout=engine)
        FigureCanvasAgg(self)
        self.title, self.caption = title, caption
        self.missing: list[str] = []
        self.source = source
        self.drawn = False  # nothing on it is measured: no mark of the points applies
        self._shown: list[tuple[tuple[str, ...], np.ndarray, np.ndarray, list[str]]] = []

    def record(
        self, panel: str, kind: str, series: str, x: tuple[str, Any], y: tuple[str, Any], note: str | Sequence[str] = ""
    ) -> None:
        """Remember numbers that a panel shows: ``x`` and ``y`` are (name, values)."""
        xs, ys = np.atleast_1d(np.asarray(x[1], float)), np.atleast_1d(np.asarray(y[1], float))
        xs, ys = np.broadcast_arrays(xs, ys)
        notes = [note] * xs.size if isinstance(note, str) else list(note)
        self._shown.append(((panel, kind, series, x[0], y[0]), xs.ravel(), ys.ravel(), notes))

    def data(self) -> pd.DataFrame:
        """Every number on the face, one row each, columns ``DATA_COLUMNS``."""
        if not self._shown:
            return pd.DataFrame(columns=list(DATA_COLUMNS))
        words, xs, ys, notes = zip(*self._shown, strict=True)
        counts = [len(x) for x in xs]
        columns = dict(zip(("panel", "kind", "series", "x_name", "y_name"), zip(*words, strict=True), strict=True))
        table = pd.DataFrame({name: np.repeat(np.array(v, object), counts) for name, v in columns.items()})
        found = table.assign(x=np.concatenate(xs), y=np.concatenate(ys), note=[n for some in notes for n in some])
        return found[list(DATA_COLUMNS)]

    def note_missing(self, what: str) -> None:
        """Note something that this figure should show and cannot."""
        if what not in self.missing:
            self.missing.append(what)

    def footer(self, mark: str) -> None:
        """Write the footer: what was drawn, and the mark (demo, simulated) where there is one."""
        at = 0.06 / self.get_figheight()
        if self.source:
            self.text(0.008, at, self.source, ha="left", va="bottom", fontsize=style.SMALL, color=style.MUTED)
        if mark:
            self.text(
                0.992,
                at,
                mark,
                ha="right",
                va="bottom",
                fontsize=7,
                color=style.WARNING,
                fontweight="semibold",
                bbox={"boxstyle": "round,pad=0.25", "facecolor": "#FFF4DF", "edgecolor": "#E3B565", "linewidth": 0.5},
            )

    def fix_layout(self) -> None:
        """Solve the layout once and for all, rounded: the solver's last digits differ from one time to the next."""
        engine = self.get_layout_engine()
        if engine is not None:
            engine.execute(self)
        self.set_layout_engine("none")
        for ax in self.axes:
            left, bottom, width, height = (round(v, 6) for v in ax.get_position().bounds)
            ax.set_position((left, bottom, width, height))


def mark_of(points: pd.DataFrame) -> str:
    """The mark that points carry by themselves: of the embedded sample, of simulated recordings, of planted laws."""
    kinds = {c.split("-")[0] if c.startswith("simulated") else c for c in points["corpus"].astype(str).unique()}
    return "; ".join(MARKS[c] for c in sorted(kinds & set(MARKS)))


def source_of(points: pd.DataFrame, select: str, short: bool = False) -> str:
    """What was drawn, for the footer: runs and sweeps, and (unless ``short``) how their steps were chosen."""
    if points.empty:
        return "no finished runs"
    if set(points["sweep"]) == {"published"}:
        return "arXiv 2605.17276v1, CC BY 4.0"
    runs = points.drop_duplicates(["sweep", "run_id"])
    sweeps = ", ".join(sorted(runs["sweep"].astype(str).unique()))
    split = "validation" if select == "val" else "test"
    text = f"{len(runs)} runs of sweep {sweeps}"
    if short:
        return text
    text += f" · test loss at the step best on {split}"
    lost = left_out(points)
    return text + (f" · left out: {', '.join(lost)}" if lost else "")


def write(page: Page, name: str, folder: Path, formats: Iterable[str]) -> list[Path]:
    """Write a page and its data, each file whole or not at all; the same page gives the same bytes.

    That is: no dates, fixed ids, fonts embedded.
    """
    paths = []
    for suffix in formats:
        path = folder / f"{name}.{suffix}"
        drawn = BytesIO()
        page.savefig(drawn, format=suffix, metadata=_metadata(page, suffix))
        write_whole(path, drawn.getvalue())
        paths.append(path)
    table = folder / f"{name}.csv"
    write_whole(table, page.data().to_csv(index=False, float_format="%.8g", lineterminator="\n").encode())
    return [*paths, table]


def _metadata(page: Page, suffix: str) -> dict[str, Any]:
    if suffix == "png":
        return {"Software": "ecgscale", "Title": page.title}
    if suffix == "pdf":
        return {"Creator": "ecgscale", "Producer": "matplotlib", "CreationDate": None, "Title": page.title}
    return {"Creator": "ecgscale", "Date": None, "Title": page.title}


def letter(k: int) -> str:
    """Letter of the k-th panel: a to z, then aa, ab, ..."""
    return ("" if k < 26 else chr(96 + k // 26)) + chr(97 + k % 26)


def panel_letter(ax: Axes, letter: str) -> None:
    """(a), (b), ... above the upper left corner."""
    ax.annotate(
        f"({letter})",
        (0, 1),
        xycoords="axes fraction",
        xytext=(-2, 4),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7.5,
        fontweight="semibold",
    )
