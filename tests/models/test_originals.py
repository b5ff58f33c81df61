"""Networks against what their originals compute, under weights that a formula gives, so that none are needed."""

import zlib

import numpy as np
import pytest
import torch

from ecgscale.data.batches import Batch
from ecgscale.models import RIBEIRO
from tests.paths import HOUSE

STORED = HOUSE / "tests" / "fixtures" / "originals"


def planted(name: str, shape: tuple[int, ...], kind: str = "general") -> np.ndarray:
    """The tensor of a name: a hash of place and name under a sine, as large as one of its fan-in should be."""
    n, code = int(np.prod(shape)), zlib.crc32(name.encode())
    x = np.arange(n, dtype=np.int64)
    place = (x * x % 1_000_003 * 370_003 + x * 101_027 + code % 1_000_003) % 1_000_003
    size = 1 / np.sqrt(n / shape[0]) if len(shape) >= 2 else 0.1
    found = (np.sin(2 * np.pi * place / 1_000_003) * size).reshape(shape)
    return {"general": found, "norm": 1 + found, "var": 1 + np.abs(found)}[kind].astype(np.float32)


def shown(n_leads: int, n_samples: int) -> torch.Tensor:
    b, lead, t = np.ogrid[0:2, 0:n_leads, 0:n_samples]
    signal = np.sin(0.013 * (lead + 1) * t + b) + 0.3 * np.sin(0.11 * t + lead)
    return torch.from_numpy((signal + 0.05 * ((t * (lead + 3) % 17) / 17 - 0.5)).astype(np.float32))


def in_ribeiros_words(name: str) -> tuple[str, str]:
    """What the PyTorch original calls a tensor of ours, and its kind."""
    kind = (
        "var" if name.endswith("running_var") else "norm" if "norm" in name and name.endswith("weight") else "general"
    )
    theirs = name.replace("stem_norm.", "bn1.").replace("stem.", "conv1.").replace("norm", "bn")
    if theirs.startswith("blocks."):
        _, number, rest = theirs.split(".", 2)
        pooled = int(RIBEIRO.strides[int(number)] > 1)
        theirs = f"resblock1d_{number}.{rest.replace('project.', f'skip_connection.{pooled}.')}"
    return theirs, kind


def test_ribeiros_published_network_is_described_to_the_last_number() -> None:
    """12 x 4,096 samples at 400 Hz: strides 1, 4, 4, 4, 4, and a head on all 5,120 features."""
    stored = dict(np.load(STORED / "ribeiro_pytorch.npz"))
    assert (RIBEIRO.strides, RIBEIRO.sampling_hz) == ((1, 4, 4, 4, 4), 400)
    backbone = RIBEIRO.build().eval()
    nothing = [torch.zeros(2, 0)] * 3
    with torch.no_grad():
        for name, tensor in backbone.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                theirs, kind = in_ribeiros_words(name)
                shape = tuple(n for i, n in enumerate(tensor.shape) if tensor.ndim < 4 or i != 2)  # theirs are 1-D
                tensor.copy_(torch.from_numpy(planted(theirs, shape, kind)).view(tensor.shape))
        found = backbone(Batch(shown(12, 4096), *nothing))
    weight, bias = planted("lin.weight", (6, 5120)), planted("lin.bias", (6,))
    assert backbone.width == 5120
    assert sum(p.numel() for p in backbone.parameters()) + 6 * 5121 == 6_950_310
    ours = {
        "feature": found.local.mean(1).numpy(),
        "flat_sample": found.pooled[:, ::37].numpy(),
        "logits": found.pooled.numpy() @ weight.T + bias,
    }
    for output, value in ours.items():
        assert np.abs(value - stored[output]).max() <= 1.2e-5 * np.abs(stored[output]).max(), output
    with pytest.raises(ValueError, match="whole recordings"):
        backbone(Batch(shown(12, 2048), *nothing))
