"""Figures of any sweep: each draws points and fitted laws, and lies beside its data."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ecgscale.analysis.figures import (
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
from ecgscale.analysis.figures.figure import FORMATS, NothingToShow, Page, mark_of, write
from ecgscale.analysis.figures.typesetting import paper
from ecgscale.phrases import did_you_mean
from ecgscale.registry import Registry

Draw = Callable[[pd.DataFrame, pd.DataFrame], list[Page]]
FIGURES: Registry[Draw] = Registry(
    "figures",
    {
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
    },
    lambda name, thing: "" if callable(thing) else "it is no function of points and a table",
)
# Figures of a special kind of sweep: whether points come from one. Their subject is how groups of runs differ.
SPECIAL: dict[str, Callable[[pd.DataFrame], bool]] = {
    "labels": labels.has,
    "fewshot": fewshot.has,
    "robustness": robustness.has,
}
ACROSS: dict[str, Callable[[pd.DataFrame, pd.DataFrame, Sequence[str]], list[Page]]] = {"comparison": comparison.draw}


class NoSuchFigure(ValueError):
    """A figure or format that is not there: which, and the nearest that is."""


def fitting(points: pd.DataFrame, known: Mapping[str, Draw] = FIGURES) -> list[str]:
    """Names of the ``known`` figures that are about points of this kind."""
    return [name for name in known if name not in SPECIAL or SPECIAL[name](points)]


def draw(
    name: str,
    points: pd.DataFrame,
    table: pd.DataFrame,
    mark: str | None = None,
    known: Mapping[str, Draw] = FIGURES,
    whole: Container[str] = SPECIAL,
) -> list[Page]:
    """The pages of one figure in the house's style, signed with its mark; every configuration is on one of them.

    ``points``: ``analysis.observations.trajectories`` (every checkpoint of every finished run) of one sweep; plain
    ``observations`` do too, but then the frontier is drawn from the best steps alone. ``table``: the exponents table,
    empty if nothing is fitted yet. ``mark``: words on the figure's face, such as "Demo scale: ..."; None takes the mark
    that the points carry by themselves, "" leaves it out. ``known``: the figures there are, for a study that has more;
    ``whole``: those of them that see the points of all corpora, label sets and conditions.
    Raises NoSuchFigure for a name that is not among them, and NothingToShow, which says why, for one that these points
    and fits have nothing for.
    """
    if name not in known:
        raise NoSuchFigure(f"no figure is called '{name}'{did_you_mean(name, [*known, *ACROSS])}")
    if name in FIGURES and points.empty:
        raise NothingToShow("no finished runs")
    with paper():
        left_out: list[str] = []
        if name not in whole:
            points, table, left_out = observed.one_group(robustness.without_conditions(points), table)
        pages = known[name](points, table)
        for words in [*left_out, *observed.never_finished(points)]:
            pages[0].note_missing(words)
        return _finished(pages, mark_of(points) if mark is None else mark)


def save(
    name: str,
    points: pd.DataFrame,
    table: pd.DataFrame,
    folder: Path,
    formats: Iterable[str] = ("png",),
    mark: str | None = None,
    known: Mapping[str, Draw] = FIGURES,
    whole: Container[str] = SPECIAL,
) -> tuple[list[Path], list[str]]:
    """Draw a figure and write its pages: ``folder/name.<format>`` and ``folder/name.csv``, then ``name-2`` and so on.

    Returns the files, and a line for each sweep that has nothing to show in it, which says why. The same input gives
    the same bytes; files that the figure left here when it had more pages are removed. Points of several sweeps make a
    figure each, in a folder named after the sweep; a name in ``ACROSS`` takes those of exactly two sweeps and makes
    one. Arguments as in ``draw``. Raises NoSuchFigure for an unknown name or format, and for a comparison of other than
    two sweeps.
    """
    formats = list(formats)
    for wanted in formats:
        if wanted not in FORMATS:
            raise NoSuchFigure(f"figures cannot be written as '{wanted}'{did_you_mean(wanted, FORMATS)}")
    sweeps = sorted(points["sweep"].unique()) if len(points) else []
    if name in ACROSS:
        return _written(across(name, points, table, sweeps, mark), name, folder, formats), []
    if len(sweeps) <= 1:
        try:
            pages = draw(name, points, table, mark, known, whole)
        except NothingToShow as why:
            _written([], name, folder, [])
            return [], [f"{name} is not drawn: {why}"]
        return _written(pages, name, folder, formats), []
    paths, lines = [], []
    for sweep in sweeps:
        part, fits = points[points["sweep"] == sweep], table
        if name in known and name not in fitting(part, known):
            continue
        if "sweep" in table:
            fits = table[table["sweep"] == sweep]
        written, absent = save(name, part, fits, folder / str(sweep), formats, mark, known, whole)
        paths += written
        lines += [f"{sweep}: {line}" for line in absent]
    return paths, lines


def across(
    name: str, points: pd.DataFrame, table: pd.DataFrame, sweeps: Sequence[str], mark: str | None = None
) -> list[Page]:
    """A figure that sets two sweeps beside each other. Raises NoSuchFigure unless there are two."""
    if len(sweeps) != 2:
        there = f"there are {', '.join(sweeps)}" if sweeps else "there is none"
        raise NoSuchFigure(f"a {name} takes two sweeps with finished runs, and {there}; name two with --sweep")
    with paper():
        return _finished(ACROSS[name](points, table, sweeps), mark_of(points) if mark is None else mark)


def page_name(name: str, k: int) -> str:
    """What the files of a figure's k-th page (from 0) are called: "scaling", then "scaling-2"."""
    return f"{name}-{k + 1}" if k else name


def _finished(pages: list[Page], mark: str) -> list[Page]:
    for k, page in enumerate(pages):
        if len(pages) > 1:
            page.source += f" · page {k + 1} of {len(pages)}"
        page.footer("" if page.drawn else mark)
        page.fix_layout()
    return pages


def _written(pages: list[Page], name: str, folder: Path, formats: list[str]) -> list[Path]:
    with paper():
        paths = [path for k, page in enumerate(pages) for path in write(page, page_name(name, k), folder, formats)]
    k = len(pages)
    while stale := [f for f in (folder / f"{page_name(name, k)}.{s}" for s in (*FORMATS, "csv")) if f.exists()]:
        for file in stale:
            file.unlink()
        k += 1
    return paths
