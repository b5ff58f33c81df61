"""Do labels differ where they have to? Both outcomes, or two numbers: asked of a prepared corpus before training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ecgscale.data import corpus as corpora
from ecgscale.data import split as splits
from ecgscale.data.label_sets import apart

_ROWS = 100_000  # of labels at a time


def without_outcomes(
    name: str, home: Path, label_set: str, both: Sequence[str], known: Sequence[str] = ()
) -> list[str]:
    """One sentence a split in which no label of a set differs, or (of ``known``) none is known at all.

    Empty for a corpus that is not prepared, or that has no such label set: others say so.
    """
    if not corpora.is_prepared(home, name):
        return []
    manifest = corpora.manifest_of(home, name)
    sets = manifest.known_label_sets
    if any(one not in sets for one in apart(label_set, sets)):
        return []
    has_numbers = any(label.number for label in manifest.labels_of(label_set))
    the_same = "there or never there, or the same number," if has_numbers else "there or never there"
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
                else f"each of them is always {the_same} in {split}"
            )
            said.append(
                f"corpus {name} cannot teach or test the labels {label_set!r}: {why} ({n_records:,} recordings)"
            )
    return said


def not_shared(names: Sequence[str], home: Path, label_set: str) -> str:
    """Why corpora of a mix have not this label set in common, in one sentence; "" if they have, or are not all here."""
    if not all(corpora.is_prepared(home, name) for name in names):
        return ""
    first, *others = (corpora.read(home, name) for name in names)
    try:
        for other in others:
            other.scaled_as(first, label_set)
    except ValueError as error:
        return str(error)
    return ""


def _outcomes(name: str, home: Path, label_set: str, split: str) -> tuple[int, int, int]:
    """Recordings of a split, labels of the set that differ in it, and labels that are known of any."""
    opened = corpora.read(home, name)
    n_labels = len(opened.label_names(label_set))
    rows = np.flatnonzero(np.asarray(opened.split) == splits.SPLITS.index(split))
    least, most = np.full(n_labels, np.inf), np.full(n_labels, -np.inf)
    for first in range(0, len(rows), _ROWS):
        values = opened.targets(label_set, rows[first : first + _ROWS])
        least = np.fmin(least, np.fmin.reduce(values, axis=0, initial=np.inf))
        most = np.fmax(most, np.fmax.reduce(values, axis=0, initial=-np.inf))
        if (least < most).any():
            break
    return len(rows), int((least < most).sum()), int((least <= most).sum())
