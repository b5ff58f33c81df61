"""HDF5 files read with limits: only data that lies in the file itself, never a link to another."""

from pathlib import Path
from typing import Any

import numpy as np

_MAX_OPEN = 4
_open: dict[Path, tuple[tuple[int, int], Any]] = {}  # path -> (size and time of change, h5py.File)


def dataset(path: Path, name: str) -> Any:
    """Open dataset ``name`` (h5py.Dataset) of an HDF5 file; the file stays open for the next call.

    Raises PermissionError for external links, external or virtual storage and for Python objects, OSError in one
    sentence for a truncated, missing or foreign file, KeyError for a name that is not there.
    """
    import h5py

    file = _file(path)
    if name not in file and file.get(name, getlink=True, default=None) is None:
        raise KeyError(f"{path.name} has no dataset {name!r}; it has {', '.join(sorted(file))}")
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise PermissionError(f"{path.name}: {name!r} is a link to elsewhere; only data in the file itself is read")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual or found.dtype.hasobject:
        raise PermissionError(f"{path.name}: {name!r} is not plain data in the file itself")
    return found


def column(path: Path, name: str) -> np.ndarray:
    """A whole (small) dataset. Raises as ``dataset``."""
    return np.asarray(dataset(path, name)[()])


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
        reason = str(error).partition("(")[2].rstrip(")")[:120]  # without the path that h5py puts before
        raise OSError(f"{path.name} is not a complete HDF5 file ({state[0]:,} bytes): {reason}") from None
    _open[path] = state, file
    return file
