"""Checkpoints that are whole or not there, and known to be what was written: each ends with the SHA-256 of the rest.

A file is what ``torch.save`` writes, a ZIP archive, and the digest its comment: so ``torch.load`` opens it anywhere.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ecgscale.records import unguarded, write_whole

_DIGEST = 64  # hexadecimal digits
_COMMENT, _NO_COMMENT = _DIGEST.to_bytes(2, "little"), bytes(2)  # the length of a ZIP archive's comment, its last field


def save(path: Path, state: dict[str, Any], guard: Callable[[], None] = unguarded) -> None:
    """Replace a checkpoint atomically; the one before it is kept beside it. ``guard`` is that of ``write_whole``."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    guard()
    if path.is_file():
        path.replace(_previous(path))
    write_whole(path, payload[: -len(_NO_COMMENT)] + _COMMENT + hashlib.sha256(payload).hexdigest().encode(), guard)


def intact(path: Path) -> Iterator[dict[str, Any]]:
    """The checkpoints that are what was written, the newest first: this one and the one before it."""
    for candidate in (path, _previous(path)):
        found = _read(candidate)
        if found is not None:
            yield found[0]


def load(path: Path) -> tuple[dict[str, Any], str] | None:
    """The newest checkpoint that is intact, and its SHA-256: this one, else the one before it, else None."""
    return _read(path) or _read(_previous(path))


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _previous(path).unlink(missing_ok=True)


def limited(tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError if a tensor of a file claims more numbers than the file holds for it."""
    for name, tensor in tensors.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(
                f"its tensor {name} is of shape {list(tensor.shape)}, for which it does not hold the numbers"
            )


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.name}.previous")


def _read(path: Path) -> tuple[dict[str, Any], str] | None:
    if not path.is_file():
        return None
    expected, payload = _parts(path.read_bytes())
    if hashlib.sha256(payload).hexdigest().encode() != expected:
        return None
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True), expected.decode()


def _parts(content: bytes) -> tuple[bytes, bytes]:
    """A file's digest and its payload; in files from before there was a comment the digest is the first line."""
    rest, digest = content[:-_DIGEST], content[-_DIGEST:]
    if rest.endswith(_COMMENT):
        return digest, rest[: -len(_COMMENT)] + _NO_COMMENT
    first, _, payload = content.partition(b"\n")
    return first, payload
