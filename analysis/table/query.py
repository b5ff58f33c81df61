"""Query the exponents table: read, filter by name or by a condition, print in any format. No fitting here."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.analysis.fitting.status import limit_texts
from ecgscale.analysis.naming import configuration_named
from ecgscale.analysis.table import markup
from ecgscale.analysis.table.where import BadQuery, condition
from ecgscale.phrases import did_you_mean
from ecgscale.records import intact

FILE = "exponents.parquet"

COLUMNS = (
    "law",
    "sweep",
    "corpus",
    "label_set",
    "configuration",
    "target",
    "domain",
    "at",
    "coefficient",
    "value",
    "low",
    "high",
    "at_bound",
    "status",
    "note",
    "n_points",
    "r2",
    "rmse_log",
    "bootstrap_low",
    "bootstrap_high",
    "objective",
    "interval",
    "level",
    "select",
    "n_params",
    "n_excluded",
    "excluded",
    "aic",
    "bic",
    "holdout",
    "converged",
    "starts_agree",
    "condition",
    "low_end",
    "high_end",
    "lack_of_fit",
    "n_tried",
    "at_edge",
)
SHOWN = (
    "law",
    "configuration",
    "target",
    "at",
    "coefficient",
    "value",
    "low",
    "high",
    "at_bound",
    "n_points",
    "r2",
    "status",
)
COMPARED = tuple("law configuration target coefficient value low high paper difference within source status".split())
FORMATS = ("table", "csv", "json", "md", "latex", "parquet")


def read(results: Path) -> pd.DataFrame:
    """The fitted table of a results folder, against its seal. Raises BadQuery if nothing was fitted yet, or damaged."""
    try:
        return pd.read_parquet(io.BytesIO(intact(results / FILE)))
    except FileNotFoundError:
        where = results.name or "these results"
        raise BadQuery(f"nothing is fitted in {where} yet: run `ecgscale fit` first") from None
    except (ValueError, OSError) as error:
        raise BadQuery(f"{results.name}/{FILE} is damaged ({error}); run `ecgscale fit` again") from error


def query(
    table: pd.DataFrame,
    law: str | None = None,
    configuration: str | None = None,
    target: str | None = None,
    coefficient: str | None = None,
    where: str | None = None,
) -> pd.DataFrame:
    """Rows of the table that match every given name and the condition.

    Raises BadQuery for a name that is not in the table, with the nearest one, and for a condition that cannot be read.
    """
    mask = pd.Series(True, index=table.index)
    if configuration is not None:
        configuration = configuration_named(configuration)
    asked = {"law": law, "configuration": configuration, "target": target, "coefficient": coefficient}
    for column, name in asked.items():
        if name is None:
            continue
        known = sorted(v for v in table[column].dropna().unique() if v)
        if name not in known:
            raise BadQuery(f"no {column} '{name}' in the table{did_you_mean(name, known)}")
        mask &= table[column] == name
    if where:
        mask &= condition(where)(table)
    return table[mask].reset_index(drop=True)


def flagged(table: pd.DataFrame) -> pd.Series:
    """Rows that cannot be taken at face value: not "ok", or of a fit that did not converge."""
    return (table["status"] != "ok") | ~table["converged"].fillna(True).astype(bool)


def render(table: pd.DataFrame, format: str = "table") -> str | bytes:
    """The table in one of ``FORMATS``: text for people shows the main columns, data formats hold all of them."""
    match format:
        case "table":
            return as_text(table)
        case "csv":
            return table.to_csv(index=False)
        case "json":
            return as_json(table)
        case "md":
            return as_markdown(table)
        case "latex":
            return as_latex(table)
        case "parquet":
            sink = io.BytesIO()
            table.to_parquet(sink, index=False)
            return sink.getvalue()
    raise BadQuery(f"no format '{format}'{did_you_mean(format, list(FORMATS))}")


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]], list[bool]]:
    """Header, cells as text, and which columns are numbers, of the columns for people."""
    wanted = COMPARED if "paper" in table else SHOWN
    shown = [c for c in wanted if c in table] if "coefficient" in table else list(table.columns)
    part = _one_sided(table)[shown]
    numeric = [pd.api.types.is_numeric_dtype(table[c]) and not pd.api.types.is_bool_dtype(table[c]) for c in shown]
    columns = [
        [_cell(v) if n else "" if v is None or v != v else str(v) for v in part[c].tolist()]
        for c, n in zip(shown, numeric, strict=True)
    ]
    return shown, [list(row) for row in zip(*columns, strict=True)], numeric


def _one_sided(table: pd.DataFrame) -> pd.DataFrame:
    """The table with ends that the data did not set in words: a limit on one side only, "≤ 0.14" and "no limit"."""
    if not {"low", "high", "low_end", "high_end"} <= set(table):
        return table
    ends = table[["low", "high", "low_end", "high_end"]].fillna({"low_end": "", "high_end": ""})
    columns = (ends["low"], ends["high"], ends["low_end"], ends["high_end"])
    texts = [limit_texts(a, b, a_kind, b_kind, _number) for a, b, a_kind, b_kind in zip(*columns, strict=True)]
    return table.assign(low=[low for low, _ in texts], high=[high for _, high in texts])


def _cell(value: float | str) -> str:
    return value if isinstance(value, str) else _number(value)


def _number(value: float) -> str:
    if value is None or value != value:
        return ""
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"


def as_text(table: pd.DataFrame) -> str:
    """Aligned columns."""
    header, rows, numeric = _cells(table)
    widths = [max([len(h), *(len(r[i]) for r in rows)]) for i, h in enumerate(header)]

    def line(cells: list[str]) -> str:
        aligned = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True))
        return "  ".join(aligned).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, rows)]) + "\n"


def as_markdown(table: pd.DataFrame) -> str:
    """A Markdown table."""
    return markup.markdown(*_cells(table))


def as_latex(table: pd.DataFrame) -> str:
    """A booktabs tabular."""
    header, rows, numeric = _cells(table)
    return markup.tabular(header, rows, "".join("r" if n else "l" for n in numeric))


def as_json(table: pd.DataFrame) -> str:
    """A list of rows; what is missing or not finite is null."""
    return json.dumps(
        [{k: _plain(v) for k, v in row.items()} for row in table.to_dict("records")], indent=1, ensure_ascii=False
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return None if value is pd.NA or value is pd.NaT else value
