"""Backbones: what they are called, and the ladders of sizes they come in."""

from typing import Any

from ecgscale.models.architecture import Architecture
from ecgscale.models.codebook import Codebook, CodebookModule
from ecgscale.models.features import Backbone, Features
from ecgscale.models.net1d import NET1D, NET1DS, Net1D
from ecgscale.models.resnet import RESNET_200M, RESNETS, RIBEIRO, ResNet
from ecgscale.models.transformer import TRANSFORMER_200M, TRANSFORMERS, Transformer
from ecgscale.models.vit import VITS, ViT
from ecgscale.registry import Registry


def _problem(name: str, thing: Any) -> str:
    if not (isinstance(thing, type) and issubclass(thing, Architecture)):
        return "it is no class that inherits ecgscale.models.Architecture"
    return "" if getattr(thing, "kind", None) == name else f"its kind is {getattr(thing, 'kind', None)!r}"


ARCHITECTURES: Registry[type[Architecture]] = Registry(
    "architectures",
    {
        "resnet": ResNet,
        "transformer": Transformer,
        "net1d": Net1D,
        "vit": ViT,
    },
    _problem,
)

__all__ = [
    "ARCHITECTURES",
    "NET1D",
    "NET1DS",
    "RESNETS",
    "RESNET_200M",
    "RIBEIRO",
    "TRANSFORMERS",
    "TRANSFORMER_200M",
    "VITS",
    "Architecture",
    "Backbone",
    "Codebook",
    "CodebookModule",
    "Features",
    "Net1D",
    "ResNet",
    "Transformer",
    "ViT",
]
