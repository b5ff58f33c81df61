"""A matrix of a MATLAB file, whatever saved it: read by the file's own header, or refused with a reason.

Versions 4, 5 and 7 go through scipy, 7.3 (HDF5) through h5py; the variable may have another name, the matrix may lie
the other way round, its numbers may be whole numbers in floating point.
"""

import struct
from math import prod
from pathlib import Path

import numpy as np

from ecgscale.data import hdf5
from ecgscale.data.recording import MalformedRecordError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_COMPRESSED = 1032  # deflate packs no tighter
_MAX_VALUES = 2**27  # of one matrix: a gigabyte in double precision


def is_plain(path: Path, n_leads: int, offset: int) -> bool:
    """Is it a version 4 file of int16, little-endian, one column a sample, that begin at ``offset``? (PhysioNet's)"""
    with path.open("rb") as file:
        head = file.read(20)
    if len(head) < 20:
        return False
    kind, n_rows, _, imaginary, length = struct.unpack("<5i", head)
    return (kind, n_rows, imaginary, 20 + length) == (30, n_leads, 0, offset)


def matrix(path: Path, n_leads: int, n_samples: int = 0, name: str = "val") -> np.ndarray:
    """Matrix [n_leads, n_samples] called ``name`` ("ECG.data": of a struct), else the only one of that size.

    ``n_samples`` 0: any. Numbers as the file has them. Raises MalformedRecordError, hdf5.Locked.
    """
    try:
        if _is_hdf5(path):
            found = _from_hdf5(path, name, n_leads, n_samples)
        else:
            found = _from_scipy(path, name, n_leads, n_samples)
    except (MalformedRecordError, hdf5.Locked):
        raise
    except PermissionError:
        raise MalformedRecordError("MATLAB file holds a link to elsewhere or no plain matrix") from None
    except Exception as error:  # scipy and h5py raise many kinds for a damaged file
        raise MalformedRecordError(f"MATLAB file is unreadable ({type(error).__name__})") from None
    if found.dtype.kind not in "iuf":
        raise MalformedRecordError("MATLAB file holds something else than real numbers")
    if _fits(found.shape, n_leads, n_samples):
        return found
    if _fits(found.shape[::-1], n_leads, n_samples):
        return found.T
    size = " x ".join(map(str, found.shape))
    wanted = f"{n_leads} leads" + (f" by {n_samples} samples" if n_samples else "")
    raise MalformedRecordError(f"MATLAB matrix is {size}, not {wanted}")


def file_units(path: Path, n_leads: int, n_samples: int) -> np.ndarray:
    """As ``matrix``, of whole numbers as a header's gain counts them: int16 where they are, else float32 with NaN.

    Raises MalformedRecordError for fractions: whoever saved them may have applied the gain already.
    """
    values = matrix(path, n_leads, n_samples)
    known = values[np.isfinite(values)]
    if values.dtype.kind == "f" and not np.array_equal(known, np.rint(known)):
        raise MalformedRecordError("MATLAB file holds fractions, and its header's gain is for whole numbers")
    limits = np.iinfo(np.int16)
    if len(known) == values.size and (not values.size or (values.min() >= limits.min and values.max() <= limits.max)):
        return values.astype(np.int16)
    return values.astype(np.float32)


def _fits(shape: tuple[int, ...], n_leads: int, n_samples: int) -> bool:
    return len(shape) == 2 and shape[0] == n_leads and (shape[1] == n_samples or not n_samples)


def _chosen(shapes: dict[str, tuple[int, ...]], name: str, n_leads: int, n_samples: int) -> str:
    if name in shapes:
        return name
    both = [one for one, shape in shapes.items() if any(_fits(s, n_leads, n_samples) for s in (shape, shape[::-1]))]
    if len(both) != 1:
        raise MalformedRecordError(
            f"MATLAB file has {len(both) or 'no'} matrices of {n_leads} leads, none called {name}"
        )
    return both[0]


def _limited(shape: tuple[int, ...], present: int) -> None:
    if prod(shape) > min(_MAX_VALUES, _MOST_COMPRESSED * present):
        raise MalformedRecordError("MATLAB file claims a matrix that it cannot hold")


def _from_scipy(path: Path, name: str, n_leads: int, n_samples: int) -> np.ndarray:
    from scipy.io import loadmat, whosmat

    variable, _, field = name.partition(".")
    listed = whosmat(str(path), appendmat=False)
    for _, shape, _ in listed:
        _limited(shape, path.stat().st_size)
    if field and variable in {one for one, _, kind in listed if kind == "struct"}:
        return np.asarray(loadmat(str(path), variable_names=[variable], appendmat=False)[variable][field][0, 0])
    shapes = {one: shape for one, shape, kind in listed if kind not in ("struct", "cell", "char", "object", "function")}
    chosen = _chosen(shapes, name, n_leads, n_samples)
    return np.asarray(loadmat(str(path), variable_names=[chosen], appendmat=False)[chosen])


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(520)
    return head.startswith(_HDF5) or head[512:] == _HDF5  # after MATLAB's own 512 bytes


def _from_hdf5(path: Path, name: str, n_leads: int, n_samples: int) -> np.ndarray:
    """MATLAB writes the columns of a matrix as rows."""
    inner = name.replace(".", "/")
    known = hdf5.shapes(path)
    chosen = inner if inner in known else _chosen(known, name, n_leads, n_samples)
    return hdf5.column(path, chosen).T
