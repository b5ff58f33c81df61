"""``python -m tests.benchmarks.coverage``: a markdown table of measured coverage; 1 if a number lies outside."""

import argparse
import sys
import time
from collections.abc import Sequence
from importlib import import_module

from ecgscale.analysis.table.query import as_markdown
from tests.benchmarks.coverage import QUANTITIES, Cell, verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the cells asked for, print a line as each is done and the table at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.coverage", description=__doc__)
    parser.add_argument("--quantity", action="append", choices=QUANTITIES, help="all if left out")
    parser.add_argument("--cell", default="", help="only cells whose line holds this text, such as 'demo' or '4.0%%'")
    parser.add_argument("--sweeps", type=int, default=400, help="simulated sweeps a cell")
    parser.add_argument("--minutes", type=float, default=60.0, help="of CPU, after which no new cell is begun")
    options = parser.parse_args(arguments)
    modules = [import_module(f"tests.benchmarks.coverage.{name}") for name in options.quantity or QUANTITIES]
    asked = [cell for module in modules for cell in module.cells() if options.cell in _line(cell)]
    rows, left = [], []
    for cell in asked:
        if time.process_time() > 60 * options.minutes:
            left.append(_line(cell))
            continue
        began, found = time.process_time(), measured(cell, options.sweeps)
        rows += found
        numbers = ", ".join(f"{row['number']} {row['coverage']:.3f}" for row in found)
        print(f"{_line(cell)}: {numbers}; {time.process_time() - began:.0f} s", file=sys.stderr, flush=True)
    outside = [row for row in rows if row["outside"]]
    print(rendered(rows))
    print(f"{len(rows)} numbers, {len(outside)} outside; {time.process_time() / 60:.1f} min of CPU")
    print("".join(f"not measured: {line}\n" for line in left), end="")
    return 1 if outside or left else 0


def measured(cell: Cell, n_sweeps: int) -> list[dict[str, object]]:
    """Rows of the table: one a number that is printed."""
    table = cell.measure(n_sweeps, cell.seed)
    return [
        {
            "law": cell.quantity,
            "design": cell.design,
            "points": cell.n_points,
            "planted": cell.planted,
            "noise": cell.noise,
            "number": row["quantity"],
            "coverage": row["coverage"],
            "one-sided": row["one_sided"],
            "sweeps": row["n_sweeps"],
            "outside": verdict(row["coverage"], row["one_sided"], row["at_bound"]),
        }
        for row in table.to_dict("records")
    ]


def rendered(rows: Sequence[dict[str, object]]) -> str:
    """The table, a row a cell and a column a number: coverage, its one-sided share in brackets, * where outside."""
    import pandas as pd

    if not rows:
        return ""
    keys = ["law", "design", "points", "planted", "noise"]
    long = pd.DataFrame(rows)
    long["text"] = [
        f"{c:.3f}" + (f" ({s:.0%})" if s >= 0.005 else "") + (" *" if o else "")
        for c, s, o in zip(long["coverage"], long["one-sided"], long["outside"], strict=True)
    ]
    parts = []
    for _, part in long.groupby("law", sort=False):
        wide = part.pivot_table(index=keys, columns="number", values="text", aggfunc="first", sort=False)
        parts.append(as_markdown(wide.reset_index()))
    return "\n".join(parts)


def _line(cell: Cell) -> str:
    return f"{cell.quantity}, {cell.design}, {cell.n_points} points, {cell.planted}, noise {cell.noise}"


if __name__ == "__main__":
    sys.exit(main())
