"""Query the exponents table: read, filter by name or by a condition, print in any format. No fitting here."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.table.where import BadQuery, condition, nearest

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
CONFIGURATIONS = {
    "R-SL": "resnet-sl",
    "R-SSL": "resnet-ssl",
    "T-SL": "transformer-sl",
    "T-SSL": "transformer-ssl",
}


def read(results: Path) -> pd.DataFrame:
    """The fitted table of a results folder. Raises BadQuery if nothing was fitted yet."""
    path = results / "exponents.parquet"
    if not path.exists():
        raise BadQuery(f"nothing is fitted in {results.name or 'these results'} yet: run `ecgscale fit` first")
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise BadQuery(f"{results.name}/exponents.parquet is damaged; run `ecgscale fit` again") from error


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
        configuration = CONFIGURATIONS.get(configuration.upper(), configuration)
    asked = {"law": law, "configuration": configuration, "target": target, "coefficient": coefficient}
    for column, name in asked.items():
        if name is None:
            continue
        known = sorted(v for v in table[column].dropna().unique() if v)
        if name not in known:
            raise BadQuery(f"no {column} '{name}' in the table{nearest(name, known)}")
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
    raise BadQuery(f"no format '{format}'{nearest(format, list(FORMATS))}")


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]], list[bool]]:
    """Header, cells as text, and which columns are numbers, of the columns for people."""
    wanted = COMPARED if "paper" in table else SHOWN
    shown = [c for c in wanted if c in table] if "coefficient" in table else list(table.columns)
    part = table[shown]
    numeric = [pd.api.types.is_numeric_dtype(part[c]) and not pd.api.types.is_bool_dtype(part[c]) for c in shown]
    columns = [
        [_number(v) if n else "" if v is None or v != v else str(v) for v in part[c].tolist()]
        for c, n in zip(shown, numeric, strict=True)
    ]
    return shown, [list(row) for row in zip(*columns, strict=True)], numeric


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
    header, rows, numeric = _cells(table)
    rule = ["---:" if n else "---" for n in numeric]
    return "".join("| " + " | ".join(c.replace("|", "\\|") for c in r) + " |\n" for r in [header, rule, *rows])


LATEX = {c: "\\" + c for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def as_latex(table: pd.DataFrame) -> str:
    """A booktabs tabular."""
    header, rows, numeric = _cells(table)

    def line(cells: list[str]) -> str:
        return " & ".join("".join(LATEX.get(ch, ch) for ch in c) for c in cells) + r" \\"

    body = [line(header), r"\midrule", *map(line, rows)]
    columns = "".join("r" if n else "l" for n in numeric)
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *body, r"\bottomrule", r"\end{tabular}"]) + "\n"


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


REFERENCE = Path(__file__).parents[1] / "study" / "reference"


def task_key(name: str) -> str:
    """A task's name without case and punctuation, so that ``PTB-XL(sub.)`` and ``ptbxl_subclass`` are one."""
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    family = next((f for f in ("ptbxl", "mimiciv", "mimic") if key.startswith(f)), None)
    return f"{family[:5]}-{key[len(family) :][:3]}" if family else key


# The eleven tasks of the study, under the names that they have in results.
TASKS = (
    "cpsc2018",
    "csn",
    "ptbxl-diag",
    "ptbxl-sub",
    "ptbxl-sup",
    "ptbxl-form",
    "ptbxl-rhythm",
    "echonext",
    "mimic-icu",
    "mimic-mortality",
    "mimic-sex",
)
MARGINAL = {"size": "Table S.5", "data": "Table S.6"}


def printed_transfer() -> pd.DataFrame:
    """Table S.7: target (as results name it), configuration, K, kappa, R2."""
    printed = pd.read_csv(REFERENCE / "table_s7.csv")
    names = {task_key(task): task for task in TASKS}
    return printed.assign(target=[names[task_key(t)] for t in printed["target"]])


def with_paper(table: pd.DataFrame) -> pd.DataFrame:
    """Add what the paper has beside ours; NaN and "" where it has nothing.

    Columns: ``paper``, ``difference`` (ours - theirs), ``within`` (theirs lies in our interval: "yes" or "no"),
    ``source``. K and kappa are printed (Table S.7). alpha and beta are not: those here are refits of the losses of
    Tables S.5 and S.6, and say so; those that are at a bound or not identified are left out.
    """
    published: dict[tuple[str, str, str, str], tuple[float, str]] = {}
    for row in printed_transfer().to_dict("records"):
        for name in ("K", "kappa"):
            at_bound = name == "kappa" and round(row[name], 3) == 0.05
            key = ("transfer", name, row["configuration"], task_key(row["target"]))
            published[key] = (row[name], "Table S.7" + (", at its bound" if at_bound else ""))
    refit = pd.read_csv(REFERENCE / "refit.csv")
    for row in refit[(refit["status"] == "ok") & refit["coefficient"].isin(["alpha", "beta"])].to_dict("records"):
        answer = (row["value"], f"derived: {MARGINAL[row['law']]}")
        for law in (row["law"], "joint"):
            published[law, row["coefficient"], row["configuration"], task_key(row["target"])] = answer
    keys = zip(table["law"], table["coefficient"], table["configuration"], map(task_key, table["target"]), strict=True)
    found = [published.get(key, (np.nan, "")) for key in keys]
    paper = np.array([value for value, _ in found], float)
    inside = (paper >= table["low"].to_numpy(float)) & (paper <= table["high"].to_numpy(float))
    known = np.isfinite(paper) & table["low"].notna().to_numpy() & table["high"].notna().to_numpy()
    return table.assign(
        paper=paper,
        difference=table["value"] - paper,
        within=np.where(known, np.where(inside, "yes", "no"), ""),
        source=[source for _, source in found],
    )
