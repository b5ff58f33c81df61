"""Batches: twelve leads of the right recordings, the same whether a slice is in memory or on the disk."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data import batches
from ecgscale.data.batches import Store
from ecgscale.data.recording import TWELVE_FROM_EIGHT


@pytest.fixture(scope="module")
def corpus(home: Path) -> data.Corpus:
    return data.open_corpus("ludb-sample", home)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 50])
def test_a_batch_is_its_recordings_in_standard_deviations(corpus: data.Corpus, n: int) -> None:
    rows = corpus.rows("train")
    positions = np.random.default_rng(n).permutation(len(rows))[:n]
    batch = Store(corpus, rows, "rhythm").batch(positions)
    units = np.asarray(corpus.signal[rows[positions]], dtype=np.float64)
    millivolts = np.einsum("ld,ndt->nlt", TWELVE_FROM_EIGHT, units) * corpus.manifest.mv_per_unit
    assert np.allclose(batch.signal.numpy(), millivolts / corpus.manifest.scale_mv, rtol=1e-5, atol=1e-5)
    assert np.array_equal(batch.patient.numpy(), corpus.patient[rows[positions]])
    assert np.array_equal(batch.peaks.numpy(), corpus.peaks[rows[positions]])
    assert np.array_equal(batch.labels.numpy(), corpus.targets("rhythm", rows[positions]))


def test_derived_leads_have_the_bits_of_the_matrix_product(corpus: data.Corpus) -> None:
    store = Store(corpus, corpus.rows("train"))
    at = np.random.default_rng(0).permutation(len(store))[:45]
    units = torch.from_numpy(np.asarray(corpus.signal[corpus.rows("train")[at]]))
    product = store.given @ units.float()
    assert torch.equal(store.batch(at).signal.view(torch.int32), product.view(torch.int32))


@pytest.mark.parametrize("free_bytes", [None, 0])
def test_a_position_that_is_not_there_is_an_error_and_no_other_memory(corpus: data.Corpus, free_bytes: int) -> None:
    store = Store(corpus, corpus.rows("train"), free_bytes=free_bytes)
    for position in (len(store), -len(store) - 1):
        with pytest.raises(IndexError):
            store.batch(np.array([0, position]))


@pytest.mark.parametrize(("device", "share"), batches.SHARE.items())
def test_a_slice_is_resident_where_it_fits_beside_the_rest(device: str, share: float) -> None:
    assert batches.fits(int(share * 1e10), torch.device(device), free_bytes=int(1e10))
    assert not batches.fits(int(share * 1e10) + 1, torch.device(device), free_bytes=int(1e10))
    assert not batches.fits(1, torch.device(device), free_bytes=0)


def test_a_slice_that_does_not_fit_gives_the_same_batches_from_the_disk(corpus: data.Corpus) -> None:
    rows = corpus.rows("train", 0.5)
    resident, mapped = Store(corpus, rows, "rhythm"), Store(corpus, rows, "rhythm", free_bytes=1000)
    assert resident.signal is not None
    assert mapped.signal is None
    assert len(resident) == len(mapped) == len(rows)
    positions = np.random.default_rng(1).permutation(len(rows))[:30]
    for a, b in zip(resident.batch(positions), mapped.batch(positions), strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_gives_the_same_batches_resident_or_through_pinned_memory(corpus: data.Corpus) -> None:
    rows, positions = corpus.rows("train"), np.arange(40)
    expected = Store(corpus, rows, "rhythm").batch(positions).signal
    for free_bytes in (None, 0):
        store = Store(corpus, rows, "rhythm", "cuda", free_bytes)
        assert (store.signal is None) == (free_bytes == 0)
        assert torch.allclose(store.batch(positions).signal.cpu(), expected, rtol=1e-4, atol=1e-4)
