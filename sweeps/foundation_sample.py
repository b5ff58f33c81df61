"""The ViT under DINO on what a CPU can do: the PTB-XL sample, probed on its superclasses and on MIT-BIH's heartbeats.

What it costs: about 0.4 s a step and half a minute a measurement on one busy CPU core, so under 20 minutes a seed.
What it needs: `mitbih`, prepared (`ecgscale data prepare mitbih --raw DIR`). What to expect: each run measures its own
untrained twin at step 0; the question is what pretraining adds. How to run it: `ecgscale launch foundation_sample`.

A small ViT: two patches a second, three layers of 64; 512 prototypes and four local crops instead of 8,192 and eight;
batches of 16. Probes standardise features and learn ten times as fast, as in the demo.
"""

from ecgscale.data.corpus import Slice
from ecgscale.models import ViT
from ecgscale.objectives import DINO
from ecgscale.spec import Evaluation, Run, Schedule
from ecgscale.sweep import Sweep
from ecgscale.tasks import robustness

SMALL = ViT(3, 64, 2, patch=50, layer_scale=0.1)
SELF_SUPERVISED = DINO(n_prototypes=512, head_width=256, bottleneck=64, n_local=4)
SCHEDULE = Schedule(steps=2_400, batch_size=16, lr=1e-3, warmup=0.1, precision="fp32")

SWEEP = Sweep(
    "foundation_sample",
    tuple(
        Run(
            SMALL,
            SELF_SUPERVISED,
            Slice("ptbxl-sample"),
            SCHEDULE,
            Evaluation(every=800, standardise=True, probe_lr=1e-2),
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
