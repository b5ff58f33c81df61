"""The two foundation models as one sweep: the ViT under DINO, and ECGFounder's Net1D.

What it costs: about 200 A100 hours (52.6 EFLOP of training, a fifth of the hours evaluation) by
`ecgscale plan foundation --device a100`, which reckons with 30 % of the printed bf16 peak. The two largest ViTs need
about 96 and 220 GB of memory: several GPUs.
What it needs: `code`, `heedb`, `icentia11k`, `ptbxl`, `mitbih`, `cinc2017`, prepared; for ECGFounder `heedb`, `code`,
`ptbxl`, `code-test`, `chapman` and `cinc2017` under its own filters too (`ecgscale data prepare heedb --raw DIR
--recipe ecgfounder`).
How to run it: `ecgscale launch foundation --address auto`.

ViT (after "a DINOv3-based ECG foundation model": its sizes and schedule are not published, these are ours): seven sizes
on a mix of CODE, HEEDB and single leads of Icentia11k; one of them on CODE alone, and without each kind of noise.
A student's crops have their seconds stretched, and one in twenty has noise at -6 dB.
ECGFounder (Li et al. 2024): five widths, twelve leads and the released one with one, on the 150 most frequent 12SL
statements of HEEDB; the released one also on CODE's six labels. Probes: PTB-XL (the source's 0.87 is a multi-label
AUROC), heartbeats of MIT-BIH by local features (0.80), both under noise and PTB-XL with fewer leads; heads are asked
about the labels that CODE-test, PTB-XL and Chapman share with theirs. 12SL's numbers have no public key: without a
column "12sl" in `ecgscale/data/concepts.py` heads of HEEDB are scored on HEEDB alone. What reads one lead, the ViTs and
Net1D with one, is also asked about rhythm in the recordings of a hand-held device (PhysioNet/CinC Challenge 2017; the
source: AUROC 0.957 for atrial fibrillation, which CODE's labels name too, and 0.975 for normal sinus rhythm, which only
a key to 12SL's numbers could name).
"""

from dataclasses import replace

from ecgscale.data.corpus import Slice
from ecgscale.data.noise import KINDS
from ecgscale.models import NET1D, NET1DS, VITS, Net1D, ViT
from ecgscale.objectives import DINO, Objective, Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.tasks import robustness

CODE_ALONE = Slice("code")
MIX = Slice("code", mix=(("heedb", 1.0), ("icentia11k", 0.5)))
LABELLED = Slice("heedb@ecgfounder", label_set="12sl")
SIX_LABELS = Slice("code@ecgfounder", label_set="code6")
SELF_SUPERVISED = DINO(gram_from=0.8, time_jitter=1.25, hard_noise=0.05)
MIDDLE = VITS[4]  # 12 layers of 384
STEPS, EVERY = 200_000, 20_000


def pretrained(architecture: ViT, part: Slice = MIX, objective: Objective = SELF_SUPERVISED) -> Run:
    # DINOv3's rule, 4e-3 (batch / 1024) ** 0.5, gives 1e-3 for 64.
    schedule = Schedule(steps=STEPS, batch_size=64, lr=1e-3 if architecture.width < 700 else 4e-4, warmup=0.1)
    return Run(architecture, objective, part, schedule, Evaluation(every=EVERY))


def supervised(architecture: Net1D, part: Slice = LABELLED) -> Run:
    schedule = Schedule(steps=STEPS, batch_size=256, lr=1e-3)
    return Run(architecture, Supervised(), part, schedule, Evaluation(every=EVERY))


SWEEP = Sweep(
    "foundation",
    (
        *(pretrained(size) for size in VITS),
        pretrained(MIDDLE, CODE_ALONE),
        *(
            pretrained(MIDDLE, objective=replace(SELF_SUPERVISED, noise=tuple(k for k in KINDS if k != kind)))
            for kind in KINDS
        ),
        pretrained(MIDDLE, objective=replace(SELF_SUPERVISED, noise=())),
        *(supervised(size) for size in NET1DS),
        supervised(replace(NET1D, leads=1)),
        supervised(NET1D, SIX_LABELS),
        supervised(replace(NET1D, leads=1), SIX_LABELS),
    ),
    tasks=(
        "ptbxl-diag",
        *robustness("ptbxl-diag"),
        "ptbxl-diag@ecgfounder",
        "mitbih-beats",
        *robustness("mitbih-beats"),
        "cinc2017-rhythm",
        "cinc2017-rhythm@ecgfounder",
        "heedb-12sl-head@ecgfounder",
        "code-test-head@ecgfounder",
        "ptbxl-diag-head@ecgfounder",
        "ptbxl-rhythm-head@ecgfounder",
        "chapman-rhythm-head@ecgfounder",
        "cinc2017-rhythm-head@ecgfounder",
    ),
    label_sets=("12sl", "code6"),
    keep="best",
)
