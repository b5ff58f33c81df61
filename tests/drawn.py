"""What a test asks of every figure: whole and partial sweeps draw, and the same input gives the same bytes.

Each check takes the ``draw`` or ``save`` of a room of figures, general or a study's own.
"""

import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from ecgscale.analysis.figures import style
from ecgscale.analysis.figures.figure import DATA_COLUMNS, NothingToShow, Page
from tests.planted import CONFIGURATIONS, NO_POINTS, NO_TABLE, planted_points, planted_table

Draw = Callable[[str, pd.DataFrame, pd.DataFrame], list[Page]]
Save = Callable[[str, pd.DataFrame, pd.DataFrame, Path, list[str]], tuple[list[Path], list[str]]]

TWO = ("resnet-sl", "transformer-ssl")
PARTIAL: dict[str, Callable[[], tuple[pd.DataFrame, pd.DataFrame]]] = {
    "nothing": lambda: (NO_POINTS, NO_TABLE),
    "two configurations": lambda: (planted_points(TWO), planted_table(TWO)),
    "no fits": lambda: (planted_points(("resnet-sl",)), NO_TABLE),
    "no probes": lambda: (planted_points().query("domain == 'ID'"), planted_table()),
    "one size": lambda: (planted_points().query("N > 3e5"), planted_table()),
    "no baseline": lambda: (planted_points().assign(prevalence_loss=np.nan, auroc=np.nan), planted_table()),
}
CASES = [case if i < 1 else pytest.param(case, marks=pytest.mark.slow) for i, case in enumerate(PARTIAL)]


WHY = {  # figures that have nothing to show in a partial sweep
    ("kappas", "no fits"): "no transfer law is fitted",
    ("exponents", "no fits"): "no law of N or D is fitted",
    ("overlay", "no probes"): "no task was probed",
    ("isoflop", "one size"): "no slice of compute holds four sizes",
    ("holdout", "one size"): "too few runs for the joint law",
}
OF_NO_POINTS = ("landscape", "schematic")  # they show what others published or what is drawn by hand
OWN = ("gru-sl", "mamba-ssl", "perceiver-sl", "s4-ssl", "xlstm-sl")  # architectures that only a sweep file knows


def words(figure: Figure) -> str:
    """Everything that is written on a figure."""
    return "\n".join(t.get_text() for t in figure.findobj(Text))


def points_for(name: str, configurations: tuple[str, ...] = CONFIGURATIONS) -> pd.DataFrame:
    """Planted points that a figure has something to show of: isoFLOP slices need a grid that is not ragged."""
    return planted_points(configurations, ragged=name != "isoflop")


def check_whole_sweep(name: str, draw: Draw) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        points = points_for(name)
        (page,) = draw(name, points, planted_table())
        page.draw_without_rendering()
    text = "\n".join(t.get_text() for t in page.texts)
    if not page.drawn:
        assert "2,550 recordings, not evidence" in text
        assert f"{points['run_id'].nunique()} runs of sweep demo" in text or "Published" in text
    assert page.caption
    assert page.get_figwidth() in (style.ONE_COLUMN, style.TWO_COLUMNS)
    written = [t for t in page.findobj(Text) if t.get_text() and t.get_visible()]
    sizes = [float(t.get_fontsize()) for t in written]
    assert 7 <= min(sizes) <= max(sizes) <= 10
    assert list(page.data().columns) == list(DATA_COLUMNS)
    assert not_empty(page)


def not_empty(page: Page) -> bool:
    """Whether every panel shows something."""
    said = ("no finished runs", "no size saw", "no joint law with", "too few runs")
    panels = [ax for ax in page.axes if ax.axison]
    return all(ax.has_data() or ax.texts for ax in panels) and not any(why in words(page) for why in said)


def drawn_or_why(name: str, draw: Draw, points: pd.DataFrame, table: pd.DataFrame) -> tuple[list[Page], str]:
    """The pages of a figure, or why it has none."""
    try:
        return draw(name, points, table), ""
    except NothingToShow as why:
        return [], str(why)


def check_partial_sweep(name: str, draw: Draw, case: str) -> None:
    """What is there is drawn, or the reason why nothing is."""
    points, table = PARTIAL[case]()
    pages, why = drawn_or_why(name, draw, points, table)
    assert bool(pages) != bool(why)
    if points.empty and name not in OF_NO_POINTS:
        assert why == "no finished runs"
    if (name, case) in WHY:
        assert why == WHY[name, case]
    assert all(len(page.data()) for page in pages)


def check_every_configuration(name: str, draw: Draw) -> None:
    """Nine configurations, five of them of architectures that only a sweep file knows."""
    every = (*CONFIGURATIONS, *OWN)
    pages = draw(name, points_for(name, every), planted_table(every))
    assert len(pages) in (1, 3)
    shown = pd.concat([page.data() for page in pages])[["panel", "series", "note"]].astype(str).agg(" ".join, axis=1)
    for look in style.looks(every):
        assert any(look.label in words(page) for page in pages)
        assert (shown.str.contains(look.name) | shown.str.contains(look.label)).any()
    for k, page in enumerate(pages):
        assert page.get_figheight() <= style.PAGE
        assert not_empty(page)
        assert len(pages) == 1 or f"page {k + 1} of 3" in words(page)


def check_one_configuration_alone(name: str, draw: Draw) -> None:
    """It saw one amount of data, so that nothing over D can be drawn."""
    points = planted_points(("gru-sl",)).query("D > 2000")
    table = planted_table(("gru-sl",)).query("law != 'data' and coefficient not in ('beta', 'B')")
    pages, why = drawn_or_why(name, draw, points, table)
    assert bool(pages) != bool(why)
    for page in pages:
        assert not_empty(page)
        assert page.drawn or "R-SL" not in words(page)


def check_twice(name: str, save: Save, folder: Path, monkeypatch: pytest.MonkeyPatch, formats: list[str]) -> None:
    """One figure, written twice, the second time under another clock."""
    first, _ = save(name, points_for(name), planted_table(), folder / "a", formats)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    second, _ = save(name, points_for(name), planted_table(), folder / "b", formats)
    assert [p.name for p in first] == [f"{name}.{s}" for s in (*formats, "csv")]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def check_every_format(name: str, save: Save, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One figure in every format."""
    check_twice(name, save, folder, monkeypatch, ["png", "pdf", "svg"])
    pdf = (folder / "a" / f"{name}.pdf").read_bytes()
    assert b"FontFile2" in pdf  # TrueType, embedded
    assert b"CreationDate" not in pdf
    assert b"<text" not in (folder / "a" / f"{name}.svg").read_bytes()  # letters as outlines: the same on every machine
