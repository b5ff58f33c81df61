"""Pretraining objectives by their kinds; what each is, is said in ``objective``."""

from typing import Any

from ecgscale.objectives.cmsc import CMSC
from ecgscale.objectives.cpc import CPC
from ecgscale.objectives.dino import DINO
from ecgscale.objectives.hybrid import Hybrid
from ecgscale.objectives.jepa import JEPA
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
from ecgscale.registry import Registry


def _problem(name: str, thing: Any) -> str:
    if not (isinstance(thing, type) and hasattr(thing, "build")):
        return "it is no class of an objective"
    return "" if getattr(thing, "kind", None) == name else f"its kind is {getattr(thing, 'kind', None)!r}"


OBJECTIVES: Registry[type[Objective]] = Registry(
    "objectives",
    {
        "supervised": Supervised,
        "cmsc": CMSC,
        "masked": Masked,
        "dino": DINO,
        "cpc": CPC,
        "jepa": JEPA,
        "hybrid": Hybrid,
    },
    _problem,
)

__all__ = [
    "CMSC",
    "CPC",
    "DINO",
    "JEPA",
    "OBJECTIVES",
    "UNTRAINED",
    "Collapsed",
    "Contrast",
    "Hybrid",
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
