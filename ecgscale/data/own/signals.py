"""One recording out of a file of any of the usual kinds; what the file says of rate, unit and leads is kept as said."""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.data import hdf5, npy, waveform
from ecgscale.data.own import clinical, edf
from ecgscale.data.recording import MalformedRecordError

_MOST_BYTES = 2**28  # of one recording as text, or of one array that is unpacked
_SIGNAL_NAMES = ("signal", "signals", "ecg", "data", "tracings", "x", "arr_0", "p_signal", "waveform", "waveforms")
# What attributes and arrays beside the signal are called.
_HZ = (
    "sampling_hz",
    "sampling_rate",
    "sampling_frequency",
    "sample_rate",
    "fs",
    "sfreq",
    "frequency",
    "hz",
    "samplerate",
)
_UNIT = ("units", "unit")
_LEADS = ("leads", "lead_names", "lead_name", "channels", "channel_names", "sig_name", "lead")
_NO_LEADS = ("", "time", "t", "time_s", "time_ms", "seconds", "sample", "samples", "index", "unnamed: 0")


@dataclass(frozen=True)
class Found:
    """A signal as it lies in a file, and what the file itself says of it; None: it says nothing.

    ``signal`` is [n_leads, n_samples] if ``by_lead``, else either way round, which the number of leads tells.
    """

    signal: np.ndarray
    hz: float | None = None
    units: tuple[str, ...] | None = None  # of every lead, or one for all
    leads: tuple[str, ...] | None = None
    by_lead: bool = False
    gain: str = ""
    checksum: bool = True


def read(file: Path, row: int | None = None, array: str = "") -> Found:
    """The recording in a file, or in a row of one that holds many; ``array`` names which of several (HDF5, npz).

    Raises MalformedRecordError or OSError in one sentence without any identity for what cannot be used.
    """
    return _READERS[file.suffix.casefold()](file, row, array)


def n_rows(file: Path, array: str = "") -> int:
    """How many recordings a file of many holds. Raises OSError for one that holds a single one."""
    suffix = file.suffix.casefold()
    if suffix in (".h5", ".hdf5"):
        shape = tuple(hdf5.dataset(file, _array_of(file, array)).shape)
    elif suffix == ".npy":
        shape = npy.array(file, None).shape
    elif suffix == ".npz":
        shape = _unpacked(file, file.stat().st_mtime_ns)[_named(_shapes_of(file), array, file.name)].shape
    else:
        raise OSError(f"{file.name} holds one recording; files of many are .npy, .npz, .h5 and .hdf5")
    if len(shape) < 2:
        raise OSError(f"{file.name} is of shape {shape}: no array of many recordings")
    return int(shape[0])


def _wfdb(file: Path, row: int | None, array: str) -> Found:
    said = waveform.read(file)
    return Found(said.signal, said.sampling_hz, ("mV",), said.leads, True, said.gain, said.checksum)


def _edf(file: Path, row: int | None, array: str) -> Found:
    said = edf.read(file)
    units = said.dimensions if all(said.dimensions) else None
    return Found(said.values, said.sampling_hz, units, said.labels, True)


def _clinical(file: Path, row: int | None, array: str) -> Found:
    signal, hz, leads, physical = clinical.read(file)
    return Found(signal, hz, ("mV",) if physical else None, leads, True)


def _npy(file: Path, row: int | None, array: str) -> Found:
    return _of_array(npy.array(file, None), row)


def _npz(file: Path, row: int | None, array: str) -> Found:
    arrays = _unpacked(file, file.stat().st_mtime_ns)
    name = _named({one: values.shape for one, values in arrays.items()}, array, file.name)
    return _of_array(arrays[name], row, arrays)


def _hdf5(file: Path, row: int | None, array: str) -> Found:
    found = hdf5.dataset(file, _array_of(file, array))
    if row is None and found.size * found.dtype.itemsize > _MOST_BYTES:
        raise MalformedRecordError("array is too large for one recording")
    said = {**dict(found.file.attrs), **dict(found.attrs)}
    if row is None:
        return _of_array(np.asarray(found[()]), None, said)
    if not -1 < row < found.shape[0]:
        raise MalformedRecordError("row is beyond the array")
    return _of_array(np.asarray(found[row])[None], 0, said)


