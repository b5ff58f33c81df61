"""Corpora by name: prepared from a raw folder, shipped with the package, or simulated on first use."""

from collections.abc import Iterable
from pathlib import Path

from ecgscale.data import corpus, embedded, simulate
from ecgscale.data.checked import Say, check
from ecgscale.data.simulation import hospitals


def open_corpus(name: str, home: Path, say: Say = lambda _: None) -> corpus.Corpus:
    """Open a corpus by name, known to be what was prepared; see ``checked`` for what that costs, and ``found``.

    ``say`` hears if that takes more than a moment. Raises as ``checked.check``.
    """
    found(name, home)
    return check(home, name, say)


def found(name: str, home: Path) -> corpus.Corpus:
    """A corpus by name as it lies there; a shipped one is decoded and a simulated one ("simulated-N") made first.

    Raises FileNotFoundError, in one sentence with the command to type, for a corpus that was never prepared.
    """
    if corpus.is_prepared(home, name):
        opened = corpus.read(home, name)
        return embedded.aged(home, opened) if name in embedded.EMBEDDED else opened
    if name in embedded.EMBEDDED:
        return embedded.EMBEDDED[name](home)
    if hospitals.parsed(name):
        return hospitals.simulated(home, name)
    asked = simulate.parsed(name)
    return simulate.simulated(home, *asked) if asked else corpus.read(home, name)


def missing_parts(names: Iterable[str], home: Path) -> dict[str, tuple[str, ...]]:
    """What the raw folders of prepared corpora lacked when they were prepared, in words; whole corpora are left out."""
    said = {name: corpus.manifest_of(home, name).missing for name in names if corpus.is_prepared(home, name)}
    return {name: tuple(parts) for name, parts in said.items() if parts}
