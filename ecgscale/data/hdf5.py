"""HDF5 files read with limits: only data that lies in the file itself, never a link to another."""

from functools import lru_cache
from pathlib import Path

import numpy as np


@lru_cache(maxsize=4)
def dataset(path: Path, name: str):  # type: ignore[no-untyped-def]  # h5py.Dataset; h5py is loaded only by readers
    """Open dataset ``name`` of an HDF5 file; the file stays open for the next call.

    Raises PermissionError for external links, external or virtual storage and for Python objects, OSError in one
    sentence for a truncated or foreign file, KeyError for a name that is not there.
    """
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        size = path.stat().st_size if path.exists() else 0
        raise OSError(f"{path.name} is not a complete HDF5 file ({size:,} bytes): {str(error)[:120]}") from None
    link = file.get(name, getlink=True) if name in file or _is_link(file, name) else None
    if link is None:
        raise KeyError(f"{path.name} has no dataset {name!r}; it has {', '.join(sorted(file))}")
    if not isinstance(link, h5py.HardLink):
        raise PermissionError(f"{path.name}: {name!r} is a link to elsewhere; only data in the file itself is read")
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual or found.dtype.hasobject:
        raise PermissionError(f"{path.name}: {name!r} is not plain data in the file itself")
    return found


def _is_link(file, name: str) -> bool:  # type: ignore[no-untyped-def]
    try:
        return file.get(name, getlink=True) is not None
    except KeyError:
        return False


def column(path: Path, name: str) -> np.ndarray:
    """A whole (small) dataset. Raises as ``dataset``."""
    return np.asarray(dataset(path, name)[()])