def _csv(file: Path, row: int | None, array: str) -> Found:
    """Columns are leads, rows are samples; a header names the leads, a column of times or numbers is left out."""
    if file.stat().st_size > _MOST_BYTES:
        raise MalformedRecordError("text file is too large for one recording")
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        head = text.readline().strip()
    delimiter = max(";\t,", key=head.count)
    cells = [cell.strip().strip("'\"") for cell in head.split(delimiter)]
    decimal = "," if delimiter == ";" else "."
    named = any(_is_word(cell.replace(decimal, ".")) for cell in cells)
    try:
        table = pd.read_csv(
            file,
            sep=delimiter,
            decimal=decimal,
            header=None,
            skiprows=int(named),
            encoding="utf-8-sig",
            dtype=np.float32,
        )
    except Exception as error:
        raise MalformedRecordError(f"text file is no table of numbers ({type(error).__name__})") from None
    if named and len(cells) != table.shape[1]:
        raise MalformedRecordError("text file has rows of another length than its header")
    kept = [at for at, cell in enumerate(cells) if not named or cell.casefold() not in _NO_LEADS]
    values = table.to_numpy()[:, kept]
    if not named:
        return Found(values)
    return Found(values.T, leads=tuple(cells[at] for at in kept), by_lead=True)


def _is_word(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return True
    return False


_READERS: Mapping[str, Callable[[Path, int | None, str], Found]] = {
    ".hea": _wfdb,
    ".npy": _npy,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".csv": _csv,
    ".tsv": _csv,
    ".txt": _csv,
    ".edf": _edf,
    **dict.fromkeys(clinical.SUFFIXES, _clinical),
}
SUFFIXES = tuple(_READERS)


def _of_array(values: np.ndarray, row: int | None, said: Mapping[str, Any] | None = None) -> Found:
    """One recording of an array [n_leads, n_samples] or the other way round, or a row of one of many."""
    if row is not None:
        if values.ndim not in (2, 3) or not -1 < row < len(values):
            raise MalformedRecordError("row is beyond the array" if values.ndim in (2, 3) else "array has no rows")
        values = values[row]
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2):
        raise MalformedRecordError(f"array of {' x '.join(map(str, values.shape))} is no recording")
    signal = np.array(np.atleast_2d(values), dtype=np.float32)  # a copy: the file may be mapped, or read-only
    units = _said(said or {}, _UNIT)
    return Found(signal, _number(said or {}), (units[0],) if units else None, _said(said or {}, _LEADS) or None)


def _said(said: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    """The words under the first of some names: one, many, or many in one with commas between."""
    for name in said:
        if name.casefold() in names:
            values = np.atleast_1d(np.asarray(said[name])).ravel()[:64].tolist()
            words = [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]
            return tuple(word.strip() for word in (words[0].split(",") if len(words) == 1 else words))
    return ()


def _number(said: Mapping[str, Any]) -> float | None:
    for name in said:
        value = np.asarray(said[name])
        if name.casefold() in _HZ and value.size == 1 and value.dtype.kind in "iuf":
            return float(value.ravel()[0])
    return None


def _array_of(file: Path, array: str) -> str:
    return _named(hdf5.shapes(file), array, file.name)


def _named(shapes: Mapping[str, tuple[int, ...]], array: str, name: str) -> str:
    """Which of a file's arrays holds the signals: as said, the only large one, or the one of a usual name."""
    if array:
        if array not in shapes:
            raise OSError(f"{name} has no array {array!r}; it has {', '.join(sorted(shapes)[:10])}")
        return array
    large = [one for one, shape in shapes.items() if len(shape) > 1]
    usual = [one for one in large or shapes if one.rpartition("/")[2].casefold() in _SIGNAL_NAMES]
    for some in (large, usual):
        if len(some) == 1:
            return some[0]
    raise OSError(
        f"{name} has several arrays ({', '.join(sorted(shapes)[:10])}): say which holds the signals with --signals "
        "FILE:ARRAY, or :ARRAY for every file"
    )


def _shapes_of(file: Path) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in _unpacked(file, file.stat().st_mtime_ns).items()}


@lru_cache(maxsize=2)
def _unpacked(file: Path, _changed: int) -> dict[str, np.ndarray]:
    """The arrays of an npz file. Raises OSError for one that is damaged, too large, or holds Python objects."""
    try:
        with zipfile.ZipFile(file) as packed:
            if sum(one.file_size for one in packed.infolist()) > 2**33:
                raise OSError(f"{file.name} is too large to unpack: save its array as .npy")
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError) as error:
        raise OSError(f"{file.name} is not a whole npz file of numbers ({type(error).__name__})") from None
