"""A small architecture of each kind, and every objective and its variants, that tests train in moments."""

from dataclasses import dataclass

from ecgscale.models import Architecture, Codebook, Net1D, ResNet, Transformer, ViT
from ecgscale.objectives import CMSC, DINO, OBJECTIVES, Masked, Objective, Supervised
from ecgscale.objectives.cmsc import VARIANTS

CODEBOOK = Codebook("ptbxl-sample", 64, 8, 1, 1, 16, 1, 32, n_tokens=96, leads="independent")
SMALL: dict[str, Architecture] = {
    "resnet": ResNet(3, 12),
    "transformer": Transformer(2, 16, 1, 32, n_tokens=96, leads="independent"),
    "net1d": Net1D((16, 32), (1, 1), stem=16, kernel=8),
    "vit": ViT(2, 24, 2, patch=50, layer_scale=0.1),
}
# Every objective by its kind, and its variants beside it.
PLAIN: dict[str, Objective] = {kind: cls() for kind, cls in OBJECTIVES.items() if cls is not Masked}  # type: ignore[call-arg]
MADE: dict[str, Objective] = {
    **PLAIN,
    "masked": Masked(CODEBOOK),
    "dino": DINO(n_prototypes=32, head_width=32, bottleneck=16, n_local=2),
    "focal": Supervised(focal_gamma=2.0),
    **{f"cmsc-{variant}": CMSC(variant=variant) for variant in VARIANTS if variant != CMSC().variant},
    "masked-heartlang": Masked(CODEBOOK, mask_padding=True, leak=True, ids_at_label_time=False),
}


@dataclass(frozen=True)
class Own(ResNet):
    """A ResNet of one's own: a class whose code is not ecgscale's."""
