"""Pretraining objectives: what they are called."""

from ecgscale.objectives.cmsc import CMSC
from ecgscale.objectives.masked import Masked
from ecgscale.objectives.objective import Contrast, Loss, Optimiser, Pretraining
from ecgscale.objectives.supervised import Supervised

Objective = Supervised | CMSC | Masked

OBJECTIVES: dict[str, type[Objective]] = {
    "supervised": Supervised,
    "cmsc": CMSC,
    "masked": Masked,
}

__all__ = [
    "CMSC",
    "OBJECTIVES",
    "Contrast",
    "Loss",
    "Masked",
    "Objective",
    "Optimiser",
    "Pretraining",
    "Supervised",
]
