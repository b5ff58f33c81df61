"""A small checkpoint as ECGFounder's authors write theirs, of random weights."""

import torch
from torch import nn

from ecgscale.models import Net1D

N_LABELS = 150
SMALL = Net1D((16, 32), (2, 1), stem=16, reads_hz=500)


def published(description: Net1D) -> dict[str, torch.Tensor]:
    """A checkpoint as the authors write it, of random weights."""
    state: dict[str, torch.Tensor] = {}

    def put(name: str, module: nn.Module) -> None:
        state.update({f"{name}.{key}": value for key, value in module.state_dict().items()})

    put("first_conv.conv", nn.Conv1d(12, description.stem, description.kernel))
    put("first_bn", nn.BatchNorm1d(description.stem))
    n_in = description.stem
    for s, (n_out, n_blocks) in enumerate(zip(description.channels, description.blocks, strict=True)):
        for b in range(n_blocks):
            at = f"stage_list.{s}.block_list.{b}"
            for norm, n in (("bn1", n_in), ("bn2", n_out), ("bn3", n_out)):
                put(f"{at}.{norm}", nn.BatchNorm1d(n))
            put(f"{at}.conv1.conv", nn.Conv1d(n_in, n_out, 1))
            put(f"{at}.conv2.conv", nn.Conv1d(n_out, n_out, description.kernel, groups=n_out // 16))
            put(f"{at}.conv3.conv", nn.Conv1d(n_out, n_out, 1))
            put(f"{at}.se_fc1", nn.Linear(n_out, n_out // 2))
            put(f"{at}.se_fc2", nn.Linear(n_out // 2, n_out))
            n_in = n_out
    put("dense", nn.Linear(n_in, N_LABELS))
    return state
