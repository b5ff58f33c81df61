"""Print measured ratios beside their goals: ``python -m tests.benchmarks [NAME ...]``; 1 if one is missed or fails."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module

from tests.benchmarks import BENCHMARKS, Measurement

Measure = Callable[[], Iterable[Measurement]]
HEADER = ("benchmark", "what", "peer", "ours", "ratio", "goal", "reached", "note")
WIDTHS = (13, 42, 18, 18, 8, 8, 7, 0)


def main(names: Sequence[str], found: Callable[[str], Measure] | None = None) -> int:
    """Print a row as soon as it is measured; 0 if every goal is reached, 1 if one is missed or a benchmark fails, 2 for
    a name that is none. ``found`` gives the ``measure`` of a name.
    """
    if found is None:
        unknown = [name for name in names if name not in BENCHMARKS]
        if unknown:
            print(f"no benchmark '{unknown[0]}'; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
            return 2
    stay_alone()
    _print(HEADER)
    reached = True
    for name in names or BENCHMARKS:
        try:
            for m in (found or _measure_of)(name)():
                reached &= m.reached
                answer = "yes" if m.reached else "NO"
                _print((name, m.name, m.peer, m.ours, f"{m.ratio:.3g}", f">= {m.goal:g}", answer, m.note))
        except Exception as error:  # the others are measured all the same
            reached = False
            traceback.print_exc()
            said = " ".join(str(error).split())
            _print((name, "failed", "", "", "", "", "NO", f"{type(error).__name__}: {said}"))
    return 0 if reached else 1


def stay_alone() -> None:
    """Let no Ray join one that runs here: Ray and launches go by RAY_ADDRESS where they are told nothing."""
    os.environ.pop("RAY_ADDRESS", None)


def _measure_of(name: str) -> Measure:
    measure: Measure = import_module(f"tests.benchmarks.{name}").measure
    return measure


def _print(cells: Sequence[str]) -> None:
    print("  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip(), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
