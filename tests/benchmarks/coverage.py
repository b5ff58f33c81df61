"""How often the default 95 % intervals cover what was planted, over grids, laws and noise."""

import argparse

from analysis.table.query import as_markdown
from tests.designs import coverage


def main() -> None:
    """Print the coverage table: ``python -m tests.benchmarks.coverage [--sweeps 400] [--bootstrap R]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sweeps", type=int, default=400)
    parser.add_argument("--bootstrap", type=int, default=0)
    options = parser.parse_args()
    table = coverage(options.sweeps, options.bootstrap)
    measures = ["coverage", *(["bootstrap_coverage"] if options.bootstrap else [])]
    for measure in measures:
        wide = table.pivot_table(
            index=["design", "n_points", "planted", "noise"], columns="quantity", values=measure, sort=False
        )
        print(f"{measure} of 95 % intervals, {options.sweeps} simulated sweeps a row\n")
        print(as_markdown(wide.reset_index()))


if __name__ == "__main__":
    main()
