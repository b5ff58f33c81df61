"""Batches: twelve leads of the right recordings, the same whether a slice is in memory or on the disk."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.allowance import Allowance
from ecgscale.data.batches import Store, bytes_of
from ecgscale.data.prefetch import batches_of, one_ahead
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


@pytest.mark.parametrize("allowance", [None, Allowance(0)])
def test_a_position_that_is_not_there_is_an_error_and_no_other_memory(
    corpus: data.Corpus, allowance: Allowance | None
) -> None:
    store = Store(corpus, corpus.rows("train"), allowance=allowance)
    for position in (len(store), -len(store) - 1):
        with pytest.raises(IndexError):
            store.batch(np.array([0, position]))


def test_stores_share_one_allowance_and_give_back_what_they_took(corpus: data.Corpus) -> None:
    """To the byte: what fits stays, what does not is gathered from the disk, and a store that is gone makes room."""
    rows = corpus.rows("train")[:40]
    signal, tables = bytes_of(40, 8, 1000, 4 * 6)
    probe = Store(corpus, rows, "rhythm", allowance=Allowance(0))
    assert probe.signal is None
    assert signal == corpus.signal[rows].nbytes
    assert tables == sum(t.nbytes for t in (corpus.peaks[rows], corpus.patient[rows])) + probe.labels.nbytes
    allowance = Allowance(2 * (signal + tables) + signal - 1)
    first, second, third = (Store(corpus, rows, "rhythm", allowance=allowance) for _ in range(3))
    assert [store.is_resident for store in (first, second, third)] == [True, True, False]
    assert allowance.taken == 2 * signal + 3 * tables
    del second
    assert allowance.taken == signal + 2 * tables
    assert Store(corpus, rows, "rhythm", allowance=allowance).is_resident
    allowance.close()
    assert not Store(corpus, rows, "rhythm", allowance=allowance).is_resident
    assert first.is_resident


def test_what_is_read_ahead_comes_in_order_and_one_at_a_time() -> None:
    """The next is begun before the last is used, and no other; an error comes where its batch would."""
    begun: list[int] = []

    def do(thing: int) -> int:
        begun.append(thing)
        if thing == 3:
            raise OSError("the disk is gone")
        return thing * thing

    with ThreadPoolExecutor(1) as thread:
        found = one_ahead(thread, do, range(9))
        assert next(found) == 0
        assert next(found) == 1
        thread.submit(lambda: None).result()
        assert begun == [0, 1, 2]
        assert next(found) == 4
        with pytest.raises(OSError, match="the disk is gone"):
            next(found)


def test_a_slice_that_does_not_fit_gives_the_same_batches_from_the_disk(corpus: data.Corpus) -> None:
    rows = corpus.rows("train", 0.5)
    resident, mapped = Store(corpus, rows, "rhythm"), Store(corpus, rows, "rhythm", allowance=Allowance(1000))
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
    for allowance in (None, Allowance(0)):
        store = Store(corpus, rows, "rhythm", "cuda", allowance)
        assert (store.signal is None) == (allowance is not None)
        for batch in batches_of(store, [positions] * 3):
            assert torch.allclose(batch.signal.cpu(), expected, rtol=1e-4, atol=1e-4)
