"""Corpora by name: prepared from a raw folder, shipped with the package, or simulated on first use."""

from collections.abc import Iterable
from pathlib import Path

from ecgscale.data import corpus, embedded, simulate


def open_corpus(name: str, home: Path) -> corpus.Corpus:
    """Open a corpus by name; a shipped one is decoded and a simulated one ("simulated-N") made on first use.

    Raises FileNotFoundError, in one sentence with the command to type, for a corpus that was never prepared.
    """
    if corpus.is_prepared(home, name):
        return corpus.read(home, name)
    if name in embedded.EMBEDDED:
        return embedded.EMBEDDED[name](home)
    asked = simulate.parsed(name)
    return simulate.simulated(home, *asked) if asked else corpus.read(home, name)


def missing_parts(names: Iterable[str], home: Path) -> dict[str, tuple[str, ...]]:
    """What the raw folders of prepared corpora lacked when they were prepared, in words; whole corpora are left out."""
    said = {name: corpus.manifest_of(home, name).missing for name in names if corpus.is_prepared(home, name)}
    return {name: tuple(parts) for name, parts in said.items() if parts}
