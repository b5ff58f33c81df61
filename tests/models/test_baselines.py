"""Baselines trained from scratch: their printed counts with 44 labels, and what their originals compute."""

import re
from typing import Any

import pytest
import torch

from ecgscale.models import BAI_TCN, INCEPTIONTIME, RESNET_WANG, XRESNET1D101, Architecture
from tests.originals import Heard, alike, planted, shown

N_LABELS = 44
COUNTS = {  # backbone, and the linear layer that is the head
    "xresnet1d101": (XRESNET1D101, 1_871_616, 5_676),
    "resnet_wang": (RESNET_WANG, 439_552, 11_308),
    "inceptiontime": (INCEPTIONTIME, 507_008, 5_676),
    "tcn": (BAI_TCN, 427_200, 11_264_044),
}
TOTALS = {"xresnet1d101": 1_877_292, "resnet_wang": 450_860, "inceptiontime": 512_684, "tcn": 11_691_244}
REL = {"xresnet1d101": 1e-5, "resnet_wang": 1e-5, "inceptiontime": 1e-5, "tcn": 8.2e-5}

_BLOCKS = XRESNET1D101.blocks
# The original keeps a block's layers under two names; statistics were filled under the second.
_BOTTLENECKS = tuple(
    (rf"blocks\.{sum(_BLOCKS[:stage]) + i}\.{part}\.{ours}", rf"{4 + stage}.{i}.{theirs}")
    for stage, n_blocks in enumerate(_BLOCKS)
    for i in range(n_blocks)
    for ours, theirs, part in (
        *((r"conv\.(weight)", rf"convs.{c}.0.\1", part) for c, part in enumerate(("expand", "conv", "contract"))),
        *((r"norm\.(weight|bias)", rf"convs.{c}.1.\1", part) for c, part in enumerate(("expand", "conv", "contract"))),
        *((r"norm\.(.*)", rf"convpath.0.{c}.1.\1", part) for c, part in enumerate(("expand", "conv", "contract"))),
        (r"conv\.(.*)", r"idpath.0.0.\1", "project"),
        (r"norm\.(.*)", r"idpath.0.1.\1", "project"),
    )
)
NAMES = {  # what the originals call the tensors of ours
    "xresnet1d101": (
        (r"stem\.(\d)\.conv\.(.*)", r"\1.0.\2"),
        (r"stem\.(\d)\.norm\.(.*)", r"\1.1.\2"),
        *_BOTTLENECKS,
        (r"pool\.norm\.(.*)", r"8.2.\1"),
        (r"pool\.hidden\.(.*)", r"8.4.\1"),
        (r"pool\.hidden_norm\.(.*)", r"8.6.\1"),
        (r"head\.(.*)", r"8.8.\1"),
    ),
    "resnet_wang": (
        (r"stem\.(.*)", r"0.\1"),
        (r"stem_norm\.(.*)", r"1.\1"),
        *(
            (rf"blocks\.{i}\.{ours}", rf"{3 + i}.0.{theirs}")
            for i in range(3)
            for ours, theirs in (
                (r"conv([12])\.(.*)", r"conv\1.\2"),
                (r"norm([12])\.(.*)", r"bn\1.\2"),
                (r"shortcut\.(.*)", r"downsample.\1"),
            )
        ),
        (r"pool\.norm\.(.*)", r"6.2.\1"),
        (r"head\.(.*)", r"6.4.\1"),
    ),
    "inceptiontime": (
        (r"blocks\.(\d)\.bottleneck\.(.*)", r"layers.0.im.\1.bottleneck.\2"),
        (r"blocks\.(\d)\.convolutions\.(.*)", r"layers.0.im.\1.convs.\2"),
        (r"blocks\.(\d)\.pooled\.(.*)", r"layers.0.im.\1.conv_bottle.1.\2"),
        (r"blocks\.(\d)\.norm\.(.*)", r"layers.0.im.\1.bn_relu.0.\2"),
        (r"shortcuts\.(\d)\.0\.(.*)", r"layers.0.sk.\1.conv.\2"),
        (r"shortcuts\.(\d)\.1\.(.*)", r"layers.0.sk.\1.bn.\2"),
        (r"pool\.norm\.(.*)", r"layers.1.2.\1"),
        (r"pool\.hidden\.(.*)", r"layers.1.4.\1"),
        (r"pool\.hidden_norm\.(.*)", r"layers.1.6.\1"),
        (r"head\.(.*)", r"layers.1.8.\1"),
    ),
    "tcn": (
        (r"blocks\.(\d)\.(conv[12])\.direction", r"tcn.network.\1.\2.weight_v"),
        (r"blocks\.(\d)\.(conv[12])\.length", r"tcn.network.\1.\2.weight_g"),
        (r"blocks\.(\d)\.(conv[12])\.bias", r"tcn.network.\1.\2.bias"),
        (r"blocks\.(\d)\.project\.(.*)", r"tcn.network.\1.downsample.\2"),
        (r"head\.(.*)", r"linear.\1"),
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_the_printed_ones(name: str) -> None:
    architecture, expected, head = COUNTS[name]
    with torch.device("meta"):
        backbone = architecture.build()
    assert sum(p.numel() for p in backbone.parameters()) == expected
    assert N_LABELS * (backbone.width + 1) == head
    assert expected + head == TOTALS[name]


@pytest.mark.parametrize("name", COUNTS)
@torch.no_grad()
def test_outputs_are_the_originals(name: str) -> None:
    backbone, head = planted_network(COUNTS[name][0], name)
    first_of = {
        "xresnet1d101": lambda: backbone.stem[0],
        "resnet_wang": lambda: backbone.stem,
        "inceptiontime": lambda: backbone.blocks[0],
        "tcn": lambda: backbone.blocks[0],
    }
    heard = Heard(first=first_of[name]())
    found = backbone.encode(shown(12, 1000))
    first, local = heard["first"], found.local
    ours = {"logits": head(found.pooled)}
    if name == "tcn":
        ours |= {"feature": local.mean(1), "last_time": local[:, -1], "level0_first16": first[..., :16]}
    else:
        ours["feature"] = torch.cat([local.amax(1), local.mean(1)], 1)
        ours |= {"module0_mean": first.mean(-1)} if name == "inceptiontime" else {"stem_first8": first[..., :8]}
    alike(name, ours, REL[name])


def planted_network(architecture: Architecture, name: str) -> tuple[Any, torch.nn.Module]:
    """A backbone and its head with the weights that the originals had, found by the originals' names."""
    backbone = architecture.build()
    network = torch.nn.ModuleDict({"backbone": backbone, "head": torch.nn.Linear(backbone.width, N_LABELS)}).eval()
    norms = {
        f"{at}.weight"
        for at, module in network.named_modules()
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.LayerNorm)
    }
    for ours, tensor in network.state_dict().items():
        if ours.endswith("num_batches_tracked"):
            continue
        theirs = next(
            found.expand(to)
            for pattern, to in NAMES[name]
            if (found := re.fullmatch(pattern, ours.removeprefix("backbone.")))
        )
        kind = "norm" if ours in norms else "var" if ours.endswith("running_var") else "general"
        kind = "wn" if ours.endswith(".length") else kind
        tensor.copy_(torch.from_numpy(planted(theirs, tuple(tensor.shape), kind)))
    return backbone, network["head"]
