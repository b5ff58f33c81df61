"""Backbones: what they are called, and the ladders of sizes they come in."""

from typing import Any

from ecgscale.models.architecture import Architecture
from ecgscale.models.basic_resnet import MERL_RESNET18, RESNET_WANG, BasicResNet
from ecgscale.models.codebook import Codebook, CodebookModule
from ecgscale.models.crossformer import CROSSFORMER, Crossformer
from ecgscale.models.decomposition_transformer import AUTOFORMER, FEDFORMER, DecompositionTransformer
from ecgscale.models.features import Backbone, Features
from ecgscale.models.inceptiontime import INCEPTIONTIME, InceptionTime
from ecgscale.models.keras_resnet import PCLR, RIBEIRO_KERAS, KerasResNet
from ecgscale.models.mamba import MAMBAS, Mamba
from ecgscale.models.micn import MICN, MICN_BASELINE
from ecgscale.models.multilead_vit import MERL_VIT_TINY, MultileadViT
from ecgscale.models.net1d import NET1D, NET1DS, Net1D
from ecgscale.models.resnet import RESNET_200M, RESNETS, RIBEIRO, ResNet
from ecgscale.models.s4d import S4D, S4DS
from ecgscale.models.scinet import SCINET, SCINet
from ecgscale.models.sequence_transformer import ITRANSFORMER, PATCHTST, SEQUENCE_TRANSFORMER, SequenceTransformer
from ecgscale.models.sparse_transformer import INFORMER, REFORMER, SparseTransformer
from ecgscale.models.tcn import BAI_TCN, TCN
from ecgscale.models.timesnet import TIMESNET, TimesNet
from ecgscale.models.transformer import TRANSFORMER_200M, TRANSFORMERS, Transformer
from ecgscale.models.vit import VITS, ViT
from ecgscale.models.wave import ECG_FM, HUBERT_ECG, Wave
from ecgscale.models.xresnet import XRESNET1D101, XResNet
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
        "basic-resnet": BasicResNet,
        "keras-resnet": KerasResNet,
        "multilead-vit": MultileadViT,
        "wave": Wave,
        "xresnet": XResNet,
        "inceptiontime": InceptionTime,
        "tcn": TCN,
        "sequence-transformer": SequenceTransformer,
        "decomposition-transformer": DecompositionTransformer,
        "sparse-transformer": SparseTransformer,
        "scinet": SCINet,
        "micn": MICN,
        "crossformer": Crossformer,
        "timesnet": TimesNet,
        "s4d": S4D,
        "mamba": Mamba,
    },
    _problem,
)

__all__ = [
    "ARCHITECTURES",
    "AUTOFORMER",
    "BAI_TCN",
    "CROSSFORMER",
    "ECG_FM",
    "FEDFORMER",
    "HUBERT_ECG",
    "INCEPTIONTIME",
    "INFORMER",
    "ITRANSFORMER",
    "MAMBAS",
    "MERL_RESNET18",
    "MERL_VIT_TINY",
    "MICN",
    "MICN_BASELINE",
    "NET1D",
    "NET1DS",
    "PATCHTST",
    "PCLR",
    "REFORMER",
    "RESNETS",
    "RESNET_200M",
    "RESNET_WANG",
    "RIBEIRO",
    "RIBEIRO_KERAS",
    "S4D",
    "S4DS",
    "SCINET",
    "SEQUENCE_TRANSFORMER",
    "TCN",
    "TIMESNET",
    "TRANSFORMERS",
    "TRANSFORMER_200M",
    "VITS",
    "XRESNET1D101",
    "Architecture",
    "Backbone",
    "BasicResNet",
    "Codebook",
    "CodebookModule",
    "Crossformer",
    "DecompositionTransformer",
    "Features",
    "InceptionTime",
    "KerasResNet",
    "Mamba",
    "MultileadViT",
    "Net1D",
    "ResNet",
    "SCINet",
    "SequenceTransformer",
    "SparseTransformer",
    "TimesNet",
    "Transformer",
    "ViT",
    "Wave",
    "XResNet",
]
