"""What a preparation will cost in time and disk: some records are really prepared, elsewhere, and thrown away."""

import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ecgscale.data import corpus, preparation
from ecgscale.data.dataset import Dataset
from ecgscale.data.prepare_rows import Options, row_bytes

_CHUNK = 32  # records
_CHUNKS = 4  # that each process does while it is timed


@dataclass(frozen=True)
class Price:
    """What a preparation will cost."""

    n_records: int
    n_timed: int
    n_processes: int
    records_per_second: float  # all processes together, reading, computing and writing
    seconds: float  # also starting the processes, and checksums over all that was written
    disk_bytes: int
    free_bytes: int
    missing: tuple[str, ...]  # what the tables promise and the raw folder lacks
    refused: Mapping[str, int]  # reason -> rows of the tables left out
    notes: Mapping[str, int]  # what is unknown, or read otherwise than it stands there


def price(
    dataset: Dataset,
    raw: Path,
    home: Path,
    options: Options,
    *,
    workers: int | None = None,
    n_records: int | None = None,
) -> Price:
    """Prepare a spread sample with as many processes as asked for, and say what all (or ``n_records``) will take.

    Nothing is written into ``home``. Raises as ``preparation.prepare``, but not for missing files.
    """
    index = preparation.indexed(dataset, raw)
    n, n_processes = n_records or len(index.where), workers or os.cpu_count() or 1
    n_warm = n_processes * _CHUNK  # each process' first chunk: it starts, imports and fills caches
    n_timed = n_warm * _CHUNKS
    chosen = _spread(len(index.where), n_warm + n_timed)
    sample = replace(
        index,
        where=index.where[chosen],
        patient=index.patient[chosen],
        labels=index.labels[chosen],
        numbers=None if index.numbers is None else index.numbers[chosen],
        split=None if index.split is None else index.split[chosen],
    )
    chunks = preparation.chunks_of(len(chosen), _CHUNK)
    with tempfile.TemporaryDirectory() as elsewhere:
        partial = preparation.workplace(dataset, sample, Path(elsewhere), options)
        times = [time.perf_counter()]
        for _ in preparation.worked(dataset, raw, partial, sample, options, chunks, n_processes):
            times.append(time.perf_counter())
        signal = np.load(partial / "corpus" / "signal.npy", mmap_mode="r")
        began = time.perf_counter()
        corpus.sha256(signal)
        corpus.deviation(signal, np.ones(len(signal), dtype=bool))
        sealing = (time.perf_counter() - began) / len(signal)
    warm = times[n_processes]
    rate = n_timed / (times[-1] - warm)
    starting = max(0.0, warm - times[0] - n_warm / rate)
    folder = next(parent for parent in (home, *home.absolute().parents) if parent.exists())
    return Price(
        refused=index.refused,
        notes=index.notes,
        n_records=n,
        n_timed=n_timed,
        n_processes=n_processes,
        records_per_second=rate,
        seconds=starting + n * (1 / rate + sealing),
        disk_bytes=n * row_bytes(dataset, options, index.label_bytes),
        free_bytes=shutil.disk_usage(folder).free,
        missing=tuple(index.missing),
    )


def _spread(n_records: int, n: int) -> np.ndarray:
    """Rows [n] of a sample: runs of neighbours, as windows of one long record are read together, spread over all."""
    n_runs = n // _CHUNK
    firsts = np.linspace(0, max(0, n_records - _CHUNK), n_runs).astype(int)
    return (firsts[:, None] + np.arange(_CHUNK)).ravel() % n_records
