"""From recordings to a corpus on disk, and from a corpus to batches."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from ecgscale.data import cards, corpus, preparation, pricing, simulate, verification
from ecgscale.data.cards import rates_in_words
from ecgscale.data.corpus import Corpus, Slice
from ecgscale.data.dataset import Accounts, Card, Dataset, Index
from ecgscale.data.getting import MBIT_A_SECOND, Getting, to_get
from ecgscale.data.library import missing_parts, open_corpus
from ecgscale.data.lock import Busy
from ecgscale.data.outcomes import not_shared, without_outcomes
from ecgscale.data.own import described, looking, registered, script
from ecgscale.data.own.described import taken_for
from ecgscale.data.own.looking import Looked
from ecgscale.data.own.said import Said
from ecgscale.data.preparation import Progress
from ecgscale.data.prepare_rows import Options
from ecgscale.data.pricing import Price
from ecgscale.data.readers import DATASETS
from ecgscale.data.recording import MalformedRecordError, Recording
from ecgscale.data.simulation import hospitals
from ecgscale.data.sizes import CorpusSize, corpus_size
from ecgscale.phrases import did_you_mean

__all__ = [
    "DATASETS",
    "MBIT_A_SECOND",
    "Accounts",
    "Busy",
    "Card",
    "Corpus",
    "CorpusSize",
    "Dataset",
    "Getting",
    "Index",
    "Looked",
    "MalformedRecordError",
    "Options",
    "Price",
    "Progress",
    "Recording",
    "Said",
    "Slice",
    "card",
    "corpus_size",
    "listing",
    "look",
    "missing_parts",
    "named",
    "not_shared",
    "open_corpus",
    "prepare",
    "price",
    "rates_in_words",
    "taken_for",
    "to_get",
    "verify",
    "without_outcomes",
]


def named(name: str) -> Dataset:
    """A dataset by name. Raises ValueError with the nearest name."""
    if name in DATASETS:
        return DATASETS[name]
    if name in cards.shipped() or simulate.parsed(name) or hospitals.parsed(name):
        raise ValueError(f"{name} has no raw folder: it ships with ecgscale or is made on first use")
    raise ValueError(
        f"no dataset {name!r}{did_you_mean(name, [*DATASETS, *cards.shipped()])} "
        "(recordings of your own are prepared with --reader table)"
    )


def own(name: str, raw: Path, reader: str, said: Said | None = None) -> Dataset:
    """A dataset of one's own: ``reader`` is "table", with what is ``said`` of its files, or the path of a Python file.

    Raises ValueError for a name that is taken, or cannot be a corpus', and as the reader's ``dataset``.
    """
    if name in DATASETS or name in cards.shipped() or simulate.parsed(name) or hospitals.parsed(name):
        raise ValueError(f"{name} is the name of a dataset of the study; call your own another")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", name):
        raise ValueError(f"{name!r} cannot be a corpus' name: small letters, digits, '-', '_' and '.' can")
    if reader == described.TABLE:
        return described.dataset(name, raw, said or Said())
    if reader.endswith(".py"):
        if said is not None and said != Said():
            raise ValueError(
                f"{Path(reader).name} says itself what its files are: {', '.join(said.told())} say nothing to it"
            )
        return script.dataset(name, Path(reader), raw)
    raise ValueError(
        f"no reader {reader!r}{did_you_mean(reader, [described.TABLE])} (or the path of a Python file, .py)"
    )


def look(name: str, raw: Path, reader: str, said: Said | None = None) -> list[Looked]:
    """Ten records of a dataset of one's own as they are read. Raises as ``own`` and ``preparation.indexed``."""
    dataset = own(name, raw, reader, said)
    return looking.look(dataset, raw, preparation.indexed(dataset, raw))


def _chosen(name: str, raw: Path, reader: str, said: Said | None) -> Dataset:
    """A dataset of the study, or one's own whose ten records beat as hearts do. Raises ValueError if they do not."""
    if not reader:
        if said is not None and said != Said():
            raise ValueError(f"{', '.join(said.told())}: said to no reader; recordings of your own want --reader table")
        return named(name)
    dataset = own(name, raw, reader, said)
    if said is not None and said.hz:
        problem = looking.why_not_usual(looking.look(dataset, raw, preparation.indexed(dataset, raw)), said.hz)
        if problem:
            raise ValueError(f"{name}: {problem}")
    return dataset


def prepare(
    name: str,
    raw: Path,
    home: Path,
    *,
    reader: str = "",
    said: Said | None = None,
    workers: int | None = None,
    allow_missing: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    **options: Any,
) -> Corpus:
    """Prepare dataset ``name`` from its raw folder; ``options`` are fields of Options; errors as there.

    ``reader`` and ``said``: of recordings of one's own, as ``own`` takes them.
    """
    return preparation.prepare(
        _chosen(name, raw, reader, said),
        raw,
        home,
        Options(name, **options),
        workers=workers,
        allow_missing=allow_missing,
        progress=progress,
    )


def price(
    name: str,
    raw: Path,
    home: Path,
    *,
    reader: str = "",
    said: Said | None = None,
    workers: int | None = None,
    n_records: int | None = None,
    **options: Any,
) -> Price:
    """What ``prepare`` will cost in time and disk, measured on a sample of the raw folder; leaves nothing behind.

    ``n_records``: price so many instead of those that are there.
    """
    chosen = Options(name, **options)
    return pricing.price(_chosen(name, raw, reader, said), raw, home, chosen, workers=workers, n_records=n_records)


def verify(name: str, home: Path, raw: Path | None = None, reader: str = "") -> pd.DataFrame:
    """One row a check (item, expected, found, ok) of a prepared corpus, and of its raw folder if given.

    ``reader`` is the path of the Python file that read it; one of its name here or in the raw folder is found. Raises
    ValueError for one that is not the file that read it.
    """
    base = name.partition("@")[0]
    dataset = DATASETS.get(base)
    if (
        dataset is None
        and corpus.is_prepared(home, name)
        and (told := (manifest := corpus.manifest_of(home, name)).reader)
    ):
        file = registered.script_of(told, reader, raw) if raw is not None else None
        dataset = (
            registered.own_dataset(base, told, bool(manifest.number_sets))
            if file is None
            else script.dataset(base, file, raw or Path())
        )
    return verification.verify(name, home, dataset, raw)


def card(name: str, home: Path) -> dict[str, Any]:
    """Croissant JSON-LD of a dataset; with counts and checksums once it is prepared. Raises ValueError for no such."""
    base = name.partition("@")[0]
    simulated = simulate.card_of(name) or hospitals.card_of(name)
    prepared = corpus.read(home, name) if corpus.is_prepared(home, name) else None
    if base not in DATASETS and base in registered.names(home):
        return cards.croissant(name, registered.card_of(home, base), prepared)
    if simulated is None and base not in cards.shipped():
        named(base)
    return cards.croissant(name, simulated or cards.card_of(DATASETS, base), prepared)


def listing(home: Path) -> pd.DataFrame:
    """One row a dataset: title, size, labels, access, licence, what is prepared, and the provider's download line."""
    own_cards = {name: registered.card_of(home, name) for name in registered.names(home)}
    return cards.listing({name: dataset.card for name, dataset in DATASETS.items()} | own_cards, home)
