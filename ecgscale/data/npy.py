"""NumPy files read with limits: mapped, never unpickled, of the shape that was expected and wholly there."""

from pathlib import Path

import numpy as np


def array(path: Path, shape: tuple[int | None, ...] | None) -> np.ndarray:
    """The array of a .npy file as a read-only memory map; ``shape`` with None for any length, or None.

    Raises in one sentence that names the file OSError for one that is truncated, foreign or of another shape, and
    ValueError for Python objects.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path.name} is missing") from None
    except Exception as error:  # numpy raises many kinds for a damaged header
        if "Python objects" in str(error):
            raise ValueError(f"{path.name} holds Python objects, which are never loaded") from None
        said = str(error).partition("\n")[0][:100] or type(error).__name__
        raise OSError(f"{path.name} is not a whole NumPy array ({path.stat().st_size:,} bytes): {said}") from None
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "iuf":
        raise OSError(f"{path.name} is not an array of numbers")
    if shape is None:
        return found
    if found.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, found.shape, strict=True)):
        wanted = ", ".join("n" if length is None else str(length) for length in shape)
        raise OSError(f"{path.name} is of shape {found.shape}, expected ({wanted})")
    return found
