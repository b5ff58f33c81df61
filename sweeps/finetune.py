"""Fine-tuning benchmark of our own backbones (arXiv 2605.17276, B.7, Tables S.8 and S.9).

What it costs: see `ecgscale plan finetune --device a100`. What it needs: the runs of `code_grid` that saw all data,
whose best weights that sweep keeps, and the tasks' datasets, prepared.
How to run it: `ecgscale launch finetune --address auto`; then `analysis.study.finetuned` tabulates macro AUROC and F1.

The rung of each ladder that the paper evaluates at every fraction (16.8M, 19.2M), pretrained in each of the four
configurations, and its twin from random weights; all weights move. Learning rates are Table S.8's for Ribeiro's ResNet
and for HeartLang. The paper's length of training is lost: at most 10,000 steps of 128 recordings, ended when the
validation loss has not improved for five epochs; the step with the lowest validation loss is reported.
"""

from ecgscale.models import RESNETS, TRANSFORMERS
from ecgscale.spec import Evaluation, Schedule
from ecgscale.spec.finetune import from_scratch, tuned
from ecgscale.spec.sweep import Sweep, load
from ecgscale.spec.tasks import PAPER_TASKS

TASKS = tuple(task for task in PAPER_TASKS if task.name != "csn")  # Table S.9 has no column for it
SCHEDULE = Schedule(steps=10_000)
LARGE = ("echonext", "mimic")  # measured every 1,000 steps, the others every 250

backbones = [
    run
    for run in load("code_grid").runs
    if run.slice.fraction == 1 and run.architecture in (RESNETS[7], TRANSFORMERS[8])
]
TUNED = tuple(
    tuned(run, task, SCHEDULE, Evaluation(every=1000 if task.corpus in LARGE else 250))
    for run in backbones
    for task in TASKS
)
SWEEP = Sweep(
    "finetune",
    (*TUNED, *dict.fromkeys(map(from_scratch, TUNED))),
    tasks=(),
    label_sets=tuple(task.label_set for task in TASKS),
)
