"""The study that ships: the paper's four configurations on the real recordings of the package, with time.

What it costs: see `ecgscale plan sample_study`; it is made for two CPU cores and three hours, and goes on where it was
cut off. What to expect: exponents in N and D for each configuration in distribution, and for the superclasses out of
it. How to run it: `ecgscale codebook train --sweep sample_study && ecgscale launch sample_study`.

Four sizes by five fractions of the PTB-XL sample's training patients, a grid and not an L, since a joint law has five
coefficients; a second seed on seven of the twenty cells, whose spread is the pure error. Sizes and fractions are each
configuration's own: where supervised models still learn from all recordings, self-supervised ones have learned what
their steps allow; the smallest ResNets learn nothing from contrasts. Learning rates go by a power of N around what was
flat (ResNets between 0.003 and 0.01, masked Transformers between 0.006 and 0.01) or best (supervised Transformers,
0.004 of four) at the rungs in the middle; results/LOG.md has the trials. Departures from the paper are those of the
demo: few recordings, small models, Transformers that read the eight independent leads in sentences of 128 words.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import Architecture, Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.rates import Rule, power_of_size, size_of

CORPUS = "ptbxl-sample"
FEWER = (0.02, 0.05, 0.12, 0.27, 0.6)  # 40 to 1,206 recordings
MORE = (0.03, 0.07, 0.17, 0.41, 1.0)  # 61 to 2,010 recordings
REPLICATED = {(0, 0), (0, 4), (1, 2), (2, 1), (2, 3), (3, 0), (3, 4)}  # cells: size, fraction


def resnets(*widths: int) -> tuple[Architecture, ...]:
    return tuple(ResNet(3, width) for width in widths)


def transformers(*widths: int) -> tuple[Architecture, ...]:
    return tuple(Transformer(1, width, heads=1, ffn=4 * width, n_tokens=128, leads="independent") for width in widths)


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
RESNET_RATE = power_of_size(3e-3, size_of(ResNet(3, 16)), -0.1)
SUPERVISED_RATE = power_of_size(4e-3, size_of(*transformers(24)), -0.1)
MASKED_RATE = power_of_size(6e-3, size_of(*transformers(24)), -0.1)

CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], tuple[float, ...], Objective, str, int, Rule], ...] = (
    (resnets(3, 6, 12, 32), MORE, Supervised(), "code6", 32, RESNET_RATE),
    (resnets(7, 12, 20, 32), FEWER, CMSC(), "", 32, RESNET_RATE),
    (transformers(3, 6, 12, 24), MORE, Supervised(), "code6", 16, SUPERVISED_RATE),
    (transformers(3, 8, 24, 48), FEWER, Masked(CODEBOOK), "", 16, MASKED_RATE),
)

SWEEP = Sweep(
    "sample_study",
    tuple(
        Run(
            size,
            objective,
            Slice(CORPUS, fraction, labels),
            Schedule(steps=1200, batch_size=batch_size, lr=rate(size), patience_epochs=100.0),
            Evaluation(every=100 if labels else 200, probe_lr=1e-2, standardise=True),
            seed,
        )
        for sizes, fractions, objective, labels, batch_size, rate in CONFIGURATIONS
        for (s, size), (f, fraction) in product(enumerate(sizes), enumerate(fractions))
        for seed in (range(2) if (s, f) in REPLICATED else range(1))
    ),
    tasks=("ptbxl-superdiagnostic", "ptbxl-sex"),
)
