"""Run benchmarks and print ratio against goal: ``python -m tests.benchmarks [NAME ...]``; exits 1 if a goal is
missed."""

import sys
from importlib import import_module

from rich.console import Console
from rich.table import Table

from tests.benchmarks import BENCHMARKS


def main(names: list[str]) -> int:
    """Print one table of all measurements; 0 if every goal is reached."""
    unknown = [n for n in names if n not in BENCHMARKS]
    if unknown:
        print(f"no benchmark '{unknown[0]}'; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    table = Table("benchmark", "what", "peer", "ours", "ratio", "goal", "reached", "note")
    missed = 0
    for name in names or BENCHMARKS:
        for m in import_module(f"tests.benchmarks.{name}").measure():
            missed += not m.reached
            reached = "yes" if m.reached else "NO"
            table.add_row(name, m.name, m.peer, m.ours, f"{m.ratio:.3g}", f">= {m.goal:g}", reached, m.note)
    Console(width=180).print(table)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
