"""The paper's grid: four configurations over the ladders of Table S.4 and fractions of CODE (arXiv 2605.17276).

What it costs: see `ecgscale plan code_grid --device a100`. What it needs: the CODE dataset and the eleven tasks'
datasets, prepared (`ecgscale data list`), and HeartLang's codebook, trained or imported.
How to run it: `ecgscale launch code_grid --address auto` on a Ray cluster with GPUs.

Every size of Table S.4 at all the data; at the lower fractions the sizes of the fourth bin that the paper evaluates
across all of them, and three smaller ones for the joint fits. Fractions are not in the paper's text; these fit its
Table S.6 best. Recordings are 10 s at 100 Hz, batches 128, at most 100,000 steps.
"""

from itertools import product

from ecgscale.data.corpus import Slice
from ecgscale.models import RESNETS, TRANSFORMERS, Architecture, Codebook
from ecgscale.objectives import CMSC, Masked, Objective, Supervised
from ecgscale.spec import Run, Sweep
from ecgscale.spec.tasks import PAPER_TASKS

CORPUS = "code"
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.5)  # of the training patients, beside all of them
CODEBOOK = Codebook("mimic")

CONFIGURATIONS: tuple[tuple[tuple[Architecture, ...], tuple[int, ...], Objective, str], ...] = (
    (RESNETS, (1, 3, 5, 7), Supervised(), "code6"),
    (RESNETS, (1, 3, 5, 7), CMSC(), ""),
    (TRANSFORMERS, (1, 3, 5, 8), Supervised(), "code6"),
    (TRANSFORMERS, (1, 3, 5, 8), Masked(CODEBOOK), ""),
)

SWEEP = Sweep(
    "code_grid",
    tuple(
        Run(architecture, objective, Slice(CORPUS, fraction, labels))
        for ladder, some, objective, labels in CONFIGURATIONS
        for architecture, fraction in (
            *product(ladder, (1.0,)),
            *product((ladder[rung] for rung in some), FRACTIONS),
        )
    ),
    tasks=tuple(task.name for task in PAPER_TASKS),
    keep="all",  # for tasks that come later, few-shot transfer and fine-tuning
)
