"""Which family of architectures is more parameter- or data-efficient, as far as two CPU cores can tell in an hour.

What it costs: about one core hour; see `ecgscale plan architectures_sample`. What it needs: nothing but the recordings
that ship with the package. What to expect: exponents in N and D in distribution of five configurations, and of the
superclasses out of it; `ecgscale fit architectures_sample` and the first screen of `ecgscale report` lay them side by
side. How to run it: `ecgscale launch architectures_sample`.

ResNets, Transformers and S4D learn CODE's six labels; the two that read signals also learn from contrasts between
patients (sentences of heartbeats have no halves to compare). Four sizes by four fractions of the PTB-XL sample's
training patients, the same for all, with 600 steps of 16 recordings: D and not the steps is to limit what is learned.
A second seed on three of the sixteen cells gives the pure error. ResNets' and Transformers' sizes and learning rates
are those that sample_study was tried with; S4D's rates are the best of those in results/LOG.md. S4D keeps 16 numbers a
feature in two layers; a Mamba of that size takes ten times as long on a CPU, and is in `architectures` alone.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import S4D, Architecture, ResNet, Transformer
from ecgscale.objectives import CMSC, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.rates import Rule, power_of_size, size_of

CORPUS = "ptbxl-sample"
FRACTIONS = (0.03, 0.08, 0.22, 0.6)  # 61 to 1,206 recordings
REPLICATED = {(0, 1), (1, 2), (2, 0)}  # cells: size, fraction
STEPS = 600


def resnets(*widths: int) -> tuple[Architecture, ...]:
    return tuple(ResNet(3, width) for width in widths)


def transformers(*widths: int) -> tuple[Architecture, ...]:
    return tuple(Transformer(1, width, heads=1, ffn=4 * width, n_tokens=128, leads="independent") for width in widths)


def state_spaces(*widths: int) -> tuple[Architecture, ...]:
    return tuple(S4D(2, width, state=16) for width in widths)


RESNET_RATE = power_of_size(3e-3, size_of(ResNet(3, 16)), -0.1)
TRANSFORMER_RATE = power_of_size(4e-3, size_of(*transformers(24)), -0.1)
LABELLED_STATE_SPACE_RATE = power_of_size(2.5e-2, size_of(*state_spaces(16)), -0.1)
CONTRASTED_STATE_SPACE_RATE = power_of_size(1e-2, size_of(*state_spaces(16)), -0.1)

CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], Objective, str, Rule], ...] = (
    (resnets(3, 6, 12, 24), Supervised(), "code6", RESNET_RATE),
    (transformers(3, 6, 12, 24), Supervised(), "code6", TRANSFORMER_RATE),
    (state_spaces(4, 8, 14, 24), Supervised(), "code6", LABELLED_STATE_SPACE_RATE),
    (resnets(6, 10, 16, 24), CMSC(), "", RESNET_RATE),  # smaller ones learn nothing from contrasts
    (state_spaces(4, 8, 14, 24), CMSC(), "", CONTRASTED_STATE_SPACE_RATE),
)

SWEEP = Sweep(
    "architectures_sample",
    tuple(
        Run(
            size,
            objective,
            Slice(CORPUS, fraction, labels),
            Schedule(steps=STEPS, batch_size=16, lr=rate(size), patience_epochs=100.0),
            Evaluation(every=100 if labels else 200, probe_lr=1e-2, standardise=True),
            seed,
        )
        for sizes, objective, labels, rate in CONFIGURATIONS
        for (s, size), (f, fraction) in product(enumerate(sizes), enumerate(FRACTIONS))
        for seed in (range(2) if (s, f) in REPLICATED else range(1))
    ),
    tasks=("ptbxl-superdiagnostic", "ptbxl-sex"),
)
