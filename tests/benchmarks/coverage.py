"""How often the default 95 % intervals cover what was planted, over grids, laws and noise."""

import argparse

from analysis.table.query import as_markdown
from tests.designs import NOISE, coverage, designs


def main() -> None:
    """Print the coverage table: ``python -m tests.benchmarks.coverage [--sweeps 400] [--design NAME]``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sweeps", type=int, default=400)
    parser.add_argument("--bootstrap", type=int, default=0)
    parser.add_argument("--design", action="append", choices=list(designs()), help="all if left out")
    parser.add_argument("--noise", action="append", type=float, help=f"of ln(loss); {NOISE} if left out")
    parser.add_argument("--outliers", type=float, default=0.0, help="share of runs with five times the noise")
    options = parser.parse_args()
    noise = options.noise or NOISE
    table = coverage(options.sweeps, options.bootstrap, design=options.design, noise=noise, outliers=options.outliers)
    measures = ["coverage", "one_sided", *(["bootstrap_coverage"] if options.bootstrap else [])]
    for measure in measures:
        wide = table.pivot_table(
            index=["design", "n_points", "planted", "noise"], columns="quantity", values=measure, sort=False
        )
        print(f"{measure} of 95 % intervals, {options.sweeps} simulated sweeps a row\n")
        print(as_markdown(wide.reset_index()))


if __name__ == "__main__":
    main()
