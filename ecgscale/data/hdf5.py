"""HDF5 files read with limits: only data that lies in the file itself, never more than it can hold."""

from pathlib import Path
from typing import Any

import numpy as np

_MAX_OPEN = 4
_MAX_ROW_BYTES = 2**28  # of one recording, or of one piece that is unpacked at once
_MAX_COLUMN_BYTES = 2**30
_MOST_COMPRESSED = 2000  # no filter packs signals tighter
_open: dict[Path, tuple[tuple[int, int], Any]] = {}  # path -> (size and time of change, h5py.File)


class Locked(RuntimeError):
    """The file cannot be had now: nothing is wrong with its records, so none of them is refused for it."""


def dataset(path: Path, name: str) -> Any:
    """Open dataset ``name`` (h5py.Dataset) of an HDF5 file; the file stays open for the next call.

    Raises PermissionError for links, external or virtual storage and for Python objects, OSError in one sentence for a
    truncated, missing or foreign file, for what is not numbers and for a size that the file cannot hold, Locked, and
    KeyError for a name that is not there.
    """
    import h5py

    file = _file(path)
    parts = name.split("/")
    for depth in range(1, len(parts) + 1):
        part = "/".join(parts[:depth])
        link = file.get(part, getlink=True, default=None)
        if link is None:
            raise KeyError(f"{path.name} has no dataset {name!r}; it has {', '.join(sorted(file)[:10])}")
        if not isinstance(link, h5py.HardLink):
            raise PermissionError(f"{path.name}: {part!r} is a link to elsewhere; only data in the file itself is read")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual or found.dtype.hasobject:
        raise PermissionError(f"{path.name}: {name!r} is not plain data in the file itself")
    if found.dtype.kind not in "iufb":
        raise OSError(f"{path.name}: {name!r} holds {found.dtype}, not numbers")
    _check_size(path, name, found)
    return found


def column(path: Path, name: str) -> np.ndarray:
    """A whole (small) dataset. Raises as ``dataset``."""
    found = dataset(path, name)
    if found.size * found.dtype.itemsize > _MAX_COLUMN_BYTES:
        raise OSError(f"{path.name}: {name!r} claims {found.shape}, which is too much to read at once")
    return np.asarray(found[()])


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the plain datasets of a file and of its groups, one level down. Raises as ``dataset``."""
    import h5py

    file = _file(path)
    found: dict[str, tuple[int, ...]] = {}
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink) or name.startswith("#"):  # MATLAB's own
            continue
        inner = file[name]
        below = [f"{name}/{one}" for one in inner] if isinstance(inner, h5py.Group) else [name]
        hard = [one for one in below if isinstance(file.get(one, getlink=True), h5py.HardLink)]
        found |= {one: file[one].shape for one in hard if isinstance(file[one], h5py.Dataset) and file[one].shape}
    return found


def _check_size(path: Path, name: str, found: Any) -> None:
    """Refuse a shape that the file cannot hold, before anything of that size is allocated."""
    item = found.dtype.itemsize
    claimed, held = found.size * item, min(found.id.get_storage_size(), path.stat().st_size)
    row = claimed // found.shape[0] if found.shape and found.shape[0] else 0
    piece = item * int(np.prod([float(length) for length in found.chunks])) if found.chunks else 0
    if claimed > _MOST_COMPRESSED * held or max(row if found.ndim > 1 else 0, piece) > _MAX_ROW_BYTES:
        size = " x ".join(f"{length:,}" for length in found.shape)
        raise OSError(
            f"{path.name}: {name!r} claims {size} numbers and the file holds {held:,} bytes of them; it is damaged or "
            "hostile: get it again from its provider"
        )


def _file(path: Path) -> Any:
    import h5py

    if not path.is_file():
        raise FileNotFoundError(f"{path.name} is missing")
    state = (path.stat().st_size, path.stat().st_mtime_ns)
    if path in _open and _open[path][0] == state:
        return _open[path][1]
    # HDF5 would take a changed file for the one that is still open, so that one is closed first.
    for stale in [path] if path in _open else list(_open)[: max(0, len(_open) + 1 - _MAX_OPEN)]:
        _open.pop(stale)[1].close()
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        if isinstance(error, BlockingIOError) or "unable to lock file" in str(error):
            raise Locked(
                f"{path.name} cannot be locked for reading: another process has it open for writing, or its disk knows "
                "no locks; the same command goes on once nobody writes, in the second case with "
                "HDF5_USE_FILE_LOCKING=FALSE"
            ) from None
        reason = str(error).partition("(")[2].rstrip(")")[:120]  # without the path that h5py puts before
        raise OSError(f"{path.name} is not a complete HDF5 file ({state[0]:,} bytes): {reason}") from None
    _open[path] = state, file
    return file
