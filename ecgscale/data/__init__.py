"""From recordings to a corpus on disk, and from a corpus to batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ecgscale.data import cards, corpus, preparation, pricing, simulate, verification
from ecgscale.data.cards import rates_in_words
from ecgscale.data.corpus import Corpus, Slice
from ecgscale.data.dataset import Card, Dataset
from ecgscale.data.library import missing_parts, open_corpus
from ecgscale.data.lock import Busy
from ecgscale.data.outcomes import without_outcomes
from ecgscale.data.preparation import Progress
from ecgscale.data.prepare_rows import Options
from ecgscale.data.pricing import Price
from ecgscale.data.readers import DATASETS
from ecgscale.data.simulation import hospitals
from ecgscale.data.sizes import CorpusSize, corpus_size
from ecgscale.phrases import did_you_mean

__all__ = [
    "DATASETS",
    "Busy",
    "Card",
    "Corpus",
    "CorpusSize",
    "Dataset",
    "Options",
    "Price",
    "Progress",
    "Slice",
    "card",
    "corpus_size",
    "listing",
    "missing_parts",
    "named",
    "open_corpus",
    "prepare",
    "price",
    "rates_in_words",
    "verify",
    "without_outcomes",
]


def named(name: str) -> Dataset:
    """A dataset by name. Raises ValueError with the nearest name."""
    if name in DATASETS:
        return DATASETS[name]
    if name in cards.shipped() or simulate.parsed(name) or hospitals.parsed(name):
        raise ValueError(f"{name} has no raw folder: it ships with ecgscale or is made on first use")
    raise ValueError(f"no dataset {name!r}{did_you_mean(name, [*DATASETS, *cards.shipped()])}")


def prepare(
    name: str,
    raw: Path,
    home: Path,
    *,
    workers: int | None = None,
    allow_missing: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    **options: Any,
) -> Corpus:
    """Prepare dataset ``name`` from its raw folder; ``options`` are fields of Options; errors as there."""
    return preparation.prepare(
        named(name),
        raw,
        home,
        Options(name, **options),
        workers=workers,
        allow_missing=allow_missing,
        progress=progress,
    )


def price(
    name: str, raw: Path, home: Path, *, workers: int | None = None, n_records: int | None = None, **options: Any
) -> Price:
    """What ``prepare`` will cost in time and disk, measured on a sample of the raw folder; leaves nothing behind.

    ``n_records``: price so many instead of those that are there.
    """
    chosen = Options(name, **options)
    return pricing.price(named(name), raw, home, chosen, workers=workers, n_records=n_records)


def verify(name: str, home: Path, raw: Path | None = None) -> pd.DataFrame:
    """One row a check (item, expected, found, ok) of a prepared corpus, and of its raw folder if given."""
    dataset = DATASETS.get(name.partition("@")[0])
    return verification.verify(name, home, dataset, raw)


def card(name: str, home: Path) -> dict[str, Any]:
    """Croissant JSON-LD of a dataset; with counts and checksums once it is prepared. Raises ValueError for no such."""
    base = name.partition("@")[0]
    simulated = simulate.card_of(name) or hospitals.card_of(name)
    if simulated is None and base not in cards.shipped():
        named(base)
    prepared = corpus.read(home, name) if corpus.is_prepared(home, name) else None
    return cards.croissant(name, simulated or cards.card_of(DATASETS, base), prepared)


def listing(home: Path) -> pd.DataFrame:
    """One row a dataset: title, size, labels, access, licence, what is prepared, and the provider's download line."""
    return cards.listing(DATASETS, home)
