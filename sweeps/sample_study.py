"""The study that ships: the paper's four configurations on the real recordings of the package, with time.

What it costs: see `ecgscale plan sample_study`; it is made for two CPU cores and three hours, and goes on where it was
cut off. What to expect: exponents in N and D for each configuration in distribution, and for the superclasses out of
it. How to run it: `ecgscale codebook train --sweep sample_study && ecgscale launch sample_study`.

Four sizes by five fractions of the PTB-XL sample's training patients, a grid and not an L, since a joint law has five
coefficients; a second seed on seven of the twenty cells, whose spread is the pure error. Schedules are long enough for
the smallest fractions to have turned: D and not the steps is the limit. Rates go by a power of N around what was flat
for the rungs in the middle. Departures from the paper are those of the demo: few recordings, small models, Transformers
that read the eight independent leads in sentences of 128 words.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import Architecture, Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.rates import power_of_size, size_of

CORPUS = "ptbxl-sample"
FRACTIONS = (0.03, 0.07, 0.17, 0.41, 1.0)  # 61 to 2,010 recordings
REPLICATED = {(0, 0), (0, 4), (1, 2), (2, 1), (2, 3), (3, 0), (3, 4)}  # cells: size, fraction

RESNETS = (ResNet(3, 4), ResNet(3, 8), ResNet(3, 16), ResNet(3, 32))
TRANSFORMERS = tuple(
    Transformer(1, width, heads=1, ffn=4 * width, n_tokens=128, leads="independent") for width in (6, 12, 24, 48)
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
    steps=300,
    batch_size=64,
    lr=1e-3,
    n_tokens=128,
    leads="independent",
)
PROBES = Evaluation(every=400, probe_lr=1e-2, standardise=True, probe_records=1_000)
RESNET_RATE = power_of_size(3e-3, size_of(RESNETS[2]), -0.1)
TRANSFORMER_RATE = power_of_size(6e-3, size_of(TRANSFORMERS[2]), -0.1)

CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], Objective, str, int], ...] = (
    (RESNETS, Supervised(), "code6", 32),
    (RESNETS, CMSC(), "", 32),
    (TRANSFORMERS, Supervised(), "code6", 16),
    (TRANSFORMERS, Masked(CODEBOOK), "", 16),
)


def cell(architecture: Architecture, objective: Objective, part: Slice, batch_size: int, seed: int) -> Run:
    rate = RESNET_RATE if architecture.kind == "resnet" else TRANSFORMER_RATE
    schedule = Schedule(steps=1600, batch_size=batch_size, lr=rate(architecture), patience_epochs=100.0)
    return Run(architecture, objective, part, schedule, PROBES, seed)


SWEEP = Sweep(
    "sample_study",
    tuple(
        cell(size, objective, Slice(CORPUS, fraction, labels), batch_size, seed)
        for sizes, objective, labels, batch_size in CONFIGURATIONS
        for (s, size), (f, fraction) in product(enumerate(sizes), enumerate(FRACTIONS))
        for seed in (range(2) if (s, f) in REPLICATED else range(1))
    ),
    tasks=("ptbxl-superdiagnostic", "ptbxl-sex"),
)
