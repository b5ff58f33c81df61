"""The demo: the paper's four configurations, small in scale, on the real recordings that ship with the package.

What it costs: about 8 minutes on 2 CPU cores. What to expect: losses that fall with N and D, wide intervals on every
exponent, and probes that are honest about how little 2,010 recordings teach.
How to run it: `make demo`, or `ecgscale codebook train --sweep demo && ecgscale launch demo`.

Departures from the paper, all for the sake of time: recordings, steps and batches are few; Transformers read the eight
independent leads in sentences of 160 words; the codebook has 512 codes; probes see standardised features and learn ten
times as fast, because 2,010 recordings make few steps.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import Architecture, Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule
from ecgscale.sweep import Sweep

CORPUS = "ptbxl-sample"
FRACTIONS = (0.1, 0.22, 0.47)  # of the training patients, beside all of them

RESNETS = (ResNet(3, 6), ResNet(3, 12), ResNet(3, 24), ResNet(4, 36), ResNet(4, 57))
TRANSFORMERS = tuple(
    Transformer(layers, width, heads=1, ffn=4 * width, n_tokens=160, leads="independent")
    for layers, width in ((1, 3), (1, 8), (1, 24), (1, 56), (2, 96))
)
CODEBOOK = Codebook(
    CORPUS,
    n_codes=512,
    code_width=32,
    layers=1,
    decoder_layers=1,
    width=64,
    heads=1,
    ffn=128,
    steps=150,
    batch_size=64,
    lr=1e-3,
    n_tokens=160,
    leads="independent",
)
SCHEDULE = Schedule(steps=120, batch_size=64, lr=3e-3)
EVALUATION = Evaluation(every=40, probe_lr=1e-2, standardise=True)

CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], Objective, str], ...] = (
    (RESNETS, Supervised(), "code6"),
    (RESNETS, CMSC(), ""),
    (TRANSFORMERS, Supervised(), "code6"),
    (TRANSFORMERS, Masked(CODEBOOK), ""),
)

# A ragged grid: every size at all the data, two sizes at every fraction.
SWEEP = Sweep(
    "demo",
    tuple(
        Run(architecture, objective, Slice(CORPUS, fraction, labels), SCHEDULE, EVALUATION)
        for sizes, objective, labels in CONFIGURATIONS
        for architecture, fraction in (*product(sizes, (1.0,)), *product(sizes[1:3], FRACTIONS))
    ),
    tasks=("ptbxl-superdiagnostic", "ptbxl-sex", "ludb-rhythm"),
)
