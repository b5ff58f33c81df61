"""The demo: the paper's four configurations, small in scale, on the real recordings that ship with the package.

What it costs: about 10 minutes on 2 CPU cores. What to expect: losses that fall with N and D, wide intervals on every
exponent, and probes that are honest about how little 2,010 recordings teach.
How to run it: `make demo`, or `ecgscale codebook train --sweep demo && ecgscale launch demo`.

Departures from the paper, all for the sake of time: recordings, steps and batches are few; Transformers read the eight
independent leads in sentences of 128 words; the codebook has 512 codes; probes see standardised features of 800
training recordings and learn ten times as fast, because so few recordings make few steps.
"""

from dataclasses import replace
from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import Architecture, Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep

CORPUS = "ptbxl-sample"
FRACTIONS = (0.05, 0.1, 0.22, 0.47)  # of the training patients, beside all of them

RESNETS = (ResNet(3, 6), ResNet(3, 12), ResNet(3, 24), ResNet(4, 36), ResNet(4, 57))
TRANSFORMERS = tuple(
    Transformer(1, width, heads=1, ffn=4 * width, n_tokens=128, leads="independent") for width in (3, 8, 24, 56, 128)
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
    steps=120,
    batch_size=64,
    lr=1e-3,
    n_tokens=128,
    leads="independent",
)
# Both see 6,400 recordings; Transformers need the more numerous steps.
RESNET_SCHEDULE = Schedule(steps=200, batch_size=32, lr=3e-3)
TRANSFORMER_SCHEDULE = Schedule(steps=400, batch_size=16, lr=6e-3)
PROBES = Evaluation(probe_lr=1e-2, standardise=True, probe_records=800)

CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], Objective, str, Schedule], ...] = (
    (RESNETS, Supervised(), "code6", RESNET_SCHEDULE),
    (RESNETS, CMSC(), "", RESNET_SCHEDULE),
    (TRANSFORMERS, Supervised(), "code6", TRANSFORMER_SCHEDULE),
    (TRANSFORMERS, Masked(CODEBOOK), "", TRANSFORMER_SCHEDULE),
)

# A ragged grid: every size at all the data, the fourth at every fraction; measured at the start, half-way, at the end.
SWEEP = Sweep(
    "demo",
    tuple(
        Run(
            architecture,
            objective,
            Slice(CORPUS, fraction, labels),
            schedule,
            replace(PROBES, every=schedule.steps // 2),
        )
        for sizes, objective, labels, schedule in CONFIGURATIONS
        for architecture, fraction in (*product(sizes, (1.0,)), *product(sizes[3:4], FRACTIONS))
    ),
    tasks=("ptbxl-superdiagnostic", "ptbxl-sex"),
)
