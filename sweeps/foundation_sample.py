"""The ViT under DINO on what a CPU can do: the PTB-XL sample and MIT-BIH, probed on superclasses and on heartbeats.

What it costs: about a quarter of an hour a seed on one core of a shared CPU, and one or two minutes a measurement.
What it needs: `mitbih`, prepared (`ecgscale data prepare mitbih --raw DIR`). What to expect: each run measures its own
untrained twin at step 0; the question is what pretraining adds. How to run it: `ecgscale launch foundation_sample`.

A small ViT: two patches a second, two layers of 64; 64 prototypes and four local crops instead of 8,192 and eight;
batches of 32, a fifth of them windows of MIT-BIH's two leads. What so little needs to learn at all: weights that start
wider than 0.02 (a narrow network then tells recordings apart, and centring does not drown them), layer scale 1, global
crops of all leads, a teacher that stays sharp and slow, and less noise. Probes standardise features and learn ten times
as fast, as in the demo.
"""

from ecgscale.data.corpus import Slice
from ecgscale.models import ViT
from ecgscale.objectives import DINO
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.tasks import robustness

SMALL = ViT(2, 64, 2, patch=50, layer_scale=1.0, init_std=0.05)
SELF_SUPERVISED = DINO(
    n_prototypes=64,
    head_width=128,
    bottleneck=64,
    n_local=4,
    global_seconds=(6.0, 8.0),
    local_seconds=(2.0, 4.0),
    local_leads=(12, 12),
    all_leads=1.0,
    momentum=0.996,
    teacher_temperature=(0.04, 0.04),
    snr_db=(6.0, 24.0),
    init_std=None,
)
DATA = Slice("ptbxl-sample", mix=(("mitbih", 0.25),))
SCHEDULE = Schedule(steps=1_000, batch_size=32, lr=2e-3, warmup=0.1, precision="fp32")

SWEEP = Sweep(
    "foundation_sample",
    tuple(
        Run(
            SMALL,
            SELF_SUPERVISED,
            DATA,
            SCHEDULE,
            Evaluation(every=500, standardise=True, probe_lr=1e-2, convex=True),
            seed,
        )
        for seed in range(3)
    ),
    tasks=(
        "ptbxl-superdiagnostic",
        "mitbih-beats",
        *(name for name in robustness("ptbxl-superdiagnostic") if "lead" in name or name.endswith(("+em6dB", "-6dB"))),
    ),
    keep="best",
)
