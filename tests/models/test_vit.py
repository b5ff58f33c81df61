"""The ViT reads any number of leads: absent ones change nothing, and no order of leads is special."""

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.batches import Batch, Store
from ecgscale.data.recording import ABSENT_LEAD, LEADS, UNKNOWN_LEAD, lead_ids
from ecgscale.models import ViT
from ecgscale.models.vit import patches, rotated

SMALL = ViT(2, 24, 2, registers=2, layer_scale=0.5)


@pytest.fixture(scope="module")
def batch(home) -> Batch:  # type: ignore[no-untyped-def]
    corpus = data.open_corpus("ptbxl-sample", home)
    return Store(corpus, corpus.rows("train")[:4]).batch(np.arange(4))


@pytest.fixture(scope="module")
def backbone():  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    return SMALL.build().eval()


def test_leads_are_numbered_by_name() -> None:
    assert lead_ids(LEADS).tolist() == list(range(1, 13))
    assert lead_ids(("MLII", "chest", "DI")).tolist() == [2, UNKNOWN_LEAD, 1]


def test_a_twelve_lead_and_a_single_lead_recording_share_a_batch(backbone, batch: Batch) -> None:  # type: ignore[no-untyped-def]
    leads = batch.leads[:2].clone()
    leads[1, 1:] = ABSENT_LEAD  # the second recording has lead I alone
    together = backbone(batch._replace(signal=batch.signal[:2], leads=leads))
    twelve = backbone(batch._replace(signal=batch.signal[:1], leads=leads[:1]))
    one = backbone(batch._replace(signal=batch.signal[1:2, :1], leads=leads[1:, :1]))
    torch.testing.assert_close(together.pooled[0], twelve.pooled[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.pooled[1], one.pooled[0], rtol=1e-4, atol=1e-5)
    n_patches = one.local.shape[1]
    torch.testing.assert_close(together.local[1, :n_patches], one.local[0], rtol=1e-4, atol=1e-5)


def test_the_order_of_leads_does_not_matter(backbone, batch: Batch) -> None:  # type: ignore[no-untyped-def]
    order = torch.tensor([5, 0, 11, 3, 1, 2, 4, 6, 7, 8, 9, 10])
    shuffled = batch._replace(signal=batch.signal[:, order], leads=batch.leads[:, order])
    torch.testing.assert_close(backbone(shuffled).pooled, backbone(batch).pooled, rtol=1e-4, atol=1e-5)


def test_which_lead_it_is_and_when_both_matter(backbone, batch: Batch) -> None:  # type: ignore[no-untyped-def]
    renamed = backbone(batch._replace(leads=batch.leads.roll(1, 1))).pooled
    assert not torch.allclose(renamed, backbone(batch).pooled, atol=1e-4)
    cut = patches(batch.signal, batch.leads, SMALL.patch, 100)
    later = backbone.encode(*cut._replace(seconds=cut.seconds * 1.5)).pooled
    assert not torch.allclose(later, backbone(batch).pooled, atol=1e-4)


def test_rotation_keeps_lengths_and_depends_on_differences_alone() -> None:
    torch.manual_seed(1)
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def product(at: float, of: float) -> float:
        def turn(x: torch.Tensor, seconds: float) -> torch.Tensor:
            angle = seconds / torch.tensor([0.5, 1.0, 3.0, 9.0])
            return rotated(x, torch.stack([angle.cos(), angle.sin()])[:, None, None])

        return float((turn(query, at) * turn(key, of)).sum())

    assert product(1.0, 0.25) == pytest.approx(product(7.0, 6.25), abs=1e-5)
    assert product(1.0, 0.25) != pytest.approx(product(1.0, 0.75), abs=1e-3)


def test_patches_are_cut_lead_after_lead() -> None:
    signal = torch.arange(2 * 3 * 10, dtype=torch.float32).view(2, 3, 10)
    cut = patches(signal, torch.tensor([[1, 2, 13], [1, 0, 0]]), 4, 100)
    assert cut.samples.shape == (2, 6, 4)
    assert torch.equal(cut.samples[1, 2], signal[1, 1, :4])
    assert cut.lead[0].tolist() == [1, 1, 2, 2, 13, 13]
    assert cut.seconds[0].tolist() == pytest.approx([0.02, 0.06] * 3)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="twice the heads"):
        ViT(2, 30, 4)
