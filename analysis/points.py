"""Anybody's table of points: read it, understand its columns, fit it group by group, give the fits as JSON values."""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ecgscale.analysis.columns import ALIASES, KEPT, Understood, understood
from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.formula import law_of
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.joint_floors import LAW as JOINT_FLOORS
from ecgscale.analysis.fitting.laws import EXPONENT, Law
from ecgscale.analysis.fitting.result import Coefficient, Fit
from ecgscale.analysis.fitting.transfer import CONVENTIONS, loss_to_loss
from ecgscale.analysis.table.where import condition
from ecgscale.phrases import did_you_mean

NO_GROUP = "none"  # what is typed for one law over all points


def read_points(file: Path) -> pd.DataFrame:
    """A table of points from CSV (commas, semicolons, tabs or blanks) or Parquet.

    Raises BadPoints, in one sentence, if it cannot be read.
    """
    try:
        if file.suffix in (".parquet", ".pq"):
            return pd.read_parquet(file)
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadPoints(f"there is no file {file.name}") from None
    except UnicodeDecodeError:
        raise BadPoints(f"{file.name} is no text in UTF-8; save it as CSV in UTF-8, or as .parquet") from None
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise BadPoints(f"{file.name} cannot be read as a table: {reason}") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise BadPoints(f"{file.name} is empty")
    between = max(",;\t", key=lines[0].count)
    blanks = not lines[0].count(between) and len(lines[0].split()) > 1
    comma = between == ";" and bool(re.search(r"\d,\d", "\n".join(lines[1:3])))
    try:
        return pd.read_csv(
            io.StringIO(text),
            sep=r"\s+" if blanks else between,
            skipinitialspace=not blanks,
            decimal="," if comma else ".",
        )
    except (ValueError, OSError) as error:
        raise BadPoints(f"{file.name} cannot be read as a table: {str(error).splitlines()[0]}") from error


def default_law(points: pd.DataFrame) -> str:
    """The law that a table's columns ask for."""
    if {"loss_id", "loss_ood"} <= set(points):
        return "transfer"
    if {"N", "D"} <= set(points):
        return "joint"
    return next((law for law, column in (("frontier", "C"), ("size", "N"), ("data", "D")) if column in points), "joint")


@dataclass(frozen=True)
class Points:
    """A table of points under the house's names, and the columns that say which points have a law of their own."""

    columns: Understood
    by: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def table(self) -> pd.DataFrame:
        """All points."""
        return self.columns.table

    def law(self, text: str | Law | None = None) -> Law:
        """The law that a name or formula asks for (the columns ask for one if left out), its columns there.

        Raises BadPoints otherwise.
        """
        law = law_of(text or default_law(self.table), self.columns.names)
        self.columns.need([*law.variables, law.response])
        return law

    def said(self, *laws: Law) -> list[str]:
        """What was understood, in words: of the columns that laws read, of the groups, of the laws."""
        used = dict.fromkeys(c for law in laws for c in (*law.variables, law.response))
        facts = [self.columns.facts[c] for c in used if c in self.columns.facts]
        read = [facts and "read: " + ", ".join(facts), *self.notes]
        for law in laws:
            if law.source == "formula":
                read.append(
                    f"{law.name}: columns {', '.join(law.variables)}; coefficients {', '.join(law.coefficients)}"
                )
        return [sentence for sentence in read if sentence]

    def parts(self) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
        """Each group: what it is, and its points."""
        if not self.by:
            yield {}, self.table
            return
        for key, part in self.table.groupby(list(self.by), dropna=False, sort=True):
            yield {c: None if v != v else v for c, v in zip(self.by, key, strict=True)}, part


def points_of(
    file: Path | str | pd.DataFrame,
    *,
    loss_column: str | None = None,
    metric: str | None = None,
    by: Sequence[str] | None = None,
    where: str | None = None,
) -> Points:
    """Points from a table or its file: columns understood, rows chosen, groups found.

    Groups are those of the text columns that are not different in every row, or of the columns in ``by`` ("none": all
    points are one). Raises BadPoints (BadQuery for ``where``), in one sentence.
    """
    table = file if isinstance(file, pd.DataFrame) else read_points(Path(file))
    if where:
        table = table.rename(columns=lambda c: str(c).strip())
        table = table[condition(where)(table)]
        if table.empty:
            raise BadPoints(f"no row of the points is left by --where '{where}'")
    columns = understood(table, loss_column, metric)
    table = columns.table
    if by is not None:
        names = [] if list(by) == [NO_GROUP] else list(by)
        for name in names:
            if name not in table:
                raise BadPoints(f"the points have no column '{name}' to group by{did_you_mean(name, table.columns)}")
        return Points(columns, tuple(names))
    numeric = set(table.select_dtypes("number").columns)
    text = [c for c in map(str, table) if c not in (*ALIASES, *KEPT) and c not in numeric]
    labels = [c for c in text if len(table) > 1 and table[c].nunique(dropna=False) == len(table)]
    groups = [c for c in text if c not in labels]
    notes = [f"column '{c}' is different in every row, so it is no group" for c in labels]
    if groups:
        count = table.groupby(groups, dropna=False).ngroups
        notes.append(
            f"one law for each of {count} groups by {', '.join(groups)} (others with --by)" if count > 1 else ""
        )
    return Points(columns, tuple(groups), tuple(note for note in notes if note))


