"""Backbones: what they are called, and the ladders of sizes they come in."""

from ecgscale.models.codebook import Codebook, VectorQuantisedBeats
from ecgscale.models.features import Backbone, Features
from ecgscale.models.resnet import RESNET_200M, RESNETS, ResNet
from ecgscale.models.transformer import TRANSFORMER_200M, TRANSFORMERS, Transformer

Architecture = ResNet | Transformer

ARCHITECTURES: dict[str, type[Architecture]] = {
    "resnet": ResNet,
    "transformer": Transformer,
}

__all__ = [
    "ARCHITECTURES",
    "RESNETS",
    "RESNET_200M",
    "TRANSFORMERS",
    "TRANSFORMER_200M",
    "Architecture",
    "Backbone",
    "Codebook",
    "Features",
    "ResNet",
    "Transformer",
    "VectorQuantisedBeats",
]
