"""Simulated corpora on disk: records made in parts, by as many processes as there are cores, split by patient."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data import corpus, split
from ecgscale.data.corpus import Corpus
from ecgscale.data.peaks import MAX_BEATS
from ecgscale.data.simulation.dipole import N_SAMPLES, SAMPLING_HZ, UNIT_MV

Made = tuple[np.ndarray, np.ndarray, np.ndarray]
_CHUNK = 512
_SPLIT = (0.81, 0.09, 0.1)  # of the patients
_FEWEST = 10


def patients(n_records: int) -> np.ndarray:
    """Patient int32 [n_records] of each record: seven are of five patients (CODE: 1.4 records a patient)."""
    return (np.arange(n_records, dtype=np.int64) * 5 // 7).astype(np.int32)


def sizes(n_records: int, salt: str) -> tuple[int, int, int]:
    """Recordings in train, val and test of a corpus of so many."""
    n_train, n_val, n_test = np.bincount(split.by_hash(patients(n_records), salt=salt, shares=_SPLIT), minlength=3)
    return int(n_train), int(n_val), int(n_test)


def opened(
    home: Path,
    name: str,
    n_records: int,
    make: Callable[[int, int], Made],
    *,
    salt: str,
    label_sets: Mapping[str, Sequence[str]],
    preparation: str,
    workers: int | None = None,
) -> Corpus:
    """The corpus ``name`` of records ``make(first, last)``: int16 signals, peaks and uint8 labels; made on first use.

    Raises ValueError for less than ten records.
    """
    if n_records < _FEWEST:
        raise ValueError(f"a simulated corpus of {n_records} records cannot be split; ask for at least {_FEWEST}")
    if corpus.is_prepared(home, name):
        return corpus.read(home, name)
    with corpus.made_elsewhere(home, name) as folder:
        n_labels = sum(map(len, label_sets.values()))
        _write(folder, n_records, n_labels, make, workers)
        patient = patients(n_records)
        corpus.stored(folder / "patient.npy", patient)
        corpus.stored(folder / "split.npy", split.by_hash(patient, salt=salt, shares=_SPLIT))
        corpus.stored(folder / "quality.npy", np.zeros(n_records, dtype=np.uint8))
        return corpus.seal(
            folder,
            home,
            name,
            label_sets=label_sets,
            sampling_hz=SAMPLING_HZ,
            mv_per_unit=UNIT_MV,
            preparation=preparation,
        )


def _write(folder: Path, n_records: int, n_labels: int, make: Callable[[int, int], Made], workers: int | None) -> None:
    shapes = {"signal": (n_records, 8, N_SAMPLES), "peaks": (n_records, MAX_BEATS), "labels": (n_records, n_labels)}
    types = {"signal": np.int16, "peaks": np.int16, "labels": np.uint8}
    arrays = {array: corpus.allocated(folder / f"{array}.npy", types[array], shape) for array, shape in shapes.items()}
    firsts = range(0, n_records, _CHUNK)
    lasts = [min(first + _CHUNK, n_records) for first in firsts]
    n_workers = min(workers or os.cpu_count() or 1, 1 + n_records // 10_000)
    if n_workers == 1:
        _store(arrays, firsts, map(make, firsts, lasts))
        return
    with ProcessPoolExecutor(n_workers, mp_context=get_context("spawn")) as pool:
        _store(arrays, firsts, pool.map(make, firsts, lasts))


def _store(arrays: dict[str, Any], firsts: range, made: Any) -> None:
    for first, (signals, peaks, labels) in zip(firsts, made, strict=True):
        rows = slice(first, first + len(signals))
        arrays["signal"][rows], arrays["peaks"][rows], arrays["labels"][rows] = signals, peaks, labels
    for array in arrays.values():
        array.flush()
