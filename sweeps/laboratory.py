"""The laboratory: scaling where the truth is known, over three decades of D, in distribution and out of it.

Pretrains on simulated primary care, whose people, devices and disturbances differ in a long tail of ways, and probes in
other simulated hospitals on what pretraining never sees: old infarction, hypertrophy, potassium, risk, sex, age. Its
exponents say nothing of patients; they say whether the platform finds what was put in (the tail's exponent is the
corpus' name), and how supervised and self-supervised models differ where everything else is equal.
What it costs: see `ecgscale plan laboratory`; it is made for two CPU cores and three hours.
How to run it: `ecgscale launch laboratory`. It goes on where it was cut off.

Recordings are made on first use. Four sizes by six amounts of data; two further seeds in the corners and the middle of
the grid, as replicates. Rates go by a power of N. D and not the steps is to be the limit: 2,400 steps of 32, at most;
runs on little data end by their patience.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet
from ecgscale.objectives import CMSC, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.rates import power_of_size, size_of
from ecgscale.spec.tasks import LABORATORY_TASKS

CORPUS = "simulated-hospital-100000"
FRACTIONS = (0.001, 0.004, 0.016, 0.064, 0.25, 1.0)  # 81 to 81,000 recordings
SIZES = (ResNet(3, 6), ResNet(3, 12), ResNet(3, 24), ResNet(3, 48))
REPLICATED = {(0, 0), (0, 5), (1, 2), (1, 4), (2, 1), (2, 3), (3, 0), (3, 5)}  # cells: size, fraction
RATE = power_of_size(3e-3, size_of(ResNet(3, 24)), -0.1)
STEPS = 2400
PROBES = Evaluation(every=600, probe_lr=1e-2, standardise=True, probe_records=2_000)
OBJECTIVES: tuple[tuple[Objective, str], ...] = ((Supervised(), "code6"), (CMSC(), ""))

SWEEP = Sweep(
    "laboratory",
    tuple(
        Run(
            size,
            objective,
            Slice(CORPUS, fraction, labels),
            Schedule(steps=STEPS, batch_size=32, lr=RATE(size), patience_epochs=200.0),
            PROBES,
            seed,
        )
        for objective, labels in OBJECTIVES
        for (s, size), (f, fraction) in product(enumerate(SIZES), enumerate(FRACTIONS))
        for seed in (range(2) if (s, f) in REPLICATED else range(1))
    ),
    tasks=tuple(task.name for task in LABORATORY_TASKS),
)
