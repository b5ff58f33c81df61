"""Every verb people type, each a few lines that call the room it belongs to.

Rooms are imported inside the verbs, so that help and queries answer at once.
"""

from ecgscale.cli import (
    codebook,
    datasets,
    demo,
    designing,
    laws,
    pictures,
    planning,
    probing,
    runs,
    sweeps,
    watching,
    weights,
)
from ecgscale.cli.door import main

__all__ = [
    "codebook",
    "datasets",
    "demo",
    "designing",
    "laws",
    "main",
    "pictures",
    "planning",
    "probing",
    "runs",
    "sweeps",
    "watching",
    "weights",
]
