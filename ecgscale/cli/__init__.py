"""Every verb people type, each a few lines that call the room it belongs to.

Rooms are imported inside the verbs, so that help and queries answer at once. The order below is that of the help.
"""

# ruff: noqa: I001
from ecgscale.cli import planning, checking, designing, datasets, codebook, weights
from ecgscale.cli import sweeps, runs, probing, demo
from ecgscale.cli import laws, asking, pictures, watching, exporting
from ecgscale.cli.door import main

__all__ = [
    "asking",
    "checking",
    "codebook",
    "datasets",
    "demo",
    "designing",
    "exporting",
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
