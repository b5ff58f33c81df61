"""Figures of any sweep: each draws points and fitted laws, and lies beside its data."""

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from analysis.figures import (
    comparison,
    compute,
    contours,
    exponents,
    fewshot,
    holdout,
    isoflop,
    kappas,
    labels,
    learning,
    observed,
    overfitting,
    overlay,
    profiles,
    robustness,
    scaling,
    trajectories,
    transfer,
)
from analysis.figures.figure import FORMATS, Plate, mark_of, write
from analysis.figures.typesetting import paper

Draw = Callable[[pd.DataFrame, pd.DataFrame], Plate]
FIGURES: dict[str, Draw] = {
    "scaling": scaling.draw,  # Fig. 2
    "transfer": transfer.draw,  # Fig. 3
    "kappas": kappas.draw,  # Table S.7
    "overlay": overlay.draw,  # Figs. 4 and S.3
    "compute": compute.draw,  # Fig. 5
    "learning": learning.draw,
    "contours": contours.draw,  # Fig. S.5
    "isoflop": isoflop.draw,
    "exponents": exponents.draw,  # Fig. S.2
    "profiles": profiles.draw,
    "holdout": holdout.draw,
    "trajectories": trajectories.draw,  # Fig. S.4
    "overfitting": overfitting.draw,  # Figs. S.7 and S.8
    "labels": labels.draw,  # Figs. 6 and S.6
    "fewshot": fewshot.draw,  # Fig. S.9
    "robustness": robustness.draw,
}
# Figures of a special kind of sweep: whether points come from one. Their subject is how groups of runs differ.
SPECIAL: dict[str, Callable[[pd.DataFrame], bool]] = {
    "labels": labels.has,
    "fewshot": fewshot.has,
    "robustness": robustness.has,
}
ACROSS: dict[str, Callable[[pd.DataFrame, pd.DataFrame, Sequence[str]], Plate]] = {"comparison": comparison.draw}


class NoSuchFigure(ValueError):
    """A figure or format that is not there: which, and the nearest that is."""


def fitting(points: pd.DataFrame, known: Mapping[str, Draw] = FIGURES) -> list[str]:
    """Names of the ``known`` figures that points have something to show in."""
    return [name for name in known if name not in SPECIAL or SPECIAL[name](points)]


def draw(
    name: str,
    points: pd.DataFrame,
    table: pd.DataFrame,
    mark: str | None = None,
    known: Mapping[str, Draw] = FIGURES,
) -> Plate:
    """One figure in the house's style, signed with its mark.

    ``points``: ``analysis.observations.trajectories`` (every checkpoint of every finished run) of one sweep; plain
    ``observations`` do too, but then the frontier is drawn from the best steps alone. ``table``: the exponents table,
    empty if nothing is fitted yet. ``mark``: words on the figure's face, such as "Demo scale: ..."; None takes the mark
    that the points carry by themselves, "" leaves it out. ``known``: the figures there are, for a study that has more.
    Raises NoSuchFigure for a name that is not among them.
    """
    if name not in known:
        raise NoSuchFigure(f"no figure is called '{name}'{nearest(name, [*known, *ACROSS])}")
    with paper():
        left_out: list[str] = []
        if name not in SPECIAL:
            points, table, left_out = observed.one_group(robustness.without_conditions(points), table)
        plate = known[name](points, table)
        for group in left_out:
            plate.lacks(group)
        plate.sign("" if plate.drawn else mark_of(points) if mark is None else mark)
        plate.settle()
    return plate


def save(
    name: str,
    points: pd.DataFrame,
    table: pd.DataFrame,
    folder: Path,
    formats: Iterable[str] = ("png",),
    mark: str | None = None,
    known: Mapping[str, Draw] = FIGURES,
) -> list[Path]:
    """Draw a figure and write ``folder/name.<format>`` for each format and ``folder/name.csv``, its data.

    The same input gives the same bytes. Points of several sweeps make a figure each, in a folder named after the sweep;
    a name in ``ACROSS`` takes those of exactly two sweeps and makes one. Arguments as in ``draw``. Raises NoSuchFigure
    for an unknown name or format, and for a comparison of other than two sweeps.
    """
    formats = list(formats)
    for wanted in formats:
        if wanted not in FORMATS:
            raise NoSuchFigure(f"figures cannot be written as '{wanted}'{nearest(wanted, FORMATS)}")
    sweeps = sorted(points["sweep"].unique()) if len(points) else []
    if name in ACROSS:
        return _written(across(name, points, table, sweeps, mark), name, folder, formats)
    if len(sweeps) <= 1:
        return _written(draw(name, points, table, mark, known), name, folder, formats)
    paths = []
    for sweep in sweeps:
        part, fits = points[points["sweep"] == sweep], table
        if name not in fitting(part, known):
            continue
        if "sweep" in table:
            fits = table[table["sweep"] == sweep]
        paths += save(name, part, fits, folder / str(sweep), formats, mark, known)
    return paths


def across(
    name: str, points: pd.DataFrame, table: pd.DataFrame, sweeps: Sequence[str], mark: str | None = None
) -> Plate:
    """A figure that sets two sweeps beside each other. Raises NoSuchFigure unless there are two."""
    if len(sweeps) != 2:
        there = f"there are {', '.join(sweeps)}" if sweeps else "there is none"
        raise NoSuchFigure(f"a {name} takes two sweeps with finished runs, and {there}; name two with --sweep")
    with paper():
        plate = ACROSS[name](points, table, sweeps)
        plate.sign(mark_of(points) if mark is None else mark)
        plate.settle()
    return plate


def _written(plate: Plate, name: str, folder: Path, formats: list[str]) -> list[Path]:
    with paper():
        return write(plate, name, folder, formats)


def nearest(name: str, known: Iterable[str]) -> str:
    """The nearest name that is there as the end of a sentence, or all names."""
    near = difflib.get_close_matches(name, list(known), 1, 0.4)
    return f"; did you mean '{near[0]}'?" if near else f"; there are {', '.join(known)}"
