"""P1: batches of 128 random recordings, against one HDF5 read a recording through a DataLoader."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ecgscale.data import library
from ecgscale.data.batches import Batch, Store
from ecgscale.data.recording import TWELVE_FROM_EIGHT
from ecgscale.models import ResNet
from tests.benchmarks import Measurement

ROUNDS, SIZE = 9, 128


class _Recordings(Dataset):
    """The peer: twelve leads float32 in one HDF5 file, opened by the worker, one recording a call."""

    def __init__(self, path: Path) -> None:
        self.file = h5py.File(path, "r")

    def __len__(self) -> int:
        return len(self.file["tracings"])

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.from_numpy(self.file["tracings"][row])


def measure() -> Iterator[Measurement]:
    """Both sides on one thread; ratios are medians over alternating rounds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _measured(Path(folder))
    finally:
        torch.set_num_threads(threads)


def _measured(folder: Path) -> list[Measurement]:
    corpus = library.open_corpus("ptbxl-sample", folder)
    rows = corpus.rows("train")
    scale = np.float32(corpus.manifest.mv_per_unit / corpus.manifest.scale_mv)
    with h5py.File(folder / "peer.hdf5", "w") as file:
        eight = np.asarray(corpus.signal[rows], dtype=np.float32) * scale
        file["tracings"] = np.einsum("ld,ndt->nlt", TWELVE_FROM_EIGHT, eight)
    store = Store(corpus, rows)
    peer = _Recordings(folder / "peer.hdf5")
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in ("peer", "ours", "gather", "memcpy")}
    assert store.signal is not None
    stored, n_batches = store.signal, len(rows) // SIZE
    target = np.empty((SIZE, *stored.shape[1:]), dtype=np.int16)
    for _ in range(ROUNDS):
        chosen = np.split(rng.permutation(len(rows))[: n_batches * SIZE], n_batches)  # an epoch
        _touch(folder / "peer.hdf5")
        corpus.signal.sum()  # both sides' pages are warm

        def from_hdf5(chosen: list = chosen) -> None:
            for _ in DataLoader(peer, batch_sampler=[list(map(int, batch)) for batch in chosen]):
                pass

        def from_store(chosen: list = chosen) -> None:
            for batch in chosen:
                store.batch(batch)

        def gathered(chosen: list = chosen) -> None:
            for batch in chosen:
                torch.index_select(stored, 0, torch.from_numpy(batch))

        def copied() -> None:
            source = stored[:SIZE].numpy()
            for _ in range(n_batches):
                np.copyto(target, source)

        for name, work in (("peer", from_hdf5), ("ours", from_store), ("gather", gathered), ("memcpy", copied)):
            times[name].append(_seconds(work))
    fetch = median(a / b for a, b in zip(times["peer"], times["ours"], strict=True))
    gather = median(a / b for a, b in zip(times["memcpy"], times["gather"], strict=True))
    step = _step_overhead(store, rng)
    per = {name: f"{1e3 * median(values) / n_batches:.2f} ms" for name, values in times.items()}
    return [
        Measurement("batch of 128 (P1)", per["peer"], per["ours"], fetch, 15, "twelve leads, float32"),
        Measurement("int16 gather / memcpy (P1)", per["memcpy"], per["gather"], gather, 0.5),
        Measurement("training step without data / with (P1)", "", "", 1 / step, 1 / 1.03, "ResNet (4, 57) on a CPU"),
    ]


def _step_overhead(store: Store, rng: np.random.Generator) -> float:
    """Training steps that fetch a new batch each, over steps on one batch, in alternating rounds."""
    backbone = ResNet(4, 57).build()
    optimiser = torch.optim.Adam(backbone.parameters())
    fixed = store.batch(rng.permutation(len(store))[:32])

    def steps(fetch: Callable[[], Batch]) -> None:
        for _ in range(4):
            optimiser.zero_grad()
            backbone(fetch()).pooled.square().mean().backward()
            optimiser.step()

    steps(lambda: fixed)
    ratios = []
    for _ in range(ROUNDS):
        without = _seconds(lambda: steps(lambda: fixed))
        fetching = _seconds(lambda: steps(lambda: store.batch(rng.permutation(len(store))[:32])))
        ratios.append(fetching / without)
    return median(ratios)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _touch(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass
