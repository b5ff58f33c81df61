"""Every verb people type, each a few lines that call the room it belongs to.

Rooms are imported inside the verbs, so that help and queries answer at once.
"""

from ecgscale.cli import codebook, datasets, demo, laws, pictures, sweeps
from ecgscale.cli.door import main

__all__ = ["codebook", "datasets", "demo", "laws", "main", "pictures", "sweeps"]
