"""What a CPU computes with neighbouring samples as channels is what PyTorch's layers compute."""

import copy
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.models import ResNet, cpu_conv
from ecgscale.models.cpu_conv import BatchNorm, Convolution
from ecgscale.objectives import Supervised

SHAPES = [
    (kernel, stride, n_in, n_out)
    for kernel, stride in itertools.product((3, 15, 17, 21), (1, 2, 3, 4, 8))
    for n_in, n_out in ((3, 5), (12, 29))
    if stride <= kernel
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


def signal(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()


def differ(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference, in units of the largest value."""
    return float((ours.detach().double() - theirs.detach().double()).abs().max() / theirs.detach().abs().max())


@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_folded_convolutions_and_their_gradients_are_exact(dtype: torch.dtype, allowed: float) -> None:
    for kernel, stride, n_in, n_out in SHAPES:
        layer = Convolution(n_in, n_out, kernel, stride).to(dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = signal(3, n_in, 1, 48, dtype=dtype)
        plain = F.conv2d(x, layer.weight, None, (1, stride), (0, (kernel - stride + 1) // 2))
        slope = torch.randn_like(plain)
        theirs = (plain, *torch.autograd.grad(plain, (x, layer.weight), slope))
        made = layer(x)
        ours = (made, *torch.autograd.grad(made, (x, layer.weight), slope))
        for a, b in zip(ours, theirs, strict=True):
            assert a.shape == b.shape
            assert differ(a, b) < allowed, (kernel, stride, n_in, n_out)


def test_narrow_long_kernels_are_folded_and_others_are_not() -> None:
    folds = {(c.in_channels, c.out_channels, *c.kernel_size, *c.stride): c.together for c in layers(ResNet(3, 24))}
    assert folds[12, 5, 1, 17, 1, 1] == 8
    assert folds[5, 15, 1, 17, 1, 1] == 2
    assert folds[24, 24, 1, 17, 1, 8] == 2
    assert Convolution(5, 5, 3).together == 1
    assert Convolution(256, 320, 17).together == 1


def layers(architecture: ResNet) -> list[Convolution]:
    return [module for module in architecture.build().modules() if isinstance(module, Convolution)]


@pytest.mark.parametrize("rectified", [True, False])
@pytest.mark.parametrize(("n", "n_channels", "n_samples", "mean"), [(4, 5, 64, 0.0), (1, 3, 7, 0.0), (8, 29, 96, 50.0)])
def test_normalisation_and_its_gradients_are_those_of_float64(
    n: int, n_channels: int, n_samples: int, mean: float, rectified: bool
) -> None:
    ours = BatchNorm(n_channels, rectified=rectified)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs = copy.deepcopy(ours).double()
    x = (signal(n, n_channels, 1, n_samples).detach() + mean).requires_grad_()
    exact = x.detach().double().requires_grad_()
    slope = torch.randn_like(x) * (x > x.mean())
    made, wanted = ours(x), theirs(exact)
    made.backward(slope)
    wanted.backward(slope.double())
    assert made.grad_fn is not None
    assert "_Normalised" in type(made.grad_fn).__name__
    assert wanted.grad_fn is not None
    assert "_Normalised" not in type(wanted.grad_fn).__name__
    pairs = [(made, wanted), (x.grad, exact.grad), (ours.weight.grad, theirs.weight.grad)]
    pairs += [(ours.bias.grad, theirs.bias.grad), (ours.running_mean, theirs.running_mean)]
    pairs += [(ours.running_var, theirs.running_var), (ours.num_batches_tracked, theirs.num_batches_tracked)]
    for a, b in pairs:
        assert a is not None
        assert b is not None
        assert differ(a, b) < 1e-5


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5])
def test_dropout_drops_its_share_anew_and_passes_the_gradient_of_what_it_keeps(rate: float) -> None:
    layer, x = BatchNorm(8, dropout=rate), signal(16, 8, 1, 512)
    whole = BatchNorm(8)(x)
    slope = torch.rand_like(whole) + 0.5
    one, another = layer(x), layer(x)
    live = whole > 0
    dropped, again = (~(made > 0)[live] for made in (one, another))
    for mask in (dropped, again, dropped[1:] & dropped[:-1], dropped & again):
        share = rate if mask is dropped or mask is again else rate**2  # neighbours and calls are independent
        assert float(mask.float().mean()) == pytest.approx(share, abs=5 * math.sqrt(share / len(mask)))
    kept = (one > 0).float() / (1 - rate)
    assert differ(one, whole * kept) < 1e-6
    ours = torch.autograd.grad(one, (x, layer.weight, layer.bias), slope)
    theirs = torch.autograd.grad(BatchNorm(8)(x), x, slope * kept)
    assert differ(ours[0], theirs[0]) < 1e-6
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(first, layer(x))
    assert torch.equal(layer.eval()(x), F.relu(F.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps)))


def test_places_are_dropped_independently() -> None:
    layer = BatchNorm(24, rectified=False, dropout=0.2).train()
    x = signal(64, 24, 1, 512)
    for _ in range(3):
        dropped = (layer(x).detach() == 0).double() - 0.2
        assert abs(float(dropped.mean())) < 0.003
        for shift, dim in itertools.product((1, 2, 8, 32), (0, 1, 3)):
            apart = dropped * dropped.roll(shift, dim)
            assert abs(float(apart.mean())) / 0.16 < 0.006, (shift, dim)  # five standard errors of 786,432 places


def test_what_is_no_number_stays_none() -> None:
    x = signal(2, 3, 1, 16).detach()
    x[0, 1, 0, 4] = math.nan
    normal = BatchNorm(3)(x)
    assert normal[:, 1].isnan().all()
    assert not normal[:, [0, 2]].isnan().any()


def test_a_network_has_the_loss_gradients_and_names_of_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Supervised().build(ResNet(3, 24, dropout=0).build(), 6).train()
    exact, again = copy.deepcopy(module).double(), copy.deepcopy(module)
    rng = np.random.default_rng(0)
    given = torch.from_numpy(rng.normal(size=(6, 12, 1000)).astype(np.float32))
    labels = torch.from_numpy(rng.integers(0, 2, (6, 6)).astype(np.float32))
    batch = Batch(given, torch.zeros(6, 1, dtype=torch.int64), labels, torch.arange(6))
    losses = []
    for one in (module, again):
        losses.append(one(batch, torch.Generator()).mean)
        losses[-1].backward()
    assert losses[0] == losses[1]
    for a, b in zip(module.parameters(), again.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.equal(a.grad, b.grad)
    monkeypatch.setattr(cpu_conv, "_foldable", lambda x: False)
    plain = exact(batch._replace(signal=given.double(), labels=labels.double()), torch.Generator()).mean
    plain.backward()
    assert float(losses[0].detach()) == pytest.approx(float(plain.detach()), rel=1e-6)
    for (name, a), b in zip(module.named_parameters(), exact.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert differ(a.grad, b.grad) < 1e-4, name
    assert {"backbone.stem.weight", "backbone.stem_norm.running_var", "backbone.blocks.1.conv2.weight"} <= set(
        module.state_dict()
    )
