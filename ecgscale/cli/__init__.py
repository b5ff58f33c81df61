"""Every verb people type, each a few lines that call the room it belongs to.

Rooms are imported inside the verbs, so that help and queries answer at once.
"""

from ecgscale.cli import datasets, demo, laws, pictures, runs, sweeps
from ecgscale.cli.door import main

__all__ = ["datasets", "demo", "laws", "main", "pictures", "runs", "sweeps"]
