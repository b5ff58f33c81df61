"""Corpora of one's own that are prepared in a home: their names, and their datasets again, from what they keep."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecgscale.data import corpus
from ecgscale.data.dataset import Card, Dataset, Index
from ecgscale.data.filters import recipe_of
from ecgscale.data.own import described


def own_dataset(name: str, said: Mapping[str, Any], numbers: bool = True) -> Dataset:
    """The dataset of a prepared corpus, from its manifest's ``reader``; ``numbers``: whether it has any.

    One that a Python file has read can be described without the file, and not read again.
    """
    again = described.again(name, said, numbers)
    if again is not None:
        return again
    recipe = recipe_of(said["recipe"])
    kept = {key: value for key, value in said.items() if key not in ("leads", "einthoven", "window", "recipe")}
    return described.described(
        name,
        _Elsewhere(said["reader"]),
        kept,
        leads=said["leads"],
        einthoven=said["einthoven"],
        recipe=recipe,
        window=said["window"],
    )


def script_of(said: Mapping[str, Any], reader: str, raw: Path) -> Path | None:
    """The Python file that read a corpus: ``reader``, or one of its name here or in the raw folder; None for a table.

    Raises ValueError for a file that is another, and where there is none, with what to say.
    """
    if said["reader"] == described.TABLE:
        return None
    for file in [Path(reader)] if reader else [Path(said["reader"]), raw / said["reader"]]:
        if file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == said["sha256"]:
            return file
    if reader:
        raise ValueError(
            f"{Path(reader).name} is not the file that the corpus was read by, {said['reader']}, unchanged"
        )
    raise ValueError(f"the raw folder was read by {said['reader']}: say where that file is, unchanged, with --reader")


class _Elsewhere:
    """A reader whose file is not here."""

    def __init__(self, file: str) -> None:
        self.file = file

    def index(self, raw: Path) -> Index:
        raise ValueError(f"the raw folder was read by {self.file}: it cannot be read again without that file")

    def load(self, raw: Path, where: str) -> Any:
        raise ValueError(f"the raw folder was read by {self.file}: it cannot be read again without that file")


def names(home: Path) -> list[str]:
    """Corpora of one's own that are prepared in a home, by the names that they were given."""
    folder = corpus.folder_of(home, "x").parent
    found = sorted(one.name for one in folder.iterdir() if not one.name.startswith(".")) if folder.is_dir() else []
    own = [one for one in found if corpus.is_prepared(home, one) and corpus.manifest_of(home, one).reader]
    return list(dict.fromkeys(one.partition("@")[0] for one in own))


def card_of(home: Path, name: str) -> Card:
    """The card of a corpus that is prepared at the usual rate, or another. Raises FileNotFoundError if it is not."""
    folder = corpus.folder_of(home, name).parent
    every = [name, *sorted(one.name for one in folder.glob(f"{name}@*"))]
    there = next((one for one in every if corpus.is_prepared(home, one)), name)
    manifest = corpus.manifest_of(home, there)
    opened = corpus.read(home, there)
    index = Index(
        where=opened.patient,
        patient=opened.patient,
        label_sets={key: tuple(classes) for key, classes in manifest.label_sets.items()},
        labels=opened.labels,
        label_subsets={key: tuple(classes) for key, classes in manifest.label_subsets.items()},
        number_units={
            key: {label: number["unit"] for label, number in some.items()} for key, some in manifest.number_sets.items()
        },
    )
    return described.card_of(name, manifest.reader, index)
