"""The convolution of folded sequences, and its gradients, against pictures that torch convolves one at a time."""

import pytest
import torch
from torch.nn import functional as F

from ecgscale.flops import count
from ecgscale.models.folded import folded_convolution, longest

PERIODS = (50, 25, 16, 7, 25, 2)  # 16 and 7 do not divide 50 samples; of 50 there is one row


def plainly(x: torch.Tensor, n_samples: int, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    made = []
    for sequence, period in zip(x, PERIODS, strict=True):
        length = -(-n_samples // period) * period
        picture = sequence[:length].reshape(length // period, period, -1).permute(2, 0, 1)[None]
        found = F.conv2d(picture, weight, bias, padding=weight.shape[-1] // 2)
        flat = found[0].permute(1, 2, 0).reshape(length, -1)
        made.append(F.pad(flat, (0, 0, 0, len(x[0]) - length)))
    return torch.stack(made)


@pytest.fixture
def given() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    x = F.pad(torch.randn(len(PERIODS), 50, 3, dtype=torch.float64), (0, 0, 0, longest(50) - 50))
    return x, torch.randn(4, 3, 5, 5, dtype=torch.float64), torch.randn(4, dtype=torch.float64)


def test_it_is_a_convolution_of_each_picture_and_so_is_its_gradient(given: tuple[torch.Tensor, ...]) -> None:
    found = []
    for convolve in (lambda *a: folded_convolution(a[0], torch.tensor(PERIODS), *a[1:]), plainly):
        x, weight, bias = (tensor.clone().requires_grad_() for tensor in given)
        out = convolve(x, 50, weight, bias)
        (out * torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)).square().sum().backward()
        found.append((out, x.grad, weight.grad, bias.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_torch_can_trace_it(given: tuple[torch.Tensor, ...]) -> None:
    x, weight, bias = (tensor.clone().requires_grad_() for tensor in given)
    kept = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        torch.ops.ecgscale.folded_convolution, (x, torch.tensor(PERIODS), 50, weight, bias), test_utils=kept
    )


def test_a_last_row_is_filled_up() -> None:
    for n_samples in (7, 50, 333, 1000):
        filled = [-(-n_samples // p) * p for p in {n_samples // k for k in range(1, n_samples // 2 + 1)}]
        assert longest(n_samples) == max(filled)


def test_it_counts_as_a_convolution_of_the_samples_there_are() -> None:
    class Folded(torch.nn.Module):
        def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return folded_convolution(x, torch.full((2,), 25), 50, weight, weight.new_zeros(4))

    class Picture(torch.nn.Module):
        def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return F.conv2d(x, weight, padding=2)

    weight = torch.zeros(4, 3, 5, 5)
    ours = count(Folded(), [torch.zeros(2, longest(50), 3), weight])
    assert ours.macs == count(Picture(), [torch.zeros(2, 3, 2, 25), weight]).macs == 2 * 50 * 3 * 4 * 25
    assert not ours.heavy
