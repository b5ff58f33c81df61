"""A file's own SHA-256 within it: no bit of a sealed file changes unseen, and a sealed JSON document is still JSON."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_SEAL, _OPEN = b"ecgscale-sha256:", b"0" * 64  # the SHA-256 is that of the file with zeros in its place
UNSEALED = (_SEAL + _OPEN).decode()  # what to write where the seal is to stand, once in a file


class Damaged(ValueError):
    """A file is not what was written."""


def sealed_bytes(data: bytes) -> bytes:
    """A file's bytes, which hold ``UNSEALED`` once, with the seal in its place."""
    return data.replace(_SEAL + _OPEN, _SEAL + hashlib.sha256(data).hexdigest().encode())


def intact(path: Path) -> bytes:
    """A file's bytes. Raises Damaged if any of them is not what was written; FileNotFoundError passes."""
    data = path.read_bytes()
    _verified(data)
    return data


def seal(path: Path) -> str:
    """The SHA-256 that a file is sealed with, verified. Raises as ``intact``."""
    return _verified(path.read_bytes())


def seals(paths: Iterable[str]) -> Iterator[str]:
    """The seal of one file after another, verified; empty for one that is gone or not what was written.

    All are read into the same memory, so that nearly all the time goes into the hash.
    """
    buffer = bytearray(1 << 18)
    for path in paths:
        try:
            with open(path, "rb", buffering=0) as file:
                n = 0
                while got := file.readinto(memoryview(buffer)[n:]):
                    n += got
                    if n == len(buffer):
                        buffer += bytes(n)
            yield _verified(buffer, n)
        except (FileNotFoundError, ValueError):
            yield ""


def document(value: Mapping[str, Any], dumped: Callable[[Any], str] = json.dumps) -> bytes:
    """A JSON object as a file that is sealed under its key "seal"; ``dumped`` writes it."""
    return sealed_bytes(dumped({**value, "seal": UNSEALED}).encode())


def read_document(path: Path) -> tuple[dict[str, Any], bool]:
    """A JSON object without its seal, and whether it had one; files from before there were seals have none.

    Raises Damaged if it is no JSON object or not what was written; FileNotFoundError passes. Whoever reads an unsealed
    one has to refuse keys that it does not know: one of them may have been "seal".
    """
    data = path.read_bytes()
    try:
        value = json.loads(data)
    except ValueError as error:
        raise Damaged(f"it is no JSON ({str(error)[:80]})") from None
    if not isinstance(value, dict):
        raise Damaged("it is no JSON object")
    is_sealed = "seal" in value or _SEAL in data
    if is_sealed:
        _verified(data)
    value.pop("seal", None)
    return value, is_sealed


def _verified(data: bytes | bytearray, n: int | None = None) -> str:
    """The seal in the first ``n`` bytes. Raises Damaged if it is not that of all others."""
    whole = memoryview(data)[:n]
    at = data.rfind(_SEAL, 0, n) + len(_SEAL)
    if at < len(_SEAL):
        raise Damaged("it is not sealed, or cut short")
    behind = at + len(_OPEN)
    digest = hashlib.sha256(whole[:at])
    digest.update(_OPEN)
    digest.update(whole[behind:])
    if digest.hexdigest().encode() != whole[at:behind]:
        raise Damaged("its bytes do not match its seal")
    return digest.hexdigest()