def fit_points(
    file: Path | str | pd.DataFrame | Points,
    law: str | Law | None = None,
    objective: str = "log-ls",
    delta: float = 1e-3,
    bootstrap: int | None = None,
    max_exponent: float = EXPONENT[1],
    weights: str = "equal",
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> list[dict[str, Any]]:
    """Fit anybody's table (columns N, D, loss, or C, loss, or loss_id, loss_ood), one fit a group.

    ``law``: a name, or a formula; ``bounds`` of its exponents and floor, by name. A group that cannot be fitted has
    status "failed" and says why in its note; a table without the needed columns raises BadPoints.
    """
    points = file if isinstance(file, Points) else points_of(file)
    chosen = points.law(law)
    fits = []
    for group, part in points.parts():
        try:
            options = {"objective": objective, "delta": delta, "bootstrap": bootstrap, "weights": weights}
            found = _fit_part(chosen, part, max_exponent, bounds, **options)
            fits.append({"group": group, **as_json(found), "law": chosen.shown})
        except BadPoints as error:
            if not points.by:
                raise
            fits.append(
                {
                    "group": group,
                    "law": chosen.shown,
                    "coefficients": {},
                    "r2": None,
                    "rmse_log": None,
                    "n_points": 0,
                    "status": "failed",
                    "note": str(error),
                }
            )
    return fits


def _fit_part(
    law: Law, part: pd.DataFrame, max_exponent: float, bounds: Mapping[str, tuple[float, float]] | None, **options: Any
) -> Fit:
    """Transfer between losses has its floors from columns E_id and E_ood, or from joint laws if N and D are given."""
    if law.name in CONVENTIONS:
        floors = {name: _one_value(part, name) for name in ("E_id", "E_ood") if name in part}
        if law.name == JOINT_FLOORS or "E_id" in floors or {"N", "D"} <= set(part):
            if bounds:
                raise BadPoints(f"the coefficients of the {law.name} law can't be given bounds; leave --bound out")
            if options["weights"] != "equal":
                raise BadPoints(f"the {law.name} law is fitted with equal weights alone; leave --weights out")
            if options["objective"] != "log-ls":
                raise BadPoints(f"the {law.name} law is fitted by least squares of logs alone; leave --objective out")
            floor, floor_ood = floors.get("E_id"), floors.get("E_ood")
            return loss_to_loss(part, floor, floor_ood, law=law.name, bootstrap=options["bootstrap"])
    return fit(law, part, max_exponent=max_exponent, bounds=bounds, **options)


def _one_value(part: pd.DataFrame, name: str) -> float:
    values = part[name].dropna().unique()
    if len(values) != 1:
        raise BadPoints(f"column {name} holds {len(values)} values; a floor is one number a group")
    return float(values[0])


def as_json(found: Fit) -> dict[str, Any]:
    """A fit as JSON values; what is not finite is null."""

    def number(v: float) -> float | None:
        return float(v) if math.isfinite(v) else None

    def coefficient(c: Coefficient) -> dict[str, Any]:
        out: dict[str, Any] = {
            "value": number(c.value),
            "low": number(c.low),
            "high": number(c.high),
            "low_end": c.low_end,
            "high_end": c.high_end,
            "at_bound": c.at_bound,
            "status": c.status,
        }
        if math.isfinite(c.bootstrap_low):
            out |= {"bootstrap_low": number(c.bootstrap_low), "bootstrap_high": number(c.bootstrap_high)}
        return out

    h = found.health
    return {
        "law": found.law,
        "coefficients": {name: coefficient(c) for name, c in found.coefficients.items()},
        "derived": {name: coefficient(c) for name, c in found.derived.items()},
        "r2": number(h.r2),
        "rmse_log": number(h.rmse_log),
        "n_points": h.n_points,
        "status": found.status,
        "note": found.note,
        "objective": found.objective,
        "objective_value": number(h.objective_value),
        "interval": found.interval,
        "level": found.level,
        "health": {
            "converged": h.converged,
            "starts_agree": number(h.starts_agree),
            "condition": number(h.condition),
            "n_params": h.n_params,
            "excluded": dict(h.excluded),
            "aic": number(h.aic),
            "bic": number(h.bic),
            "holdout": number(h.holdout),
            "lack_of_fit": number(h.lack_of_fit),
        },
    }
