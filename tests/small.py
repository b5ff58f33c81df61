"""A small architecture of each kind, and every objective and its variants, that tests train in moments."""

from dataclasses import dataclass, fields, replace

from ecgscale.models import (
    MICN,
    S4D,
    TCN,
    Architecture,
    BasicResNet,
    Codebook,
    Crossformer,
    DecompositionTransformer,
    InceptionTime,
    KerasResNet,
    Mamba,
    MultileadViT,
    Net1D,
    ResNet,
    SCINet,
    SequenceTransformer,
    SparseTransformer,
    TimesNet,
    Transformer,
    ViT,
    Wave,
    XResNet,
)
from ecgscale.objectives import CMSC, CPC, DINO, JEPA, OBJECTIVES, Hybrid, Masked, Objective, Supervised
from ecgscale.objectives.cmsc import VARIANTS

CODEBOOK = Codebook("ptbxl-sample", 64, 8, 1, 1, 16, 1, 32, n_tokens=96, leads="independent")
SMALL: dict[str, Architecture] = {
    "resnet": ResNet(3, 12),
    "transformer": Transformer(2, 16, 1, 32, n_tokens=96, leads="independent"),
    "net1d": Net1D((16, 32), (1, 1), stem=16, kernel=8),
    "vit": ViT(2, 24, 2, patch=50, layer_scale=0.1),
    "basic-resnet": BasicResNet((8, 12), (1, 1), native_hz=100),
    "keras-resnet": KerasResNet((6, 8, 12), dropout=0.0, pooling="mean", native_hz=100, amplitude="mv"),
    "multilead-vit": MultileadViT(2, 24, 2, native_hz=100),
    "wave": Wave(2, 24, 2, 48, (12, 12), (4, 4), (4, 4), position_kernel=8, position_groups=2, native_hz=100),
    "xresnet": XResNet((1, 1), 4, hidden=8, zero_start=False),
    "inceptiontime": InceptionTime(3, 8, 16, hidden=16),
    "sequence-transformer": SequenceTransformer(2, 16, 2, 32, "patch", 50, 50, dropout=0.0, pooling="mean"),
    "decomposition-transformer": DecompositionTransformer(1, 8, 2, 16, modes=8, dropout=0.0, pooling="mean"),
    "sparse-transformer": SparseTransformer(1, 8, 2, 16, dropout=0.0, pooling="mean"),
    "scinet": SCINet(1, 3, dropout=0.0, pooling="mean"),
    "micn": MICN(1, 8, (20,), dropout=0.0, pooling="mean"),
    "crossformer": Crossformer(2, 8, 2, 16, 40, routers=2, dropout=0.0, pooling="mean"),
    "timesnet": TimesNet(1, 8, 8, 2, 2, dropout=0.0, pooling="mean"),
    "mamba": Mamba(2, 8, 4, patch=10),
    "s4d": S4D(1, 12, 4, dropout=0.0),
    "tcn": TCN((32,), dropout=0.0, pooling="mean"),
}
# Every objective by its kind, and its variants beside it.
PLAIN: dict[str, Objective] = {kind: cls() for kind, cls in OBJECTIVES.items() if cls is not Masked}  # type: ignore[call-arg]
MADE: dict[str, Objective] = {
    **PLAIN,
    "masked": Masked(CODEBOOK),
    "dino": DINO(n_prototypes=32, head_width=32, bottleneck=16, n_local=2),
    "cpc": CPC(windows=5, steps=2, n_negatives=3, context_layers=1),
    "jepa": JEPA(blocks=2),
    "focal": Supervised(focal_gamma=2.0),
    **{f"cmsc-{variant}": CMSC(variant=variant) for variant in VARIANTS if variant != CMSC().variant},
    "cpc-batch": CPC(windows=4, steps=2, negatives="batch", context="gru", only_last=True),
    "cpc-causal": CPC(steps=3, n_negatives=8, context="backbone"),
    "hybrid-jepa": Hybrid(other=JEPA(blocks=2, predictor_width=8), weight=0.2),
    "masked-heartlang": Masked(CODEBOOK, mask_padding=True, leak=True, ids_at_label_time=False),
}


def fitted(architecture: str, objective: str) -> Architecture | None:
    """The small architecture as an objective asks for it; None if it cannot train one."""
    small, made = SMALL[architecture], MADE[objective]
    if small.input not in made.inputs:
        return None
    changes = {"pooling": "mean"} if "jepa" in objective else {"bidirectional": False}
    asked = getattr(made, "misfit", lambda net: "")
    if asked(small) and changes.keys() <= {field.name for field in fields(small)}:
        small = replace(small, **changes)
    return None if asked(small) else small


@dataclass(frozen=True)
class Own(ResNet):
    """A ResNet of one's own: a class whose code is not ecgscale's."""
