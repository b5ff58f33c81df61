"""Table S.9 whole: models trained from scratch and published ones fine-tuned, on ten tasks (arXiv 2605.17276, B.7).

What it costs: see `ecgscale plan benchmark --device a100`. What it needs: the tasks' datasets, prepared, and the files
of the eight foundation models, each brought by `ecgscale weights import FILE`: `plan` says which are not here, and
`launch --only architecture=...` goes without them. How to run it: `ecgscale launch benchmark --address auto`; then
`ecgscale tables S.9 --sweep benchmark` and the figure `landscape` show what came out beside what is printed.

From scratch: its 14 baselines, and the plain Transformer of Table S.10. Learning rate, batch and epochs are those of
the two public benchmarks that the paper names: Strodthoff et al.'s for the three residual and inception networks (50
epochs of batches of 128 at a peak of 1e-2), the Time-Series-Library's for the others (100 epochs of 16 at 1e-3, of
TimesNet 30, ended when ten bring nothing; gradients are cut to a norm of 4); 100,000 steps at most. Fine-tuned:
learning rates of Table S.8; its length of training is lost, so that of `finetune`. The step with the lowest validation
loss is reported.

Departures: Adam under a cosine stands for AdamW under one cycle and for RAdam at a constant rate; networks read whole
recordings, not crops of 2.5 s. Corpora are stored at 100 Hz, and brought to the rate of each model, so nothing above
50 Hz is seen. Printed sizes count a head of 44 labels: most of the Time-Series-Library's models is head, and N here is
the backbone alone.
"""

from dataclasses import dataclass, replace

from ecgscale.data.corpus import Slice
from ecgscale.models import (
    AUTOFORMER,
    BAI_TCN,
    CROSSFORMER,
    ECG_FM,
    FEDFORMER,
    HUBERT_ECG,
    INCEPTIONTIME,
    INFORMER,
    ITRANSFORMER,
    MERL_RESNET18,
    MERL_VIT_TINY,
    MICN_BASELINE,
    NET1D,
    PATCHTST,
    PCLR,
    REFORMER,
    RESNET_WANG,
    RIBEIRO,
    SCINET,
    SEQUENCE_TRANSFORMER,
    TIMESNET,
    XRESNET1D101,
    Architecture,
    Transformer,
)
from ecgscale.objectives import Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.tasks import PAPER_TASKS, Task
from ecgscale.training.weights import of_family

TASKS = tuple(task for task in PAPER_TASKS if task.name != "csn")  # Table S.9 has no column for it
RECORDINGS = {"ptbxl": 17_418, "echonext": 72_475, "mimic": 200_000, "cpsc2018": 5_501}  # of training, about
MEASUREMENTS = 40  # of a run
MOST_STEPS = 100_000


@dataclass(frozen=True)
class Recipe:
    """A schedule whose steps follow from a task's recordings."""

    schedule: Schedule
    epochs: int


STRODTHOFF = Recipe(Schedule(batch_size=128, lr=1e-2, patience_epochs=50.0), epochs=50)
TIME_SERIES_LIBRARY = Recipe(Schedule(batch_size=16, lr=1e-3, patience_epochs=10.0, clip=4.0), epochs=100)
FROM_SCRATCH: dict[str, tuple[Architecture, Recipe]] = {
    "XResNet1d101": (XRESNET1D101, STRODTHOFF),
    "ResNet (Wang)": (RESNET_WANG, STRODTHOFF),
    "InceptionTime": (INCEPTIONTIME, STRODTHOFF),
    "TimesNet": (TIMESNET, replace(TIME_SERIES_LIBRARY, epochs=30)),
    "TCN": (BAI_TCN, TIME_SERIES_LIBRARY),
    "MICN": (MICN_BASELINE, TIME_SERIES_LIBRARY),
    "SCINet": (SCINET, TIME_SERIES_LIBRARY),
    "Transformer": (SEQUENCE_TRANSFORMER, TIME_SERIES_LIBRARY),
    "Autoformer": (AUTOFORMER, TIME_SERIES_LIBRARY),
    "Informer": (INFORMER, TIME_SERIES_LIBRARY),
    "Reformer": (REFORMER, TIME_SERIES_LIBRARY),
    "FEDformer": (FEDFORMER, TIME_SERIES_LIBRARY),
    "Crossformer": (CROSSFORMER, TIME_SERIES_LIBRARY),
    "PatchTST": (PATCHTST, TIME_SERIES_LIBRARY),
    "iTransformer": (ITRANSFORMER, TIME_SERIES_LIBRARY),
}
RIBEIRO_AT_100_HZ = replace(RIBEIRO, reads_hz=100, computes_hz=400, amplitude="code")
HEARTLANG = Transformer(12, 768, 8, 1024, amplitude="mv")
PRETRAINED: dict[str, tuple[Architecture, str, float]] = {  # the family of its weights, and Table S.8's learning rate
    "ResNet (PCLR)": (PCLR, "PCLR", 1e-3),
    "ResNet (Ribeiro)": (RIBEIRO_AT_100_HZ, "Ribeiro's ResNet (PyTorch)", 1e-3),
    "ResNet (Merl)": (MERL_RESNET18, "MERL ResNet18", 1e-3),
    "ECGFounder": (NET1D, "ECGFounder", 1e-4),
    "ViT (Merl)": (replace(MERL_VIT_TINY, ffn=768), "MERL ViT-tiny", 1e-3),
    "HuBERT (Base)": (replace(HUBERT_ECG, frozen=True), "HuBERT-ECG", 1e-5),
    "ECG-FM": (ECG_FM, "ECG-FM", 1e-6),
    "HeartLang": (HEARTLANG, "HeartLang", 1e-3),
}


def run_on(task: Task, architecture: Architecture, schedule: Schedule, weights: str = "") -> Run:
    evaluation = Evaluation(every=max(1, schedule.steps // MEASUREMENTS))
    return Run(
        architecture, Supervised(), Slice(task.corpus, 1.0, task.label_set), schedule, evaluation, weights=weights
    )


def from_scratch(model: str, task: Task) -> Run:
    architecture, recipe = FROM_SCRATCH[model]
    steps = recipe.epochs * RECORDINGS[task.corpus] // recipe.schedule.batch_size
    return run_on(task, architecture, replace(recipe.schedule, steps=min(steps, MOST_STEPS)))


def fine_tuned(model: str, task: Task) -> Run:
    architecture, family, lr = PRETRAINED[model]
    return run_on(task, architecture, Schedule(steps=10_000, lr=lr), of_family(family, architecture))


SWEEP = Sweep(
    "benchmark",
    (
        *(from_scratch(model, task) for model in FROM_SCRATCH for task in TASKS),
        *(fine_tuned(model, task) for model in PRETRAINED for task in TASKS),
    ),
    tasks=(),
    label_sets=tuple(task.label_set for task in TASKS),
)
