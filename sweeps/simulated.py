"""Simulated ECGs: the paper's four configurations over three decades of D without any credentialed data.

Pretrains on 100,000 simulated recordings (made on first use, minutes) and probes on the real recordings that ship with
the package. What it shows is that the platform works at scale and how a supervised and a self-supervised model read the
same generator; its exponents say nothing of patients, and the corpus' name says so on every row.
What it costs: 23 PFLOP (`ecgscale plan simulated`): hours on a GPU, a month on one CPU core.
How to run it: `ecgscale codebook train --sweep simulated && ecgscale launch simulated`.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import Architecture, Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep

CORPUS = "simulated-100000"
FRACTIONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # of the training patients, beside all of them: 81 to 81,000 records

RESNETS = (ResNet(3, 12), ResNet(3, 24), ResNet(3, 48), ResNet(4, 64), ResNet(4, 128))
TRANSFORMERS = tuple(
    Transformer(layers, width, heads=heads, ffn=4 * width)
    for layers, width, heads in ((1, 24, 1), (1, 48, 2), (1, 96, 2), (2, 128, 4), (3, 192, 4))
)
CODEBOOK = Codebook(
    CORPUS, n_codes=1024, code_width=64, layers=2, decoder_layers=1, width=128, heads=2, ffn=512, steps=2000, lr=1e-3
)
RESNET_SCHEDULE = Schedule(steps=6000, batch_size=128, lr=1e-3)
TRANSFORMER_SCHEDULE = Schedule(steps=6000, batch_size=128, lr=1e-3)
PROBES = Evaluation(probe_lr=1e-2, standardise=True, every=1000)

CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], Objective, str, Schedule], ...] = (
    (RESNETS, Supervised(), "code6", RESNET_SCHEDULE),
    (RESNETS, CMSC(), "", RESNET_SCHEDULE),
    (TRANSFORMERS, Supervised(), "code6", TRANSFORMER_SCHEDULE),
    (TRANSFORMERS, Masked(CODEBOOK), "", TRANSFORMER_SCHEDULE),
)

SWEEP = Sweep(
    "simulated",
    tuple(
        Run(architecture, objective, Slice(CORPUS, fraction, labels), schedule, PROBES)
        for sizes, objective, labels, schedule in CONFIGURATIONS
        for architecture, fraction in (*product(sizes, (1.0,)), *product(sizes[3:4], FRACTIONS))
    ),
    tasks=("ptbxl-superdiagnostic", "ptbxl-sex"),
)
