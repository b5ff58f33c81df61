"""The second count against fvcore, and against counts by hand of what fvcore does not know."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from ecgscale.compute import AGREEMENT, _Encoding, cost, macs
from ecgscale.data.batches import Batch
from ecgscale.data.peaks import MAX_BEATS, NO_PEAK
from ecgscale.flops import Uncounted, count
from ecgscale.models import Architecture, Backbone, Features, Net1D, ResNet, Transformer, ViT
from ecgscale.objectives import CMSC, Supervised

T, WIDTH = 1000, 16


class Net(Backbone):
    """Any function of the signal, pooled over time."""

    def __init__(self, function: nn.Module) -> None:
        super().__init__()
        self.width, self.function = WIDTH, function

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        return (batch.signal,)

    def encode(self, signal: torch.Tensor) -> Features:  # type: ignore[override]
        found = self.function(signal.transpose(1, 2))
        found = found[0] if isinstance(found, tuple) else found
        return Features(found.mean(1), found)


class Spectral(nn.Module):
    """A filter in the frequency domain, as FNet and S4 have it, and a layer from leads to features."""

    def __init__(self) -> None:
        super().__init__()
        self.filter, self.mix = nn.Parameter(torch.randn(12, T // 2 + 1, 2)), nn.Linear(12, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = torch.fft.rfft(x.transpose(1, 2)) * torch.view_as_complex(self.filter)
        return self.mix(torch.fft.irfft(seen, n=T).transpose(1, 2))


class Decomposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(12, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mix(x @ torch.linalg.qr(x.transpose(1, 2) @ x).Q)


PARTS: dict[str, Any] = {
    "lstm": lambda: nn.LSTM(12, WIDTH // 2, 2, batch_first=True, bidirectional=True),
    "gru": lambda: nn.GRU(12, WIDTH, batch_first=True),
    "spectral": Spectral,
    "qr": Decomposed,
    "linear": lambda: nn.Linear(12, WIDTH),
}


@dataclass(frozen=True)
class Strange(Architecture):
    part: str
    says: int | None = None
    kind: ClassVar[str] = "strange"

    @property
    def size(self) -> str:
        return self.part

    def macs(self, n_samples: int) -> int | None:
        return self.says and self.says * n_samples

    def build(self) -> Backbone:
        return Net(PARTS[self.part]())


H, HEAD = WIDTH // 2, 6 * WIDTH
FOURIER = 1.25 * T * math.log2(T)  # multiply-accumulates of a transform of T real numbers
BY_HAND = {
    # two layers of two directions, four gates: what comes in, and the state of the step before
    "lstm": T * 2 * (4 * H * (12 + H) + 4 * H * (2 * H + H)),
    "gru": T * 3 * WIDTH * (12 + WIDTH),
    "spectral": 2 * 12 * FOURIER + T * 12 * WIDTH,
}


@pytest.mark.parametrize("part", BY_HAND)
def test_what_fvcore_does_not_know_is_counted_as_by_hand(part: str) -> None:
    counted = cost(Strange(part), Supervised(), 6, T)
    assert counted.macs_per_sample - HEAD == pytest.approx(BY_HAND[part], rel=1e-3)
    assert counted.counted_by == "torch"
    assert counted.n_activations > 0


@pytest.mark.parametrize("part", ["lstm", "gru"])
def test_a_recurrent_layer_is_counted_as_torch_would_compute_it(part: str) -> None:
    """On a short input, with its loop over time."""
    from torch.utils.flop_counter import FlopCounterMode

    module, x = PARTS[part]().to("meta"), torch.zeros(2, 7, 12, device="meta")
    with FlopCounterMode(display=False) as counter:
        expected = module(x)
    assert count(module, [x]).macs == counter.get_total_flops() // 2

    class Shapes(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out, state = module(x)
            assert out.shape == expected[0].shape
            assert len(state) == len(expected[1])
            return out

    count(Shapes(), [x])


SHIPPED = (
    ResNet(3, 12),
    Transformer(2, 16, 1, 32, n_tokens=96, leads="independent"),
    Net1D((16, 32), (1, 1), stem=16, kernel=8),
    ViT(2, 24, 2, patch=50, layer_scale=0.1),
)


@pytest.mark.parametrize("architecture", SHIPPED, ids=lambda one: one.kind)
def test_both_counts_agree_on_ours(architecture: Architecture) -> None:
    with torch.device("meta"):
        module = Supervised().build(architecture.build(), 6)
    peaks, labels = torch.full((1, MAX_BEATS), NO_PEAK), torch.zeros(1, 6)
    batch = Batch(torch.zeros(1, 12, T), peaks, labels, torch.zeros(1, dtype=torch.int64))
    inputs = [tensor.to("meta") for tensor in module.backbone.inputs(batch)]
    second = count(_Encoding(module.backbone), inputs)
    assert not second.heavy
    assert second.macs == pytest.approx(macs(_Encoding(module.backbone), inputs), rel=AGREEMENT)
    assert cost(architecture, Supervised(), 6, T).counted_by == "fvcore"


def test_a_strangers_model_that_both_know_is_counted_by_both() -> None:
    counted = cost(Strange("linear"), Supervised(), 6, T)
    assert counted.macs_per_sample == T * 12 * WIDTH + HEAD
    assert counted.counted_by == "fvcore"


def test_counts_that_disagree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import ecgscale.compute

    monkeypatch.setattr(ecgscale.compute, "_traced", lambda module, inputs: (1, 1))
    with pytest.raises(Uncounted, match=r"fvcore counts 1 multiply-accumulates and torch 192,000; give the archi"):
        cost.__wrapped__(Strange("linear"), Supervised(), 6, T)


def test_an_architecture_may_say_its_own_count() -> None:
    with pytest.raises(Uncounted, match=r"cannot be counted: linalg_qr; give the architecture a method macs"):
        cost(Strange("qr"), Supervised(), 6, T)
    said = cost(Strange("qr", says=77), Supervised(), 6, T)
    assert (said.macs_per_sample, said.counted_by) == (77 * T + HEAD, "itself")
    halves = cost(Strange("qr", says=77), CMSC(), 0, T)  # two segments of half the samples, and its own head
    assert halves.macs_per_sample == pytest.approx(77 * T + 2 * WIDTH * (WIDTH + 128), rel=0.1)
