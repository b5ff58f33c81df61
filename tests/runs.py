"""Runs that several tests describe."""

from ecgscale.data.corpus import Slice
from ecgscale.models import Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Supervised
from ecgscale.spec.run import Run

RESNET_SL = Run(ResNet(3, 24), Supervised(), Slice("code", 1.0, "code6"))
RESNET_SSL = Run(ResNet(5, 320), CMSC(), Slice("code", 0.1), seed=1)
TRANSFORMER_SSL = Run(Transformer(1, 24, 1, 96), Masked(Codebook("mimic")), Slice("code"))


TINY_CODEBOOK = Codebook(
    "ludb-sample",
    n_codes=16,
    code_width=8,
    layers=1,
    decoder_layers=1,
    width=8,
    heads=1,
    ffn=16,
    steps=4,
    batch_size=16,
    lr=1e-3,
    n_tokens=64,
    leads="independent",
)
