"""State spaces: what the original layers compute, the recurrence that they stand for, their ladders and counts."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from ecgscale.flops import count
from ecgscale.models import MAMBAS, S4D, S4DS, Mamba
from ecgscale.models.mamba import recurrence, selective_scan
from ecgscale.models.s4d import Kernel, StateSpaceLayer, convolved
from tests.originals import Encoding, alike, planted, shown

_S4D_REL, _SCAN_REL = 2.1e-5, 1e-5
_RUNGS = (20e3, 50e3, 140e3, 330e3, 1.1e6, 2.9e6, 9e6, 20.7e6, 51e6, 200e6)


@torch.no_grad()
def test_s4d_computes_what_the_original_layer_does() -> None:
    layer = StateSpaceLayer(64, 64, bidirectional=False).eval()
    theirs: dict[str, tuple[str, Any]] = {
        "passed": ("D", 0.0),
        "kernel.out": ("kernel.C", 0.0),
        "kernel.log_step": ("kernel.log_dt", -4.0),
        "kernel.log_decay": ("kernel.log_A_real", math.log(0.5)),
        "kernel.frequency": ("kernel.A_imag", math.pi * torch.arange(32)),
        "mix.weight": ("output_linear.0.weight", 0.0),
        "mix.bias": ("output_linear.0.bias", 0.0),
    }
    for ours, tensor in layer.state_dict().items():
        name, start = theirs[ours]
        shape = tuple(tensor.shape)[1:] if ours == "kernel.out" else tuple(tensor.shape)
        tensor.copy_(torch.from_numpy(planted(name, shape)) + start)
    found = {"output": layer(shown(64, 32)), "kernel": layer.kernel(32)[0]}
    alike("s4d_layer", found, _S4D_REL)


@torch.no_grad()
def test_s4d_is_a_recurrence_over_the_past_and_one_over_the_future() -> None:
    torch.manual_seed(0)
    kernel, n_samples = Kernel(3, 4, 2).double(), 40
    x = torch.randn(2, 3, n_samples, dtype=torch.float64)
    pole = torch.complex(-kernel.log_decay.exp(), kernel.frequency)
    step = pole * kernel.log_step.exp()[:, None]
    held, out = (step.exp() - 1) / pole, torch.view_as_complex(kernel.out)

    def recurrent(signal: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        state, said = torch.zeros(2, 3, 4, dtype=torch.complex128), []
        for t in range(n_samples):
            state = step.exp() * state + held * signal[..., t, None]
            said.append(2 * (weight * state).sum(-1).real)
        return torch.stack(said, -1)

    past, future = recurrent(x, out[0]), recurrent(x.flip(-1), out[1]).flip(-1)
    expected = past + torch.cat([future[..., 1:], torch.zeros(2, 3, 1)], -1)  # a sample is not told twice
    torch.testing.assert_close(convolved(x, kernel(n_samples)), expected, rtol=1e-9, atol=1e-9)


def test_s4d_has_ten_rungs_of_20_thousand_to_200_million_parameters() -> None:
    sizes = []
    for rung in S4DS:
        with torch.device("meta"):
            sizes.append(sum(p.numel() for p in rung.build().parameters()))
        own = rung.state + 2 * rung.state + 2  # decays and frequencies of pairs, two kernels, step, passed
        layer = rung.width * (own + 2 * rung.width + 2 + 2)
        assert sizes[-1] == rung.layers * layer + 13 * rung.width
    assert sizes == pytest.approx(_RUNGS, rel=0.2)


@pytest.mark.parametrize("rung", [S4DS[0], S4DS[5], S4D(2, 16, bidirectional=False)])
def test_s4d_macs_are_what_one_more_recording_costs(rung: S4D) -> None:
    with torch.device("meta"):
        backbone = rung.build()
        one, two = (count(Encoding(backbone), [torch.zeros(n, 12, 1000)]).macs for n in (1, 2))
    assert rung.macs(1000) == pytest.approx(two - one, rel=1e-3)


@torch.no_grad()
def test_a_selective_scan_computes_what_the_original_does() -> None:
    x = shown(64, 32)
    decay = -(planted_tensor("A_log", (64, 16)) + torch.arange(1, 17).log()).exp()
    step, read_in, read_out, gate = (
        planted_tensor(name, (2, n, 32), size=1.0) for name, n in (("delta", 64), ("B", 16), ("C", 16), ("z", 64))
    )
    passed, bias = planted_tensor("D", (64,)), planted_tensor("delta_bias", (64,))
    plain = selective_scan(x, F.softplus(step), decay, read_in, read_out)
    steps = F.softplus(step + bias[:, None])
    output = (selective_scan(x, steps, decay, read_in, read_out) + x * passed[:, None]) * F.silu(gate)
    kept = (steps[:, :, None] * decay[:, :, None]).exp()
    states = recurrence(kept, (steps * x)[:, :, None] * read_in[:, None])
    found = {"output_plain": plain, "output": output, "last_state": states[..., -1]}
    alike("selective_scan", found, _SCAN_REL)


def test_the_gradient_of_a_recurrence_is_that_of_its_loop() -> None:
    torch.manual_seed(0)
    kept, added = (torch.rand(2, 3, 13, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(recurrence, (kept, added))
    state, states = torch.zeros(2, 3, dtype=torch.float64), []
    for t in range(13):
        state = kept[..., t] * state + added[..., t]
        states.append(state)
    torch.testing.assert_close(recurrence(kept, added), torch.stack(states, -1))


def test_mamba_has_ten_rungs_of_20_thousand_to_200_million_parameters() -> None:
    sizes = []
    for rung in MAMBAS:
        with torch.device("meta"):
            sizes.append(sum(p.numel() for p in rung.build().parameters()))
    assert sizes == pytest.approx(_RUNGS, rel=0.2)


@pytest.mark.parametrize("rung", [MAMBAS[0], MAMBAS[5]])
def test_mamba_macs_are_its_products_and_two_a_state(rung: Mamba) -> None:
    """What torch counts are the products with weights: no product of a scan is one of matrices."""
    with torch.device("meta"):
        weights = count(Encoding(rung.build()), [torch.zeros(1, 12, 1000)]).macs
    scanned = rung.layers * (1000 // rung.patch) * rung.inner * rung.state * 2
    assert rung.macs(1000) == pytest.approx(weights + scanned, rel=1e-3)


def planted_tensor(name: str, shape: tuple[int, ...], size: float | None = None) -> torch.Tensor:
    return torch.from_numpy(planted(name, shape, size=size))
