"""The demo: the paper's four configurations, small in scale, on the real recordings that ship with the package.

What it costs: about ten minutes on 2 CPU cores. What to expect: a joint law of contrastive ResNets, supervised ones and
masked Transformers of which one exponent is known, and supervised Transformers, which so few recordings teach too
little, that say that they cannot tell. How to run it: `make demo`, or `ecgscale codebook train --sweep demo && ecgscale
launch demo`.

A grid of each configuration's own, since a joint law has five coefficients; `ecgscale simulate demo` says how narrow
its exponents can come out. Sizes and fractions of the training patients were tried before, and are those at which a law
shows in so short a time: D and not the 800 steps limits the loss, and the smallest networks still learn. Learning rates
are the best of three or four that were tried with all recordings (results/LOG.md). Departures from the paper, all for
the sake of time: recordings, steps and batches are few; Transformers read the eight independent leads in sentences of
128 words; the codebook has 512 codes; probes see standardised features and learn ten times as fast, because so few
recordings make few steps.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import Architecture, Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep

CORPUS = "ptbxl-sample"  # 2,010 training recordings


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
    steps=120,
    batch_size=64,
    lr=1e-3,
    n_tokens=128,
    leads="independent",
)
FRACTIONS = (0.015, 0.05, 0.16, 0.5)  # 29 to 1,000 recordings
# Sizes, fractions, objective, labels, batch size, learning rate.
CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], tuple[float, ...], Objective, str, int, float], ...] = (
    (resnets(3, 7, 17), FRACTIONS, Supervised(), "code6", 32, 3e-3),
    (resnets(6, 10, 16, 26), FRACTIONS, CMSC(), "", 32, 3e-3),
    (transformers(3, 8, 24), FRACTIONS[1:], Supervised(), "code6", 16, 4e-3),
    (transformers(3, 8, 24), (0.025, 0.06, *FRACTIONS[2:]), Masked(CODEBOOK), "", 16, 6e-3),
)

SWEEP = Sweep(
    "demo",
    tuple(
        Run(
            architecture,
            objective,
            Slice(CORPUS, fraction, labels),
            Schedule(steps=800, batch_size=batch_size, lr=lr, patience_epochs=100.0),
            Evaluation(every=200, probe_lr=1e-2, standardise=True),
        )
        for sizes, fractions, objective, labels, batch_size, lr in CONFIGURATIONS
        for architecture, fraction in product(sizes, fractions)
    ),
    tasks=("ptbxl-superdiagnostic", "ptbxl-sex"),
)
