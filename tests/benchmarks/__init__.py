"""Performance as ratios against the way people do it today, both sides measured in the same run.

A benchmark is a module with ``measure()``, which gives its measurements, each as it is done where that can be;
"""

from dataclasses import dataclass

BENCHMARKS = (
    *("batches", "beats", "filters", "steps", "probes", "counting", "orchestration", "results", "fits", "figures"),
    "heedb",
)


@dataclass(frozen=True)
class Measurement:
    """A ratio (larger is better) against its goal; ``peer`` and ``ours`` say what the two sides took."""

    name: str
    peer: str
    ours: str
    ratio: float
    goal: float
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.ratio >= self.goal
