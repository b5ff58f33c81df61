"""Figures of the paper that no other study has, beside the general ones: landscape, schematic, winners, print."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ecgscale.analysis import figures as general
from ecgscale.analysis.figures import ACROSS, SPECIAL, Draw, NoSuchFigure, NothingToShow, across, page_name
from ecgscale.analysis.figures.figure import Page
from ecgscale.analysis.study.figures import landscape, reference, schematic, winners
from ecgscale.phrases import did_you_mean

_BEFORE: dict[str, dict[str, Draw]] = {  # in the paper's order: what stands before which general figure
    "scaling": {"landscape": landscape.draw},  # Fig. 1
    "compute": {"winners": winners.draw},  # Tables S.5 and S.6
    "contours": {"schematic": schematic.draw},  # Fig. S.1
}
FIGURES: dict[str, Draw] = {
    name: draw
    for place, of_any in general.FIGURES.items()
    for name, draw in {**_BEFORE.get(place, {}), place: of_any}.items()
}
WHOLE = {*SPECIAL, "landscape"}  # see the points of all tasks that models are trained on

__all__ = [
    "ACROSS",
    "FIGURES",
    "SPECIAL",
    "NoSuchFigure",
    "NothingToShow",
    "across",
    "draw",
    "fitting",
    "page_name",
    "save",
    "save_reference",
]


def fitting(points: pd.DataFrame) -> list[str]:
    """Names of the figures that are about points of this kind."""
    return general.fitting(points, FIGURES)


def draw(name: str, points: pd.DataFrame, table: pd.DataFrame, mark: str | None = None) -> list[Page]:
    """``analysis.figures.draw`` of any figure, the paper's own too."""
    return general.draw(name, points, table, mark, FIGURES, WHOLE)


def save(
    name: str,
    points: pd.DataFrame,
    table: pd.DataFrame,
    folder: Path,
    formats: Iterable[str] = ("png",),
    mark: str | None = None,
) -> tuple[list[Path], list[str]]:
    """``analysis.figures.save`` of any figure, the paper's own too."""
    return general.save(name, points, table, folder, formats, mark, FIGURES, WHOLE)


def save_reference(name: str, folder: Path, formats: Iterable[str] = ("png",)) -> list[Path]:
    """Draw a figure from the paper's printed tables, as ``save`` does. Raises NoSuchFigure if they cannot feed it."""
    if name not in reference.FIGURES:
        known = f"no printed table feeds the figure '{name}'" if name in FIGURES else f"no figure is called '{name}'"
        raise NoSuchFigure(f"{known}{did_you_mean(name, reference.FIGURES)}")
    table = reference.table(name in reference.REFITTED)
    return save(name, reference.published(), table, folder, formats, reference.FIGURES[name])[0]
