"""From recordings to a corpus on disk, and from a corpus to batches."""

from pathlib import Path

from ecgscale.data import corpus, embedded
from ecgscale.data.corpus import Corpus


def open_corpus(name: str, home: Path) -> Corpus:
    """Open a corpus by name; an embedded one is decoded on first use.

    Raises FileNotFoundError, in one sentence with the command to type, for a corpus that was never prepared.
    """
    if name in embedded.EMBEDDED and not corpus.is_prepared(home, name):
        return embedded.EMBEDDED[name](home)
    return corpus.read(home, name)
