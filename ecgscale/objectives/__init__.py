"""Pretraining objectives by their kinds; what each is, is said in ``objective``."""

from ecgscale.objectives.cmsc import CMSC
from ecgscale.objectives.dino import DINO
from ecgscale.objectives.masked import Masked
from ecgscale.objectives.objective import (
    UNTRAINED,
    Collapsed,
    Contrast,
    Loss,
    Objective,
    ObjectiveInputs,
    Optimiser,
    ParamGroup,
    Pretraining,
    decayed_apart,
)
from ecgscale.objectives.supervised import Supervised

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
    "UNTRAINED",
    "Collapsed",
    "Contrast",
    "Loss",
    "Masked",
    "Objective",
    "ObjectiveInputs",
    "Optimiser",
    "ParamGroup",
    "Pretraining",
    "Supervised",
    "decayed_apart",
]
