"""Net1D has the released ECGFounder's form: its counts, its lengths, and its published tensors under their names."""

import pytest
import torch

from ecgscale.data.batches import Batch
from ecgscale.models import NET1D, NET1DS, Net1D
from ecgscale.models.adoption import adopted
from ecgscale.models.families import FAMILIES
from ecgscale.models.native import resampled
from tests.ecgfounder import N_LABELS, SMALL, published


def n_released(description: Net1D) -> int:
    """Parameters as the authors count them: with 150 labels and the batch normalisations that are never used."""
    with torch.device("meta"):
        own = sum(p.numel() for p in description.build().parameters())
    norms, n_in = 2 * description.stem, description.stem
    for n_out, n_blocks in zip(description.channels, description.blocks, strict=True):
        norms += sum(2 * (n_in if i == 0 else n_out) + 4 * n_out for i in range(n_blocks))
        n_in = n_out
    return own + norms + (description.channels[-1] + 1) * N_LABELS


def test_the_released_models_have_their_published_counts() -> None:
    assert n_released(NET1D) == 30_819_014
    assert n_released(Net1D(leads=1)) == 30_807_750
    assert n_released(Net1D((32, 64, 64, 160, 160, 512, 512))) == pytest.approx(8.12e6, rel=0.03)


def test_the_ladder_reaches_the_sizes_that_the_paper_names() -> None:
    with torch.device("meta"):
        counts = [sum(p.numel() for p in d.build().parameters()) + (d.channels[-1] + 1) * N_LABELS for d in NET1DS]
    assert counts == pytest.approx([11.7e6, 25.6e6, 30.75e6, 76.3e6, 110e6], rel=0.01)


def test_lengths_halve_rounding_up() -> None:
    backbone = Net1D(reads_hz=500).build().eval()
    with torch.no_grad():
        found = backbone(Batch(torch.randn(1, 12, 5000), *[torch.zeros(1, 0)] * 3))
    assert found.local.shape == (1, 20, 1024)
    assert found.pooled.shape == (1, 1024)


def test_recordings_are_standardised_as_a_whole_and_interpolated_when_stored_at_100_hz() -> None:
    batch = Batch(3 + 2 * torch.randn(2, 12, 1000), *[torch.zeros(2, 0)] * 3)
    (native,) = SMALL.build().inputs(batch)
    (faster,) = Net1D((16, 32), (2, 1), stem=16).build().inputs(batch)
    assert native.shape == (2, 12, 1000)
    assert faster.shape == (2, 12, 5000)
    torch.testing.assert_close(native.mean((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(native.std((1, 2), correction=0), torch.ones(2), atol=1e-4, rtol=0)
    assert Net1D((16, 32), (2, 1), leads=1).build().inputs(batch)[0].shape == (2, 1, 5000)


def test_100_hz_become_500_without_shift_and_within_the_band() -> None:
    """Against the same signal sampled at 500 Hz, of what a preparation leaves: up to 40 Hz, falling as an ECG's."""
    draw = torch.Generator().manual_seed(0)
    hz, phase = 0.5 + 39.5 * torch.rand(200, 1, generator=draw), 6.28 * torch.rand(200, 1, generator=draw)
    exact, slow = (
        (6.283185 * hz * torch.arange(n) * (10 / n) + phase).sin().div(1 + hz / 4).sum(0) for n in (5000, 1000)
    )
    found = resampled(slow.expand(2, 12, -1), 100, 500)
    assert found.shape == (2, 12, 5000)
    assert (
        float((found[1, 7] - exact).square().mean().sqrt() / exact.std()) < 0.02
    )  # nearly all of it in the last samples, behind which nothing is known
    inside = slice(200, 4800)
    assert float((found[1, 7] - exact)[inside].square().mean().sqrt() / exact.std()) < 0.003
    torch.testing.assert_close(found[0, 0, ::5], slow, atol=0.05, rtol=0)
    for rate in (400, 250):  # and back, by way of rates that are no multiple
        there = resampled(exact.float().expand(1, 1, -1), 500, rate)
        assert there.shape[-1] == 10 * rate
        back = resampled(there, rate, 100)[0, 0]
        assert float((back - slow)[20:-20].square().mean().sqrt() / slow.std()) < 0.005


def test_published_tensors_load_and_every_mismatch_is_named() -> None:
    state = published(SMALL)
    found = adopted(state, FAMILIES)
    assert found.architecture == SMALL
    backbone = SMALL.build()
    backbone.load_state_dict(found.backbone)
    assert torch.equal(
        backbone.state_dict()["stages.0.1.conv2.weight"], state["stage_list.0.block_list.1.conv2.conv.weight"]
    )
    assert torch.equal(backbone.state_dict()["stem.bias"], state["first_conv.conv.bias"])
    deep = "stage_list.1.block_list.0.conv3.conv.weight"
    for wrong, reason in (
        (
            {k: v for k, v in state.items() if "1.block_list.0.se_fc1.bias" not in k},
            r"lacks 1 of .* stages.1.0.squeeze",
        ),
        (state | {deep: torch.zeros(32, 16, 1)}, r"conv3.conv.weight is of shape .*expected"),
        (
            state | {"first_conv.conv.bias": torch.full((16,), torch.nan)},
            r"first_conv.conv.bias holds what is no number",
        ),
        (state | {"attention.weight": torch.zeros(1)}, r"has a tensor attention\.weight"),
    ):
        with pytest.raises(ValueError, match=reason):
            adopted(wrong, FAMILIES)
