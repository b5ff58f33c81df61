"""Multiply-accumulates of every rung of the ladders, counted by hand from the shapes of the layers."""

from ecgscale.models import RESNET_200M, RESNETS, TRANSFORMER_200M, TRANSFORMERS, Codebook, ResNet, Transformer
from ecgscale.models.transformer import HEAD_WIDTH
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.objectives.cmsc import EMBEDDING_WIDTH

LADDER: tuple[ResNet | Transformer, ...] = (*RESNETS, RESNET_200M, *TRANSFORMERS, TRANSFORMER_200M)
CODEBOOK = Codebook("ptbxl-sample")
OBJECTIVES: tuple[Objective, ...] = (Supervised(), CMSC(), Masked(CODEBOOK))


def resnet_macs(r: ResNet, n_samples: int = 1024) -> int:
    total = 12 * r.channels[0] * r.kernel * n_samples
    for n_in, n_out, stride in zip(r.channels, r.channels[1:], r.strides, strict=False):
        total += n_in * n_out * r.kernel * n_samples
        n_samples //= stride
        total += n_out * n_out * r.kernel * n_samples + (n_in * n_out * n_samples if n_in != n_out else 0)
    return total


def transformer_macs(t: Transformer) -> int:
    n, inner = t.n_tokens + 1, HEAD_WIDTH * t.heads
    layer = n * (4 * t.width * inner + 2 * t.width * t.ffn) + 2 * n * n * inner
    return t.layers * layer + t.n_tokens * 3 * 96 * t.width


def by_hand(rung: ResNet | Transformer, objective: Objective) -> int:
    """Of one recording of 10 s at 100 Hz and six labels, from the shapes of the layers."""
    if isinstance(rung, Transformer):
        head = rung.width * (rung.n_tokens // 2 * CODEBOOK.n_codes if isinstance(objective, Masked) else 6)
        return transformer_macs(rung) + head
    if isinstance(objective, CMSC):  # two segments of 500 samples, padded to 512
        return 2 * (resnet_macs(rung, 512) + rung.width * (rung.width + EMBEDDING_WIDTH))
    return resnet_macs(rung) + rung.width * 6
