"""Pretraining objectives: what they are called."""

from ecgscale.objectives.cmsc import CMSC
from ecgscale.objectives.dino import DINO
from ecgscale.objectives.masked import Masked
from ecgscale.objectives.objective import Collapsed, Contrast, Group, Loss, Optimiser, Pretraining
from ecgscale.objectives.supervised import Supervised

Objective = Supervised | CMSC | Masked | DINO

OBJECTIVES: dict[str, type[Objective]] = {
    "supervised": Supervised,
    "cmsc": CMSC,
    "masked": Masked,
    "dino": DINO,
}

__all__ = [
    "CMSC",
    "DINO",
    "OBJECTIVES",
    "Collapsed",
    "Contrast",
    "Group",
    "Loss",
    "Masked",
    "Objective",
    "Optimiser",
    "Pretraining",
    "Supervised",
]
