"""Does the exponent that is measured follow the one that was put in? The laboratory's largest networks, another tail.

What it costs: see `ecgscale plan laboratory_tail`; about half an hour of one core. What it needs: nothing; recordings
are made on first use. How to run it: `ecgscale launch laboratory_tail`, after `laboratory`.

A way of rank k is met in proportion to k ** -s, and what D recordings have not yet shown of such a tail is about
D ** -(1 - 1/s) of what there is (Hutter 2021): an exponent of 0.23 at the laboratory's s = 1.3, and of 0.5 at the 2.0
of this sweep. Supervised losses over D have to fall faster here, by as much as what is rare is what is hard.
"""

from dataclasses import replace

from ecgscale.objectives import Supervised
from ecgscale.spec.sweep import Sweep, load

CORPUS = "simulated-hospital-100000-zipf2"

SUPERVISED = [run for run in load("laboratory").runs if isinstance(run.objective, Supervised)]
LARGEST = SUPERVISED[-1].architecture

SWEEP = Sweep(
    "laboratory_tail",
    tuple(replace(run, slice=replace(run.slice, corpus=CORPUS)) for run in SUPERVISED if run.architecture == LARGEST),
    tasks=(),
)
