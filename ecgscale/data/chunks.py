"""How far a preparation is: one sealed marker a chunk of records, written after its rows, and believed with them.

A marker says why records of its chunk were refused, what was measured of the others, and the digest of each array's
rows. What an earlier process left is read against that before anything is added to it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data import corpus
from ecgscale.records import Damaged, document, read_document, write_whole

Chunk = tuple[int, int]  # first record and end


def chunks_of(n_records: int, size: int) -> list[Chunk]:
    """First record and end of each chunk."""
    return [(first, min(first + size, n_records)) for first in range(0, n_records, size)]


def array_of(partial: Path, array: str, mode: Any = "r") -> Any:
    """One array of a corpus that is being made, mapped into memory."""
    return np.load(partial / "corpus" / f"{array}.npy", mmap_mode=mode, allow_pickle=False)


def write(partial: Path, first: int, arrays: Mapping[str, np.ndarray], said: Mapping[str, Any]) -> None:
    """Put a chunk's rows into the arrays, and then its marker. Raises OSError if the disk is full."""
    for array, rows in arrays.items():
        stored = array_of(partial, array, "r+")
        stored[first : first + len(rows)] = rows
        stored.flush()
    digests = {array: _digest(rows) for array, rows in arrays.items()}
    write_whole(_marker(partial, first), document({**said, "first": first, "rows": digests}))


def is_open(partial: Path, arrays: Mapping[str, tuple[tuple[int, ...], type]]) -> bool:
    """Whether a corpus that is being made has its arrays, each of the shape (and, but for flags, the type) given."""
    try:
        found = {array: array_of(partial, array) for array in arrays}
    except Exception:  # numpy evaluates the header: what it raises on a damaged one is anything
        return False
    same = {array: found[array].dtype == dtype for array, (_, dtype) in arrays.items()}
    same["quality"] = found["quality"].dtype in (np.uint8, np.uint16)
    return all(same.values()) and all(found[array].shape == shape for array, (shape, _) in arrays.items())


def is_marked(partial: Path, chunk: Chunk) -> bool:
    return _marker(partial, chunk[0]).exists()


def is_there(partial: Path, chunk: Chunk) -> bool:
    """Whether a chunk's rows are what its marker says, and the marker is what was written."""
    first, last = chunk
    try:
        digests = said_of(partial, chunk)["rows"]
        return bool(digests) and all(
            _digest(array_of(partial, array)[first:last]) == digest for array, digest in digests.items()
        )
    except (FileNotFoundError, KeyError, ValueError):
        return False


def said_of(partial: Path, chunk: Chunk) -> dict[str, Any]:
    """What the marker of a chunk says. Raises Damaged, in one sentence, if it is not what was written."""
    try:
        said, is_sealed = read_document(_marker(partial, chunk[0]))
    except Damaged as error:
        said, is_sealed, why = {}, False, str(error)
    else:
        why = "it is not sealed" if not is_sealed else "it is another chunk's"
    if not is_sealed or said.get("first") != chunk[0]:
        raise Damaged(f"a file of the preparation is damaged ({why}); the same command does that part again")
    return said


def missing_of(partial: Path, chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks that are still to be done, in the order given."""
    return [chunk for chunk in chunks if not is_there(partial, chunk)]


def _digest(rows: np.ndarray) -> str:
    return corpus.sha256(rows.astype(np.uint16) if rows.ndim == 1 else rows)  # flags are narrowed in the end


def _marker(partial: Path, first: int) -> Path:
    return partial / "done" / f"{first:09d}.json"
