"""Backbones: what they are called, and the ladders of sizes they come in."""

from ecgscale.models.architecture import Architecture
from ecgscale.models.codebook import Codebook, CodebookModule
from ecgscale.models.features import Backbone, Features
from ecgscale.models.net1d import NET1D, NET1DS, Net1D
from ecgscale.models.resnet import RESNET_200M, RESNETS, RIBEIRO, ResNet
from ecgscale.models.transformer import TRANSFORMER_200M, TRANSFORMERS, Transformer
from ecgscale.models.vit import VITS, ViT

ARCHITECTURES: dict[str, type[Architecture]] = {
    "resnet": ResNet,
    "transformer": Transformer,
    "net1d": Net1D,
    "vit": ViT,
}

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
