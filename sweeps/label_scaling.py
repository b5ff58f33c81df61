"""Label scaling on MIMIC-IV-ECG: what more pretraining labels do (arXiv 2605.17276, section 5, Figs. 6 and S.6).

What it costs: see `ecgscale plan label_scaling --device a100`. What it needs: `mimic-icd10` and `cpsc2018`, prepared,
and HeartLang's codebook. How to run it: `ecgscale launch label_scaling --address auto`.

The most frequent tenth of the 927 ICD-10 codes that begin with I ("dominant", 93) grows by random others to 30, 50 and
100 %, and so do the rarest 2 % of the codes with ten records ("tail", 9); composition matters, so there are three
draws of each. All heads are scored on the fixed dominant and tail sets, all backbones probed on CPSC2018. Beside them,
sizes of all four configurations, the supervised ones with all 927 labels. 160,000 recordings, 50 epochs of batches of
128, one epoch of warm-up, focal loss. The paper's sizes and its two learning rates are lost: those of its rungs of
about 10M parameters and 5e-4 below 10M, 1e-4 above stand in for them.
"""

from ecgscale.data.corpus import Slice
from ecgscale.models import RESNETS, TRANSFORMERS, Architecture, Codebook
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep

CORPUS, ALL = "mimic-icd10", "icd10"
FIXED = (f"{ALL}/dominant", f"{ALL}/tail")
EXPANDED = tuple(f"{fixed}-{share}.{draw}" for fixed in FIXED for share in (30, 50) for draw in range(3))
LABELLED: tuple[Architecture, Architecture] = (
    RESNETS[7],
    TRANSFORMERS[7],
)  # 16.8M and 11.6M: trained on every label set
SMALLER = (1, 3, 5)  # rungs that are trained on all labels beside them
SIZED_RESNETS = (*(RESNETS[rung] for rung in SMALLER), LABELLED[0])
SIZED_TRANSFORMERS = (*(TRANSFORMERS[rung] for rung in SMALLER), LABELLED[1])

EPOCH = 160_000 // 128
SMALL, LARGE = (
    Schedule(steps=50 * EPOCH, lr=lr, warmup=1 / 50, patience_epochs=50.0) for lr in (5e-4, 1e-4)
)  # below and from 10M parameters on
FOCAL = Supervised(focal_gamma=2.0)


def cell(architecture: Architecture, objective: Objective, labels: str = "") -> Run:
    schedule = LARGE if architecture in LABELLED else SMALL
    return Run(architecture, objective, Slice(CORPUS, 1.0, labels), schedule, Evaluation(every=2 * EPOCH))


SWEEP = Sweep(
    "label_scaling",
    (
        *(cell(architecture, FOCAL, labels) for architecture in LABELLED for labels in (*FIXED, *EXPANDED)),
        *(cell(architecture, FOCAL, ALL) for architecture in (*SIZED_RESNETS, *SIZED_TRANSFORMERS)),
        *(cell(architecture, CMSC()) for architecture in SIZED_RESNETS),
        *(cell(architecture, Masked(Codebook("mimic"))) for architecture in SIZED_TRANSFORMERS),
    ),
    tasks=("cpsc2018",),
    label_sets=FIXED,
    keep="best",
)
