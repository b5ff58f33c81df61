"""Has a label set both outcomes where they are needed? Asked of a prepared corpus before anything is trained on it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecgscale.data import corpus as corpora
from ecgscale.data import split as splits
from ecgscale.data.corpus import MISSING

_ROWS = 100_000  # of labels at a time


def without_outcomes(
    name: str, home: Path, label_set: str, both: Sequence[str], known: Sequence[str] = ()
) -> list[str]:
    """One sentence a split in which no label of a set has both outcomes (or, of ``known``, none is known at all).

    Empty for a corpus that is not prepared, or that has no such label set: others say so.
    """
    if not corpora.is_prepared(home, name):
        return []
    manifest = corpora.manifest_of(home, name)
    if label_set not in {**manifest.label_sets, **manifest.label_subsets}:
        return []
    said = []
    for split in dict.fromkeys((*both, *known)):
        n_records, n_two_sided, n_known = _outcomes(name, home, label_set, split)
        missing = n_known == 0 or (split in both and n_two_sided == 0)
        if missing:
            why = (
                f"{split} has no recording"
                if not n_records
                else f"none of them is known in {split}"
                if not n_known
                else f"each of them is always there or never there in {split}"
            )
            said.append(
                f"corpus {name} cannot teach or test the labels {label_set!r}: {why} ({n_records:,} recordings)"
            )
    return said


def _outcomes(name: str, home: Path, label_set: str, split: str) -> tuple[int, int, int]:
    """Recordings of a split, labels of the set that have both outcomes in it, and labels that have any."""
    opened = corpora.read(home, name)
    columns = opened.label_columns(label_set)
    rows = np.flatnonzero(np.asarray(opened.split) == splits.SPLITS.index(split))
    positive = np.zeros(len(columns), dtype=bool)
    negative = np.zeros(len(columns), dtype=bool)
    for first in range(0, len(rows), _ROWS):
        values = np.asarray(opened.labels[rows[first : first + _ROWS]])[:, columns]
        positive |= (values == 1).any(axis=0)
        negative |= ((values != 1) & (values != MISSING)).any(axis=0)
        if (positive & negative).any():
            break
    return len(rows), int((positive & negative).sum()), int((positive | negative).sum())
