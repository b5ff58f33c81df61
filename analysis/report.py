"""The report: one HTML file that opens without a network, with a sweep's state, figures, tables and provenance."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from ecgscale import records
from ecgscale.analysis.answer import HEADS, SILENT, answers, told_apart
from ecgscale.analysis.figures.figure import MARKS, mark_of
from ecgscale.analysis.figures.style import looks
from ecgscale.analysis.figures.typesetting import webfont
from ecgscale.analysis.inline import as_uri, csv, packed, svg
from ecgscale.analysis.learning import learning, shortfalls
from ecgscale.analysis.naming import spelled_out
from ecgscale.analysis.observations import Narrow, best_over_steps, every, trajectories
from ecgscale.analysis.sections import (
    LAWS,
    Row,
    coefficients,
    described,
    distinct,
    gained,
    learned,
    listed,
    plain,
    probed,
    provenance,
    state,
    summary,
)
from ecgscale.analysis.study import claims, figures
from ecgscale.analysis.study.beyond import beyond
from ecgscale.analysis.table.query import COLUMNS, FILE, read
from ecgscale.phrases import si

TEMPLATE = "report.html.j2"
FIRST = ("scaling", "transfer", "compute")  # figures that stand open; the others are folded


def report(
    results: Path,
    *,
    sweeps: Iterable[str] | None = None,
    path: Path | None = None,
    select: str = "val",
    mark: str | None = None,
    pending: int = 0,
    refresh: int = 0,
    cards: Mapping[str, Mapping[str, Any]] | None = None,
    narrow: Narrow = every,
) -> Path:
    """Write ``results/report.html`` (or ``path``) from the rows and the exponents table in ``results``; returns where.

    The page refers to nothing outside itself and the same input gives the same bytes. ``sweeps``: names, default all;
    ``select``: the split that chose steps where no exponents table says so; ``mark``: as in ``analysis.figures.draw``;
    ``cards``: Croissant cards of the corpora by name, as data. A results folder without runs or without fits still
    gives a page, which says so. ``pending``: runs that are planned and have no file yet; ``refresh``: seconds after
    which the page loads itself again, 0 for one that stays as it is; ``narrow``: chooses among measured runs.
    """
    names = None if sweeps is None else list(sweeps)
    loaded = narrow(records.load(results, names))
    points = trajectories(results, names, narrow)
    table = exponents_in(results, loaded.runs)
    if "select" in table and set(table["select"].dropna()) == {"test"}:
        select = "test"
    best = best_over_steps(points, select)
    shown_mark = mark_of(best) if mark is None else mark
    known = {
        look.name: look for look in looks([*loaded.rows["configuration"].unique(), *table["configuration"].unique()])
    }
    pages, absent = _figures(points, table, shown_mark)
    page = (
        _environment()
        .get_template(TEMPLATE)
        .render(
            title="Scaling report: " + (", ".join(sorted(loaded.runs["sweep"].unique())) or "no runs yet"),
            mark=shown_mark,
            marks=MARKS,
            summary=summary(best),
            state=state(loaded, pending, points.attrs["flagged"]),
            refresh=refresh,
            runs=listed(loaded, best, known),
            heads=HEADS,
            silent=SILENT,
            answers=answers(table),
            told_apart=told_apart(table),
            beyond=beyond(best),
            spelled_out=spelled_out(list(known)),
            figures=pages,
            not_drawn=absent,
            learning=learned(best, known),
            shortfalls=shortfalls(learning(best)),
            more_data=gained(best),
            exponents=coefficients(table, known),
            exponents_csv=packed(csv(table)),
            laws=LAWS,
            claims=_claims(points, table, select),
            cards=[described(name, card) for name, card in sorted((cards or {}).items())],
            targets=probed(loaded.rows),
            provenance=provenance(loaded.runs),
            select="validation" if select == "val" else "test",
            interval=distinct(table, "interval"),
            typefaces=[
                (weight, style, as_uri(webfont(name), "font/woff"))
                for name, weight, style in (
                    ("Regular", 400, "normal"),
                    ("It", 400, "italic"),
                    ("Semibold", 600, "normal"),
                )
            ],
        )
    )
    path = path or results / "report.html"
    records.write_whole(path, page.encode())
    return path


def exponents_in(results: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """The exponents table of these runs' sweeps; empty if nothing was fitted yet."""
    fitted = (results / FILE).exists()
    table = read(results) if fitted else pd.DataFrame(columns=list(COLUMNS))
    return table[table["sweep"].isin(set(runs["sweep"]))].reset_index(drop=True)


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    filters: dict[str, Callable[..., Any]] = {"plain": plain, "si": si, "fixed": _fixed, "formula": _formula}
    environment.filters.update(filters)
    return environment


def _figures(points: pd.DataFrame, table: pd.DataFrame, mark: str) -> tuple[list[Row], list[str]]:
    """The pages of every figure, and a line for each that has nothing to show."""
    found: list[Row] = []
    absent: list[str] = []
    sweeps = sorted(points["sweep"].unique()) if len(points) else [""]
    for sweep in sweeps:
        part = points[points["sweep"] == sweep] if sweep else points
        fits = table[table["sweep"] == sweep] if sweep else table
        of_sweep = f" ({sweep})" if len(sweeps) > 1 else ""
        for name in figures.fitting(part):
            try:
                pages = figures.draw(name, part, fits, mark)
            except figures.NothingToShow as why:
                absent.append(f"{name}{of_sweep}: {why}")
                continue
            for k, page in enumerate(pages):
                of_pages = f" ({k + 1} of {len(pages)})" if len(pages) > 1 else ""
                file = figures.page_name(name, k)
                known = f"{file}-{sweep}" if len(sweeps) > 1 else file
                title = page.title + of_sweep + of_pages
                found.append(
                    {
                        "name": known,
                        "first": name in FIRST,
                        "title": title,
                        "caption": page.caption,
                        "missing": page.missing,
                        "svg": svg(page, known, f"{title}. {page.caption}"),
                        "csv": packed(csv(page.data())),
                    }
                )
    return found, absent


def _claims(points: pd.DataFrame, table: pd.DataFrame, select: str) -> list[Row]:
    """The headline claims, tested on each sweep."""
    rows = []
    for sweep, part in points.groupby("sweep"):
        evidence = claims.of_results(part, table[table["sweep"] == sweep], select)
        for row in claims.as_json(claims.judge(evidence)):
            rows.append({**row, "sweep": sweep, "kind": {True: "yes", False: "no", None: "none"}[row["holds"]]})
    return rows


def _formula(text: str) -> Markup:
    """Powers as superscripts: "N^−α" is written with a raised −α."""
    return Markup(re.sub(r"\^([−\w*]+)", r"<sup>\1</sup>", str(escape(text))))


def _fixed(value: float) -> str:
    return "–" if not np.isfinite(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
