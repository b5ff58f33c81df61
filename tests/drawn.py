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

from analysis.figures import style
from analysis.figures.figure import DATA_COLUMNS, Plate
from tests.planted import CONFIGURATIONS, NO_POINTS, NO_TABLE, planted_points, planted_table

Draw = Callable[[str, pd.DataFrame, pd.DataFrame], Plate]
Save = Callable[[str, pd.DataFrame, pd.DataFrame, Path, list[str]], list[Path]]

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


def words(figure: Figure) -> str:
    """Everything that is written on a figure."""
    return "\n".join(t.get_text() for t in figure.findobj(Text))


def check_whole_sweep(name: str, draw: Draw) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plate = draw(name, planted_points(), planted_table())
        plate.draw_without_rendering()
    text = "\n".join(t.get_text() for t in plate.texts)
    if not plate.drawn:
        assert "2,550 recordings, not evidence" in text
        assert "44 runs of sweep demo" in text or "Published" in text
    assert plate.caption
    assert plate.get_figwidth() in (style.ONE_COLUMN, style.TWO_COLUMNS)
    written = [t for t in plate.findobj(Text) if t.get_text() and t.get_visible()]
    sizes = [float(t.get_fontsize()) for t in written]
    assert 7 <= min(sizes) <= max(sizes) <= 10
    assert list(plate.data().columns) == list(DATA_COLUMNS)


def check_partial_sweep(name: str, draw: Draw, case: str) -> None:
    points, table = PARTIAL[case]()
    plate = draw(name, points, table)
    if set(CONFIGURATIONS) - set(points["configuration"]) and not plate.drawn and name != "landscape":
        assert plate.missing
    if points.empty and not plate.drawn:
        said = words(plate) + " ".join(plate.missing)
        assert any(t in said for t in ("no finished runs", "not measured", "no runs", "none has an AUROC"))


def check_twice(name: str, save: Save, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One figure in every format, written twice, the second time under another clock."""
    formats = ["png", "pdf", "svg"]
    first = save(name, planted_points(), planted_table(), folder / "a", formats)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    second = save(name, planted_points(), planted_table(), folder / "b", formats)
    assert [p.name for p in first] == [f"{name}.{s}" for s in (*formats, "csv")]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    pdf = first[1].read_bytes()
    assert b"FontFile2" in pdf  # TrueType, embedded
    assert b"CreationDate" not in pdf
    assert b"<text" not in first[2].read_bytes()  # letters as outlines: the same on every machine
