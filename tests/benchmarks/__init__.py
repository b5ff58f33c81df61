"""Performance as ratios against the way people do it today, both sides measured in the same run.

A benchmark is a module with ``measure() -> list[Measurement]``; ``BENCHMARKS`` lists them in reading order.
"""

from dataclasses import dataclass

BENCHMARKS = ("batches", "beats", "figures", "filters", "fits")


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
