"""Few-shot transfer: how much downstream data pretraining is worth (arXiv 2605.17276, B.8, Fig. S.9, Eq. S.9).

What it costs: see `ecgscale plan fewshot --device a100`. What it needs: the supervised Transformers of `code_grid`,
whose best weights that sweep keeps, and the tasks' datasets, prepared.
How to run it: `ecgscale launch fewshot --address auto`; then the figure `fewshot`.

Four sizes of T-SL, each fine-tuned and trained from random weights on seven fractions of each task's training
patients. The paper's text names four of its six tasks (CPSC2018, CSN, PTB-XL rhythm, EchoNext); PTB-XL form and MIMIC
sex stand in for the two that it lost, the one close to the pretraining labels and the other far. Its fractions and
schedule are lost too: these span two decades, and a run ends when its validation loss has stood still for 20 epochs.
"""

from ecgscale.spec import Evaluation, Schedule
from ecgscale.spec.finetune import from_scratch, tuned
from ecgscale.spec.sweep import Sweep, load
from ecgscale.spec.tasks import TASKS

NAMES = ("cpsc2018", "csn", "ptbxl-rhythm", "echonext", "ptbxl-form", "mimic-sex")
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
SIZES = (1, 3, 5, 8)  # rungs of the ladder: 72K, 602K, 2.5M, 19.2M
SCHEDULE = Schedule(steps=10_000, patience_epochs=20.0)
MEASURED = {"echonext": 500, "mimic-sex": 1000}  # steps between evaluations of the large; 100 of the others

ladder = [run for run in load("code_grid").runs if run.configuration == "transformer-sl" and run.slice.fraction == 1]
TUNED = tuple(
    tuned(ladder[rung], TASKS[name], SCHEDULE, Evaluation(every=MEASURED.get(name, 100)), fraction)
    for name in NAMES
    for rung in SIZES
    for fraction in FRACTIONS
)
SWEEP = Sweep(
    "fewshot",
    (*TUNED, *map(from_scratch, TUNED)),
    tasks=(),
    label_sets=tuple(TASKS[name].label_set for name in NAMES),
)
